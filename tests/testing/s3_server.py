"""An object store of somebody else for tests: moto, which checks signatures and conditions strictly, or rclone.

usage: s3_server.py moto|moto-tls|rclone READY_FILE

Serves on a free port of 127.0.0.1 until its standard input ends, with two buckets, `artifacts` and `models`. When it
answers, READY_FILE holds {"endpoint", "access_key", "secret_key"} and, of moto-tls, {"ca_file"}: its own authority.
"""
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
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


def self_signed(folder):
    """Paths of a certificate for 127.0.0.1, which is its own authority, and of its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "object store of a test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
                   .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256()))
    pem, key_pem = folder / "ca.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption()))
    return pem, key_pem


def pass_on(outer, inner):
    """Bytes both ways until one side ends; in one thread, for a TLS socket may not be used by two at once."""
    while True:
        ready = [outer] if outer.pending() else select.select([outer, inner], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (inner if source is outer else outer).sendall(data)


def serve_tls(pem, key_pem, inner_port):
    """The port of a listener that takes TLS off and passes the rest on."""
    import ssl
    import threading
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_pem)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        try:
            with (context.wrap_socket(connection, server_side=True) as outer,
                  socket.create_connection(("127.0.0.1", inner_port)) as inner):
                pass_on(outer, inner)
        except OSError:
            pass  # a client that does not trust us, or that has gone

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def start_moto_tls():
    description, stop = start_moto()
    folder = tempfile.TemporaryDirectory(prefix="quantd-tls-")
    pem, key_pem = self_signed(pathlib.Path(folder.name))
    port = serve_tls(pem, key_pem, int(description["endpoint"].rpartition(":")[2]))

    def stop_all():
        stop()
        folder.cleanup()
    return {**description, "endpoint": f"https://127.0.0.1:{port}", "ca_file": str(pem)}, stop_all


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
    description, stop = {"moto": start_moto, "moto-tls": start_moto_tls, "rclone": start_rclone}[kind]()
    partial = ready.with_suffix(".partial")
    partial.write_text(json.dumps(description))
    partial.rename(ready)
    sys.stdin.read()
    stop()


if __name__ == "__main__":
    main()
