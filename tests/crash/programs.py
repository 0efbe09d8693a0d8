"""The programs of one site: a server on a data directory of its own, two workers, clients; started, armed and killed."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

from points import SOURCE

BIN = pathlib.Path(os.environ.get("QUANTD_BIN_DIR", SOURCE / "build/release/bin")).parent / "crashtest"
PROGRAMS = ("quantd", "quant-worker", "quant", "crash-traffic")
WORKERS = ("one", "two")
LEASE_MS = 2500
SWEEP_MS = 100
SETTLE_S = 180  # leases, back-off of lost attempts, quarantines of workers, and every job still waiting
PATIENCE_S = 120  # for what takes a moment; a machine may be very busy
# What would otherwise take minutes or days.
SHORT_LIVES = ("--requeue-ms", 50, "--quarantine-ms", 100, "--retention-ms", 200, "--retain-artifacts-ms", 700, "--retain-events-ms", 3000,
               "--undelete-window-ms", 1000, "--orphan-age-ms", 1000)
# The job's program: what the label `kind` says, then the real one.
CHILD = """#!/bin/sh
PATH=/usr/bin:/bin
for word in "$@"; do [ "$last" != --job ] || job=$word; last=$word; done
case $(cat "$job") in
  *'"kind": "poison"'*|*'"kind":"poison"'*) kill -SEGV $$ ;;
  *'"kind": "slow"'*|*'"kind":"slow"'*) sleep 0.5 ;;
  *'"kind": "overdue"'*|*'"kind":"overdue"'*) sleep 1 ;;
esac
export QUANTD_FAIL_POINT_DIR={marks}
exec {quant} "$@" --checkpoint-interval-ms 50
"""


class Problem(Exception):
    pass


def await_true(condition, what, patience_s=PATIENCE_S):
    if not holds_within(condition, patience_s):
        raise Problem(f"not within {patience_s} s: {what}")


def holds_within(condition, patience_s):
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def free_port(rng):
    """Below the range that the kernel gives to clients: while the server is down nobody must get its port."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = rng.randrange(min(15000, lowest - 1000), lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def children_of(pid):
    """Of all its threads."""
    try:
        return [int(word) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
    except OSError:
        return []


def kill(process):
    process.kill()
    process.wait()


class Clients:
    """crash-traffic: what it says about itself."""

    def __init__(self, server, log):
        self.process = subprocess.Popen([BIN / "crash-traffic", server, str(SETTLE_S)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, text=True)
        self.answers, self.checks, self.report = 0, [], {}
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            word, text = line.split(maxsplit=1)
            if word == "operations":
                self.answers = int(text)
            elif word == "checked":
                self.checks.append(json.loads(text))
            else:
                self.report = json.loads(text)

    def last_report(self):
        """The final one, or what was known before the run was ended."""
        return self.report or (self.checks[-1] if self.checks else {})

    def check(self):
        """What they were told against what the server has; repeated until it answers."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            seen = len(self.checks)
            self.process.stdin.write("c")
            self.process.stdin.flush()
            await_true(lambda: len(self.checks) > seen, "the clients compare")
            if self.checks[-1]:
                return self.checks[-1]
        raise Problem(f"not within {PATIENCE_S} s: the server lists its jobs")

    def end(self):
        """After the last job is over."""
        self.process.stdin.close()
        self.process.wait(timeout=SETTLE_S + PATIENCE_S)
        self.reader.join()


class Programs:
    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.data_dir, self.marks, self.ports = folder / "data", folder / "marks", folder / "ports.json"
        self.marks.mkdir()
        self.listen = f"127.0.0.1:{free_port(rng)}"
        child = folder / "quant"
        child.write_text(CHILD.format(marks=self.marks, quant=BIN / "quant"))
        child.chmod(0o755)
        self.log = open(folder / "log", "ab")
        self.server, self.workers, self.clients, self.http = None, {}, None, None

    # Fail points

    def arm(self, program, points):
        """Of the running processes of this program; `points` maps each to its action."""
        for point in points:
            (self.marks / point).unlink(missing_ok=True)
        new = self.marks / "new"
        new.write_text(";".join(f"{point}={action}" for point, action in points.items()))
        new.rename(self.marks / f"armed.{program}")

    def disarm(self, program):
        (self.marks / f"armed.{program}").unlink()

    def acted(self, point):
        return (self.marks / point).exists()

    # Starts and kills

    def spawn(self, *command, **more):
        return subprocess.Popen([str(word) for word in command], stderr=self.log, **more)

    def start_server(self, points=""):
        """Until it serves or has ended."""
        self.ports.unlink(missing_ok=True)
        environment = {**os.environ, "QUANTD_FAIL_POINTS": points, "QUANTD_FAIL_POINT_DIR": str(self.marks)}
        self.server = self.spawn(
            BIN / "quantd", "--data-dir", self.data_dir, "--listen", self.listen, "--http-listen", "127.0.0.1:0", "--model-root",
            SOURCE / "data/models", "--data-root", SOURCE / "data", "--lease-ms", LEASE_MS, "--sweep-ms", SWEEP_MS, "--port-file",
            self.ports, *SHORT_LIVES, env=environment)
        await_true(lambda: self.server.poll() is not None or (self.ports.exists() and self.ports.stat().st_size), "the server starts")
        if self.server.poll() is None:
            self.http = json.loads(self.ports.read_text())["http"]

    def start_worker(self, name):
        self.workers[name] = self.spawn(
            BIN / "quant-worker", "--server", self.listen, "--model-root", SOURCE / "data/models", "--data-root", SOURCE / "data",
            "--scratch-dir", self.folder / "scratch", "--worker-id", name, "--threads", 1, "--grace-ms", 200, "--quant",
            self.folder / "quant")

    def start_clients(self):
        self.clients = Clients(self.listen, self.log)

    def server_runs(self):
        return self.server is not None and self.server.poll() is None

    def revive(self):
        """Starts again whatever is not running. Now and then a server dies once more at its start, with what it finds there."""
        if not self.server_runs():
            if self.rng.random() < 0.15:
                self.start_server_to_die()
            self.start_server()
            if not self.server_runs():
                raise Problem(f"the server ended with {self.server.returncode} at its start")
        for name in WORKERS:
            if name not in self.workers or self.workers[name].poll() is not None:
                self.start_worker(name)

    def start_server_to_die(self):
        self.start_server(self.rng.choice(("", "renew.commit.before=exit", "renew.commit.after=exit", "requeue.commit.after=exit")))
        holds_within(lambda: not self.server_runs(), self.rng.random() * 0.2)
        if not self.server_runs() and self.server.returncode != -signal.SIGKILL:
            raise Problem(f"the server ended with {self.server.returncode} at its start")
        kill(self.server)

    def kill_a_worker(self):
        name = self.rng.choice(WORKERS)
        kill(self.workers[name])
        return name

    def kill_a_child(self):
        """False when none runs for a while."""
        def kill_one():
            children = [pid for worker in self.workers.values() for pid in children_of(worker.pid)]
            try:
                os.kill(self.rng.choice(children), signal.SIGKILL)
            except (IndexError, ProcessLookupError):
                return False
            return True
        return holds_within(kill_one, 5)

    def kill_all(self):
        for process in [self.server, *self.workers.values()]:
            process.kill()
        for process in [self.server, *self.workers.values()]:
            process.wait()

    def end(self):
        clients = [self.clients.process] if self.clients else []
        for process in [self.server, *clients, *self.workers.values()]:
            if process is not None and process.poll() is None:
                kill(process)
        self.log.close()
