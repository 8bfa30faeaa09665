"""A model whose pages on the disk were damaged: found, told from the others, and put right."""

import os
import signal
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from drills.conftest import rounds
from rows import ingest, one
from servers import ThrowawayServer
from small_models import vectors, words, write_model

_PAGE = 8192
_MODEL = "model_id = (SELECT min(id) FROM hypercube.model)"
_WORD = words(1)[0]


def red(db):
    return dict(db.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall())


@pytest.fixture(scope="module")
def server():
    """A server whose pages carry checksums, with two models that share nothing."""
    checked = ThrowawayServer.DEFAULT_SETTINGS["initdb_args"] + " --data-checksums"
    throwaway = ThrowawayServer(initdb_args=checked, shared_buffers="16MB")
    folder = Path(tempfile.mkdtemp(prefix="hypercube-drill-", dir="/tmp"))
    os.chmod(folder, 0o755)
    with throwaway.connect(autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
        for seed, name in enumerate(("m", "other")):
            ingest(db, write_model(folder / name, vectors(800, 32, seed=seed + 1)), name)
        throwaway.sources = folder
        assert red(db) == {}
    yield throwaway
    throwaway.stop()


def place_of(db, relation, where):
    """Return the file of a table below the data directory, and the page of a row of it."""
    path = one(db, f"SELECT pg_relation_filepath('{relation}')")
    page = one(db, f"SELECT (ctid::text::point)[0]::int FROM {relation} WHERE {where} ORDER BY ctid LIMIT 1")
    return path, page


def damage(server, path, page):
    """Change a byte in the middle of a page while the server is down, as a disk does."""
    server.terminate()
    with open(server.data_folder / path, "r+b") as file:
        file.seek(page * _PAGE + _PAGE // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0xFF]))
    server.start()


_CHUNK = (
    "(SELECT c.oid FROM pg_class AS t JOIN pg_class AS c ON c.oid = t.reltoastrelid"
    " WHERE t.oid = 'hypercube.chunk'::regclass)"
)


@pytest.mark.parametrize("of", ["relation", "token", "projection", "chunk"])
def test_a_damaged_page_is_seen_told_and_put_right(server, drilled, of):
    for _ in range(rounds(1)):
        with server.connect(autocommit=True) as db:
            if of == "chunk":
                toast = one(db, f"SELECT {_CHUNK}::regclass::text")
                value = one(db, f"SELECT min(chunk_id::bigint) FROM {toast}")
                place = place_of(db, toast, f"chunk_id = {value}")
            else:
                db.execute("VACUUM")
                place = place_of(db, f"hypercube.{of}", f"{_MODEL} AND token_id = 7" if of != "relation"
                                 else f"{_MODEL} AND source = 7")  # fmt: skip
            db.execute("CHECKPOINT")
        damage(server, *place)

        with server.connect(autocommit=True) as db:
            found = red(db)
            told = " ".join(found.values())
            assert any(check.split(" of ")[0] in ("rows", "bytes", "answer") for check in found), found
            assert "invalid page in block" in told, told
            # The other rows are there, and the other model is answered.
            whole = {check for (check,) in db.execute('SELECT "check" FROM hypercube.health() WHERE ok')}
            assert {"version", "indexes", "audit"} <= whole
            with pytest.raises(psycopg.errors.DataCorrupted):
                db.execute(
                    "SELECT count(*), sum(octet_length(t::text)) FROM "
                    + ("hypercube.chunk" if of == "chunk" else f"hypercube.{of}")
                    + " AS t"
                )
            db.execute("DELETE FROM hypercube.expectation")
            report = dict(db.execute("SELECT step, detail FROM hypercube.maintain()").fetchall())
            assert len(report) == 10 and "invalid page" in report["expectations"] + report["rows"], report
            assert not any("failed" in report[step] for step in ("uploads", "files", "vacuum", "audit")), (
                report
            )
        restore(server)
    drilled(f"a page of {of} damaged on the disk", rounds(1), "health() names it; green after the runbook")


def restore(server):
    """The runbook: models go without what cannot be read, tables are written anew, models come again."""
    with server.connect(autocommit=True) as db:
        db.execute("SET zero_damaged_pages = on")
        for name in ("m", "other"):
            db.execute("SELECT hypercube.drop_model(%s)", (name,))
        db.execute("SELECT * FROM hypercube.maintain()")
        db.execute("VACUUM FULL hypercube.relation, hypercube.token, hypercube.projection, hypercube.chunk")
    with server.connect(autocommit=True) as db:
        for name in ("m", "other"):
            ingest(db, str(server.sources / name), name)
        assert red(db) == {}
        assert one(db, "SELECT count(*) FROM hypercube.semantic_neighbors(%s, 5, 'm')", _WORD) == 5


def test_maintenance_that_was_killed_is_done_by_the_next(server, drilled):
    """kill -9 of its backend at different moments: the server starts again, and nothing is half done."""
    for number in range(rounds(3)):
        with closing(server.connect(autocommit=True)) as db:
            db.execute("DELETE FROM hypercube.expectation")
            db.execute(
                "INSERT INTO hypercube.chunk SELECT sha256(i::text::bytea), 1, '\\x00'"
                " FROM generate_series(1, 20000) AS i ON CONFLICT DO NOTHING"
            )
        with closing(server.connect(autocommit=True)) as working:
            pid = working.info.backend_pid
            killed = threading.Timer(0.05 + 0.15 * number % 1.0, os.kill, (pid, signal.SIGKILL))
            killed.start()
            with pytest.raises(psycopg.OperationalError):
                while True:
                    working.execute("SELECT * FROM hypercube.maintain()")
                    working.execute("DELETE FROM hypercube.expectation")
        again = _started(server)
        assert again == []
        with closing(server.connect(autocommit=True)) as db:
            assert red(db) == {}
    drilled("kill -9 of maintain()", rounds(3), "the next call does it; the one after finds nothing to do")


def _started(server):
    """Maintain as soon as the server lets anybody do so; return what a second call does."""
    ends = time.monotonic() + 60
    while True:
        try:
            with closing(server.connect(autocommit=True)) as db:
                db.execute("SELECT pg_stat_force_next_flush()")
                db.execute("SELECT * FROM hypercube.maintain()").fetchall()
                return db.execute("SELECT step, done FROM hypercube.maintain() WHERE done <> 0").fetchall()
        except psycopg.OperationalError:
            # Sessions of before and those that come too early end with the others.
            assert time.monotonic() < ends
            time.sleep(0.1)
