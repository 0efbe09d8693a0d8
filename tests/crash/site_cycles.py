"""Cycles of one site: everything runs, is compared, works for a while, and something dies."""
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from books import Books, Metrics, gauge_difference
from programs import BIN, LEASE_MS, PATIENCE_S, SWEEP_MS, Problem, Programs, await_true, holds_within, kill

MIN_ANSWERS = 10  # that the clients get between two deaths, for a cycle to count
POINT_PATIENCE_S = 60  # with a moment to spare for a busy machine
CYCLES_PER_SITE = 25
MEMORY_BYTES = 1 << 30  # of a site, at most
QUIET_TRIES = 20
# A job may be held for so long beyond lease and sweep before it is stuck: a busy machine may not let the sweeper run.
STUCK_SLACK_S = 20
# Passed many times a second.
FREQUENT = ("submit.", "claim.", "renew.", "upload.")
# What workers' deaths bring about, not clients.
OF_LOST_WORKERS = ("requeue.", "renew.")


class Stuck(Problem):
    def __init__(self, attempts):
        super().__init__(f"stuck: {sorted(attempts)} are still held after lease and sweep")
        self.attempts = attempts


class Site:
    def __init__(self, folder, rng, tally, verbose):
        self.programs, self.books = Programs(folder, rng), Books(folder / "data")
        self.rng, self.tally, self.verbose = rng, tally, verbose
        self.seen_answers = 0

    @property
    def clients(self):
        return self.programs.clients

    # What must be true while everything runs

    def check(self):
        found = self.clients.check()
        if found["problems"]:
            raise Problem("the clients found problems")
        self.check_gauge(QUIET_TRIES)
        self.check_leases()

    def check_gauge(self, tries):
        difference = gauge_difference(self.books, self.programs.http, tries)
        if difference:
            raise Problem(difference)
        if difference is not None:
            self.tally.add_agreement()
        return difference is not None

    def check_leases(self):
        """No lease stays expired for longer than a sweep."""
        expired = self.books.expired_attempts(2 * SWEEP_MS)
        if not holds_within(lambda: not expired & self.books.expired_attempts(2 * SWEEP_MS), STUCK_SLACK_S):
            raise Stuck(expired)

    # Cycles

    def await_answers(self, count=MIN_ANSWERS):
        await_true(lambda: self.clients.answers >= self.seen_answers + count, "the clients get answers")

    def run_cycle(self, task):
        begin = time.monotonic()
        self.programs.revive()
        self.check()
        self.await_answers()
        reached = getattr(self, task.what)(task)
        answers = self.clients.answers - self.seen_answers
        self.seen_answers = self.clients.answers
        self.tally.add_cycle(task, reached, answers, MIN_ANSWERS)
        if self.verbose:
            missed = "" if reached else ": NOT PASSED"
            print(f"{' '.join(filter(None, task))}{missed}: {answers} answers in {time.monotonic() - begin:.1f} s", flush=True)

    def kill_server(self, _):
        time.sleep(self.rng.random() * 0.2)
        kill(self.programs.server)
        return True

    def kill_worker(self, _):
        time.sleep(self.rng.random() * 0.2)
        self.programs.kill_a_worker()
        return True

    def kill_child(self, _):
        return self.programs.kill_a_child()

    def kill_everything(self, _):
        time.sleep(self.rng.random() * 0.2)
        self.programs.kill_all()
        return True

    def kill_while_draining(self, _):
        """The server or a worker, at any moment after the signal to drain: it may also have ended well."""
        process = self.rng.choice([self.programs.server, *self.programs.workers.values()])
        process.terminate()
        time.sleep(self.rng.random() * 0.5)
        kill(process)
        if process.returncode not in (0, -signal.SIGKILL):
            raise Problem(f"{process.args[0]} ended with {process.returncode} when it was to drain")
        return True

    def lose_worker(self, _):
        """Its host is gone for good: what it had is somebody else's after lease and sweep."""
        name = self.programs.kill_a_worker()
        begin, lost = time.monotonic(), self.books.attempts_of(name)
        limit_s = (LEASE_MS + SWEEP_MS) / 1000 + STUCK_SLACK_S
        if not holds_within(lambda: not lost & self.books.attempts_of(name), limit_s):
            raise Stuck(lost & self.books.attempts_of(name))
        if lost:
            self.tally.add_loss(time.monotonic() - begin)
        return True

    def at_point(self, task):
        self.programs.arm(task.program, self.armed_points(task))
        reached = holds_within(lambda: self.stir(task) or self.programs.acted(task.point), POINT_PATIENCE_S)
        if reached and task.action == "exit" and task.program == "quantd":
            await_true(lambda: not self.programs.server_runs(), f"the server dies at {task.point}")
            if self.programs.server.returncode != -signal.SIGKILL:
                raise Problem(f"the server ended with {self.programs.server.returncode} at {task.point}")
        self.programs.disarm(task.program)
        if task.action != "exit" or not reached:
            self.kill_after(task, reached)
        return reached

    def armed_points(self, task):
        """What happens all the time may happen a few times more. Some deaths come with an error somewhere else."""
        action = f"sleep:{self.rng.choice((50, 100, 300, LEASE_MS + 500))}" if task.action == "sleep" else task.action
        points = {task.point: f"{action}@{self.rng.randint(1, 4)}" if task.point.startswith(FREQUENT) else action}
        if task.action == "exit" and self.rng.random() < 0.3:
            other = self.rng.choice([other for other in self.tally.running_tasks if other.program == task.program])
            points.setdefault(other.point, "error")
        return points

    def stir(self, task):
        if task.point.startswith(OF_LOST_WORKERS) and self.rng.random() < 0.02:
            self.programs.kill_a_worker()
            self.programs.revive()
        return False

    def kill_after(self, task, reached):
        """Half of the errors and waits are followed by the death at once, the others by more work."""
        if reached and self.rng.random() < 0.5:
            self.seen_answers = self.clients.answers
            self.await_answers()
        if task.program != "quant":
            kill(self.programs.server)
        elif not self.programs.kill_a_child():
            self.programs.kill_a_worker()

    # From the first start to the last comparison

    def start_at_point(self, task):
        """On a new directory, as the first thing that the server does."""
        shutil.rmtree(self.programs.data_dir, ignore_errors=True)
        (self.programs.marks / task.point).unlink(missing_ok=True)
        self.programs.start_server(f"{task.point}={'sleep:200' if task.action == 'sleep' else task.action}")
        ended = {"exit": -signal.SIGKILL, "error": 1, "sleep": None}[task.action]
        if not self.programs.acted(task.point) or self.programs.server.poll() != ended:
            raise Problem(f"{task.action} at {task.point}: the server ended with {self.programs.server.poll()}")
        kill(self.programs.server)
        self.tally.add_start(task)

    def run(self, start_tasks):
        for task in start_tasks:
            self.start_at_point(task)
        self.programs.revive()
        self.programs.start_clients()
        for _ in range(CYCLES_PER_SITE):
            if not self.tally.wants_more():
                break
            self.run_cycle(self.tally.next_task())
        self.finish()

    def finish(self):
        """One more life, to the end of every job."""
        kill(self.programs.server)
        before = self.books.unfinished()
        self.programs.revive()
        self.seen_answers = self.clients.answers
        self.await_answers()
        self.clients.end()
        if not self.clients.report:
            raise Problem(f"the clients ended with {self.clients.process.returncode} and did not report")
        if not self.check_gauge(PATIENCE_S):
            raise Problem("the database does not come to rest")
        self.check_counters(before)
        self.check_directory()

    def check_counters(self, unfinished_before):
        """Of one life of the server: submitted = queued + running + terminal."""
        metrics = Metrics(self.programs.http)
        there, left = unfinished_before + metrics.accepted(), metrics.unfinished() + metrics.finished()
        if there != left:
            raise Problem(f"metrics: {unfinished_before} jobs before and {metrics.accepted()} submitted, but "
                          f"{metrics.finished()} finished and {metrics.unfinished()} unfinished")

    def check_directory(self):
        """Database, counts and the digest of every file, once nothing runs any more."""
        kill(self.programs.server)
        found = subprocess.run([BIN / "quantd", "fsck", "--data-dir", self.programs.data_dir], capture_output=True, text=True)
        if found.returncode != 0:
            raise Problem(f"quantd fsck: {found.returncode}: {found.stdout}{found.stderr}")


def make_folder():
    """In memory if there is such a folder: what a killed process has written is safe there too, and a busy disk kills no leases."""
    memory = pathlib.Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_BYTES
    return pathlib.Path(tempfile.mkdtemp(prefix="quantd-crash-", dir=memory if roomy else None))


def run_site(tally, rng, start_tasks, options):
    number, folder, problems, stuck = tally.next_site(), make_folder(), [], 0
    site = Site(folder, rng, tally, options.verbose)
    try:
        site.run(start_tasks)
    except Problem as problem:
        problems.append(str(problem))
        stuck = len(problem.attempts) if isinstance(problem, Stuck) else 0
    except Exception as error:  # of the suite itself: a site that ends early must not pass for one that found nothing
        problems.append(f"{type(error).__name__}: {error}")
    finally:
        site.programs.end()
    report = dict(site.clients.last_report() if site.clients else {})
    report["stuck"] = report.get("stuck", 0) + stuck
    tally.add_site(number, report, problems)
    if not problems and not report.get("problems"):
        shutil.rmtree(folder, ignore_errors=True)
        return
    print((folder / "log").read_text(errors="replace")[-6000:], file=sys.stderr)
    if options.keep:
        print(f"site {number} is left in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
