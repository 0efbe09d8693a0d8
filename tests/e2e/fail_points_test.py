"""The programs that users run have no fail points; those of the crash tests have them."""
import os
import subprocess
import unittest

from daemon_fixture import BIN

CRASHTEST = BIN.parent / "crashtest"
PROGRAMS = ("quantd", "quant-worker", "quant", "quantctl")


def version(program, points):
    return subprocess.run([program, "--version"], env={**os.environ, "QUANTD_FAIL_POINTS": points}, capture_output=True, text=True)


class FailPoints(unittest.TestCase):
    def test_shipped_programs_do_not_know_of_them(self):
        for name in PROGRAMS:
            with self.subTest(name):
                self.assertNotIn(b"QUANTD_FAIL_POINT", (BIN / name).read_bytes())
                self.assertEqual(version(BIN / name, "nonsense").returncode, 0, "the variable is ignored")

    def test_crash_test_programs_obey_them(self):
        for name in PROGRAMS[:3]:
            with self.subTest(name):
                self.assertIn(b"QUANTD_FAIL_POINT", (CRASHTEST / name).read_bytes())
                self.assertEqual(version(CRASHTEST / name, "submit.commit.after=exit").returncode, 0)
                wrong = version(CRASHTEST / name, "submit.commit.after=exit;nonsense=exit")
                self.assertEqual(wrong.returncode, 2)
                self.assertIn("FAIL_POINT_UNKNOWN", wrong.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
