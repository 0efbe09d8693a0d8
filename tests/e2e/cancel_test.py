"""Cancelling a running job: its child is gone and its scratch removed within 2 s, also when the child ignores SIGTERM.

QUANTD_LONG=1: 100 jobs of each kind.
"""
import os
import pathlib
import sys
import time
import unittest

from daemon_fixture import Daemon, descendants, missing_binaries, wait_until
from worker_fixture import WorkersTest, almost_longest, labelled

LONG = os.environ.get("QUANTD_LONG") == "1"
BOUND_S = 2
# Writes something to remove, then works until it is told to stop; a stubborn one until it is killed.
BODY = """
is stubborn && trap '' TERM
mkdir "$out"
head -c 1000000 /dev/zero > "$out/model.safetensors"
while :; do sleep 0.05; done
"""


class Cancel(WorkersTest):
    def test_children_that_obey(self):
        self.check("obedient")

    def test_children_that_do_not(self):
        self.check("stubborn")

    def check(self, kind):
        daemon = Daemon(self.folder, workers=0)
        self.addCleanup(self.end, daemon)
        worker = self.start_worker(daemon, "w", self.script(BODY))
        took = [self.cancel_one(daemon, worker, kind) for _ in range(100 if LONG else 10)]
        print(f"cancel: {len(took)} {kind} children and their scratch gone after {min(took):.2f} to {max(took):.2f} s, "
              f"p99 {almost_longest(took):.2f} s", flush=True)
        self.assertLessEqual(almost_longest(took), BOUND_S)

    def cancel_one(self, daemon, worker, kind):
        job = daemon.submit(*labelled(kind))
        scratch = self.folder / "scratch/w"
        wait_until(lambda: list(scratch.rglob("model.safetensors")), "the child works")
        children = [pid for pid, _ in descendants(worker.pid)]
        self.assertTrue(children)
        begin = time.monotonic()
        self.assertEqual(daemon.json("cancel", job)["state"], "CANCELLING")
        wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children) and not list(scratch.glob("*/")),
                   "child and scratch are gone", step_s=0.01)
        took = time.monotonic() - begin
        daemon.wait_for(job, "CANCELLED")
        return took


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())}")
        sys.exit(77)
    unittest.main(verbosity=2)
