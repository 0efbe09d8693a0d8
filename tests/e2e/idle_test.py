"""A system with nothing to do takes at most a hundredth of a core: server and a waiting worker together."""
import os
import pathlib
import sys
import time
import unittest

from daemon_fixture import BIN, missing_binaries, wait_until
from worker_fixture import WorkersTest

SECONDS = 20
MOST_SHARE = 0.01


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Idle(WorkersTest):
    def test_nothing_to_do(self):
        daemon = self.start(workers=0)
        worker = self.start_worker(daemon, "w", BIN / "quant")
        wait_until(lambda: daemon.metrics()['quantd_worker_slots{state="idle"}'] > 0, "the worker waits")
        processes = {"server": daemon.process.pid, "worker": worker.pid}
        before, begin = {name: processor_seconds(pid) for name, pid in processes.items()}, time.monotonic()
        time.sleep(SECONDS)
        used = {name: (processor_seconds(pid) - before[name]) / (time.monotonic() - begin) for name, pid in processes.items()}
        print(f"idle: {used['server']:.2%} of a core for the server, {used['worker']:.2%} for the worker", flush=True)
        self.assertLessEqual(sum(used.values()), MOST_SHARE)


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())}")
        sys.exit(77)
    unittest.main(verbosity=2)
