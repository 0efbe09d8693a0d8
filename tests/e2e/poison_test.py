"""A job whose child dies by SIGSEGV each time: it fails after three attempts and says how its child died; the workers live on,
and the other jobs have nine tenths of the workers' time or more, however slow the machine is."""
import signal
import subprocess
import sys
import unittest

from daemon_fixture import BIN, MODEL, SOURCE, Daemon, missing_binaries
from worker_fixture import WorkersTest, labelled

OTHERS = 40
WORKERS = ("one", "two")
# Pauses of 0.3 s and, six times that, 1.8 s between its attempts: all three fall into the time of the others.
REQUEUE_MS = 300
# A good job naps instead of computing. Every child notes when it began.
BODY = """
echo "$(date +%s.%N) $(is poison && echo poison || echo good) $out" >> FOLDER/begun
if is poison; then
  echo '{"phase":"quantize","block":2,"blocks":6}' >&3
  echo 'about to die' >&2
  kill -SEGV $$
fi
sleep 0.25
cp -r FOLDER/artifact "$out"
"""


class Poison(WorkersTest):
    def setUp(self):
        super().setUp()
        subprocess.run([BIN / "quant", "run", "--model", SOURCE / "data/models" / MODEL, "--recipe", "rtn", "--out",
                        self.folder / "artifact"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.quant = self.script(BODY.replace("FOLDER", str(self.folder)))

    def test_the_others_hardly_notice(self):
        daemon = Daemon(self.folder, workers=0, flags=("--requeue-ms", REQUEUE_MS))
        self.addCleanup(self.end, daemon)
        poison = daemon.submit(*labelled("poison"))
        others = [daemon.submit(*labelled("good")) for _ in range(OTHERS)]
        workers = [self.start_worker(daemon, name, self.quant) for name in WORKERS]
        for job in others:
            daemon.wait_for(job, "SUCCEEDED")
        self.assert_it_says_how_it_died(daemon.wait_for(poison, "FAILED"))
        self.assertEqual([worker.poll() for worker in workers], [None, None], "the workers live on")
        turns, share = self.poison_share()
        print(f"poison: {turns} of its attempts among {OTHERS} other jobs took {share:.1%} of the workers' time", flush=True)
        self.assertEqual(turns, 3, "it was tried while the others ran")
        self.assertLessEqual(share, 0.1)

    def poison_share(self):
        """Turns of the poison job, and the part of all turns that they took. A turn lasts until the worker's next child begins, so
        that whatever a crash makes the worker do counts; the last turn of each has no end and counts for nobody."""
        begun = {name: [] for name in WORKERS}
        for line in (self.folder / "begun").read_text().splitlines():
            when, kind, out = line.split()
            begun[next(name for name in WORKERS if f"/{name}/" in out)].append((float(when), kind))
        lengths = [(following[0] - turn[0], turn[1]) for turns in begun.values() for turn, following in zip(turns, turns[1:])]
        poison = [length for length, kind in lengths if kind == "poison"]
        return len(poison), sum(poison) / sum(length for length, _ in lengths)

    def assert_it_says_how_it_died(self, job):
        self.assertEqual(job["attempt"], 3)
        error = job["error"]
        self.assertEqual((error["reason"], error["signal"], error["phase"]), ("CHILD_CRASHED", signal.SIGSEGV, "quantize"))
        self.assertIn("about to die", error["log_tail"])


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())}")
        sys.exit(77)
    unittest.main(verbosity=2)
