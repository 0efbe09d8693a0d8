#!/usr/bin/env python3
"""Kills the real programs at every durable step and at random, under traffic, and proves that nothing accepted is lost.

usage: crash_test.py [--cycles N] [--minutes M] [--sites K] [--seed S] [--points PREFIXES] [--name WORD] [--keep] [--verbose]

  --cycles N    kill/restart cycles that count (default 200)
  --minutes M   ends after M minutes even if N was not reached (default 15; that fails)
  --sites K     data directories worked on at once (default 2)
  --seed S      order of the kills (default: from the clock; it is printed)
  --points P,Q  only fail points that begin with P or Q, beside the random kills (default: all)
  --name WORD   first word of the last line (default crash)
  --keep        leaves the folders of failed sites
  --verbose     prints each cycle

Each site is a data directory with a server, two workers and clients (crash-traffic) that submit, cancel, delete, watch and
list without a pause. A cycle arms one fail point (before or after a durable step, in the server or in a job's process) or picks
a process to kill -9, waits until something has died, and starts it again. A cycle counts when the clients got at least
MIN_OPERATIONS answers, at MIN_RATE a second or more, since the one before. A site ends by letting every accepted job finish;
then it compares: each accepted job is there once and over (lost, duplicated, stuck), results of equal jobs have equal bytes, no
terminal state ever changed, metrics count what the database holds.

The last line is `crash: cycles=N submitted=N lost=0 duplicated=0 stuck=0`. Exit code 0: none of the last three, enough cycles,
every point passed and died at, no other problem. 1: otherwise. 77: not built.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SOURCE = pathlib.Path(os.environ.get("QUANTD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("QUANTD_BIN_DIR", SOURCE / "build/release/bin")).parent / "crashtest"
PROGRAMS = ("quantd", "quant-worker", "quant", "crash-traffic")
MIN_OPERATIONS = 10
MIN_RATE = 3  # answers a second, the time of restarts included
# Steps that clients and workers bring about all the time.
FREQUENT = ("submit.", "claim.", "renew.", "upload.", "artifact.", "publish.")
LEASE_MS = 2000
SWEEP_MS = 100
POINT_PATIENCE_S = 8
MEMORY_BYTES = 1 << 30  # of a site, at most
SETTLE_S = 60  # leases, back-off of lost attempts, and every job still waiting
CYCLES_PER_SITE = 25
STATES = {1: "queued", 2: "running", 3: "cancelling", 4: "succeeded", 5: "rejected", 6: "failed", 7: "cancelled"}

# The job's program: what the label `kind` says, then the real one with the points of the moment.
CHILD = """#!/bin/sh
PATH=/usr/bin:/bin
job=$(for word in "$@"; do [ "$last" != --job ] || echo "$word"; last=$word; done)
grep -q '"kind": *"poison"' "$job" && kill -SEGV $$
grep -q '"kind": *"slow"' "$job" && sleep 0.5
export QUANTD_FAIL_POINTS="$(cat {folder}/child_points)" QUANTD_FAIL_POINT_DIR={marks}
exec {quant} "$@" --checkpoint-interval-ms 500
"""


def durable_steps():
    """Names of the steps that the sources pass, in the order of their table (scripts/check-durable-steps: all of them)."""
    table = re.findall(r'\{S::(k\w+),\s*"([a-z.]+)"', (SOURCE / "core/base/durable_step.cc").read_text())
    sources = [path.read_text() for folder in ("server", "worker", "core/pipeline") for path in sorted((SOURCE / folder).rglob("*.cc"))]
    return [name for step, name in table if any(f"DurableStep::{step}" in text for text in sources)]


class Points:
    """Those to die at, by where they are passed."""

    def __init__(self, prefixes):
        self.server, self.child, self.start = [
            [point for point in sides(steps) if point.startswith(prefixes)] for steps in (SERVER_STEPS, CHILD_STEPS, START_STEPS)]

    def all(self):
        return self.server + self.child + self.start


def sides(steps):
    return [f"{step}.{side}" for step in steps for side in ("before", "after")]


# The job's process writes checkpoints; all else is the server's.
CHILD_STEPS = [step for step in durable_steps() if step.startswith("checkpoint.") and step != "checkpoint.commit"]
# Passed when a server first opens its directory, before there can be traffic.
START_STEPS = ["migrate.commit"]
SERVER_STEPS = [step for step in durable_steps() if step not in CHILD_STEPS + START_STEPS]


class Problem(Exception):
    pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tally:
    """What all sites together did. Thread-safe."""

    def __init__(self, cycles, minutes):
        self.lock = threading.Lock()
        self.wanted, self.deadline = cycles, time.monotonic() + 60 * minutes
        self.begun = self.cycles = self.idle = 0
        self.totals = collections.Counter()
        self.died_at = collections.Counter()
        self.problems = []

    def wants_more(self):
        with self.lock:
            return self.cycles < self.wanted and time.monotonic() < self.deadline and not self.problems

    def add_cycle(self, counted, point):
        with self.lock:
            self.cycles += counted
            self.idle += not counted
            if point:
                self.died_at[point] += 1

    def add_site(self, report, problems):
        with self.lock:
            for key in ("submitted", "lost", "duplicated", "stuck"):
                self.totals[key] += report.get(key, 0)
            self.problems += problems


class Site:
    def __init__(self, folder, rng, verbose):
        self.folder, self.rng, self.verbose = pathlib.Path(folder), rng, verbose
        self.data_dir, self.marks = self.folder / "data", self.folder / "marks"
        self.marks.mkdir()
        self.listen = f"127.0.0.1:{free_port()}"
        (self.folder / "child_points").write_text("")
        child = self.folder / "quant"
        child.write_text(CHILD.replace("{folder}", str(self.folder)).replace("{marks}", str(self.marks))
                         .replace("{quant}", str(BIN / "quant")))
        child.chmod(0o755)
        self.log = open(self.folder / "log", "ab")
        self.server, self.workers, self.traffic, self.http = None, {}, None, None
        self.operations, self.seen_operations, self.seen_time = 0, 0, time.monotonic()
        self.report = {}
        self.short_lives = short_lives()

    # Processes

    def spawn(self, *command, **more):
        return subprocess.Popen([str(word) for word in command], stderr=self.log, **more)

    def start_server(self, points=""):
        ports = self.folder / "ports.json"
        ports.unlink(missing_ok=True)
        environment = {**os.environ, "QUANTD_FAIL_POINTS": points, "QUANTD_FAIL_POINT_DIR": str(self.marks)}
        self.server = self.spawn(
            BIN / "quantd", "--data-dir", self.data_dir, "--listen", self.listen, "--http-listen", "127.0.0.1:0", "--model-root",
            SOURCE / "data/models", "--data-root", SOURCE / "data", "--lease-ms", LEASE_MS, "--sweep-ms", SWEEP_MS, "--port-file",
            ports, *self.short_lives, env=environment)
        self.await_true(lambda: self.server.poll() is not None or (ports.exists() and ports.stat().st_size), "the server starts")
        if self.server.poll() is None:
            self.http = json.loads(ports.read_text())["http"]
        elif self.server.returncode != -signal.SIGKILL:
            raise Problem(f"the server ended with {self.server.returncode} at its start")

    def start_worker(self, name):
        self.workers[name] = self.spawn(
            BIN / "quant-worker", "--server", self.listen, "--model-root", SOURCE / "data/models", "--data-root", SOURCE / "data",
            "--scratch-dir", self.folder / "scratch", "--worker-id", name, "--threads", 1, "--grace-ms", 200, "--quant",
            self.folder / "quant")

    def start_traffic(self):
        self.traffic = self.spawn(BIN / "crash-traffic", self.listen, SETTLE_S, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read_traffic)
        self.reader.start()

    def read_traffic(self):
        for line in self.traffic.stdout:
            if line.startswith("operations "):
                self.operations = int(line.split()[1])
            else:
                self.report = json.loads(line)

    @staticmethod
    def await_true(condition, what, patience_s=30):
        end = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end:
                raise Problem(f"not within {patience_s} s: {what}")
            time.sleep(0.01)

    @staticmethod
    def kill(process):
        process.kill()
        process.wait()

    def revive(self, points=""):
        """Starts again whatever is not running; what dies of its points while it starts has died as it should."""
        if self.server is None or self.server.poll() is not None:
            self.start_server(points)
        for name in ("one", "two"):
            if name not in self.workers or self.workers[name].poll() is not None:
                self.start_worker(name)

    # Cycles

    def count_cycle(self, tally, point=None):
        """A cycle counts when enough was going on before it."""
        time.sleep(0.11)  # the clients say ten times a second how far they are
        operations, seconds = self.operations - self.seen_operations, time.monotonic() - self.seen_time
        self.seen_operations, self.seen_time = self.operations, time.monotonic()
        if self.verbose:
            print(f"{self.cycle} {point or ''}: {operations} answers in {seconds:.1f} s", flush=True)
        tally.add_cycle(operations >= MIN_OPERATIONS and operations >= MIN_RATE * seconds, point)

    def await_answers(self):
        """Lets the clients work before anything dies."""
        self.await_true(lambda: self.operations >= self.seen_operations + MIN_OPERATIONS, "the clients get answers")

    def arm(self, point):
        (self.marks / point).unlink(missing_ok=True)

    def fired(self, point):
        return (self.marks / point).exists()

    def at_server_point(self, tally, point):
        if self.server.poll() is None:
            self.kill(self.server)
        self.arm(point)
        # What happens all the time is left alone for a while, so that clients are at work when it strikes.
        action = f"{point}=exit@{self.rng.randint(2, 8) if point.startswith(FREQUENT) else 1}"
        if self.rng.random() < 0.5:
            other = self.rng.choice(sides(SERVER_STEPS))
            # A start at which leases cannot be renewed fails, and says so: that is no death.
            if other != point and not other.startswith("renew."):
                self.arm(other)
                action += f";{other}=error"
        self.revive(action)
        end = time.monotonic() + POINT_PATIENCE_S
        while self.server.poll() is None and time.monotonic() < end:
            self.stir(point)
            time.sleep(0.02)
        self.kill(self.server)
        self.count_cycle(tally, point if self.fired(point) else None)

    def stir(self, point):
        """What clients alone do not bring about."""
        if point.startswith(("requeue.", "fail.", "cancel.confirm.")) and self.rng.random() < 0.02:
            self.kill_random_worker()
            self.revive()

    def at_child_point(self, tally, point):
        self.arm(point)
        (self.folder / "child_points").write_text(f"{point}=exit@{self.rng.randint(1, 3)}")
        end = time.monotonic() + POINT_PATIENCE_S
        while not self.fired(point) and time.monotonic() < end:
            time.sleep(0.02)
        (self.folder / "child_points").write_text("")
        self.count_cycle(tally, point if self.fired(point) else None)

    def kill_server(self, tally, _):
        time.sleep(self.rng.random() * 0.3)
        self.kill(self.server)
        self.count_cycle(tally)

    def kill_random_worker(self):
        self.kill(self.workers[self.rng.choice(sorted(self.workers))])

    def kill_worker(self, tally, _):
        time.sleep(self.rng.random() * 0.3)
        self.kill_random_worker()
        self.count_cycle(tally)

    def kill_child(self, tally, _):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            children = [pid for worker in self.workers.values() for pid in children_of(worker.pid)]
            try:
                os.kill(self.rng.choice(children), signal.SIGKILL)
            except (IndexError, ProcessLookupError):
                time.sleep(0.01)  # none runs just now
            else:
                self.count_cycle(tally)
                return

    def run_cycle(self, tally, task):
        what, point = self.cycle = task
        if what != "at_server_point":
            self.revive()
            self.await_answers()
        getattr(self, what)(tally, point)

    def die_at_start(self, tally, point):
        """On a new directory each, as the first thing that the server does."""
        shutil.rmtree(self.data_dir, ignore_errors=True)
        (self.marks / point).unlink(missing_ok=True)
        self.start_server(f"{point}=exit")
        self.await_true(lambda: self.server.poll() is not None, f"the server dies at {point}")
        tally.add_cycle(False, point)

    def run(self, tally, points, tasks):
        for point in points.start:
            self.die_at_start(tally, point)
        self.revive()
        self.start_traffic()
        for task in tasks:
            if not tally.wants_more():
                break
            self.run_cycle(tally, task)
        self.revive()
        self.traffic.stdin.close()
        self.traffic.wait(timeout=SETTLE_S + 30)
        self.reader.join()
        self.check_metrics()
        self.check_directory()

    def check_metrics(self):
        """The gauge of jobs by state and the rows of the database."""
        text = urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10).read().decode()
        shown = {state: int(float(value)) for state, value in re.findall(r'^quantd_jobs\{state="(\w+)"\} (\S+)$', text, re.MULTILINE)}
        with sqlite3.connect(f"file:{self.data_dir / 'quantd.db'}?mode=ro", uri=True) as database:
            stored = {STATES[state]: count for state, count in database.execute("SELECT state, count(*) FROM jobs GROUP BY state")}
        if {state: count for state, count in shown.items() if count} != stored:
            raise Problem(f"metrics count {shown}, the database holds {stored}")

    def check_directory(self):
        """Database, counts and the digest of every file, once nothing runs any more."""
        self.kill(self.server)
        found = subprocess.run([BIN / "quantd", "fsck", "--data-dir", self.data_dir], capture_output=True, text=True)
        if found.returncode != 0:
            raise Problem(f"quantd fsck: {found.returncode}: {found.stdout}{found.stderr}")

    def end(self):
        for process in [self.server, self.traffic, *self.workers.values()]:
            if process is not None and process.poll() is None:
                self.kill(process)
        self.log.close()


def children_of(pid):
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def short_lives():
    """Flags for what would otherwise take minutes or days, as far as this server has them."""
    wanted = {"requeue_ms": 50, "quarantine_ms": 100, "retention_ms": 200, "retain_artifacts_ms": 2000, "retain_events_ms": 3000,
              "undelete_window_ms": 1000, "orphan_age_ms": 1000}
    known = subprocess.run([BIN / "quantd", "--print-config"], capture_output=True, text=True, check=True)
    settings = json.loads(known.stdout)["settings"]
    return [word for name, value in wanted.items() if name in settings for word in ("--" + name.replace("_", "-"), value)]


def endless_tasks(points, rng):
    """Every point and some random kills, in random order, for ever."""
    while True:
        tasks = [("at_server_point", point) for point in points.server] + [("at_child_point", point) for point in points.child]
        tasks += [(kill, None) for kill in ("kill_server", "kill_worker", "kill_child")] * (1 + len(tasks) // 4)
        rng.shuffle(tasks)
        yield from tasks


def run_site(number, points, tasks, tally, options):
    # In memory if there is such a folder: what a killed process has written is safe there too, and a busy disk kills no leases.
    memory = pathlib.Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_BYTES
    folder = tempfile.mkdtemp(prefix="quantd-crash-", dir=memory if roomy else None)
    site = Site(folder, random.Random(options.seed * 1000 + number), options.verbose)
    problems = []
    try:
        site.run(tally, points, tasks)
    except (Problem, OSError, subprocess.SubprocessError) as problem:
        problems.append(str(problem))
    finally:
        site.end()
    if not problems and not site.report:
        problems.append("the clients did not report")
    problems += site.report.get("problems", [])
    tally.add_site(site.report, [f"site {number}: {problem}" for problem in problems])
    if problems:
        print((site.folder / "log").read_text(errors="replace")[-4000:], file=sys.stderr)
    if problems and options.keep:
        print(f"site {number} is left in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def run_all(points, tally, options):
    source, lock, numbers = endless_tasks(points, random.Random(options.seed)), threading.Lock(), iter(range(1, 1_000_000))

    def next_tasks():
        with lock:
            return next(numbers), [next(source) for _ in range(CYCLES_PER_SITE)]

    def work():
        while tally.wants_more():
            number, tasks = next_tasks()
            run_site(number, points, tasks, tally, options)

    threads = [threading.Thread(target=work) for _ in range(options.sites)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    for flag, kind, default in (("--cycles", int, 200), ("--minutes", float, 15), ("--sites", int, 2), ("--seed", int, int(time.time())),
                                ("--points", str, ""), ("--name", str, "crash")):
        parser.add_argument(flag, type=kind, default=default, help=argparse.SUPPRESS)
    for flag in ("--keep", "--verbose"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    missing = [name for name in PROGRAMS if not (BIN / name).exists()]
    if missing:
        print(f"SKIPPED: not built: {', '.join(missing)} in {BIN}")
        return 77
    print(f"{options.name}: seed={options.seed}", flush=True)
    begin = time.monotonic()
    points, tally = Points(tuple(options.points.split(","))), Tally(options.cycles, options.minutes)
    run_all(points, tally, options)
    never = [point for point in points.all() if not tally.died_at[point]]
    problems = list(tally.problems)
    if tally.cycles < options.cycles:
        problems.append(f"{tally.cycles} cycles counted, {options.cycles} wanted; {tally.idle} had too little traffic")
    if never and options.cycles >= 200:
        problems.append(f"nothing died at: {', '.join(never)}")
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{options.name}: {time.monotonic() - begin:.0f} s, {tally.idle} cycles more with too little traffic, "
          f"{sum(tally.died_at.values())} deaths at {len(tally.died_at)} points")
    totals = tally.totals
    print(f"{options.name}: cycles={tally.cycles} submitted={totals['submitted']} lost={totals['lost']} "
          f"duplicated={totals['duplicated']} stuck={totals['stuck']}")
    return 1 if problems or totals["lost"] or totals["duplicated"] or totals["stuck"] else 0


if __name__ == "__main__":
    sys.exit(main())
