"""Jobs whose models and artifacts are in an object store: the real binaries, and a store of somebody else (moto)."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import unittest

from daemon_fixture import BIN, MODEL, SHORT_JOB, SOURCE, DaemonTest, missing_binaries, wait_until

VENV = pathlib.Path(os.environ.get("QUANTD_TEST_VENV", SOURCE / "build/test-venv"))
URI = "s3://models/allowed/tiny"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class ObjectStore(DaemonTest):
    def setUp(self):
        super().setUp()
        ready = self.folder / "store.json"
        self.store = subprocess.Popen([VENV / "bin/python3", SOURCE / "tests/testing/s3_server.py", "moto", ready],
                                      stdin=subprocess.PIPE)
        self.addCleanup(self.end_store)
        wait_until(lambda: ready.exists() or self.store.poll() is not None, "the object store starts")
        self.access = json.loads(ready.read_text())
        self.credentials = self.folder / "credentials"
        self.credentials.write_text(f"[default]\naws_access_key_id = {self.access['access_key']}\n"
                                    f"aws_secret_access_key = {self.access['secret_key']}\n")
        self.put_model()

    def end_store(self):
        self.store.stdin.close()
        self.store.wait(timeout=60)

    def bucket(self, script, *arguments):
        """What a few lines of boto3 print; `s3` is the client."""
        prelude = ("import boto3, sys, pathlib\n"
                   f"s3 = boto3.client('s3', endpoint_url='{self.access['endpoint']}', region_name='us-east-1', "
                   f"aws_access_key_id='{self.access['access_key']}', aws_secret_access_key='{self.access['secret_key']}')\n")
        done = subprocess.run([VENV / "bin/python3", "-c", prelude + script, *map(str, arguments)], capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def put_model(self):
        self.bucket("for file in pathlib.Path(sys.argv[1]).iterdir():\n"
                    "    s3.upload_file(str(file), 'models', 'allowed/tiny/' + file.name)", SOURCE / "data/models" / MODEL)

    def settings(self):
        return ["--s3-endpoint", self.access["endpoint"], "--s3-path-style", "--s3-credentials-file", self.credentials,
                "--artifact-store", "s3://artifacts/quantd", "--model-store-prefixes", "s3://models/allowed"]

    def keys(self):
        return self.bucket("print(*[o['Key'] for p in s3.get_paginator('list_objects_v2').paginate(Bucket='artifacts') "
                           "for o in p.get('Contents', [])], sep='\\n')").split()

    def test_model_and_artifact_in_the_store(self):
        daemon = self.start(flags=self.settings())
        arguments = [URI if argument == MODEL else argument for argument in SHORT_JOB]
        done = daemon.ctl("submit", *arguments, "--export", "gptq", "--wait", "--json")
        self.assertEqual(done.returncode, 0, done.stderr + daemon.log_tail())
        job = json.loads(done.stdout)["job"]
        self.assertEqual(job["spec"]["model"], URI)

        published = {"quantd/sha256/%s/%s" % (file["sha256"][:2], file["sha256"]) for file in job["artifact"]["files"]}
        # The result is told first, then what was staged is removed.
        wait_until(lambda: set(self.keys()) == published, "every file under its digest, nothing staged and no checkpoint")
        self.assertEqual(list((daemon.data_dir / "artifacts/sha256").iterdir()), [], "nothing of it is on the local disk")

        out = self.folder / "artifact"
        artifact = daemon.json("download", job["name"], "--out", out)
        for file in artifact["files"]:
            self.assertEqual(sha256(out / file["path"]), file["sha256"], file["path"])
        self.assertEqual(sha256(out / "manifest.json"), job["artifact"]["digest"])
        cached = list((daemon.data_dir / "model-cache/models").iterdir())
        self.assertGreaterEqual(len(cached), 1)
        local = {path.name: sha256(path) for path in (SOURCE / "data/models" / MODEL).iterdir()}
        self.assertIn(local, [{path.name: sha256(path) for path in model.iterdir()} for model in cached])

    def test_damaged_artifact_is_never_handed_out(self):
        daemon = self.start(flags=self.settings())
        done = daemon.ctl("submit", *SHORT_JOB, "--wait", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        job = json.loads(done.stdout)["job"]
        digest = job["artifact"]["digest"]
        self.bucket("key = 'quantd/sha256/%s/%s' % (sys.argv[1][:2], sys.argv[1])\n"
                    "body = bytearray(s3.get_object(Bucket='artifacts', Key=key)['Body'].read())\n"
                    "body[-1] ^= 1\n"
                    "s3.put_object(Bucket='artifacts', Key=key, Body=bytes(body))", digest)
        download = daemon.ctl("download", job["name"], "--out", self.folder / "artifact")
        self.assertNotEqual(download.returncode, 0)
        self.assertIn("DIGEST_MISMATCH", download.stderr)

    def test_other_sources_are_refused(self):
        daemon = self.start(workers=0, flags=self.settings())
        rows = [("s3://models/other/tiny", "MODEL_SOURCE_REFUSED"), ("s3://artifacts/quantd", "MODEL_SOURCE_REFUSED"),
                ("s3://models/allowed/../other", "OBJECT_URI_INVALID"), ("s3://models/allowed/absent", "MODEL_NOT_FOUND")]
        for uri, reason in rows:
            with self.subTest(uri=uri):
                done = daemon.ctl("submit", "--model", uri, "--recipe", "rtn")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(reason, done.stderr)
        self.assertEqual(daemon.json("list")["jobs"], [])

    def test_settings_that_cannot_work_end_the_start(self):
        wrong = self.folder / "wrong"
        wrong.write_text("aws_access_key_id = nobody\naws_secret_access_key = wrong\n")
        rows = [(["--s3-credentials-file", wrong], "OBJECT_STORE_DENIED"), (["--artifact-store", "s3://absent/x"], "OBJECT_NOT_FOUND"),
                (["--artifact-store", "gs://artifacts/x"], "OBJECT_URI_INVALID"), (["--s3-endpoint", "store"], "OBJECT_ENDPOINT_INVALID")]
        for other, reason in rows:
            with self.subTest(reason=reason):
                settings = self.settings()
                settings[settings.index(other[0]) + 1] = other[1]
                with self.assertRaises(AssertionError) as ended:
                    self.start(workers=0, flags=settings)
                self.assertIn(reason, str(ended.exception))


if __name__ == "__main__":
    if missing_binaries():
        print(f"SKIPPED: {missing_binaries()} are not built", file=sys.stderr)
        sys.exit(77)
    if not (VENV / "bin/python3").exists():
        print("SKIPPED: there is no build/test-venv; run scripts/test-venv to run this test", file=sys.stderr)
        sys.exit(77)
    unittest.main(verbosity=2)
