"""The two clusters of scripts/bluegreen and the pooler before them, through PostgreSQL's own programs.

Needs the standard library only: a server has no client library for Python.
"""

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

SLOT = "bluegreen"
# The owner of a database may set its search_path, and put functions of his own before pg_catalog's.
SAFE = {"PGOPTIONS": "-c search_path=", "PGCONNECT_TIMEOUT": "10"}
_SECONDS = 60


class Refused(Exception):
    """What cannot be done, and in a second sentence what to do about it."""


def run(command, *, text=None, seconds=None, environment=None):
    """Run a program and return what it says; its own words are the refusal if it fails."""
    told = {**os.environ, "LC_ALL": "C", **(environment or {})}
    try:
        ended = subprocess.run(
            [str(part) for part in command],
            input=text,
            timeout=seconds,
            env=told,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{Path(command[0]).name} did not end within {seconds} s.") from None
    except OSError as problem:
        raise Refused(f"{command[0]} cannot be run ({problem.strerror}).") from None
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise Refused(f"{Path(command[0]).name}: {' '.join(last[-3:])}")
    return ended.stdout.strip()


def wait(condition, seconds, what):
    """Ask again until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Refused(f"{what} did not come within {seconds} s.")
        time.sleep(0.02)


def write_whole(path, text):
    """Write a file so that it is the old one or the new one, whenever the machine stops."""
    beside = path.with_name(path.name + ".new")
    old = path.stat() if path.exists() else None
    beside.unlink(missing_ok=True)
    # It may hold passwords: nobody reads it who may not read the old one.
    made = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(made, "w", encoding="utf-8") as file:
        if old:
            # Its group may be that of a pooler of another user.
            with contextlib.suppress(PermissionError):
                os.fchown(made, -1, old.st_gid)
            os.fchmod(made, old.st_mode & 0o777)
        file.write(text)
        file.flush()
        os.fsync(made)
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def quoted(text):
    """Return a value as a configuration file and libpq both write it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Cluster:
    """One of the two clusters: its folder, where it listens, and how it is started."""

    def __init__(self, name, section, log):
        self.name = name
        self.data = Path(section["data"])
        self.host = section["host"]
        self.port = int(section["port"])
        self.user = section.get("user", "postgres")
        self.programs = Path(section["programs"])
        self.include = section.get("include")
        self.options = section.get("options", "")
        self.environment = dict(pair.split("=", 1) for pair in section.get("environment", "").split())
        self._log = log

    def ask(self, statement, dbname="postgres", seconds=_SECONDS, environment=SAFE):
        """Return what psql prints."""
        command = [self.programs / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(dbname)]
        return run(command, text=statement, seconds=seconds, environment=environment)

    def conninfo(self, dbname):
        told = {"host": self.host, "port": self.port, "user": self.user, "dbname": dbname}
        return " ".join(f"{key}={quoted(str(value))}" for key, value in told.items())

    def is_running(self):
        asked = subprocess.run([self.programs / "pg_ctl", "status", "-D", self.data], capture_output=True)
        return asked.returncode == 0

    def settle(self):
        """Wait for a start or a stop that a command began before it was killed."""
        end = time.monotonic() + _SECONDS
        while self.is_running():
            try:
                self.ask("SELECT 1")
                return
            except Refused as problem:
                if time.monotonic() > end:
                    raise Refused(f"{self.name} runs and does not answer ({problem})") from None
                time.sleep(0.1)

    def is_standby(self):
        """Whether it is one, or would be when started."""
        if self.is_running():
            return self.ask("SELECT pg_is_in_recovery()") == "t"
        return (self.data / "standby.signal").exists()

    def start(self):
        if self.is_running():
            return
        options = f"{self.options} -p {self.port}"
        if self.host.startswith("/"):
            options += f" -k {quoted(self.host)}"
        command = [self.programs / "pg_ctl", "start", "-w", "-t", "600", "-s", "-D", self.data]
        try:
            run([*command, "-l", self._log, "-o", options], environment=self.environment)
        except Refused:
            raise Refused(f"{self.name} does not start: see {self._log} and its own log.") from None

    def stop(self):
        """End all its sessions, give the standby everything that was written, and stop."""
        if self.is_running():
            run([self.programs / "pg_ctl", "stop", "-m", "fast", "-w", "-t", "600", "-s", "-D", self.data])

    def told(self, field):
        """Return a field of pg_controldata."""
        for line in run([self.programs / "pg_controldata", self.data]).splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
        raise Refused(f'pg_controldata of {self.data} has no "{field}".')

    def stopped_at(self):
        """Return where the WAL of a cluster that was stopped cleanly ends."""
        state = self.told("Database cluster state")
        if state not in ("shut down", "shut down in recovery"):
            raise Refused(f"{self.name} was not stopped cleanly, it is {state}: start it, and try again.")
        return self.told("Latest checkpoint location")

    def has_replayed(self, position):
        """Whether a standby is beyond a record of the WAL."""
        return self.ask(f"SELECT coalesce(pg_last_wal_replay_lsn() > '{position}', false)") == "t"

    def follow(self, other):
        """Make a stopped cluster a standby of another one, from its next start on."""
        path = self.data / "postgresql.auto.conf"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if not line.startswith(("primary_conninfo", "primary_slot_name"))]
        source = other.conninfo("postgres") + f" application_name={SLOT}"
        doubled = source.replace("\\", "\\\\").replace("'", "''")
        kept += [f"primary_conninfo = '{doubled}'", f"primary_slot_name = '{SLOT}'"]
        write_whole(path, "\n".join(kept) + "\n")
        write_whole(self.data / "standby.signal", "")

    def lead(self):
        """Take back `follow`."""
        (self.data / "standby.signal").unlink(missing_ok=True)

    def promote(self):
        if self.ask("SELECT pg_promote(true, 60)", seconds=90) != "t":
            raise Refused(f"{self.name} was not promoted within 60 s: see {self._log}.")

    def make_slot(self):
        self.ask(
            f"SELECT pg_create_physical_replication_slot('{SLOT}', true)"
            f" WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{SLOT}')"
        )

    def drop_slot(self):
        """Let go of the WAL that the other cluster would need."""
        self.ask(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            f" WHERE slot_name = '{SLOT}' AND NOT active"
        )

    def is_followed(self):
        """Whether the other cluster is streaming from this one."""
        return (
            self.ask(
                "SELECT count(*) FROM pg_stat_replication"
                f" WHERE application_name = '{SLOT}' AND state = 'streaming'"
            )
            == "1"
        )


