"""SIGTERM to a worker in the middle of a job: the checkpoint is with the server and the worker gone within its grace, another worker
goes on from there, no attempt is charged, and the bytes are those of a job that nobody disturbed."""
import json
import signal
import subprocess
import sys
import time
import unittest

from daemon_fixture import (BIN, CALIBRATION, HELDOUT, MODEL, PATIENCE_S, SOURCE, TERMINAL, DaemonTest,
                            missing_binaries, wait_until)

DRAIN_GRACE_S = 10
TELL_THE_SERVER_S = 10
JOB = ("--model", MODEL, "--recipe", "gptq", "--calibration", CALIBRATION, "--sequences", 64, "--length", 256,
       "--evaluation", HELDOUT, "--context", 64, "--windows", 2)


class WorkerDrain(DaemonTest):
    def start_worker(self, daemon, name):
        log = open(self.folder / f"{name}.log", "wb")
        self.addCleanup(log.close)
        worker = subprocess.Popen(
            [BIN / "quant-worker", "--server", daemon.server, "--model-root", SOURCE / "data/models", "--data-root",
             SOURCE / "data", "--scratch-dir", self.folder / "scratch", "--worker-id", name, "--threads", "1",
             "--drain-grace-ms", str(DRAIN_GRACE_S * 1000)], stderr=log)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        return worker

    def resumed_from(self, name, job):
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return next((int(event["block"]) for event in events if event["event"] == "job_resumed" and job.endswith(event["job"])), 0)

    def test_a_drained_worker_loses_nothing(self):
        daemon = self.start(workers=0)
        first = self.start_worker(daemon, "first")
        undisturbed = daemon.wait_for(daemon.submit(*JOB), "SUCCEEDED")
        job = daemon.submit(*JOB)

        def at_the_third_block():
            now = daemon.json("get", job)
            self.assertNotIn(now["state"], TERMINAL, "it was over before it could be drained")
            return now.get("progress", {}).get("block", 0) >= 3

        wait_until(at_the_third_block, "it is at its third block")
        first.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        self.assertEqual(first.wait(timeout=PATIENCE_S), 0)
        drain_s = time.monotonic() - begin
        self.assertLessEqual(drain_s, DRAIN_GRACE_S + TELL_THE_SERVER_S)
        returned = daemon.json("get", job)
        self.assertEqual(returned["state"], "QUEUED")
        self.assertGreaterEqual(returned["checkpoint"]["block"], 3)

        self.start_worker(daemon, "second")
        done = daemon.wait_for(job, "SUCCEEDED")
        self.assertEqual((done["worker"], done["attempt"]), ("second", 1))
        self.assertGreaterEqual(self.resumed_from("second", job), 3)
        self.assertEqual(done["artifact"]["digest"], undisturbed["artifact"]["digest"])
        print(f"drain: {drain_s:.2f} s, resumed from block {self.resumed_from('second', job)}", flush=True)


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    unittest.main(verbosity=2)
