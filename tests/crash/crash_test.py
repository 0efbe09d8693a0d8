#!/usr/bin/env python3
"""Kills the real programs at every durable step and at random, under traffic, and proves that nothing accepted is lost.

usage: crash_test.py [--cycles N] [--minutes M] [--sites K] [--seed S] [--points PREFIXES] [--name WORD] [--keep] [--verbose]

  --cycles N    kill/restart cycles that count (default 200)
  --minutes M   fails when they are not done after M minutes (default 15)
  --sites K     data directories worked on at once (default 3)
  --seed S      order of the kills (default: from the clock; it is printed)
  --points P,Q  only fail points that begin with P or Q, beside the random kills (default: all)
  --name WORD   first word of the last line (default crash)
  --keep        leaves the folders of failed sites
  --verbose     prints each cycle

Each site is a data directory with a server, two workers and clients (crash-traffic) that submit, cancel, delete, watch and
list without a pause. A cycle starts what is dead and compares: every accepted job is there once (lost, duplicated), no lease is
over for longer than a sweep (stuck), metrics count what the database holds. When the clients have got some answers, it arms a
fail point of the running server or of the jobs' processes, before or after a durable step: exit, a wait, an error, or (an error
after it) done and reported as failed; or it picks a moment; and kills. A cycle counts when the clients got at least 10 answers
since the one before. A site ends by letting every accepted job finish; then all of it is compared again: results of equal jobs
have equal bytes, no terminal state ever changed, only jobs made to fail failed, submitted = queued + running + terminal, and
quantd fsck finds nothing.

The last line is `crash: cycles=N submitted=N lost=0 duplicated=0 stuck=0`. Exit code 0: none of the last three, enough cycles,
from 200 on every action at every point, no other problem. 1: otherwise. 77: not built.
"""
import argparse
import random
import sys
import threading
import time

from programs import BIN, PROGRAMS
from site_cycles import run_site
from tally import Tally


def run_all(tally, options):
    """Starts with the deaths of the very first start, which one site is enough for."""
    def work(worker):
        start_tasks = tally.start_tasks if worker == 0 else []
        rng = random.Random(options.seed * 1000 + worker)
        while tally.wants_more():
            run_site(tally, rng, start_tasks, options)
            start_tasks = []

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(options.sites)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    for flag, kind, default in (("--cycles", int, 200), ("--minutes", float, 15), ("--sites", int, 3), ("--seed", int, int(time.time())),
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
    begin, tally = time.monotonic(), Tally(options, random.Random(options.seed))
    run_all(tally, options)
    problems, totals = tally.all_problems(), tally.totals
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{options.name}: {time.monotonic() - begin:.0f} s, {tally.sites} sites, {sum(tally.done.values())} deaths, of which "
          f"{sum(tally.done[task] for task in tally.start_tasks + tally.running_tasks)} at points ({tally.visited()} of "
          f"{len(tally.start_tasks + tally.running_tasks)} pairs of point and action); metrics agreed {tally.metrics_agreed} times; "
          f"longest from a worker's death to its jobs' release {tally.longest_loss_s:.1f} s")
    print(f"{options.name}: cycles={tally.cycles} submitted={totals['submitted']} lost={totals['lost']} "
          f"duplicated={totals['duplicated']} stuck={totals['stuck']}")
    return 1 if problems or totals["lost"] or totals["duplicated"] or totals["stuck"] else 0


if __name__ == "__main__":
    sys.exit(main())