class Pooler:
    """pgbouncer: the file with its databases, and its console."""

    def __init__(self, section, databases, programs):
        self._psql = programs / "psql"
        self._console = section["console"]
        self._target = Path(section["target"])
        self.limit = float(section.get("pause", "10"))
        self.databases = dict(databases)
        # The names of the databases behind them, each once.
        told = {name: re.search(r"(?:^|\s)dbname=(\S+)", rest) for name, rest in self.databases.items()}
        self.behind = sorted({match[1] if match else name for name, match in told.items()})

    def _tell(self, command, seconds=20):
        return run(
            [self._psql, "-XqA", "-P", "footer=off", "-d", self._console, "-c", command], seconds=seconds
        )

    def _rows(self, what):
        # Which columns there are differs between versions of pgbouncer.
        names, *rows = (line.split("|") for line in self._tell(f"SHOW {what}").splitlines())
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _shown(self):
        return {row["name"]: row for row in self._rows("DATABASES") if row["name"] in self.databases}

    def _is_logging_in(self):
        """Whether a connection to a server is only being made."""
        pools = [row for row in self._rows("POOLS") if row["database"] in self.databases]
        return any(row["sv_login"] != "0" for row in pools)

    def _version(self):
        told = self._rows("VERSION")[0]["version"]
        return tuple(map(int, re.search(r"(\d+)\.(\d+)", told).groups()))

    def paused(self):
        """Return which of the databases are paused."""
        return {name for name, row in self._shown().items() if row["paused"] == "1"}

    def require_at(self, cluster):
        """Refuse a pooler that has the databases elsewhere."""
        shown = self._shown()
        for name in self.databases:
            place = (shown[name]["host"], shown[name]["port"]) if name in shown else ("nowhere", "")
            if place != (cluster.host, str(cluster.port)):
                raise Refused(
                    f"pgbouncer has {name} at {':'.join(place)}, not in {cluster.name}:"
                    f" does its configuration include {self._target}?"
                )

    def pause(self):
        """Let the transactions of now end, and every later one wait; give up after a while."""
        end = time.monotonic() + self.limit
        # A login that fails makes pgbouncer turn clients away. PAUSE breaks off one that is going on; and to
        # fill up to min_pool_size it logs in where it is paused, into a stopped cluster: not until RELOAD.
        # Nor may another begin while it is looked whether one is; those that are there go on serving clients.
        # From 1.24 on a pool of 0 has no limit: there a user's first connection may begin all the same.
        least = 0 if self._version() < (1, 24) else 1
        for setting, size in (("min_pool_size", 0), ("default_pool_size", least), ("reserve_pool_size", 0)):
            self._tell(f"SET {setting} = {size}")
        while self._is_logging_in() and time.monotonic() < end:
            time.sleep(0.02)
        for name in sorted(self.databases):
            try:
                self._tell(f'PAUSE "{name}"', seconds=max(end - time.monotonic(), 0.1))
            except Refused:
                self.resume()
                raise Refused(
                    f"a transaction in {name} did not end within {self.limit:g} s, so nothing was changed."
                    " Look at pg_stat_activity for what runs, and try again."
                ) from None

    def resume(self):
        """Let the clients go on, with the databases that `point_at` wrote."""
        self._tell("RELOAD")
        for name in sorted(self.paused()):
            self._tell(f'RESUME "{name}"')

    def point_at(self, cluster):
        """Write where the databases are; `resume` makes it so."""
        lines = [
            "; Written by scripts/bluegreen, of which [databases] in its configuration is the source.",
            "[databases]",
        ]
        lines += [
            f"{name} = host={cluster.host} port={cluster.port} {rest}"
            for name, rest in self.databases.items()
        ]
        write_whole(self._target, "\n".join(lines) + "\n")
