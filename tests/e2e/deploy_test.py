"""What an operator installs: programs side by side, a configuration that quantd accepts, units that systemd accepts."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from daemon_fixture import BIN, BINARIES, SOURCE, missing_binaries

DEPLOY = SOURCE / "deploy"


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)


class Deploy(unittest.TestCase):
    def setUp(self):
        self.prefix = pathlib.Path(tempfile.mkdtemp(prefix="quantd-deploy-"))
        self.addCleanup(shutil.rmtree, self.prefix, ignore_errors=True)

    def install(self):
        done = run("cmake", "--install", BIN.parent, "--prefix", self.prefix)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_installed_programs_run(self):
        self.install()
        for name in BINARIES:
            done = run(self.prefix / "bin" / name, "--version")
            self.assertEqual(done.returncode, 0, f"{name}: {done.stderr}")
        self.assertTrue((self.prefix / "share/doc/quantd/operations.md").exists())

    def test_configuration_is_accepted(self):
        for name in ("quantd.json", "quantd-postgres.json"):
            done = run(BIN / "quantd", "--config", DEPLOY / name, "--check-config")
            self.assertEqual(done.returncode, 0, f"{name}: {done.stderr}")

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed: units are not verified")
    def test_units_are_accepted(self):
        self.install()
        for unit in sorted((DEPLOY / "systemd").glob("*.service")):
            here = self.prefix / unit.name
            here.write_text(unit.read_text().replace("/usr/local/bin", str(self.prefix / "bin")))
            done = run("systemd-analyze", "verify", "--man=no", here)
            self.assertEqual((done.returncode, done.stderr), (0, ""), unit.name)


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    unittest.main(verbosity=2)
