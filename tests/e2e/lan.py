"""Hosts on one machine: a network namespace each, joined by a bridge, with links that can be pulled."""
import os
import pathlib
import re
import shutil
import signal
import subprocess


def why_not():
    """Why this machine cannot have namespaces; empty when it can."""
    if shutil.which("ip") is None:
        return "there is no `ip` (Debian package iproute2)"
    probe = f"quantd{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return "" if made.returncode == 0 else f"no privilege for network namespaces: {made.stderr.strip()}"


def remove_leftovers():
    """Of runs that were killed: their process is gone, their namespaces are not."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    for name, pid in re.findall(r"^(quantd(\d+)-\S+)", listed, re.MULTILINE):
        if not pathlib.Path(f"/proc/{pid}").exists():
            remove(name)


def remove(namespace):
    for pid in subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True)


class Lan:
    """Host number i of `hosts` has the address 10.213.7.i, from 1 on."""

    def __init__(self, hosts):
        remove_leftovers()
        self.hosts = list(hosts)
        self.switch = self.namespace("switch")
        try:
            self.build()
        except subprocess.CalledProcessError as error:
            self.close()
            raise AssertionError(f"{error.cmd}: {error.stderr}") from error

    def build(self):
        self.ip("netns", "add", self.switch)
        self.ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        self.ip("-n", self.switch, "link", "set", "bridge", "up")
        for host in self.hosts:
            namespace = self.namespace(host)
            self.ip("netns", "add", namespace)
            self.ip("-n", self.switch, "link", "add", self.port(host), "type", "veth", "peer", "name", "eth0", "netns", namespace)
            self.ip("-n", self.switch, "link", "set", self.port(host), "master", "bridge", "up")
            self.ip("-n", namespace, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self.ip("-n", namespace, "link", "set", device, "up")

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    @staticmethod
    def namespace(host):
        return f"quantd{os.getpid()}-{host}"

    def port(self, host):
        return f"port{self.hosts.index(host)}"

    def address(self, host):
        return f"10.213.7.{self.hosts.index(host) + 1}"

    def command(self, host, *arguments):
        """Runs it on the host; the process is the program's own."""
        return ["ip", "netns", "exec", self.namespace(host), *map(str, arguments)]

    def programs(self, host, name):
        """Process ids on the host that run this program."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace(host)], capture_output=True, text=True).stdout.split()
        return [int(pid) for pid in listed if self.program(pid) == name]

    @staticmethod
    def program(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return None  # ended meanwhile

    def pull(self, host):
        """Nothing gets through any more, and nobody is told: as a cable that is pulled at the switch."""
        self.ip("-n", self.switch, "link", "set", self.port(host), "down")

    def plug(self, host):
        self.ip("-n", self.switch, "link", "set", self.port(host), "up")

    def close(self):
        for host in self.hosts:
            remove(self.namespace(host))
        remove(self.switch)
