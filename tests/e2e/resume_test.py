"""`quant run --checkpoint`, killed for real: SIGKILL and SIGTERM at random instants, and what it says on the way."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("QUANTD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
QUANT = pathlib.Path(os.environ.get("QUANTD_BIN_DIR", SOURCE / "build/release/bin")) / "quant"
LLAMA = SOURCE / "data/models/quantd-tiny-llama"
CALIBRATION = SOURCE / "data/books/calibration.txt"
HELDOUT = SOURCE / "data/books/heldout.txt"
VOLATILE = {"performance.json", "report.html"}
KILLS = int(os.environ.get("QUANTD_RESUME_KILLS", "6"))  # per chain; more for a longer run


def command(out, *more):
    return [str(part) for part in (QUANT, "run", "--model", LLAMA, "--recipe", "gptq", "--set", "true_sequential=true",
                                   "--calibration", CALIBRATION, "--sequences", 8, "--length", 48, "--evaluation", HELDOUT,
                                   "--context", 48, "--windows", 8, "--export", "gptq", "--out", out, "--json", *more)]


def content(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file() and path.name not in VOLATILE}


class Child:
    """A run whose progress lines are read as they come."""

    def __init__(self, *arguments):
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(command(*arguments, "--progress-fd", write_end), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, pass_fds=(write_end,))
        os.close(write_end)
        self.lines = os.fdopen(read_end)

    def read(self, until=lambda line: False):
        """Lines until one is wanted, or the end."""
        seen = []
        for text in self.lines:
            seen.append(json.loads(text))
            if until(seen[-1]):
                break
        return seen

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=120)
        rest = [json.loads(text) for text in self.lines.read().splitlines() if text.endswith("}")]
        self.lines.close()
        return self.process.returncode, output, errors, rest


class Resume(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="quantd-resume-"))
        start = time.monotonic()
        done = subprocess.run(command(cls.root / "whole"), capture_output=True, text=True, timeout=300)
        cls.seconds = time.monotonic() - start
        assert done.returncode == 0, done.stdout + done.stderr
        cls.expected = content(cls.root / "whole")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root, ignore_errors=True)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        self.out, self.checkpoint = self.folder / "out", self.folder / "checkpoint"

    def child(self, *more):
        return Child(self.out, "--checkpoint", self.checkpoint, *more)

    def finish(self, *more):
        child = self.child(*more)
        lines = child.read()
        code, output, errors, _ = child.end()
        self.assertEqual(code, 0, output + errors)
        self.assertEqual(content(self.out), self.expected)
        self.assertFalse(self.checkpoint.exists())
        return lines, json.loads((self.out / "performance.json").read_text())

    def test_random_kills(self):
        for seed in range(2):
            self.setUp()
            draw = random.Random(seed)
            killed = 0
            for _ in range(KILLS):
                child = self.child("--threads", draw.choice([1, 2]), "--checkpoint-interval-ms", draw.choice([0, 20, 10000]))
                try:
                    child.process.wait(timeout=draw.uniform(0.05, 0.7) * self.seconds)
                except subprocess.TimeoutExpired:
                    killed += 1
                code, output, errors, _ = child.end(signal.SIGKILL)
                self.assertIn(code, (0, -signal.SIGKILL), output + errors)
                if code == 0:
                    break
            self.assertGreater(killed, 0)
            if not self.out.exists():
                self.finish()
            self.assertEqual(content(self.out), self.expected)

    def test_kill_after_each_block(self):
        for block in range(1, 7):
            child = self.child()
            told = child.read(lambda line: line.get("checkpoint", {}).get("block", -1) >= block)
            self.assertTrue(told and "checkpoint" in told[-1], "block %d was never committed" % block)
            child.end(signal.SIGKILL)
            if block > 1:
                self.assertGreaterEqual(next(line["resumed"]["block"] for line in told if "resumed" in line), block - 1)
        _, performance = self.finish()
        self.assertEqual(performance["checkpoint"]["resumed_from_block"], 6)

    def test_killed_late_it_redoes_little(self):
        child = self.child()
        child.read(lambda line: line.get("fraction", 0) >= 0.9)
        _, _, _, rest = child.end(signal.SIGKILL)
        reached = max([0.9] + [line["fraction"] for line in rest if "fraction" in line])
        lines, performance = self.finish()
        resumed = next(line["resumed"]["fraction"] for line in lines if "resumed" in line)
        self.assertLessEqual(reached - resumed, 0.15)
        work = performance["work"]
        self.assertAlmostEqual(work["this_run"] / work["total"], 1 - resumed, places=6)
        print("killed at %.3f, went on from %.3f" % (reached, resumed))

    def test_sigterm_stops_within_the_grace_and_goes_on(self):
        child = self.child()
        child.read(lambda line: line.get("fraction", 0) >= 0.3)
        start = time.monotonic()
        code, output, _, rest = child.end(signal.SIGTERM)
        self.assertLess(time.monotonic() - start, 1.5)
        self.assertEqual(code, 130, output)
        self.assertEqual(json.loads(output)["error"]["reason"], "CANCELLED")
        self.assertFalse((self.folder / "out.partial").exists())
        self.assertTrue(any("checkpoint" in line for line in rest), "nothing was committed on the way out")
        lines, _ = self.finish()
        self.assertGreaterEqual(next(line["resumed"]["fraction"] for line in lines if "resumed" in line), 0.3)

    def test_files_are_as_told_and_work_elsewhere(self):
        child = self.child()
        told = child.read(lambda line: line.get("checkpoint", {}).get("block") == 3)[-1]["checkpoint"]
        child.process.send_signal(signal.SIGSTOP)  # so that no newer commit replaces the files
        present = {path.name for path in self.checkpoint.iterdir()}
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        if {entry["path"] for entry in told["files"]} <= present:
            for entry in told["files"]:
                data = (self.checkpoint / entry["path"]).read_bytes()
                (elsewhere / entry["path"]).write_bytes(data)
                if entry["path"] != "checkpoint.json":
                    self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (entry["size_bytes"], entry["sha256"]))
            self.assertEqual(told["files"][0]["path"], "checkpoint.json")
            self.assertEqual(told["size_bytes"], sum(entry["size_bytes"] for entry in told["files"]))
        child.end(signal.SIGKILL)
        self.checkpoint = elsewhere
        lines, _ = self.finish()
        self.assertIn("resumed", [key for line in lines for key in line])

    def test_tampering_is_told(self):
        child = self.child()
        child.read(lambda line: line.get("checkpoint", {}).get("block") == 2)
        child.end(signal.SIGKILL)
        victim = sorted(self.checkpoint.glob("*.safetensors"))[0]
        data = bytearray(victim.read_bytes())
        data[-1] ^= 1
        victim.unlink()
        victim.write_bytes(data)
        lines, performance = self.finish()
        refused = next(line["checkpoint_refused"] for line in lines if "checkpoint_refused" in line)
        self.assertEqual(refused["reason"], "CHECKPOINT_REFUSED")
        self.assertIn(victim.name, refused["message"])
        self.assertIn(victim.name, performance["checkpoint"]["refused"])
        self.assertNotIn("resumed_from_block", performance["checkpoint"])


if __name__ == "__main__":
    if not QUANT.exists():
        print(f"SKIPPED: {QUANT} is not built")
        sys.exit(77)
    unittest.main()
