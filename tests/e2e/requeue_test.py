"""A worker is killed in the middle of a job: the job runs on another within 20 s, and within 2 s when the lease is 1 s.

QUANTD_LONG=1: 100 kills with each lease.
"""
import datetime
import os
import random
import sys
import time
import unittest

from daemon_fixture import Daemon, missing_binaries, wait_until
from worker_fixture import JOB, WorkersTest, almost_longest

LONG = os.environ.get("QUANTD_LONG") == "1"
AT_ONCE = 10


def seconds_of(timestamp):
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


class Requeue(WorkersTest):
    def test_with_the_default_lease(self):
        self.check("default lease (15 s)", bound_s=20, kills=100 if LONG else 5, flags=())

    def test_with_a_lease_of_a_second(self):
        self.check("lease of 1 s", bound_s=2, kills=100 if LONG else 10, flags=("--lease-ms", 1000, "--sweep-ms", 100))

    def check(self, name, bound_s, kills, flags):
        daemon = Daemon(self.folder, workers=0, flags=flags)
        self.addCleanup(self.end, daemon)
        self.sleeping = self.script("exec sleep 3600")
        took = []
        while len(took) < kills:
            took += self.kill_some(daemon, min(AT_ONCE, kills - len(took)), round=len(took))
        print(f"requeue, {name}: {len(took)} workers killed, jobs run elsewhere after {min(took):.2f} to {max(took):.2f} s, "
              f"p99 {almost_longest(took):.2f} s", flush=True)
        self.assertLessEqual(almost_longest(took), bound_s)

    def kill_some(self, daemon, count, round):
        """Seconds from the kill of each of `count` workers to the start of its job on another."""
        workers = {f"w{round}-{i}": self.start_worker(daemon, f"w{round}-{i}", self.sleeping) for i in range(count)}
        for _ in range(count):
            daemon.submit(*JOB, "--max-attempts", 10)
        holders = {job["name"]: job["worker"] for job in self.running(daemon, lambda job: job["worker"] in workers, count)}
        successor = self.start_worker(daemon, f"successor{round}", self.sleeping, "--slots", count)
        wait_until(lambda: "worker_started" in (self.folder / f"successor{round}.log").read_text(), "another worker is there")
        killed = {}
        for name, worker in workers.items():
            time.sleep(random.uniform(0, 1))  # anywhere between two heartbeats
            killed[name] = time.time()
            worker.kill()
        moved = self.running(daemon, lambda job: job["attempt"] > 1, count)
        for job in moved:
            daemon.ctl("cancel", job["name"])
        self.running(daemon, lambda job: True, 0)
        successor.kill()
        successor.wait()
        return [seconds_of(job["start_time"]) - killed[holders[job["name"]]] for job in moved]

    @staticmethod
    def running(daemon, wanted, count):
        """The running jobs of which `wanted` holds, once there are `count`."""
        def found():
            listed = daemon.json("list", "--all", "--state", "RUNNING", "--state", "CANCELLING")["jobs"]
            jobs = [job for job in listed if wanted(job)]
            return [jobs] if len(jobs) == count else None
        return wait_until(found, f"{count} jobs run as expected")[0]


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())}")
        sys.exit(77)
    unittest.main(verbosity=2)
