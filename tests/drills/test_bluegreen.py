"""Clients of a pooler are moved between two clusters and back, by scripts/bluegreen."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest

from drills.conftest import rounds
from poolers import Pooler
from rows import ingest, one
from servers import ThrowawayServer, as_server_user, program_folder, server_user
from small_models import vectors, words, write_model

SCRIPT = Path(__file__).parents[2] / "scripts" / "bluegreen"
PACKAGE = SCRIPT.parents[1] / "plpy" / "hypercube"
WORDS = words(120)


class Pair:
    """Two clusters and a pooler; blue has a model and two documents."""

    def __init__(self):
        self._made = ThrowawayServer(wal_level="replica", shared_buffers="32MB")
        self.host = str(self._made.socket_folder)
        self.folder = Path(self._made.base_dir)
        self.data = {"blue": self._made.data_folder, "green": self.folder / "green"}
        self.ports = {"blue": 5432, "green": 5433}
        with self._made.connect(autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            source = Path(tempfile.mkdtemp(prefix="hypercube-sources-", dir="/tmp"))
            os.chmod(source, 0o755)
            db.execute("SELECT hypercube.allow_source(%s)", (str(source),))
            ingest(db, write_model(source / "m", vectors(120)), neighbors=8)
            self._sources = source
            self.store(db, "first")
            self.store(db, "second")
        self._made.terminate()
        self.control("blue", "start", "-o", f"-p 5432 -k {self.host}", "-l", self.folder / "blue.log")
        behind = "dbname=test connect_query='SELECT hypercube.warm(name) FROM hypercube.model'"
        self.pooler = Pooler({"app": f"host={self.host} port=5432 {behind}"}, ("postgres",))
        self.state = self.folder / "state"
        self.configuration = self.folder / "bluegreen.ini"
        self._databases = f"app = {behind}"
        self.configure()

    @staticmethod
    def store(db, name):
        number = sum(name.encode())
        text = " ".join(WORDS[(number * step) % 120] for step in range(1, 9))
        db.execute("SELECT hypercube.ingest_text(%s, %s, 'm')", (name, f"{text}."))

    def configure(self, *, after=None, package=None, pause=10):
        """Write the configuration of the script."""
        lines = []
        for name in ("blue", "green"):
            lines += [f"[{name}]", f"data = {self.data[name]}", f"host = {self.host}"]
            lines += [f"port = {self.ports[name]}", f"programs = {program_folder()}"]
        if package:
            lines.append(f"environment = PYTHONPATH={package}")
        console = f"host={self.pooler.folder} port=6432 user=pgbouncer dbname=pgbouncer"
        lines += ["[pooler]", f"console = {console}", f"target = {self.pooler.target}", f"pause = {pause}"]
        lines += ["[databases]", self._databases]
        lines += ["[bluegreen]", f"state = {self.state}", "live = blue"]
        if after:
            (self.folder / "after.sql").write_text(after)
            lines.append(f"after = {self.folder / 'after.sql'}")
        self.configuration.write_text("\n".join(lines) + "\n")
        shutil.chown(self.folder, server_user().pw_uid)

    def control(self, name, *told):
        command = [program_folder() / "pg_ctl", "-s", "-w", "-D", self.data[name], *told]
        subprocess.run(as_server_user(command), check=True, stdout=subprocess.DEVNULL)

    def begin(self, command, *options):
        """Begin a command of the script, in a process group of its own."""
        told = [SCRIPT, command, self.configuration, *options]
        return subprocess.Popen(
            list(map(str, told)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command, *options, refused=None):
        """Run a command and return what it says, which is a refusal exactly if `refused` is in it."""
        process = self.begin(command, *options)
        said, wrong = process.communicate(timeout=120)
        assert (process.returncode == 0) == (refused is None), said + wrong
        assert refused is None or refused in wrong, said + wrong
        return said + wrong

    def known(self):
        return json.loads((self.state / "state.json").read_text())

    def connect(self, name, **changes):
        told = {"host": self.host, "port": self.ports[name], "user": "postgres", "dbname": "test"}
        return psycopg.connect(**(told | changes), autocommit=True)

    def stop(self):
        for name in ("green", "blue"):
            if (self.data[name] / "postmaster.pid").exists():
                self.control(name, "stop", "-m", "immediate")
        self.pooler.stop()
        shutil.rmtree(self._sources)
        self._made.stop()


@pytest.fixture
def pair():
    found = Pair()
    yield found
    found.stop()


class Clients:
    """Clients that go on asking and storing texts through the pooler, and note what fails."""

    def __init__(self, pair, pace=0.02):
        self._pair, self._pace = pair, pace
        self._end = threading.Event()
        self.failed, self.stored, self.waited, self.asked, self.answers = [], [], 0.0, 0, set()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]
        self._threads.append(threading.Thread(target=self._store))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem):
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _timed(self, function, *arguments):
        began = time.monotonic()
        try:
            return function(*arguments)
        except psycopg.Error as problem:
            self.failed.append(repr(problem))
            self._end.wait(0.5)
        finally:
            self.waited = max(self.waited, time.monotonic() - began)

    def _ask(self):
        question = "SELECT array_agg(label) FROM hypercube.most_similar(ARRAY[%s, %s], model => 'm')"
        with self._pair.pooler.connect() as db:
            while not self._end.wait(self._pace):
                self.answers.add(tuple(self._timed(one, db, question, WORDS[1], WORDS[2]) or ()))
                self.asked += 1

    def _store(self):
        with self._pair.pooler.connect() as db:
            while not self._end.wait(0.4):
                name = f"document {len(self.stored)}"
                self._timed(self._pair.store, db, name)
                self.stored.append(name)


def test_clients_are_moved_and_moved_back_without_an_error_a_loss_or_a_double(pair, drilled):
    pauses = []
    moves = rounds(1)
    pair.configure(after="CREATE TABLE IF NOT EXISTS updated (); ALTER EXTENSION hypercube UPDATE;")
    # An empty folder may be a disk, or in a folder of root: it is filled, not made again.
    pair.data["green"].mkdir()
    shutil.chown(pair.data["green"], server_user().pw_uid, server_user().pw_gid)
    made = pair.data["green"].stat().st_ino
    with Clients(pair) as clients:
        assert "green follows blue" in pair.run("prepare")
        assert pair.data["green"].stat().st_ino == made
        assert "green follows blue already" in pair.run("prepare")
        with pair.connect("blue") as db:
            # The owner of the database puts a function of his before that of the catalogue.
            db.execute("CREATE SCHEMA own")
            db.execute("CREATE FUNCTION own.md5(text) RETURNS text LANGUAGE sql AS 'SELECT (1 / 0)::text'")
            db.execute("ALTER DATABASE test SET search_path = own, public, pg_catalog")
        assert "questions have equal answers" in pair.run("check", "--verify")
        with pair.connect("blue") as db:
            db.execute("ALTER DATABASE test RESET search_path")
        for _ in range(moves):
            for command, live in (("switch", "green"), ("rollback", "blue")):
                clients.waited = 0.0
                time.sleep(0.5)
                assert f"{live} is live" in pair.run(command)
                time.sleep(0.5)
                pauses.append(clients.waited)
                assert f"{live} is live" in pair.run(command)
                assert pair.known()["live"] == live
        time.sleep(0.5)
    assert clients.failed == []
    assert len(clients.answers) == 1
    assert clients.asked > 50
    with pair.connect("blue") as db:
        stored = [name for (name,) in db.execute("SELECT name FROM hypercube.document")]
        assert sorted(stored) == sorted([*clients.stored, "first", "second"])
        assert one(db, "SELECT bool_and(hypercube.verify_document(name)) FROM hypercube.document")
        assert one(db, "SELECT bool_and(ok) FROM hypercube.audit_verify()")
        # What was done for green is a fact of blue too, when it is back.
        assert one(db, "SELECT to_regclass('updated')") == "updated"
        assert one(db, "SELECT count(*) FROM pg_replication_slots") == 1
    pair.run("retire")
    with pair.connect("blue") as db:
        assert one(db, "SELECT count(*) FROM pg_replication_slots") == 0
    drilled(
        "blue/green: clients of a pooler moved to another cluster and back",
        2 * moves,
        f"{clients.asked} questions and {len(clients.stored)} texts, none failed, lost or doubled;"
        f" the longest waited {max(pauses):.1f} s",
    )


def killed_before(pair, command, phase):
    """Run a command and kill it as soon as a phase was noted; return whether that was in time."""
    process = pair.begin(command)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            move = pair.known()["move"]
        except (OSError, ValueError):
            continue
        if move and move["phase"] == phase:
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_move_that_is_killed_at_any_step_is_ended_or_taken_back_by_the_next_command(pair, drilled):
    pair.run("prepare")
    # The command that is killed, before what, the next command, and who is live then.
    steps = (
        ("switch", "promoting", "switch", "green"),
        ("rollback", "pausing", "switch", "green"),
        ("rollback", "stopping", "switch", "green"),
        ("rollback", "pointing", "rollback", "blue"),
        ("switch", "turning", "switch", "green"),
        ("rollback", "stopping", "rollback", "blue"),
    )
    with Clients(pair, pace=0.1) as clients:
        for _ in range(rounds(1)):
            for command, phase, then, live in steps:
                assert killed_before(pair, command, phase), (command, phase)
                # What was killed in "stopping" is followed at once: the server is still going down.
                if phase == "promoting":
                    # Whoever starts the old one now, it takes no writes.
                    assert (pair.data["blue" if command == "switch" else "green"] / "standby.signal").exists()
                    pair.run("check", refused="run switch or rollback first")
                assert f"{live} is live" in pair.run(then)
        # Once it began to go back it is no way forward: clients may be writing into the old one again.
        assert killed_before(pair, "switch", "stopping")
        assert killed_before(pair, "rollback", "returning")
        said = pair.run("switch")
        assert "taking it back" in said and "green is live" in said
        pair.run("rollback")
    tried = rounds(1) * len(steps) + 2
    assert clients.failed == []
    with pair.connect("blue") as db:
        stored = [name for (name,) in db.execute("SELECT name FROM hypercube.document")]
        assert sorted(stored) == sorted([*clients.stored, "first", "second"])
    drilled(
        "blue/green: the script killed between two steps", tried, "the next command ended it, or took it back"
    )


def test_clients_stay_where_they_are_if_the_other_cluster_is_refused(pair, drilled):
    pair.run("switch", refused="run prepare first")
    pair.run("prepare")

    # A transaction that does not end.
    pair.configure(pause=1)
    with pair.pooler.connect() as db, db.transaction():
        db.execute("SELECT 1")
        said = pair.run("switch", refused="blue is live as before")
        assert "did not end within 1 s" in said
        assert one(db, "SELECT count(*) FROM hypercube.document") == 2
    with pair.pooler.connect() as db:
        assert one(db, "SELECT count(*) FROM hypercube.document") == 2

    # Statements for the new cluster that fail there, after it was promoted.
    pair.configure(after="CREATE TABLE half (a int); ALTER EXTENSION hypercube UPDATE TO 'none such';")
    with Clients(pair) as clients:
        said = pair.run("switch", refused="blue is live as before")
        assert "has no update path" in said or "none such" in said
        time.sleep(0.5)
    assert clients.failed == []
    pair.run("switch", refused="run prepare first")
    pair.run("prepare", refused="is not empty")
    # A copy that was interrupted in another folder gives no right to this one.
    state = pair.known()
    (pair.state / "state.json").write_text(json.dumps(state | {"other": "building", "copy": "/elsewhere"}))
    pair.run("prepare", refused="is not empty")
    (pair.state / "state.json").write_text(json.dumps(state))
    shutil.rmtree(pair.data["green"])
    pair.configure()
    pair.run("prepare")

    # Another package for green: one of another version, one that answers differently.
    for room, change, seen in (
        ("__init__", "__version__ = '9.9'", "health() of green is red in test: version"),
        ("api", "similarity = lambda *words: 0.5", "of green in test differ"),
    ):
        pair.control("green", "stop")
        pair.configure(package=changed_package(pair.folder, room, change))
        assert seen in pair.run("switch", refused="bluegreen: ")

    # Damage: rows of green that are not those of blue.
    pair.control("green", "stop")
    pair.configure()
    damage(pair)
    said = pair.run("switch", refused="bluegreen: ")
    assert "health() of green is red" in said or "of green in test differ" in said
    with pair.pooler.connect() as db:
        assert one(db, "SELECT count(*) FROM hypercube.document") == 2 + len(clients.stored)
        assert one(db, "SELECT to_regclass('half')") is None
        assert not one(db, "SELECT pg_is_in_recovery()")
    drilled("blue/green: the other cluster refused", 5, "clients stayed where they were")


def changed_package(folder, room, change):
    """Return a folder with the package of this tree, one room of it changed."""
    beside = folder / f"next-{room}"
    shutil.copytree(PACKAGE, beside / "hypercube")
    with (beside / "hypercube" / f"{room}.py").open("a") as file:
        file.write(f"\n{change}\n")
    return beside


def damage(pair):
    """Change bytes of a table of green that is stopped, as a bad disk would."""
    with pair.connect("blue") as db:
        path = one(db, "SELECT pg_relation_filepath('hypercube.token')")
        db.execute("CHECKPOINT")
    file = pair.data["green"] / path
    content = file.read_bytes()
    assert WORDS[5].encode() in content
    for word in WORDS:
        content = content.replace(word.encode(), word[::-1].encode())
    file.write_bytes(content)


@pytest.mark.parametrize(("old", "mode"), [(None, 0o600), (0o640, 0o640), (0o600, 0o600)])
def test_a_file_with_passwords_is_at_no_moment_readable_by_others(tmp_path, old, mode):
    path, beside = tmp_path / "databases.ini", tmp_path / "databases.ini.new"
    group = os.getgid() if os.getuid() else 1
    if old:
        path.touch(old)
        os.chown(path, -1, group)
    # What an earlier run left, open for somebody still.
    beside.touch(0o644)
    code = (
        "import os, pathlib, resource, bluegreen_servers\n"
        "os.umask(0)\n"
        "path = pathlib.Path('databases.ini').absolute()\n"
        "limits = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))\n"
        "try:\n"
        "    bluegreen_servers.write_whole(path, 'password=')\n"
        "except OSError:\n"
        "    print(oct(path.with_name('databases.ini.new').stat().st_mode & 0o777))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limits)\n"
        "bluegreen_servers.write_whole(path, 'password=')\n"
    )
    with beside.open() as left:
        told = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(SCRIPT.parent)},
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        assert left.read() == ""
    assert (int(told, 8), path.stat().st_mode & 0o777) == (mode, mode)
    assert path.stat().st_gid == (group if old else os.getgid())
    assert path.read_text() == "password=" and not beside.exists()
