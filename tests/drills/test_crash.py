"""Sessions and whole servers that are killed: everything is as it was before, or as it is after."""

import itertools
import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from blake3 import blake3

from audits import verified
from crashes import CrashingServer, Work, contents, left_over, matrix_files, moments
from drills.conftest import rounds
from rows import ingest
from small_models import vectors, words, write_model

SEED = 20260101
WORDS = words(900)
SENTENCES = [f"{WORDS[place]} {WORDS[place + 7]} {WORDS[place + 13]}." for place in range(800)]
TEXTS = [" ".join(SENTENCES[place : place + 40]) for place in range(0, 800, 40)]


@pytest.fixture(scope="module")
def folder():
    """Models that are ingested, one that is uploaded, and a folder to export to."""
    path = Path(tempfile.mkdtemp(prefix="hypercube-crash-", dir="/tmp"))
    os.chmod(path, 0o755)
    for name, rows, seed in (("a", 900, 1), ("b", 900, 2), ("c", 2500, 3)):
        more = {"layer.0.weight": vectors(1024, 256)}
        write_model(path / name, vectors(rows, 32, seed=seed), tensors=more)
    (path / "out").mkdir()
    os.chmod(path / "out", 0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(folder):
    """A server with a database "before" of two models, texts of one, and the consensus of both."""
    (folder / "tmp").mkdir()
    os.chmod(folder / "tmp", 0o777)
    throwaway = CrashingServer(environment={"TMPDIR": str(folder / "tmp")})
    with throwaway.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE before")
    with throwaway.connect(dbname="before", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute(
            "SELECT hypercube.allow_source(%s), hypercube.allow_target(%s)", (f"{folder}", f"{folder}/out")
        )
        ingest(db, f"{folder}/a", neighbors=8)
        ingest(db, f"{folder}/b", neighbors=8)
        db.execute("SELECT hypercube.ingest_texts(%s, %s, 'a')", (["one", "two"], TEXTS[:2]))
        db.execute("SELECT hypercube.refresh_consensus()")
        ingest(db, f"{folder}/c", "d", neighbors=8)
        db.execute("SELECT hypercube.drop_model('b')")
    yield throwaway
    throwaway.stop(signal.SIGQUIT)


def uploading(folder):
    """Return the statements that upload the model c as "sent" and ingest it."""
    of_file = "FROM hypercube.upload WHERE path = %s"
    statements = []
    for path in sorted((folder / "c").iterdir()):
        content, size = path.read_bytes(), 2**19
        statements.append(("SELECT hypercube.upload_begin('sent', %s)", path.name))
        for ordinal in range(-(-len(content) // size)):
            part = content[ordinal * size : (ordinal + 1) * size]
            statements.append(
                (f"SELECT hypercube.upload_part(id, %s, %b) {of_file}", ordinal, part, path.name)
            )
        digest = blake3(content).digest()
        statements.append((f"SELECT hypercube.upload_finish(id, %b) {of_file}", digest, path.name))
    return [*statements, ("SELECT hypercube.ingest_upload('sent', neighbors => 8)",)]


def operations(folder):
    """Return the statements of each operation, each a transaction."""
    names = [f"text {place}" for place in range(len(TEXTS))]
    return {
        "ingest": [("SELECT hypercube.ingest(%s, 'c', 8)", f"{folder}/c")],
        "texts": [("SELECT hypercube.ingest_texts(%s, %s, 'a')", names, TEXTS)],
        "drop": [("SELECT hypercube.drop_document('one')",), ("SELECT hypercube.drop_model('d')",)],
        "upload": uploading(folder),
        "consensus": [("SELECT hypercube.refresh_consensus()",)],
    }


_numbers = itertools.count()
_KEPT = 10


def copied(server):
    """Return the name of a new copy of the database "before"; only the latest ones are kept."""
    number = next(_numbers)
    with server.connect(dbname="postgres", autocommit=True) as db:
        # Not at once: each time, everything written so far is brought to the disk.
        db.execute(f'DROP DATABASE IF EXISTS "broken_{number - _KEPT}"')
        db.execute(f"CREATE DATABASE broken_{number} TEMPLATE before")
    with server.connect(dbname=f"broken_{number}", autocommit=True) as db:
        # A crash may make sequences jump, also those of the template: the same work is to give the same rows.
        # And PostgreSQL takes those of a copy back to where they were copied, unless they were set there.
        db.execute(
            "SELECT setval(oid, 1000) FROM pg_class"
            " WHERE relkind = 'S' AND relnamespace = 'hypercube'::regnamespace"
        )
    return f"broken_{number}"


@pytest.fixture(scope="module", params=["ingest", "texts", "drop", "upload", "consensus"])
def operation(request, server, folder):
    """Name and statements of an operation, the contents after each of them, and how long it takes."""
    statements = operations(folder)[request.param]
    undisturbed = copied(server)
    with server.connect(dbname=undisturbed, autocommit=True) as db:
        states = [contents(db)]
        for sql, *values in statements:
            db.execute(sql, values)
            states.append(contents(db))
        assert states[0] != states[-1]
    # Once more as it will be, in one session.
    work = Work(server, copied(server), statements).end()
    assert work.acknowledged == len(statements), work.problem
    return request.param, statements, states, work.seconds


def kill(server, kind, work):
    """Kill the session that works, or the postmaster, and start that again."""
    if kind == "session":
        server.kill_session(work.pid)
    else:
        server.kill()
        server.start_again()
    work.end()


def require_sound(db):
    """Whatever hypercube itself can check is right."""
    assert db.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
    ok, _, _, problem = verified(db)
    assert ok, problem


def require_no_rest(server, db, folder):
    """No file is left of what was killed; those of models that are there may be."""
    assert left_over(server, db) == []
    models = "SELECT encode(digest, 'hex') FROM hypercube.tensor WHERE role = 'token_embedding' AND stored"
    digests = {digest for (digest,) in db.execute(models)}
    units = [path.name for path in matrix_files(server, db) if path.name.startswith("unit")]
    assert {name.partition("-")[2] for name in units} <= digests
    assert list((folder / "out").iterdir()) == [] == list((folder / "tmp").iterdir())


@pytest.mark.parametrize("kind", ["session", "server"])
def test_what_is_killed_is_as_before_or_as_after(server, folder, operation, kind, drilled):
    name, statements, states, seconds = operation
    outcomes = Counter()
    times = rounds(2)
    for moment in moments(random.Random(f"{SEED} {name} {kind}"), times, seconds):
        database = copied(server)
        work = Work(server, database, statements)
        work.wait(moment)
        kill(server, kind, work)
        with server.connect(dbname=database, autocommit=True) as db:
            found, done = contents(db), work.acknowledged
            # What was acknowledged is there; what was not may have been committed all the same.
            differing = [
                {table for table in state if found[table] != state[table]}
                for state in states[done : done + 2]
            ]
            assert set() in differing, (moment, done, work.problem, differing)
            outcomes[
                "after" if found == states[-1] else "before" if found == states[0] else "between calls"
            ] += 1
            require_sound(db)
            for sql, *values in statements[states.index(found) :]:
                db.execute(sql, values)
            ingest(db, f"{folder}/b", "next", neighbors=8)
            require_sound(db)
            require_no_rest(server, db, folder)
    told = ", ".join(f"{count} as {what}" for what, count in sorted(outcomes.items()))
    drilled(f"kill -9 of the {kind} in {name}", times, told)
