"""The service with its real binaries: jobs from submit to artifact, crashes, cancels, restarts, drains, figures that agree."""
import collections
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest
import uuid

from daemon_fixture import (BIN, MODEL, SHORT_JOB, SOURCE, TERMINAL, DaemonTest, long_job, missing_binaries, wait_until)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class WholeJobs(DaemonTest):
    def test_submit_wait_download(self):
        daemon = self.start()
        done = daemon.ctl("submit", *SHORT_JOB, "--export", "gptq", "--label", "team=search", "--wait")
        self.assertEqual(done.returncode, 0, done.stderr)
        for figure in ("size", "bits per weight", "perplexity", "KL divergence", "same top-1", "kernel", "artifact", "fetch it with"):
            self.assertIn(figure, done.stdout)
        [job] = daemon.json("list", "--state", "SUCCEEDED", "--recipe", "gptq", "--model", MODEL)["jobs"]
        out = self.folder / "artifact"
        artifact = daemon.json("download", job["name"], "--out", out)
        for file in artifact["files"]:
            self.assertEqual(sha256(out / file["path"]), file["sha256"], file["path"])
        self.assertEqual(sha256(out / "manifest.json"), artifact["digest"])
        self.assertTrue((out / "exports/gptq/model.safetensors").exists())
        report = daemon.json("report", job["name"])
        self.assert_measured_again(out, report)

    def assert_measured_again(self, artifact, report):
        """`quant evaluate` of what was downloaded finds what the report says."""
        done = subprocess.run([BIN / "quant", "evaluate", "--model", artifact, "--text", SOURCE / "data/books/heldout.txt", "--context",
                               "64", "--windows", "4", "--json"], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["perplexity"], report["evaluation"]["perplexity_quantized"])
        self.assertLess(int(report["size"]["quantized_bytes"]), int(report["size"]["original_bytes"]))

    def test_request_id_makes_one_job(self):
        daemon = self.start(workers=0)
        request_id = str(uuid.uuid4())
        first = daemon.submit(*SHORT_JOB, "--request-id", request_id)
        self.assertEqual(daemon.submit(*SHORT_JOB, "--request-id", request_id), first)
        other = daemon.ctl("submit", *SHORT_JOB, "--seed", 7, "--request-id", request_id)
        self.assertEqual(other.returncode, 8, other.stderr)
        self.assertIn("REQUEST_ID_REUSED", other.stderr)
        self.assertEqual(len(daemon.json("list")["jobs"]), 1)

    def test_validate_only_queues_nothing(self):
        daemon = self.start(workers=0)
        estimate = daemon.json("submit", *SHORT_JOB, "--validate-only")["estimate"]
        self.assertGreater(estimate["bits_per_weight"], 4)
        self.assertEqual(daemon.json("list")["jobs"], [])

    def test_invalid_jobs_are_refused_with_reason_and_exit_code(self):
        daemon = self.start(workers=0)
        rows = [
            (("--model", MODEL, "--recipe", "gtpq"), 3, "RECIPE_UNKNOWN"),
            (("--model", MODEL, "--recipe", "rtn", "--set", "bitz=3"), 3, "RECIPE_UNKNOWN_PARAMETER"),
            (("--model", MODEL, "--recipe", "rtn", "--set", "bits=99"), 3, "RECIPE_PARAMETER_OUT_OF_RANGE"),
            (("--model", MODEL, "--recipe", "rtn", "--rule", "nothing.like.it:bits=3"), 3, "RULE_MATCHES_NOTHING"),
            (("--model", MODEL, "--recipe", "gptq"), 3, "CALIBRATION_REQUIRED"),
            (("--model", "no-such-model", "--recipe", "rtn"), 4, "MODEL_NOT_FOUND"),
            (("--model", MODEL, "--recipe", "gptq", "--calibration", "no/such.txt"), 4, "DATA_NOT_FOUND"),
            (("--model", "../books", "--recipe", "rtn"), 3, "PATH_"),
        ]
        for arguments, code, reason in rows:
            with self.subTest(reason=reason):
                done = daemon.ctl("submit", *arguments)
                self.assertIn(reason, done.stderr)
                self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(daemon.json("list")["jobs"], [])

    def test_every_page_of_a_list(self):
        daemon = self.start(workers=0)
        names = [daemon.submit("--model", MODEL, "--recipe", "rtn") for _ in range(5)]
        listed = [job["name"] for job in daemon.json("list", "--all", "--page-size", 2)["jobs"]]
        self.assertEqual(listed, names[::-1], "newest first")
        self.assertEqual(len(daemon.json("list", "--page-size", 2)["jobs"]), 2)


