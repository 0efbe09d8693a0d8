"""Workers of a test's own, whose children do what the test says instead of quantizing."""
import subprocess

from daemon_fixture import BIN, MODEL, SOURCE, DaemonTest

# $job: the file with the job's spec.
SCRIPT = """#!/bin/sh
PATH=/usr/bin:/bin
job=$(for word in "$@"; do [ "$last" != --job ] || echo "$word"; last=$word; done)
out=$(for word in "$@"; do [ "$last" != --out ] || echo "$word"; last=$word; done)
is() {{ grep -q "\\"kind\\": *\\"$1\\"" "$job"; }}
{body}
"""
# Needs neither texts nor measurements.
JOB = ("--model", MODEL, "--recipe", "rtn")


def labelled(kind):
    """A job that a script knows by its label: `is KIND` holds."""
    return (*JOB, "--label", f"kind={kind}")


class WorkersTest(DaemonTest):
    def script(self, body, name="script"):
        """A program to run instead of `quant`, of these lines of shell."""
        path = self.folder / name
        path.write_text(SCRIPT.format(body=body))
        path.chmod(0o755)
        return path

    def start_worker(self, daemon, name, quant, *flags):
        log = open(self.folder / f"{name}.log", "wb")
        self.addCleanup(log.close)
        worker = subprocess.Popen(
            [BIN / "quant-worker", "--server", daemon.server, "--model-root", SOURCE / "data/models", "--data-root",
             SOURCE / "data", "--scratch-dir", self.folder / "scratch", "--worker-id", name, "--threads", "1", "--quant", quant,
             *map(str, flags)], stderr=log)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        return worker


def almost_longest(seconds):
    """The 99th percentile of a hundred, and of few all but the longest: a machine that does other things holds up one of them."""
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]
