"""A server that lets in nobody but whom the files of doc/examples name."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from psycopg.pq import PGconn, Ping

from rows import ingest
from servers import ThrowawayServer, as_server_user, program_folder, server_user
from small_models import vectors, write_model

EXAMPLES = Path(__file__).parents[1] / "doc" / "examples"
PASSWORD = "a sentence that nobody guesses 7341"


class Guarded(ThrowawayServer):
    """A server that need not let us in to be there."""

    def is_server_available(self):
        place = f"host={self.socket_folder} port={self.settings['port']}"
        return PGconn.ping(place.encode()) == Ping.OK

    def poststart(self):
        """What a test needs it makes while everybody is still let in."""

    def guard(self, *files):
        """Take the example files, make a certificate, and start again."""
        for name in ("pg_hba.conf", "pg_ident.conf"):
            shutil.copy(EXAMPLES / name, self.data_folder)
        if server_user().pw_name != "postgres":
            with (self.data_folder / "pg_ident.conf").open("a") as file:
                file.write(f"dba {server_user().pw_name} postgres\n")
        with (self.data_folder / "postgresql.conf").open("a") as file:
            for name in files:
                shutil.copy(EXAMPLES / name, self.data_folder)
                file.write(f"include '{name}'\n")
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", self.data_folder / "server.key", "-out", self.data_folder / "server.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        if os.getuid() == 0:
            user = server_user()
            for path in self.data_folder.iterdir():
                shutil.chown(path, user.pw_uid, user.pw_gid)
        # Other users of the machine must reach the socket to be refused at it.
        for folder in (self.base_dir, self.socket_folder):
            os.chmod(folder, 0o755)
        self.restart()

    def psql(self, statement, *more, user=None, fails=False):
        """Run a statement over the socket as a user of the machine; the server's own unless told."""
        place = ["-h", self.socket_folder, "-p", self.settings["port"], "-U", "postgres", "-d", "guarded"]
        command = [program_folder() / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *place, *more]
        command += ["-c", statement] if statement else []
        if user is None:
            command = as_server_user(command)
        else:
            command = ["setpriv", f"--reuid={user}", "--clear-groups", *map(str, command)]
        run = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert bool(run.returncode) == fails, run.stderr
        return run.stderr if fails else run.stdout.strip()

    def give_password(self, role):
        """Set PASSWORD as \\password of psql does: it never leaves the client, which makes the verifier."""
        verifier = PGconn.connect(b"host=/nowhere").encrypt_password(
            PASSWORD.encode(), role.encode(), b"scram-sha-256"
        )
        self.psql(f"ALTER ROLE {role} PASSWORD '{verifier.decode()}'")

    def over_tls(self, **changes):
        """Return the arguments of a connection as ann, who knows the server by its certificate."""
        told = {
            "host": "localhost", "port": self.settings["port"], "dbname": "guarded",
            "user": "ann", "password": PASSWORD, "sslmode": "verify-full", "channel_binding": "require",
            "sslrootcert": str(self.data_folder / "server.crt"), "connect_timeout": "10",
        }  # fmt: skip
        return told | changes


@contextmanager
def guarded_server(*files):
    """Such a server with a database "guarded", a small model "m", and a role "ann" who may ask it."""
    server = Guarded(listen_addresses="localhost", shared_buffers="64MB")
    try:
        with server.connect(dbname="postgres", autocommit=True) as db:
            db.execute("CREATE DATABASE guarded")
        with server.connect(dbname="guarded", autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            models = Path(server.base_dir, "models")
            source = write_model(models / "m", vectors(60))
            for folder in (server.base_dir, models):
                os.chmod(folder, 0o755)
            db.execute("SELECT hypercube.allow_source(%s)", (str(models),))
            ingest(db, source, "m")
            db.execute("SELECT hypercube.grant_model('m', 'hypercube_reader')")
        server.guard(*files)
        server.psql(None, "-v", "role=ann", "-f", EXAMPLES / "reader.sql")
        server.give_password("ann")
        yield server
    finally:
        server.stop()