class Workers(DaemonTest):
    def test_two_workers_run_two_jobs_and_a_killed_child_fails_only_its_own(self):
        daemon = self.start(workers=2)
        once = ("--max-attempts", 1)
        jobs = [daemon.submit(*long_job(), *once), daemon.submit(*long_job(), *once, "--seed", 1)]
        running = [daemon.wait_for(job, "RUNNING") for job in jobs]
        self.assertEqual([daemon.state(job) for job in jobs], ["RUNNING", "RUNNING"])
        self.assertNotEqual(running[0]["worker"], running[1]["worker"])
        children = wait_until(lambda: len(daemon.programs("quant")) == 2 and daemon.programs("quant"), "two children")
        workers = daemon.programs("quant-worker")

        os.kill(children[0], signal.SIGKILL)
        ended = wait_until(lambda: [job for job in jobs if daemon.state(job) == "FAILED"], "the job of the killed child fails")
        self.assertEqual(len(ended), 1)
        error = daemon.json("get", ended[0])["error"]
        self.assertEqual(error["signal"], signal.SIGKILL)
        self.assertIn(error["reason"], ("CHILD_KILLED", "CHILD_CRASHED"))
        self.assertEqual(daemon.ctl("watch", ended[0]).returncode, 1)

        [other] = [job for job in jobs if job not in ended]
        self.assertEqual(daemon.state(other), "RUNNING")
        self.assertEqual(daemon.programs("quant-worker"), workers)
        self.assertEqual(daemon.ctl("submit", *SHORT_JOB, "--wait").returncode, 0, "the worker takes the next job")
        self.assertEqual(daemon.ctl("cancel", other).returncode, 0)
        daemon.wait_for(other, "CANCELLED")

    def test_cancel_ends_the_child(self):
        daemon = self.start()
        running, queued = daemon.submit(*long_job()), daemon.submit(*long_job(), "--seed", 1)
        daemon.wait_for(running, "RUNNING")
        wait_until(lambda: daemon.programs("quant"), "the child runs")
        self.assertEqual(daemon.json("cancel", queued)["state"], "CANCELLED", "a queued job at once")
        self.assertEqual(daemon.json("cancel", running)["state"], "CANCELLING")
        self.assertEqual(daemon.ctl("watch", running).returncode, 6)
        wait_until(lambda: not daemon.programs("quant"), "the child is gone")
        self.assertEqual(daemon.json("cancel", running)["state"], "CANCELLED", "again: unchanged")
        report = daemon.ctl("report", running)
        self.assertEqual(report.returncode, 8, report.stderr)
        self.assertIn("JOB_NOT_FINISHED", report.stderr)


