"""Disks that fill up, and memory: a clear error, nothing lost, and the same call works later."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg import errors

from audits import log, verified
from crashes import contents
from disks import LARGE, SmallDiskServer
from people import refused
from rows import ingest, one
from servers import as_server_user
from small_models import vectors, words, write_model

MATRICES, CALLS, WAL = "pgsql_tmp_hypercube", "hypercube_audit", "pg_wal"
SPACE, OUT = "../space", "../out"
DISKS = [MATRICES, CALLS, WAL, SPACE, OUT]
ASK = "SELECT label FROM hypercube.nearest(hypercube.embedding('waab', 'm'), 3, 'm')"
STORED = "SELECT label FROM hypercube.semantic_neighbors('waab', 3, 'm')"
WORDS = words(600)
TEXT = " ".join(f"{WORDS[place]} {WORDS[-place]}." for place in range(600))


@pytest.fixture(scope="module")
def folder():
    """Two small models, and two of 24 MB."""
    path = Path(tempfile.mkdtemp(prefix="hypercube-disk-", dir="/tmp"))
    os.chmod(path, 0o755)
    for name, seed in (("m", 1), ("n", 2)):
        write_model(path / name, vectors(700, 64, seed=seed))
    for name, seed in (("large", 3), ("other", 4)):
        more = {"t.weight": np.random.default_rng(seed).normal(size=(6, 1 << 20)).astype(np.float32)}
        write_model(path / name, vectors(700, 64, seed=seed), tensors=more)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(folder):
    """A server with disks of its own: for the tables of a database, exports, matrix files and WAL."""
    initialized = (
        "--username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync --wal-segsize=1"
    )
    throwaway = SmallDiskServer(
        DISKS,
        # Files of the WAL that are kept to be used again would be room on a full disk.
        initdb_args=initialized, min_wal_size="4MB", max_wal_size="1GB", shared_buffers="32MB",
        # Nor may looking at all rows need room there for sorting them.
        wal_recycle="off", work_mem="64MB",
    )  # fmt: skip
    with throwaway.connect(autocommit=True) as db:
        db.execute(f"CREATE TABLESPACE small LOCATION '{throwaway.folder(SPACE).resolve()}'")
        db.execute("CREATE DATABASE small TABLESPACE small")
    with throwaway.connect(dbname="small", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        out = str(throwaway.folder(OUT).resolve())
        db.execute("SELECT hypercube.allow_source(%s), hypercube.allow_target(%s)", (str(folder), out))
        ingest(db, f"{folder}/m", neighbors=8)
        ingest(db, f"{folder}/n", neighbors=8)
        db.execute("SELECT hypercube.ingest_text('first', %s, 'm')", (TEXT[:200],))
    yield throwaway
    throwaway.stop()


@pytest.fixture
def db(server):
    """A connection to the database "small"; all disks are large again afterwards."""
    with server.connect(dbname="small", autocommit=True) as connection:
        yield connection
    for disk in DISKS:
        server.leave(disk, LARGE)


def require_up(server, db, pid):
    """The session goes on, so does the server, and others are answered."""
    assert server.pid == pid and one(db, "SELECT 1") == 1
    with server.connect(dbname="small") as other:
        assert len(other.execute(STORED).fetchall()) == 3
    ok, _, _, problem = verified(db)
    assert ok, problem


def writes(folder):
    """Return calls that write much."""
    part = np.random.default_rng(4).bytes(12 << 20)
    names = [f"text {place}" for place in range(40)]
    return {
        "ingest": ("SELECT hypercube.ingest(%s, neighbors => 8)", f"{folder}/large"),
        "texts": ("SELECT hypercube.ingest_texts(%s, %s, 'm')", names, [f"{name}. {TEXT}" for name in names]),
        "upload": ("SELECT hypercube.upload_part(id, 1, %b) FROM hypercube.upload", part),
        "consensus": ("SELECT hypercube.refresh_consensus()",),
    }


@pytest.mark.parametrize("name", ["ingest", "texts", "upload", "consensus"])
def test_a_full_disk_refuses_what_writes_and_nothing_else(server, folder, db, name, drilled):
    db.execute("SELECT hypercube.upload_begin('sent', 'model.safetensors')")
    call, *values = writes(folder)[name]
    before, pid = contents(db), server.pid
    server.leave(SPACE, 64 << 10)
    told = refused(db, call, "DiskFull", *values)
    assert "No space left on device" in told.message_primary and told.message_hint
    server.leave(SPACE, 1 << 20)
    assert contents(db) == before
    require_up(server, db, pid)
    server.leave(SPACE, LARGE)
    db.execute(call, values)
    assert contents(db) != before
    drilled(f"disk of the tables full: {name}", 1, "refused (53100), nothing lost; done once there is room")


def test_a_full_disk_of_the_matrix_files_keeps_exact_questions_waiting(server, folder, db, drilled):
    # By a session that ends: one that has mapped a file keeps its space.
    with server.connect(dbname="small") as other:
        expected, pid = other.execute(ASK).fetchall(), server.pid
    server.clear(MATRICES)
    until = time.monotonic() + 30
    while server.used(MATRICES):
        assert time.monotonic() < until, "a session still maps a file"
        time.sleep(0.02)
    server.leave(MATRICES, 64 << 10)
    told = refused(db, ASK, "DiskFull")
    assert "could not be written" in told.message_primary and told.message_hint
    assert len(db.execute(STORED).fetchall()) == 3
    red = dict(db.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall())
    assert "could not be written" in red["matrix of n"] and "could not be written" in red["answer of n"]
    # The ingest of a model does not need its file.
    ingest(db, f"{folder}/n", "again", neighbors=8)
    assert server.files(MATRICES) == []
    require_up(server, db, pid)
    server.leave(MATRICES, LARGE)
    assert db.execute(ASK).fetchall() == expected
    db.execute("SELECT hypercube.drop_model('again')")
    drilled("disk of the matrix files full", 1, "exact questions refused (53100), others answered")


def test_a_full_disk_of_an_export_leaves_no_file(server, db, drilled):
    call = "SELECT count(*) FROM hypercube.export_model('n', %s)"
    target, pid = f"{server.folder(OUT).resolve()}/n", server.pid
    server.leave(OUT, 64 << 10)
    told = refused(db, call, "DiskFull", target)
    assert "could not be written" in told.message_primary and told.message_hint
    assert server.files(OUT) == []
    require_up(server, db, pid)
    server.leave(OUT, LARGE)
    assert one(db, call, target) == len(server.files(OUT)) == 3
    drilled("disk of an export full", 1, "refused (53100), no file left; done once there is room")


def test_a_full_disk_of_the_file_of_failed_calls_hides_no_error(server, db, drilled):
    """What cannot be kept is said; what the caller did wrong is told all the same."""
    said = []
    db.add_notice_handler(lambda notice: said.append(notice.message_primary))
    server.leave(CALLS, 0)
    calls = 0
    # The block that is begun may hold a few more.
    while not said:
        calls += 1
        assert calls < 30
        told = refused(db, "SELECT hypercube.ingest('/nothing/there')", "InsufficientPrivilege")
        assert told.message_hint
    assert said == ["a call of ingest could not be kept (No space left on device): see the server's log"]
    server.leave(CALLS, LARGE)
    refused(db, "SELECT hypercube.ingest('/nothing/here')", "InsufficientPrivilege")
    db.execute("SELECT hypercube.audit_collect()")
    assert len(said) == 1 and verified(db)[0]
    assert "/nothing/here" in str(log(db, "operation = 'call'")[-1]["detail"])
    drilled(
        "disk of the file of failed calls full",
        calls,
        "the error is told, with a warning that it was not kept",
    )


def test_a_full_disk_of_the_wal_ends_all_sessions_and_loses_nothing(server, folder, db, drilled):
    """PostgreSQL cannot go on without it: a PANIC, and the recovery too may need more room than there is."""
    before, call = contents(db), ("SELECT hypercube.ingest(%s, neighbors => 8)", (f"{folder}/other",))
    starts = server.log.count("ready to accept connections")
    db.execute("CHECKPOINT")
    server.leave(WAL, 0)
    with pytest.raises(psycopg.OperationalError):
        db.execute(*call)
    until = time.monotonic() + 30
    while server.is_alive() and server.log.count("ready to accept connections") == starts:
        assert time.monotonic() < until, server.log[-3000:]
        time.sleep(0.05)
    assert "PANIC:  could not write to file" in server.log and "No space left on device" in server.log
    by_itself = server.is_alive()
    server.leave(WAL, LARGE)
    if not by_itself:
        server.start_again()
    with server.connect(dbname="small", autocommit=True) as again:
        assert contents(again) == before
        assert again.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
        require_up(server, again, server.pid)
        again.execute(*call)
    told = "up again by itself" if by_itself else "server down until there was room"
    drilled("disk of the WAL full", 1, f"PANIC, {told}; nothing lost")


def test_a_session_without_memory_refuses_and_goes_on(server, folder, db, drilled):
    """A limit of the address space of one session, as if the machine had no more."""
    # So that all libraries are loaded: what the loader says of too little memory is not ours.
    ingest(db, f"{folder}/m", "first", neighbors=8)
    before, pid, kinds = contents(db), server.pid, []
    status = Path(f"/proc/{db.info.backend_pid}/status")
    for megabytes in (0, 1, 2, 4, 8):
        used = int(status.read_text().split("VmSize:")[1].split()[0]) << 10
        limit = ["prlimit", f"--pid={db.info.backend_pid}", f"--as={used + (megabytes << 20)}:"]
        subprocess.run(as_server_user(limit), check=True)
        with pytest.raises(psycopg.Error) as refusal:
            db.execute("SELECT hypercube.ingest(%s, 'much', 8)", (f"{folder}/large",))
        kinds.append(type(refusal.value))
        assert len(db.execute(STORED).fetchall()) == 3
    assert set(kinds) == {errors.OutOfMemory}
    with server.connect(dbname="small", autocommit=True) as other:
        assert contents(other) == before
        require_up(server, other, pid)
        other.execute("SELECT hypercube.ingest(%s, 'much', 8)", (f"{folder}/large",))
    drilled("no memory left for a session", len(kinds), "refused (53200), the session and the server go on")
