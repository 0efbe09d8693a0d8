"""A quantd of its own for a test: started on free ports with local workers, driven through quantctl."""
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest
import urllib.request

SOURCE = pathlib.Path(os.environ.get("QUANTD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("QUANTD_BIN_DIR", SOURCE / "build/release/bin"))
BINARIES = ("quantd", "quant-worker", "quant", "quantctl")
MODEL = "quantd-tiny-llama"
CALIBRATION = "books/calibration.txt"
HELDOUT = "books/heldout.txt"
TERMINAL = ("SUCCEEDED", "REJECTED", "FAILED", "CANCELLED")
# As stored: the numbers of QuantJob.State.
STATES = {1: "QUEUED", 2: "RUNNING", 3: "CANCELLING", 4: "SUCCEEDED", 5: "REJECTED", 6: "FAILED", 7: "CANCELLED"}
# Sanitizers slow everything down; nothing here is a measurement.
PATIENCE_S = 180

# Done in a second or two.
SHORT_JOB = ("--model", MODEL, "--recipe", "gptq", "--set", "bits=4", "--calibration", CALIBRATION, "--sequences", "4",
             "--length", "64", "--evaluation", HELDOUT, "--context", "64", "--windows", "4")


def long_job(sequences=512):
    """Runs for many seconds: long enough to be found at work."""
    return ("--model", MODEL, "--recipe", "gptq", "--calibration", CALIBRATION, "--sequences", sequences, "--length", 512)


def missing_binaries():
    return [name for name in BINARIES if not (BIN / name).exists()]


def wait_until(condition, what, patience_s=PATIENCE_S, step_s=0.05):
    """The first true value of condition()."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(step_s)
    raise AssertionError(f"not within {patience_s} s: {what}")


def descendants(pid):
    """Process ids below `pid`, with the name of each program."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # ended meanwhile
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        children.setdefault(int(rest[1]), []).append((int(text.split()[0]), name))
    found, queue = [], [pid]
    while queue:
        for child, name in children.get(queue.pop(), []):
            found.append((child, name))
            queue.append(child)
    return found


class Daemon:
    def __init__(self, folder, workers=1, listen="127.0.0.1:0", flags=()):
        self.folder = pathlib.Path(folder)
        self.data_dir = self.folder / "data"
        self.ports = self.folder / "ports.json"
        self.ports.unlink(missing_ok=True)
        self.log = open(self.folder / "quantd.log", "ab")
        self.process = subprocess.Popen(
            [BIN / "quantd", "--data-dir", self.data_dir, "--listen", listen, "--http-listen", "127.0.0.1:0",
             "--model-root", SOURCE / "data/models", "--data-root", SOURCE / "data", "--local-workers", str(workers),
             "--worker-threads", "1", "--port-file", self.ports, *map(str, flags)], stderr=self.log)
        wait_until(lambda: self.ports.exists() and self.ports.stat().st_size or self.process.poll() is not None, "quantd starts")
        if self.process.poll() is not None:
            self.log.close()
            raise AssertionError(f"quantd ended with {self.process.returncode}: {self.log_tail()}")
        addresses = json.loads(self.ports.read_text())
        self.server, self.http = addresses["grpc"], addresses["http"]

    def log_tail(self):
        return (self.folder / "quantd.log").read_text()[-3000:]

    def ctl(self, *arguments):
        return subprocess.run([BIN / "quantctl", "--server", self.server, *map(str, arguments)], capture_output=True,
                              text=True, timeout=PATIENCE_S)

    def json(self, *arguments):
        done = self.ctl(*arguments, "--json")
        if done.returncode != 0:
            raise AssertionError(f"quantctl {' '.join(map(str, arguments))}: {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def submit(self, *arguments):
        """The name of the new job."""
        return self.json("submit", *arguments)["job"]["name"]

    def state(self, job):
        return self.json("get", job)["state"]

    def wait_for(self, job, *states):
        def reached():
            now = self.json("get", job)
            if now["state"] in TERMINAL and now["state"] not in states:
                raise AssertionError(f"{job} became {now['state']}: {now.get('error')}\n{self.log_tail()}")
            return now if now["state"] in states else None
        return wait_until(reached, f"{job} is one of {states}")

    def programs(self, name):
        """Ids of the running processes below the daemon that run this program."""
        return [pid for pid, program in descendants(self.process.pid) if program == name]

    def metrics_text(self):
        return urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10).read().decode()

    def metrics(self):
        """Sample name with labels -> value."""
        lines = (line.rpartition(" ") for line in self.metrics_text().splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def stored_states(self):
        """Jobs by state, from the database itself."""
        with sqlite3.connect(f"file:{self.data_dir / 'quantd.db'}?mode=ro", uri=True) as database:
            return {STATES[state]: count for state, count in database.execute("SELECT state, count(*) FROM jobs GROUP BY state")}

    def stop(self, how=signal.SIGTERM):
        """The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout=PATIENCE_S)
        self.log.close()
        return status


class DaemonTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quantd-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, workers=1, listen="127.0.0.1:0", flags=()):
        daemon = Daemon(self.folder, workers, listen, flags)
        self.addCleanup(self.end, daemon)
        return daemon

    @staticmethod
    def end(daemon):
        if not daemon.log.closed:
            daemon.stop(signal.SIGKILL)
