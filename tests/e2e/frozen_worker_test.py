"""Workers frozen by SIGSTOP past their leases: others do the jobs, then the frozen ones wake up. What the others published stays.

In the middle of a job, a woken worker sees that its lease is over and gives the job up by itself. Frozen with the publish under
way, it cannot: that arrives late and must be refused. Ten of each here; QUANTD_FROZEN_WORKERS=100 makes it a hundred. Ninety
more late publishes, call by call, are in tests/server/worker_misuse_test.cc."""
import os
import signal
import subprocess
import sys
import unittest

from daemon_fixture import BIN, MODEL, SOURCE, Daemon, DaemonTest, missing_binaries, wait_until
from holding_proxy import HoldingProxy

JOB = ("--model", MODEL, "--recipe", "rtn")
AT_ONCE = 10
FROZEN = int(os.environ.get("QUANTD_FROZEN_WORKERS", AT_ONCE))
LEASE_MS = 3000
REFUSED = "quantd_fence_rejections_total"
# Waits until the test says so, then works: when its worker is frozen, every child is in the middle of its job.
GATED_QUANT = """#!/bin/sh
: > {folder}/begun-$$
while [ ! -e {folder}/go ]; do sleep 0.05; done
exec {quant} "$@"
"""


class FrozenWorkers(DaemonTest):
    def start_daemon(self):
        daemon = Daemon(self.folder, workers=0, flags=("--lease-ms", LEASE_MS, "--sweep-ms", 100))
        self.addCleanup(self.end, daemon)
        return daemon

    def start_worker(self, server, name, quant=BIN / "quant"):
        log = open(self.folder / f"{name}.log", "wb")
        self.addCleanup(log.close)
        worker = subprocess.Popen(
            [BIN / "quant-worker", "--server", server, "--model-root", SOURCE / "data/models", "--data-root", SOURCE / "data",
             "--scratch-dir", self.folder / "scratch", "--worker-id", name, "--threads", "1", "--quant", quant], stderr=log)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        return worker

    def gated_quant(self):
        path = self.folder / "gated-quant"
        path.write_text(GATED_QUANT.format(folder=self.folder, quant=BIN / "quant"))
        path.chmod(0o755)
        return path

    def do_by_another(self, daemon, name, jobs):
        """The jobs as they are then. One more shows that the server has finished with them: before that it would answer those who
        speak of them that they are to say it again."""
        successor = self.start_worker(daemon.server, name)
        done = {job: daemon.wait_for(job, "SUCCEEDED") for job in jobs}
        daemon.wait_for(daemon.submit(*JOB), "SUCCEEDED")
        successor.kill()
        for job in done.values():
            self.assertEqual(job["worker"], name)
            self.assertGreaterEqual(job["attempt"], 2)
        return done

    def await_goes_on(self, worker, name):
        scratch = self.folder / "scratch" / name
        wait_until(lambda: not [path for path in scratch.iterdir() if path.is_dir()], "it gives its attempt up")
        self.assertIsNone(worker.poll(), "and goes on")

    def test_in_the_middle_of_a_job(self):
        daemon, quant = self.start_daemon(), self.gated_quant()
        for first in range(0, FROZEN, AT_ONCE):
            for path in [*self.folder.glob("begun-*"), *self.folder.glob("go")]:
                path.unlink()
            self.freeze_in_the_middle(daemon, quant, [f"frozen-{first + i}" for i in range(AT_ONCE)])
        print(f"frozen in the middle of a job: {FROZEN} of {FROZEN} workers woke up late, no result changed", flush=True)

    def freeze_in_the_middle(self, daemon, quant, names):
        workers = {name: self.start_worker(daemon.server, name, quant) for name in names}
        jobs = [daemon.submit(*JOB) for _ in names]
        wait_until(lambda: len(list(self.folder.glob("begun-*"))) == len(names), "every worker runs a job")
        for worker in workers.values():
            worker.send_signal(signal.SIGSTOP)
        (self.folder / "go").touch()  # the children go on while their workers are frozen
        done = self.do_by_another(daemon, f"after-{names[0]}", jobs)
        for worker in workers.values():
            worker.send_signal(signal.SIGCONT)
        for name, worker in workers.items():
            self.await_goes_on(worker, name)
            worker.kill()
        for job, before in done.items():
            self.assertEqual(daemon.json("get", job), before)

    def test_with_the_publish_under_way(self):
        daemon = self.start_daemon()
        for first in range(0, FROZEN, AT_ONCE):
            self.freeze_with_the_publish(daemon, [f"frozen-{first + i}" for i in range(AT_ONCE)])
        refused = daemon.metrics()[REFUSED]
        self.assertGreaterEqual(refused, FROZEN)
        print(f"frozen with the publish under way: {FROZEN} of {FROZEN} late publishes refused, no result changed", flush=True)

    def start_behind_proxy(self, daemon, name):
        """The worker freezes as soon as it has sent its result, which the proxy keeps."""
        def is_result(message):
            return name.encode() in message[:2 + len(name)] and b"model.safetensors" in message
        workers = []
        proxy = HoldingProxy(daemon.server, is_result, lambda: workers[0].send_signal(signal.SIGSTOP))
        self.addCleanup(proxy.close)
        workers.append(self.start_worker(proxy.address, name))
        return workers[0], proxy

    def freeze_with_the_publish(self, daemon, names):
        before = daemon.metrics().get(REFUSED, 0)
        frozen = {name: self.start_behind_proxy(daemon, name) for name in names}
        jobs = [daemon.submit(*JOB) for _ in names]
        for _, proxy in frozen.values():
            wait_until(proxy.held.is_set, "every worker publishes")
        done = self.do_by_another(daemon, f"after-{names[0]}", jobs)
        for _, proxy in frozen.values():
            proxy.release()
        # The workers are still frozen: whatever is refused was sent before their leases ended.
        wait_until(lambda: daemon.metrics()[REFUSED] >= before + len(names), "every late publish is refused")
        for name, (worker, proxy) in frozen.items():
            worker.send_signal(signal.SIGCONT)
            self.await_goes_on(worker, name)
            worker.kill()
            proxy.close()
        for job, before in done.items():
            self.assertEqual(daemon.json("get", job), before)


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    unittest.main(verbosity=2)
