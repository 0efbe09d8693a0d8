"""What all sites of a crash run have done together, and what there is to do."""
import collections
import threading
import time

from points import kill_tasks, point_tasks

MOST_TRIES = 5  # of a point that was not passed


class Tally:
    """Thread-safe. Wants more until enough cycles counted and every action happened at every point."""

    def __init__(self, options, rng):
        self.lock, self.rng = threading.Lock(), rng
        self.wanted, self.deadline = options.cycles, time.monotonic() + 60 * options.minutes
        self.start_tasks, self.running_tasks = point_tasks(tuple(options.points.split(",")))
        self.queue, self.tries, self.done = collections.deque(), collections.Counter(), collections.Counter()
        self.cycles = self.idle = self.metrics_agreed = self.sites = 0
        self.longest_loss_s = 0.0
        self.totals, self.digests, self.problems = collections.Counter(), {}, []
        # A run too short to visit them all is a look at some.
        self.needed = set(self.start_tasks + self.running_tasks) if self.wanted >= 200 or options.points else set()

    def next_site(self):
        with self.lock:
            self.sites += 1
            return self.sites

    def wants_more(self):
        with self.lock:
            if self.problems or time.monotonic() > self.deadline:
                return False
            return self.cycles < self.wanted or bool(self.missing())

    def missing(self):
        return [task for task in sorted(self.needed) if not self.done[task]]

    def visited(self):
        return sum(bool(self.done[task]) for task in self.start_tasks + self.running_tasks)

    def next_task(self):
        """Every point and some random kills, in random order, for ever."""
        with self.lock:
            if not self.queue:
                tasks = self.running_tasks + kill_tasks()
                self.rng.shuffle(tasks)
                self.queue.extend(tasks)
            return self.queue.popleft()

    def add_cycle(self, task, reached, answers, least_answers):
        """A cycle counts when enough was going on before it. A point that was not passed is tried again."""
        with self.lock:
            self.cycles += answers >= least_answers
            self.idle += answers < least_answers
            self.done[task] += reached
            if reached:
                return
            self.tries[task] += 1
            if self.tries[task] < MOST_TRIES:
                self.queue.appendleft(task)
            elif not self.done[task]:
                self.problems.append(f"{task.program} did not pass {task.point} in {MOST_TRIES} tries")

    def add_start(self, task):
        with self.lock:
            self.done[task] += 1

    def add_loss(self, seconds):
        with self.lock:
            self.longest_loss_s = max(self.longest_loss_s, seconds)

    def add_agreement(self):
        with self.lock:
            self.metrics_agreed += 1

    def add_site(self, number, report, problems):
        """The same input gives the same bytes at all sites."""
        with self.lock:
            for key in ("submitted", "lost", "duplicated", "stuck"):
                self.totals[key] += report.get(key, 0)
            self.problems += [f"site {number}: {problem}" for problem in problems + report.get("problems", [])]
            for kind, digest in report.get("digests", {}).items():
                if self.digests.setdefault(kind, digest) != digest:
                    self.problems.append(f"site {number}: jobs of kind {kind} have digest {digest}, elsewhere {self.digests[kind]}")

    def all_problems(self):
        problems = list(self.problems)
        if problems:
            return problems  # that ended the run; how far it had come says nothing
        if self.cycles < self.wanted:
            problems.append(f"{self.cycles} cycles counted, {self.wanted} wanted; {self.idle} had too little traffic")
        if self.missing():
            problems.append("not done: " + ", ".join(f"{task.action} at {task.point} of {task.program}" for task in self.missing()))
        # Under traffic some looks find no quiet moment; all of them would mean that nobody looked.
        if 2 * self.metrics_agreed < self.cycles:
            problems.append(f"metrics and database were compared {self.metrics_agreed} times in {self.cycles} cycles")
        return problems
