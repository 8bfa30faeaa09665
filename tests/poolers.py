"""Throwaway pgbouncers for the tests, configured by the file that doc/examples ships."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

from servers import as_server_user, server_user

EXAMPLES = Path(__file__).parents[1] / "doc" / "examples"


class Pooler:
    """A pgbouncer that exists until `stop`, reached by its socket only.

    Parameters
    ----------
    databases : dict of str to str
        What stands behind the name of each database, for example ``{"app": "host=/tmp/x dbname=test"}``.
    users : tuple of str
        Who may connect; trusted, as the servers of the tests do.
    passwords : dict of str to str
        Instead, as the shipped file says: the server is asked for the verifiers of all others.
    settings : object
        Settings that take the place of those of the shipped file.
    """

    def __init__(self, databases, users=(), passwords=None, **settings):
        self.folder = Path(tempfile.mkdtemp(prefix="hypercube-pool-", dir="/tmp"))
        self.target = self.folder / "databases.ini"
        self.target.write_text(
            "[databases]\n" + "".join(f"{name} = {rest}\n" for name, rest in databases.items())
        )
        self._log = self.folder / "log"
        self._passwords = passwords or dict.fromkeys(("postgres", *users), "")
        (self.folder / "users").write_text(
            "".join(f'"{user}" "{password}"\n' for user, password in self._passwords.items())
        )
        self._write(users, settings)
        if os.getuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, server_user().pw_uid, server_user().pw_gid)
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        with self._log.open("w") as log:
            command = as_server_user([program, "--quiet", self.folder / "pgbouncer.ini"])
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()

    def _write(self, users, settings):
        """Take the shipped file with this folder for its folders, and the settings of the test."""
        told = {
            "listen_addr": "",
            "unix_socket_dir": self.folder,
            "auth_file": self.folder / "users",
            "admin_users": "postgres",
            "logfile": "",
            "pidfile": "",
        }
        if users:
            told |= {"auth_type": "trust", "auth_user": "", "auth_query": "SELECT 1"}
        told |= settings
        lines = []
        for line in (EXAMPLES / "pgbouncer.ini").read_text(encoding="utf-8").splitlines():
            name = line.split("=")[0].strip()
            if line.startswith("%include"):
                line = f"%include {self.target}"
            elif name in told:
                line = f"{name} = {told.pop(name)}"
            lines.append(line)
        lines += [f"{name} = {value}" for name, value in told.items()]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def _wait(self):
        for _ in range(100):
            if self._process.poll() is not None:
                break
            try:
                return self.console().close()
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise RuntimeError(f"pgbouncer does not start: {self.log}")

    @property
    def log(self):
        """All that the pooler has written so far."""
        return self._log.read_text(encoding="utf-8")

    def dsn(self, **changes):
        """Return the arguments of `psycopg.connect`, to the database app unless told otherwise."""
        # The server's session is another one each time, so a client prepares nothing in it.
        told = {"host": str(self.folder), "port": 6432, "user": "postgres", "dbname": "app"}
        return told | {"prepare_threshold": None} | changes

    def connect(self, **changes):
        """Open an autocommit connection through the pooler."""
        return psycopg.connect(**self.dsn(**changes), autocommit=True)

    def console(self):
        """Open a connection to the console, which knows the simple protocol only."""
        told = self.dsn(dbname="pgbouncer", password=self._passwords["postgres"])
        return psycopg.connect(**told, autocommit=True, cursor_factory=psycopg.ClientCursor)

    def shown(self, what):
        """Return what SHOW says as dicts."""
        with self.console() as db:
            cursor = db.execute(f"SHOW {what}")
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    @contextmanager
    def held(self):
        """Keep it from running, as a machine without a free processor does."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self):
        """End it and remove its folder."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.stop()
