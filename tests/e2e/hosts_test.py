"""Workers on other hosts: a link is pulled in the middle of a job. The job goes on elsewhere from its checkpoint, the cut-off
worker ends its child by itself, and the artifact has the same bytes as that of a job that nobody disturbed."""
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import lan
from daemon_fixture import BIN, CALIBRATION, HELDOUT, MODEL, PATIENCE_S, SOURCE, TERMINAL, missing_binaries, wait_until

LEASE_S = 3
SERVER = "server"
JOB = ("--model", MODEL, "--recipe", "gptq", "--calibration", CALIBRATION, "--sequences", "64", "--length", "256",
       "--evaluation", HELDOUT, "--context", "64", "--windows", "2")


class Hosts(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quantd-hosts-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.lan = lan.Lan([SERVER, "one", "two"])
        self.addCleanup(self.lan.close)
        self.address = f"{self.lan.address(SERVER)}:7433"
        self.start(SERVER, "quantd", "--data-dir", self.folder / "data", "--listen", self.address, "--http-listen",
                   f"{self.lan.address(SERVER)}:9433", "--model-root", SOURCE / "data/models", "--data-root", SOURCE / "data",
                   "--lease-ms", LEASE_S * 1000, "--sweep-ms", 200)
        wait_until(lambda: self.ctl("list").returncode == 0, "the server answers")

    def start(self, host, program, *arguments):
        log = open(self.folder / f"{host}.log", "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(self.lan.command(host, BIN / program, *arguments), stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def start_worker(self, host):
        return self.start(host, "quant-worker", "--server", self.address, "--model-root", SOURCE / "data/models", "--data-root",
                          SOURCE / "data", "--scratch-dir", self.folder / f"scratch-{host}", "--worker-id", host, "--threads", 1)

    def ctl(self, *arguments):
        return subprocess.run(self.lan.command(SERVER, BIN / "quantctl", "--server", self.address, *arguments),
                              capture_output=True, text=True, timeout=PATIENCE_S)

    def json(self, *arguments):
        done = self.ctl(*arguments, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def submit(self):
        return self.json("submit", *JOB)["job"]["name"]

    def log(self, host):
        return (self.folder / f"{host}.log").read_text()

    def wait_for(self, job, what, condition):
        def reached():
            now = self.json("get", job)
            if now["state"] in TERMINAL and now["state"] != "SUCCEEDED":
                raise AssertionError(f"{job} became {now['state']}: {now.get('error')}\n{self.log(SERVER)[-2000:]}")
            return now if condition(now) else None
        return wait_until(reached, what)

    def succeeded(self, job):
        return self.wait_for(job, f"{job} succeeds", lambda now: now["state"] == "SUCCEEDED")

    def test_a_pulled_link(self):
        first = self.start_worker("one")
        undisturbed = self.succeeded(self.submit())
        job = self.submit()
        self.wait_for(job, "a checkpoint of its third block is with the server",
                      lambda now: now.get("checkpoint", {}).get("block", 0) >= 3)
        second = self.start_worker("two")
        wait_until(lambda: "worker_started" in self.log("two"), "the other host's worker runs")

        before = self.json("get", job)
        self.assertEqual((before["state"], before["worker"]), ("RUNNING", "one"))
        self.lan.pull("one")
        pulled = time.monotonic()
        wait_until(lambda: not self.lan.programs("one", "quant"), "the cut-off worker ends its child by itself")
        fenced_s = time.monotonic() - pulled
        moved = self.wait_for(job, "it runs on the other host", lambda now: now.get("worker") == "two")
        requeue_s = time.monotonic() - pulled
        self.assertEqual(moved["attempt"], 2)
        self.assertEqual(first.poll(), None, "the cut-off worker lives and tries again")

        done = self.succeeded(job)
        self.assertEqual(done["artifact"]["digest"], undisturbed["artifact"]["digest"], "byte-identical")
        resumed = self.resumed_from("two", job)
        self.assertGreaterEqual(resumed, 3, self.log("two")[-2000:])
        redone = (before["progress"]["block"] - resumed) / before["progress"]["blocks"]
        print(f"hosts: fenced after {fenced_s:.1f} s, on the other host after {requeue_s:.1f} s of a lease of {LEASE_S} s, "
              f"cut at block {before['progress']['block']}, resumed from {resumed} (blocks redone: {redone:.0%})", flush=True)
        self.assertEqual(list((self.folder / "scratch-one/one").glob("*/")), [], "scratch is removed")
        self.assertEqual(list((self.folder / "data/checkpoints").iterdir()), [], "and so is the checkpoint")
        self.assert_the_host_comes_back(second, undisturbed)

    def resumed_from(self, host, job):
        """The block; 0 when the job began anew."""
        events = [json.loads(line) for line in self.log(host).splitlines() if line.startswith("{")]
        return next((int(event["block"]) for event in events
                     if event["event"] == "job_resumed" and job.endswith(event["job"])), 0)

    def assert_the_host_comes_back(self, second, undisturbed):
        second.send_signal(signal.SIGTERM)
        self.assertEqual(second.wait(timeout=PATIENCE_S), 0)
        self.lan.plug("one")
        again = self.succeeded(self.submit())
        self.assertEqual(again["worker"], "one")
        self.assertEqual(again["artifact"]["digest"], undisturbed["artifact"]["digest"])


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    if lan.why_not():
        print(f"SKIPPED: {lan.why_not()}; run as root or with CAP_NET_ADMIN and CAP_SYS_ADMIN", file=sys.stderr, flush=True)
        sys.exit(77)
    unittest.main(verbosity=2)
