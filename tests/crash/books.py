"""What the database of a server says, and whether its metrics say the same."""
import re
import sqlite3
import time
import urllib.request

STATES = {1: "queued", 2: "running", 3: "cancelling", 4: "succeeded", 5: "rejected", 6: "failed", 7: "cancelled"}
LEASED = "state IN (2, 3)"
UNFINISHED = ("queued", "running", "cancelling")


class Books:
    def __init__(self, data_dir):
        self.path = data_dir / "quantd.db"

    def query(self, text, *values):
        database = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute(text, values).fetchall()
        finally:
            database.close()

    def jobs_by_state(self):
        return {STATES[state]: count for state, count in self.query("SELECT state, count(*) FROM jobs GROUP BY state")}

    def revision(self):
        """Grows with each change of a job."""
        return self.query("SELECT value FROM counters WHERE name = 'revision'")[0][0]

    def unfinished(self):
        counts = self.jobs_by_state()
        return sum(counts.get(state, 0) for state in UNFINISHED)

    def attempts_of(self, worker):
        """Jobs and fences that the worker has leases of."""
        return set(self.query(f"SELECT id, fence FROM jobs WHERE {LEASED} AND worker = ?", worker))

    def expired_attempts(self, for_ms):
        """Jobs and fences whose lease has been over for so long."""
        then_us = time.time_ns() // 1000 - for_ms * 1000
        return set(self.query(f"SELECT id, fence FROM jobs WHERE {LEASED} AND lease_deadline_us < ?", then_us))


class Metrics:
    def __init__(self, address):
        self.text = urllib.request.urlopen(f"http://{address}/metrics", timeout=30).read().decode()

    def total(self, name, labels=""):
        """Sum of the samples of this name that have these labels."""
        samples = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", self.text, re.MULTILINE)
        return int(sum(float(value) for shown, value in samples if labels in shown))

    def jobs_by_state(self):
        counts = {state: self.total("quantd_jobs", f'state="{state}"') for state in STATES.values()}
        return {state: count for state, count in counts.items() if count}

    def unfinished(self):
        return sum(self.total("quantd_jobs", f'state="{state}"') for state in UNFINISHED)

    def accepted(self):
        return self.total("quantd_jobs_submitted_total", 'outcome="accepted"')

    def finished(self):
        return self.total("quantd_jobs_finished_total")


def gauge_difference(books, address, tries):
    """Looks for a moment without changes and compares jobs by state: what differs, "" when nothing does, None when there
    was no such moment."""
    for _ in range(tries):
        before = books.revision(), books.jobs_by_state()
        shown = Metrics(address).jobs_by_state()
        after = books.jobs_by_state(), books.revision()
        if after == before[::-1]:
            return "" if shown == after[0] else f"metrics count {shown}, the database holds {after[0]}"
    return None
