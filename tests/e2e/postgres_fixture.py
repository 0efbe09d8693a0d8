"""A PostgreSQL of its own for a test: Debian's package in a scratch folder, reached through a Unix socket."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from daemon_fixture import wait_until

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
ABSENT = "SKIPPED: POSTGRESQL 15 IS NOT INSTALLED (apt-get install postgresql): nothing was tested against it"
ROLE = "quantd_test"


def is_installed():
    return (PROGRAMS / "initdb").exists()


def unprivileged():
    """What makes a command run as another user: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return [], None
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=QUIT"]
    return command, user


class Postgres:
    def __init__(self):
        self.prefix, user = unprivileged()
        # Not below the test's own folder: the other user must reach it.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quantd-postgres-"))
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.data = self.folder / "data"
        self.log = open(self.folder / "log", "ab")
        self.databases = 0
        self.run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale", "--username=admin", "-D", self.data)
        self.start()
        self.sql("postgres", f"CREATE ROLE {ROLE} LOGIN")

    def run(self, program, *arguments):
        subprocess.run([*self.prefix, PROGRAMS / program, *map(str, arguments)], cwd="/", check=True, stdout=self.log,
                       stderr=self.log)

    def start(self):
        settings = ["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=64MB"]
        self.process = subprocess.Popen([*self.prefix, PROGRAMS / "postgres", "-D", self.data, "-k", self.folder, *settings],
                                        cwd="/", stdout=self.log, stderr=self.log)
        ask = [PROGRAMS / "pg_isready", "-q", "-h", self.folder, "-U", "admin", "-d", "postgres"]
        wait_until(lambda: subprocess.run(ask, check=False).returncode == 0, "PostgreSQL answers")

    def new_database(self):
        """The DSN of an empty database of a role without privileges."""
        self.databases += 1
        name = f"test{self.databases}"
        self.sql("postgres", f"CREATE DATABASE {name} OWNER {ROLE}")
        return f"host={self.folder} port=5432 dbname={name} user={ROLE}"

    def sql(self, database, text):
        """The rows, each a list of texts."""
        done = subprocess.run([PROGRAMS / "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h",
                               self.folder, "-U", "admin", "-d", database, "-c", text], capture_output=True, text=True,
                              check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def crash(self):
        """kill -9; start() brings it back."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def database_of(dsn):
    return dict(part.split("=", 1) for part in dsn.split())["dbname"]
