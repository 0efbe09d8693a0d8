"""Jobs and calls leave nothing behind in the server: its resident memory and its descriptors are after the load what they were
after the warm-up. The programs are real; the jobs are ended by scripted workers (small_jobs/), so that thousands take seconds.

QUANTD_LONG=1: 10,000 jobs and 100,000 calls.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from daemon_fixture import BIN, DaemonTest, missing_binaries, wait_until

SMALL_JOBS = BIN.parent / "crashtest/small-jobs"
LONG = os.environ.get("QUANTD_LONG") == "1"
# Jobs, calls.
WARM_UP, LOAD = ((2_000, 20_000), (10_000, 100_000)) if LONG else ((1_000, 8_000), (2_000, 10_000))
MOST_GROWTH_KIB = 5 * 1024
REFUSALS = 100_000 if LONG else 5_000
RESOURCE_EXHAUSTED = "8"  # gRPC's code


class Server:
    """What the process of a daemon takes."""

    def __init__(self, daemon):
        self.folder = pathlib.Path(f"/proc/{daemon.process.pid}")

    def resident_kib(self):
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def descriptors(self):
        return len(list((self.folder / "fd").iterdir()))

    def at_rest(self, descriptors):
        """Resident memory, once no connection of the load is open any more."""
        wait_until(lambda: self.descriptors() <= descriptors, f"no more than {descriptors} descriptors are open")
        time.sleep(1)
        return self.resident_kib()


class Leaks(DaemonTest):
    def setUp(self):
        """In memory: thousands of jobs sync tens of thousands of files, and it is not the disk that is tested."""
        memory = pathlib.Path("/dev/shm")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quantd-leak-", dir=memory if os.access(memory, os.W_OK) else None))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_load(self, daemon, jobs, calls):
        with subprocess.Popen([SMALL_JOBS, daemon.server, str(jobs), str(calls)], stdout=subprocess.PIPE, text=True) as load:
            while load.poll() is None:
                daemon.metrics_text()
                time.sleep(0.2)
            report = json.loads(load.stdout.read())
        self.assertEqual((report["submitted"], report["unfinished"]), (jobs, 0), report)
        self.assertGreaterEqual(report["calls"], jobs + calls)
        self.assertGreaterEqual(report["attempts"], 0.8 * jobs, "workers ended all but those cancelled at once")
        self.assertGreater(report["codes"]["0"], 0.5 * report["calls"], report)
        self.assertNotIn("14", report["codes"], "the server was always there")
        return report

    def test_refusing_leaves_nothing(self):
        """More submits than the tenant may make: one is accepted, the others are told to come back later."""
        tenants = self.folder / "tenants.json"
        tenants.write_text('{"*": {"submits_per_second": 0.001, "burst": 1}}')
        daemon = self.start(workers=0, flags=("--tenants-file", tenants))
        server = Server(daemon)
        descriptors = server.descriptors()
        self.refused(daemon, REFUSALS // 5)
        warm = server.at_rest(descriptors)
        seconds = self.refused(daemon, REFUSALS)
        growth = server.at_rest(descriptors) - warm
        print(f"leaks: {REFUSALS} refused submits in {seconds:.1f} s: growth {growth / 1024:.2f} MiB", flush=True)
        self.assertLessEqual(growth, MOST_GROWTH_KIB)

    def refused(self, daemon, count):
        """Seconds that it took."""
        begin = time.monotonic()
        done = subprocess.run([SMALL_JOBS, daemon.server, str(count), "0"], capture_output=True, text=True, check=True)
        report = json.loads(done.stdout)
        self.assertEqual(report["codes"][RESOURCE_EXHAUSTED], count - report["submitted"], report)
        self.assertLessEqual(report["submitted"], 1)
        return time.monotonic() - begin

    def test_memory_and_descriptors(self):
        # Without pauses after crashes: they would be most of the time.
        daemon = self.start(workers=0, flags=("--requeue-ms", 0, "--quarantine-ms", 0))
        server = Server(daemon)
        descriptors = server.descriptors()
        self.run_load(daemon, *WARM_UP)
        warm = server.at_rest(descriptors)
        report = self.run_load(daemon, *LOAD)
        growth = server.at_rest(descriptors) - warm
        print(f"leaks: {report['submitted']} jobs, {report['calls'] + report['worker_calls']} calls in {report['seconds']:.0f} s: "
              f"resident {warm / 1024:.1f} MiB after the warm-up, growth {growth / 1024:.2f} MiB, {descriptors} descriptors "
              "before and after", flush=True)
        self.assertLessEqual(growth, MOST_GROWTH_KIB)


if __name__ == "__main__":
    missing = missing_binaries() + ([] if SMALL_JOBS.exists() else ["small-jobs"])
    if missing:
        print(f"SKIPPED: not built: {', '.join(missing)}")
        sys.exit(77)
    unittest.main(verbosity=2)
