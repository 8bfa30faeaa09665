"""Files that a killed session was writing: never half, never in the way, and no process that stays."""

import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest

from audits import log, verified
from crashes import CrashingServer, Work, matrix_files, moments
from drills.conftest import rounds
from people import refused
from rows import ingest, one
from small_models import vectors, write_model

SEED = 20260102
ASK = "SELECT label, score FROM hypercube.nearest(hypercube.embedding('waab', 'm'), 5, 'm')"


@pytest.fixture(scope="module")
def folder():
    """A model with much to write, one that takes long to ingest, and a folder to export to."""
    path = Path(tempfile.mkdtemp(prefix="hypercube-crash-", dir="/tmp"))
    os.chmod(path, 0o755)
    more = {f"t{place}.weight": np.full((4, 1 << 20), place, np.float32) for place in range(4)}
    write_model(path / "m", vectors(6000, 512), tensors=more)
    write_model(path / "long", vectors(25_000, 256))
    (path / "out").mkdir()
    os.chmod(path / "out", 0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(folder):
    """A server whose database "test" holds the model m."""
    throwaway = CrashingServer()
    with throwaway.connect(autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
        db.execute("SELECT hypercube.allow_target(%s)", (f"{folder}/out",))
        ingest(db, f"{folder}/m", neighbors=2)
    yield throwaway
    throwaway.stop(signal.SIGQUIT)


def wait_for(condition, seconds=60):
    """Wait until a condition holds, and return what it is."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.005)
    return found


def test_a_matrix_file_that_was_half_written_is_not_taken(server, drilled):
    """Also where the session is killed between the first byte and the name."""
    with server.connect(autocommit=True) as db:
        expected = db.execute(ASK).fetchall()
        [path] = matrix_files(server, db)
        content = path.read_bytes()
        path.unlink()
        work = Work(server, "test", [("SELECT hypercube.warm('m')",)]).end()
    times, half = rounds(4), 0
    for moment in moments(random.Random(SEED), times, work.seconds):
        path.unlink()
        work = Work(server, "test", [(ASK,)])
        work.wait(moment)
        server.kill_session(work.pid)
        work.end()
        with server.connect(autocommit=True) as db:
            left = matrix_files(server, db)
            half += any(file.suffix == ".new" for file in left)
            assert path not in left or path.read_bytes() == content
            assert db.execute(ASK).fetchall() == expected
            assert matrix_files(server, db) == [path] and path.read_bytes() == content
    drilled(
        "kill -9 of a session that makes a matrix file", times, f"right answers, {half} half files removed"
    )


def test_an_export_that_was_killed_leaves_no_half_file(server, folder, drilled):
    target = folder / "out" / "m"
    call = ("SELECT path, sha256 FROM hypercube.export_model('m', %s)", str(target))
    with server.connect(autocommit=True) as db:
        expected = dict(db.execute(call[0], call[1:]).fetchall())
    shutil.rmtree(target)
    work = Work(server, "test", [call]).end()
    times, none = rounds(4), 0
    for moment in moments(random.Random(SEED + 1), times, work.seconds):
        shutil.rmtree(target, ignore_errors=True)
        work = Work(server, "test", [call])
        work.wait(moment)
        server.kill_session(work.pid)
        work.end()
        found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in target.glob("*")}
        assert found.items() <= expected.items(), "a file that is no file of the model"
        with server.connect(autocommit=True) as db:
            if found:
                refused(db, *call[:1], "DuplicateFile", *call[1:])
                shutil.rmtree(target)
            none += not found
            assert dict(db.execute(call[0], call[1:]).fetchall()) == expected
            assert verified(db)[0]
    shutil.rmtree(target)
    drilled("kill -9 of a session that exports", times, f"no half file, {none} times none at all")


@pytest.mark.parametrize("stage", ["store", "relations", "projection"])
def test_a_server_that_is_killed_in_long_work_can_be_started_at_once(server, folder, stage, drilled):
    """The session that works would go on for long, and no postmaster starts beside it."""
    with server.connect(autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
        work = Work(server, "test", [("SELECT hypercube.ingest(%s)", f"{folder}/long")])
        name = "SELECT application_name FROM pg_stat_activity WHERE pid = %s"
        wait_for(lambda: one(db, name, work.pid).endswith(stage))
    seconds = server.kill()
    server.start_again()
    work.end()
    assert work.acknowledged == 0, "it went on to its end"
    with server.connect(autocommit=True) as db:
        assert one(db, "SELECT count(*) FROM hypercube.model") == 1
    drilled(f"kill -9 of the postmaster in stage {stage}", 1, f"all processes gone after {seconds:.1f} s")


def test_the_child_that_reads_a_tokenizer_goes_with_its_session(server, folder, drilled):
    """A vocabulary that takes a while to read; `processes` sees children of sessions."""
    pieces = ["[UNK]", *(f"w{place}" for place in range(250_000))]
    source = write_model(folder / "words", vectors(len(pieces), 1), pieces=pieces)
    times = rounds(2)
    for place in range(times):
        work = Work(server, "test", [("SELECT hypercube.ingest(%s)", source)])
        mine = Path(f"/proc/{work.pid}/task/{work.pid}/children")
        [child] = wait_for(lambda mine=mine: mine.read_text().split())
        if place % 2:
            server.kill()
            server.start_again()
        else:
            server.kill_session(work.pid)
        work.end()
        wait_for(lambda child=child: not os.path.exists(f"/proc/{child}/cwd"), 10)
    drilled("kill -9 while a child process reads a tokenizer", times, "the child ends as well")


def test_a_server_that_does_not_restart_by_itself_can_be_started(server, folder, drilled):
    server.restart(restart_after_crash="off")
    try:
        work = Work(server, "test", [("SELECT hypercube.ingest(%s)", f"{folder}/long")])
        work.wait(0.5)
        os.kill(work.pid, 9)
        server.child_process.wait()
        work.end()
        server.start_again()
        with server.connect(autocommit=True) as db:
            assert one(db, "SELECT count(*) FROM hypercube.model") == 1
            assert db.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
    finally:
        server.restart(restart_after_crash="on")
    drilled("kill -9 of a session, restart_after_crash = off", 1, "server down, started by hand, as before")


def test_calls_that_failed_are_told_after_a_crash_also_where_their_file_was_cut_off(server, drilled):
    def fail(db, name):
        with pytest.raises(psycopg.errors.UndefinedFile):
            db.execute("SELECT hypercube.ingest(%s)", (f"{path_of_nothing}/{name}",))

    with server.connect(autocommit=True) as db:
        path_of_nothing = one(db, "SELECT min(path) FROM hypercube.allowed_source")
        number = one(db, "SELECT oid FROM pg_database WHERE datname = current_database()")
        fail(db, "first")
        fail(db, "second")
        pid = db.info.backend_pid
        server.kill_session(pid)
    told = server.data_folder / "hypercube_audit" / f"{number}.jsonl"
    assert [json.loads(line)["function"] for line in told.read_text().splitlines()][-2:] == ["ingest"] * 2
    # What a machine that stops may leave of the last line.
    os.truncate(told, told.stat().st_size - 40)
    with server.connect(autocommit=True) as db:
        fail(db, "third")
        db.execute("SELECT hypercube.audit_collect()")
        ends = [row["detail"] for row in log(db, "operation = 'call'")[-3:]]
        sources = [str((detail or {}).get("arguments", {}).get("source"))[-6:] for detail in ends]
        assert [sources[0][-5:], sources[2][-5:]] == ["first", "third"] and ends[1].get("unreadable")
        assert verified(db)[0]
    drilled("a file of failed calls that was cut off", 1, "the others are told, the audit is whole")


def test_what_a_role_has_used_up_stays_so_and_what_it_holds_is_given_back(server, folder, drilled):
    ask = "SELECT * FROM hypercube.semantic_neighbors('waab', 2, 'm')"
    name, small = "person", write_model(folder / "small", vectors(50))
    with server.connect(autocommit=True) as db:
        db.execute("CREATE ROLE person LOGIN IN ROLE hypercube_ingest, hypercube_reader")
        for what, value in (("questions", 4), ("ingests", 1)):
            db.execute("SELECT hypercube.set_limit(%s, %s, %s)", (name, what, value))
        db.execute("SELECT hypercube.grant_model('m', %s)", (name,))
        db.execute("SELECT hypercube.allow_source(%s, %s)", (str(folder), name))
    with server.connect(user=name, autocommit=True) as db:
        for _ in range(3):
            db.execute(ask)
        work = Work(server, "test", [("SELECT hypercube.ingest(%s)", f"{folder}/long")], user=name)
        wait_for(lambda: one(db, "SELECT count(*) FROM hypercube.progress"))
        refused(db, "SELECT hypercube.ingest(%s)", "ConfigurationLimitExceeded", small)
        server.kill_session(work.pid)
        work.end()
    with server.connect(user=name, autocommit=True) as db:
        ingest(db, small, neighbors=2)
        answered = 0
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            for _ in range(4):
                db.execute(ask)
                answered += 1
        assert answered < 4, "the crash gave questions back"
        db.execute("SELECT hypercube.drop_model('small')")
    drilled("kill -9 of a session of a limited role", 1, "questions stay used up, its ingest can begin again")
