"""What the drills of crashes share: a server that is killed, what it holds then, and what is left over."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import psycopg

from servers import ThrowawayServer

# The audit tells of each attempt; it is verified instead.
_TABLES = """
    SELECT c.relname FROM pg_class AS c
    WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'm') AND c.relname !~ '^audit_'
      AND c.relispopulated
    ORDER BY c.relname
"""
# When it was done and how long it took, and numbers that were drawn.
_VOLATILE = """
    SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute AS a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0
      AND (a.atttypid IN ('timestamptz'::regtype, 'uuid'::regtype) OR a.attname IN ('seconds', 'mark'))
"""
_ROWS = """
    SELECT md5(coalesce(string_agg(told, '' ORDER BY told), '')), count(*)
    FROM (
        SELECT md5(((to_jsonb(t) - %s::text[]) #- '{{report,seconds}}')::text) AS told FROM hypercube.{} AS t
    ) AS t
"""
_PATIENCE = 60


class CrashingServer(ThrowawayServer):
    """A server whose data is brought to the disk, and whose processes are killed."""

    def __init__(self, **settings):
        # One call for the whole file system: file by file, a recovery would take seconds more on a busy disk.
        synced = {"fsync": "on", "recovery_init_sync_method": "syncfs"}
        super().__init__(**synced | settings)

    def processes(self):
        """Return the numbers of the cluster's processes and of their children, also without a postmaster."""
        found, parents = set(), {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.readlink(entry / "cwd") == str(self.data_folder):
                        found.add(int(entry.name))
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    pass
        return found | {pid for pid, parent in parents.items() if parent in found}

    def kill_session(self, pid):
        """Kill one session; return when the server has recovered from that."""
        before = self.log.count("ready to accept connections")
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + _PATIENCE
        while self.log.count("ready to accept connections") == before:
            assert time.monotonic() < until, self.log[-3000:]
            assert self.is_alive(), self.log[-3000:]
            time.sleep(0.02)

    def kill(self):
        """Kill the postmaster; return in how many seconds all others of its processes were gone."""
        others = self.processes() - {self.pid}
        began = time.monotonic()
        os.kill(self.pid, signal.SIGKILL)
        self.child_process.wait()
        self.child_process = None
        while left := others & self.processes() | {pid for pid in others if _alive(pid)}:
            assert time.monotonic() < began + _PATIENCE, f"still there: {left}"
            time.sleep(0.02)
        return time.monotonic() - began


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def contents(db):
    """Return a digest and a count of the rows of every table, whatever their order; but for times."""
    found = {}
    for (table,) in db.execute(_TABLES).fetchall():
        [volatile] = db.execute(_VOLATILE, (f"hypercube.{table}",)).fetchone()
        found[table] = db.execute(_ROWS.format(table), (volatile,)).fetchone()
    return found


def left_over(server, db):
    """Return the names of files below the data directory that belong to nothing."""
    [number] = db.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    known = {
        str(node)
        for (node,) in db.execute(
            "SELECT pg_relation_filenode(oid) FROM pg_class WHERE pg_relation_filenode(oid) > 0"
        )
    }
    found = []
    for path in (server.data_folder / "base" / str(number)).iterdir():
        node = re.match(r"(?:t\d+_)?(\d+)", path.name)
        # A relation that was dropped keeps an empty file until the next checkpoint.
        if node and path.stat().st_size and (path.name.startswith("t") or node[1] not in known):
            found.append(path.name)
    for folder in server.data_folder.rglob("pgsql_tmp*"):
        if folder.name == "pgsql_tmp":
            found += [path.name for path in folder.iterdir()]
    matrices = server.data_folder / "pgsql_tmp_hypercube" / str(number)
    if matrices.exists():
        found += [path.name for path in matrices.iterdir() if path.name.endswith(".new")]
    return found


def matrix_files(server, db):
    """Return the paths of the matrix files of a database, also of those that are not finished."""
    [number] = db.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    folder = server.data_folder / "pgsql_tmp_hypercube" / str(number)
    return sorted(folder.iterdir()) if folder.exists() else []


class Work:
    """Statements that a session of its own runs one after the other, each a transaction, until it is killed.

    A statement is a tuple of its text and its values.
    """

    def __init__(self, server, dbname, statements, user="postgres"):
        self._connection = server.connect(dbname=dbname, user=user, autocommit=True)
        self._statements = statements
        self.pid = self._connection.info.backend_pid
        self.acknowledged = 0
        self.seconds = None
        self.problem = None
        self._thread = threading.Thread(target=self._run)
        self._began = time.monotonic()
        self._thread.start()

    def _run(self):
        try:
            for sql, *values in self._statements:
                self._connection.execute(sql, values)
                self.acknowledged += 1
        except psycopg.Error as problem:
            self.problem = problem
        finally:
            self.seconds = time.monotonic() - self._began

    def wait(self, seconds=None):
        """Wait so long, or for the end of the work; its session is there until `end`."""
        self._thread.join(seconds)

    def end(self):
        """Wait for the end, and close the connection; return self."""
        self._thread.join()
        self._connection.close()
        return self


def moments(random, rounds, seconds):
    """Return times that are spread over a duration: one at random in each of as many equal parts."""
    return [(place + random.random()) / rounds * seconds for place in range(rounds)]
