"""The fail points, read from the sources, and what a crash run does at each."""
import collections
import os
import pathlib
import re

SOURCE = pathlib.Path(os.environ.get("QUANTD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
# Which program passes the steps of which sources.
FOLDERS = {"quantd": "server", "quant-worker": "worker", "quant": "core/pipeline"}
# exit: like kill -9. error: before a step it is not done, after it it is done and reported as failed. sleep: a slow disk.
ACTIONS = ("exit", "error", "sleep")
# Passed when a server first opens its directory, before there can be traffic.
START_STEPS = ("migrate.commit",)
# Kills at any moment, and how often for each visit of all points.
KILLS = {"kill_server": 14, "kill_worker": 10, "kill_child": 10, "kill_everything": 6, "kill_while_draining": 6, "lose_worker": 4}

# What one cycle does: `what` names a method of Site; the rest is of points alone.
Task = collections.namedtuple("Task", "what program point action", defaults=("", "", ""))


def durable_steps():
    """Pairs of a program and a step that it passes. (scripts/check-durable-steps: each step of the table is in one.)"""
    table = re.findall(r'\{S::(k\w+),\s*"([a-z.]+)"', (SOURCE / "core/base/durable_step.cc").read_text())
    sources = {program: "".join(path.read_text() for path in sorted((SOURCE / folder).rglob("*.cc"))) for program, folder in FOLDERS.items()}
    return [(program, name) for step, name in table for program in sources if re.search(rf"\bDurableStep::{step}\b", sources[program])]


def point_tasks(prefixes):
    """Every action at every point: those at a server's start, and those under traffic."""
    start, running = [], []
    for program, step in durable_steps():
        for side in ("before", "after"):
            point = f"{step}.{side}"
            if not point.startswith(prefixes):
                continue
            tasks = start if step in START_STEPS else running
            tasks += [Task("start_at_point" if tasks is start else "at_point", program, point, action) for action in ACTIONS]
    return start, running


def kill_tasks():
    return [Task(what) for what, count in KILLS.items() for _ in range(count)]
