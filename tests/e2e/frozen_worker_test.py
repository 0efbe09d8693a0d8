"""Workers frozen by SIGSTOP past their leases: others do the jobs, then the frozen ones wake up. What the others published stays.
Ten here; ninety more, call by call, in tests/server/worker_misuse_test.cc."""
import signal
import subprocess
import sys
import unittest

from daemon_fixture import BIN, MODEL, SOURCE, Daemon, DaemonTest, missing_binaries, wait_until

FROZEN = 10
# Waits until the test says so, then works: when its worker is frozen, every child is in the middle of its job.
GATED_QUANT = """#!/bin/sh
: > {folder}/begun-$$
while [ ! -e {folder}/go ]; do sleep 0.05; done
exec {quant} "$@"
"""


class FrozenWorkers(DaemonTest):
    def start_worker(self, daemon, name, quant):
        log = open(self.folder / f"{name}.log", "wb")
        self.addCleanup(log.close)
        worker = subprocess.Popen(
            [BIN / "quant-worker", "--server", daemon.server, "--model-root", SOURCE / "data/models", "--data-root",
             SOURCE / "data", "--scratch-dir", self.folder / "scratch", "--worker-id", name, "--quant", quant], stderr=log)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        return worker

    def gated_quant(self):
        path = self.folder / "gated-quant"
        path.write_text(GATED_QUANT.format(folder=self.folder, quant=BIN / "quant"))
        path.chmod(0o755)
        return path

    def test_late_publishes_are_refused(self):
        daemon = Daemon(self.folder, workers=0, flags=("--lease-ms", 1500, "--sweep-ms", 100))
        self.addCleanup(self.end, daemon)
        workers = [self.start_worker(daemon, f"frozen-{i}", self.gated_quant()) for i in range(FROZEN)]
        jobs = [daemon.submit("--model", MODEL, "--recipe", "rtn") for _ in range(FROZEN)]
        wait_until(lambda: len(list(self.folder.glob("begun-*"))) == FROZEN, "every worker runs a job")
        for worker in workers:
            worker.send_signal(signal.SIGSTOP)
        (self.folder / "go").touch()  # the children go on while their workers are frozen
        self.start_worker(daemon, "successor", BIN / "quant")
        done = {job: daemon.wait_for(job, "SUCCEEDED") for job in jobs}
        for job in done.values():
            self.assertEqual(job["worker"], "successor")
            self.assertEqual(job["attempt"], 2)

        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        for i, worker in enumerate(workers):
            scratch = self.folder / f"scratch/frozen-{i}"
            wait_until(lambda: not [path for path in scratch.iterdir() if path.is_dir()], "it gives its attempt up")
            self.assertIsNone(worker.poll(), "and goes on")
        for job, before in done.items():
            self.assertEqual(daemon.json("get", job), before)
        print(f"frozen: {FROZEN} of {FROZEN} workers woke up late, no result changed", flush=True)


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    unittest.main(verbosity=2)