class Restarts(DaemonTest):
    def finished_job(self, daemon):
        done = daemon.ctl("submit", *SHORT_JOB, "--wait", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["job"]

    def test_jobs_and_artifacts_survive(self):
        daemon = self.start()
        job = self.finished_job(daemon)
        for how, status in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
            with self.subTest(how=how.name):
                self.assertEqual(daemon.stop(how), status)
                daemon = self.start()
                self.assertEqual(daemon.json("get", job["name"]), job)
                out = self.folder / how.name
                daemon.json("download", job["name"], "--out", out)
                self.assertEqual(sha256(out / "manifest.json"), job["artifact"]["digest"])

    def test_sigterm_drains_and_the_job_runs_after_the_restart(self):
        daemon = self.start()
        job = daemon.submit(*long_job(sequences=32))
        waiting = daemon.submit(*SHORT_JOB)
        daemon.wait_for(job, "RUNNING")
        wait_until(lambda: daemon.programs("quant"), "the child runs")
        children = daemon.programs("quant") + daemon.programs("quant-worker")
        self.assertEqual(daemon.stop(), 0, "a drained daemon ends well")
        for child in children:
            self.assertFalse(pathlib.Path(f"/proc/{child}").exists(), "nothing is left running")
        daemon = self.start()
        for name in (job, waiting):
            self.assertEqual(daemon.ctl("watch", name).returncode, 0, daemon.log_tail())

    def test_watch_goes_on_over_a_restart(self):
        daemon = self.start(workers=0)
        job = daemon.submit(*SHORT_JOB)
        address = daemon.server
        with subprocess.Popen([BIN / "quantctl", "--server", address, "watch", job, "--json"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as watch:
            self.assertIn("QUEUED", watch.stderr.readline())
            self.assertEqual(daemon.stop(), 0)
            self.start(workers=1, listen=address)
            out, err = watch.communicate(timeout=180)
        self.assertEqual(watch.returncode, 0, err)
        self.assertEqual(json.loads(out)["job"]["state"], "SUCCEEDED")


class Figures(DaemonTest):
    def test_metrics_and_database_count_the_same(self):
        daemon = self.start()
        running = daemon.submit(*long_job())
        daemon.wait_for(running, "RUNNING")
        cancelled = daemon.submit(*long_job(), "--seed", 1)
        daemon.submit(*long_job(), "--seed", 2)
        daemon.ctl("cancel", cancelled)
        daemon.ctl("submit", "--model", MODEL, "--recipe", "gptq")  # invalid: counted, but no job
        self.assert_counts(daemon, submitted=3)
        daemon.ctl("cancel", running)
        daemon.wait_for(running, "CANCELLED")
        for job in daemon.json("list", "--state", "QUEUED", "--state", "RUNNING")["jobs"]:
            daemon.ctl("cancel", job["name"])
            daemon.wait_for(job["name"], "CANCELLED")
        self.assertEqual(daemon.ctl("submit", *SHORT_JOB, "--wait").returncode, 0)
        self.assert_counts(daemon, submitted=4)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed: metrics are not linted")
    def test_live_metrics_pass_promtool(self):
        daemon = self.start()
        self.assertEqual(daemon.ctl("submit", *SHORT_JOB, "--wait").returncode, 0)
        done = subprocess.run(["promtool", "check", "metrics"], input=daemon.metrics_text(), capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def assert_counts(self, daemon, submitted):
        """submitted = queued + running + terminal, in the database and in the metrics."""
        stored = daemon.stored_states()
        self.assertEqual(sum(stored.values()), submitted)
        metrics = daemon.metrics()
        total = sum(value for name, value in metrics.items()
                    if name.startswith("quantd_jobs_submitted_total{") and 'outcome="accepted"' in name)
        self.assertEqual(total, submitted)
        by_state = collections.Counter()
        for name, value in metrics.items():
            if name.startswith("quantd_jobs{"):
                by_state[name.partition('state="')[2].partition('"')[0].upper()] += int(value)
        self.assertEqual({state: count for state, count in by_state.items() if count}, stored)
        finished = sum(value for name, value in metrics.items() if name.startswith("quantd_jobs_finished_total{"))
        self.assertEqual(finished, sum(stored.get(state, 0) for state in TERMINAL))


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: not built: {', '.join(missing_binaries())} in {BIN}")
        sys.exit(77)
    unittest.main(verbosity=2)
