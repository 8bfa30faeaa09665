"""Throwaway servers for the tests that need the real extension.

``testing.postgresql`` gives the life cycle; this module makes it work as root
(PostgreSQL refuses to run as root: the user postgres does it), over a socket
folder of its own instead of TCP, and with psycopg.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg
from testing.postgresql import Postgresql

_CONFIGURATION = {
    "client_connection_check_interval": "500ms",
    "fsync": "off",
    "listen_addresses": "",
    "max_connections": "40",
    "max_wal_size": "4GB",
    "shared_buffers": "64MB",
}


def program_folder():
    """Return the folder of the server's programs: that of PG_CONFIG, else of the newest server there is."""
    asked = os.environ.get("PG_CONFIG")
    if not asked:
        found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
        newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
        if newest:
            return newest.parent
    run = subprocess.run([asked or "pg_config", "--bindir"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(run.stdout.strip())


def server_user():
    """Return the user that runs servers: ourselves, or postgres if we are root."""
    return pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def as_server_user(command, environment=None):
    """Return the command that turns into `command` run by that user; every link execs, so the pid stays."""
    user = server_user()
    # Neither our folder nor our Python need be what the server can enter or use.
    prefix = ["env", "--chdir=/", "--unset=PYTHONHOME", "--unset=PYTHONPATH", f"HOME={user.pw_dir}"]
    prefix += [f"{name}={value}" for name, value in (environment or {}).items()]
    if os.getuid() == 0:
        prefix += ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    return [*prefix, *map(str, command)]


class ThrowawayServer(Postgresql):
    """A server that exists until `stop`, alone in its folder and reached by its socket only.

    Keywords that `testing.postgresql` does not know are settings of the server:
    ``ThrowawayServer(shared_buffers="256MB", environment={"TZ": "UTC"})``.
    """

    DEFAULT_BOOT_TIMEOUT = 60.0
    DEFAULT_KILL_TIMEOUT = 60.0
    DEFAULT_SETTINGS = Postgresql.DEFAULT_SETTINGS | {
        "initdb_args": "--username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync",
        "postgres_args": "",
    }

    def __init__(self, *, environment=None, **settings):
        known = {name: settings.pop(name) for name in list(settings) if name in self.DEFAULT_SETTINGS}
        self.configuration = _CONFIGURATION | settings
        self.environment = environment or {}
        self._earlier_log = ""
        self._own_folder = not known.get("base_dir")
        if self._own_folder:
            # TMPDIR may be too long for a socket (107 bytes) or closed to the server's user.
            known["base_dir"] = tempfile.mkdtemp(prefix="hypercube-", dir="/tmp")
        super().__init__(**known)

    @property
    def pid(self):
        """The process id of the postmaster, None if the server is not running."""
        return self.server_pid

    @property
    def data_folder(self):
        """The folder of the cluster."""
        return Path(self.get_data_directory())

    @property
    def socket_folder(self):
        """The folder of the socket; what libpq takes as a host."""
        return Path(self.base_dir, "tmp")

    @property
    def log(self):
        """All that the server has written so far."""
        return self._earlier_log + self.read_bootlog()

    def dsn(self, **changes):
        """Return the arguments of `psycopg.connect`, to the database test unless told otherwise."""
        here = {"host": str(self.socket_folder), "port": self.settings["port"]}
        return here | {"user": "postgres", "dbname": "test"} | changes

    def url(self, **changes):
        """Return the same as a libpq URL."""
        told = self.dsn(**changes)
        host = quote(told["host"], safe="")
        return f"postgresql://{told['user']}@/{told['dbname']}?host={host}&port={told['port']}"

    def connect(self, *, autocommit=False, **changes):
        """Open a connection."""
        return psycopg.connect(**self.dsn(**changes), autocommit=autocommit)

    def restart(self, **settings):
        """Stop, change settings of the server, and start again."""
        self.terminate()
        self._earlier_log = self.log
        self._configure(settings)
        self.start()

    def start_again(self):
        """Start a server that ended by itself or was killed; what was logged before is kept."""
        self.child_process = None
        self._earlier_log = self.log
        self.start()

    def terminate(self, _signal=signal.SIGTERM):
        """Stop the server: at once by SIGQUIT, otherwise as soon as its sessions are ended."""
        # testing.postgresql sends SIGINT whatever it is told. SIGTERM would wait for clients to go.
        super(Postgresql, self).terminate(_signal if _signal == signal.SIGQUIT else signal.SIGINT)

    # What follows is called by the life cycle of testing.common.database.

    def initialize(self):
        self._use_tmpdir = self._own_folder
        self.initdb = self.settings.pop("initdb") or program_folder() / "initdb"
        self.postgres = self.settings.pop("postgres") or program_folder() / "postgres"

    def initialize_database(self):
        if os.getuid() == 0:
            user = server_user()
            for folder, _, files in os.walk(self.base_dir):
                for path in (folder, *(os.path.join(folder, file) for file in files)):
                    shutil.chown(path, user.pw_uid, user.pw_gid)
        if not (self.data_folder / "PG_VERSION").exists():
            command = [self.initdb, "--pgdata", self.data_folder, *self.settings["initdb_args"].split()]
            run = subprocess.run(as_server_user(command), capture_output=True, text=True)
            if run.returncode:
                raise RuntimeError(f"initdb failed: {run.stderr}")
        self._configure(self.configuration | {"unix_socket_directories": self.socket_folder})

    def prestart(self):
        # Each server has its socket in a folder of its own: without TCP they can all have the same port.
        if self.settings["port"] is None and not self.configuration["listen_addresses"]:
            self.settings["port"] = 5432
        super().prestart()

    def get_server_commandline(self):
        command = [self.postgres, "-D", self.data_folder, "-p", self.settings["port"]]
        return as_server_user([*command, *self.settings["postgres_args"].split()], self.environment)

    def is_server_available(self):
        try:
            self.connect(dbname="template1").close()
        except psycopg.OperationalError:
            return False
        return True

    def poststart(self):
        with closing(self.connect(autocommit=True, dbname="postgres")) as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'test'").fetchone():
                db.execute("CREATE DATABASE test")

    def _configure(self, settings):
        """Append to the configuration file, where ALTER SYSTEM still wins."""
        with (self.data_folder / "postgresql.conf").open("a", encoding="utf-8") as file:
            for name, value in settings.items():
                quoted = str(value).replace("\\", "\\\\").replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")
