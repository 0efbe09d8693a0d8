"""Starts of quantd that must fail: each ends at once with its own exit code, a stable reason and words that help."""
import contextlib
import socket
import sqlite3
import subprocess
import sys
import unittest

from daemon_fixture import BIN, PATIENCE_S, SOURCE, DaemonTest, missing_binaries


def busy_port(test):
    """HOST:PORT of a socket that listens until the test ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    test.addCleanup(listener.close)
    return "127.0.0.1:%d" % listener.getsockname()[1]


def database_of_a_newer_version(test):
    test.start(workers=0).stop()
    with contextlib.closing(sqlite3.connect(test.folder / "data/quantd.db")) as database:
        database.execute("PRAGMA user_version = 1000")
    return test.folder / "data"


def no_database(test):
    test.start(workers=0).stop()
    (test.folder / "data/quantd.db").write_bytes(b"x" * 5000)
    return test.folder / "data"


def a_file(test):
    path = test.folder / "file"
    path.write_text("not a folder")
    return path


def config(text):
    def write(test):
        path = test.folder / "quantd.json"
        path.write_text(text)
        return path
    return write


# name, flag, its value or what makes it, exit code, reason, words of the message
BAD_STARTS = [
    ("gRPC port in use", "--listen", busy_port, 5, "ADDRESS_IN_USE", "choose another port"),
    ("HTTP port in use", "--http-listen", busy_port, 5, "ADDRESS_IN_USE", "choose another port"),
    ("no port", "--listen", "127.0.0.1", 2, "ADDRESS_INVALID", "127.0.0.1"),
    ("port beyond 16 bits", "--listen", "127.0.0.1:99999", 2, "ADDRESS_INVALID", "99999"),
    ("port of letters", "--http-listen", "127.0.0.1:http", 2, "ADDRESS_INVALID", "http"),
    ("address of another machine", "--listen", "192.0.2.1:0", 2, "ADDRESS_INVALID", "192.0.2.1"),
    ("data directory of a newer version", "--data-dir", database_of_a_newer_version, 3, "DATA_DIRECTORY_TOO_NEW", "1000"),
    ("database that is none", "--data-dir", no_database, 3, "STORE_CORRUPT", "quantd.db"),
    ("data directory is a file", "--data-dir", a_file, 3, "DATA_DIRECTORY_UNUSABLE", "--data-dir"),
    ("model root absent", "--model-root", "/nowhere/models", 2, "ROOT_MISSING", "/nowhere/models"),
    ("data root is a file", "--data-root", a_file, 2, "ROOT_MISSING", "file"),
    ("quant absent", "--quant", "/nowhere/quant", 4, "QUANT_MISSING", "/nowhere/quant"),
    ("too many workers", "--local-workers", "1000", 2, "SETTING_INVALID", "local_workers"),
    ("negative workers", "--local-workers", "-1", 2, "SETTING_INVALID", "local_workers"),
    ("a time of letters", "--lease-ms", "soon", 2, "SETTING_INVALID", "lease_ms"),
    ("configuration absent", "--config", "/nowhere.json", 1, "FILE_NOT_FOUND", "/nowhere.json"),
    ("configuration is no JSON", "--config", config("{listen"), 1, "JSON_MALFORMED", "quantd.json"),
    ("configuration of a list", "--config", config("[]"), 2, "SETTING_INVALID", "quantd.json"),
    ("unknown setting", "--config", config('{"lisen":"127.0.0.1:0"}'), 2, "SETTING_UNKNOWN", "lisen"),
    ("setting of another type", "--config", config('{"lease_ms":"soon"}'), 2, "SETTING_INVALID", "lease_ms"),
]


class BadStarts(DaemonTest):
    def quantd(self, *flags):
        """A start that would succeed but for `flags`; the last value of a flag wins."""
        settings = {"--data-dir": self.folder / "data", "--listen": "127.0.0.1:0", "--http-listen": "127.0.0.1:0",
                    "--model-root": SOURCE / "data/models", "--data-root": SOURCE / "data"}
        settings.update(zip(flags[::2], flags[1::2]))
        arguments = [f"{flag}={value}" for flag, value in settings.items()]
        return subprocess.run([BIN / "quantd", *arguments], capture_output=True, text=True, timeout=PATIENCE_S)

    def refused(self, done, code, reason, words):
        last = done.stderr.strip().splitlines()[-1]
        self.assertTrue(last.startswith(f"quantd: {reason}: "), done.stderr)
        self.assertIn(words, last)
        self.assertEqual(done.returncode, code, done.stderr)

    def test_each_has_its_reason_and_exit_code(self):
        for name, flag, value, code, reason, words in BAD_STARTS:
            with self.subTest(name):
                self.setUp()  # a folder of its own
                made = value(self) if callable(value) else value
                self.refused(self.quantd(flag, made), code, reason, words)

    def test_a_running_daemon_is_not_disturbed_by_a_second_one(self):
        daemon = self.start(workers=0)
        self.refused(self.quantd(), 3, "DATA_DIRECTORY_LOCKED", f"process {daemon.process.pid}")
        self.refused(self.quantd("--data-dir", self.folder / "other", "--listen", daemon.server), 5, "ADDRESS_IN_USE",
                     daemon.server)
        self.assertEqual(daemon.json("list")["jobs"], [])
        self.assertEqual(daemon.stop(), 0)

    def test_a_newer_database_is_left_as_it_is(self):
        path = database_of_a_newer_version(self) / "quantd.db"
        before = path.read_bytes()
        self.quantd()
        self.assertEqual(path.read_bytes(), before)

    def test_flags_nobody_knows_are_usage_errors(self):
        done = self.quantd("--fly", "high")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--fly", done.stderr)


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    unittest.main(verbosity=2)
