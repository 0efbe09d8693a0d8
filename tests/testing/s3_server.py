"""An object store of somebody else for tests: moto, which checks signatures and conditions strictly, or rclone.

usage: s3_server.py moto|rclone READY_FILE

Serves on a free port of 127.0.0.1 until its standard input ends, with two buckets, `artifacts` and `models`. When it
answers, READY_FILE holds {"endpoint", "access_key", "secret_key"}.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

BUCKETS = ("artifacts", "models")
SETUP_CALLS = 3  # of moto's accounts, before every call must be signed
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_moto():
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(SETUP_CALLS)
    os.environ.update(AWS_ACCESS_KEY_ID="setup", AWS_SECRET_ACCESS_KEY="setup", AWS_DEFAULT_REGION="us-east-1")
    import logging

    import boto3
    from moto.server import ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://%s:%d" % server.get_host_and_port()
    iam = boto3.client("iam", endpoint_url=endpoint)
    iam.create_user(UserName="quantd")
    iam.put_user_policy(UserName="quantd", PolicyName="all", PolicyDocument=json.dumps(POLICY))
    key = iam.create_access_key(UserName="quantd")["AccessKey"]
    keys = {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
    s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=keys["access_key"],
                      aws_secret_access_key=keys["secret_key"])
    for bucket in BUCKETS:
        s3.create_bucket(Bucket=bucket)
    return {"endpoint": endpoint, **keys}, server.stop


def start_rclone():
    folder = tempfile.TemporaryDirectory(prefix="quantd-rclone-")
    for bucket in BUCKETS:
        (pathlib.Path(folder.name) / bucket).mkdir()
    endpoint = f"http://127.0.0.1:{free_port()}"
    program = pathlib.Path(sys.executable).parent / "rclone"
    process = subprocess.Popen([program, "serve", "s3", "--config", "/dev/null", "--auth-key", "quantd,secret", "--addr",
                                endpoint.removeprefix("http://"), folder.name])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=1)
        except urllib.error.HTTPError:
            break  # it answers: unsigned calls are refused
        except OSError:
            time.sleep(0.05)

    def stop():
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        folder.cleanup()
    return {"endpoint": endpoint, "access_key": "quantd", "secret_key": "secret"}, stop


def main():
    kind, ready = sys.argv[1], pathlib.Path(sys.argv[2])
    description, stop = {"moto": start_moto, "rclone": start_rclone}[kind]()
    partial = ready.with_suffix(".partial")
    partial.write_text(json.dumps(description))
    partial.rename(ready)
    sys.stdin.read()
    stop()


if __name__ == "__main__":
    main()
