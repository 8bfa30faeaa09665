"""Questions over a large vocabulary end within a second of a cancel, and leave the session usable."""

import os
import shutil
import tempfile
import threading
import time

import psycopg
import pytest

from rows import ingest, one
from small_models import vectors, write_model

ROWS, COLUMNS = 30_000, 384


@pytest.fixture(scope="module")
def large(server):
    """A database with a model of 44 MiB of vectors."""
    folder = tempfile.mkdtemp(prefix="hypercube-large-", dir="/tmp")
    os.chmod(folder, 0o755)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE large TEMPLATE blank")
    pieces = ["[UNK]", *(f"n{i}" for i in range(ROWS - 1))]
    with server.connect(dbname="large", autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (folder,))
        ingest(db, write_model(f"{folder}/large", vectors(ROWS, COLUMNS), pieces=pieces), neighbors=2)
    shutil.rmtree(folder)
    yield "large"
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("DROP DATABASE large WITH (FORCE)")


def triples(count):
    return (
        "(SELECT array_agg(ARRAY['n' || i, 'n' || (i + 1), 'n' || (i + 2)])"
        f" FROM generate_series(1, {count}) AS i)"
    )


QUADRUPLES = (
    "(SELECT string_agg('n' || i || ' n' || (i + 1) || ' n' || (i + 2) || ' n' || (i + 3), E'\\n')"
    " FROM generate_series(1, 29000) AS i)"
)
VECTORS = "(SELECT array_agg(array_fill(i::real, ARRAY[384])) FROM generate_series(1, 20000) AS i)"
SLOW = {
    "analogies": f"count(*) FROM hypercube.analogies({triples(25_000)})",
    "analogies by quotient": f"count(*) FROM hypercube.analogies({triples(25_000)}, method => '3cosmul')",
    "analogies without variants": "count(*) FROM hypercube.analogies("
    f"{triples(25_000)}, exclude_variants => true)",
    "nearest_batch": f"count(*) FROM hypercube.nearest_batch({VECTORS})",
    "neighbor_join": "count(*) FROM hypercube.neighbor_join('large', 'large')",
    "evaluate_analogies": f"count(*) FROM hypercube.evaluate_analogies({QUADRUPLES})",
    "map_svg": "count(length(hypercube.map_svg('large', zoom => i > 0))) FROM generate_series(1, 100) AS i",
    "semantic_neighbors joined": "count(*) FROM generate_series(1, 40000) AS i"
    " CROSS JOIN LATERAL hypercube.semantic_neighbors('n' || i % 1000, 20) AS n",
    "closer_than joined": "count(*) FROM generate_series(1, 2000) AS i"
    " CROSS JOIN LATERAL hypercube.closer_than('n' || i, 'n1', 10) AS n",
}


@pytest.mark.parametrize("call", SLOW.values(), ids=SLOW)
def test_a_cancel_ends_it(server, large, call):
    with server.connect(dbname=large, autocommit=True) as db:
        db.execute("SELECT hypercube.warm()")
        raised = []

        def work():
            try:
                db.execute(f"SELECT {call}")
            except psycopg.Error as error:
                raised.append((time.monotonic(), error))

        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(0.7)
        asked = time.monotonic()
        db.cancel_safe()
        worker.join()

        assert raised, "it ended before it could be cancelled"
        [(ended, error)] = raised
        assert isinstance(error, psycopg.errors.QueryCanceled)
        assert ended - asked < 1.0
        assert one(db, "SELECT count(*) FROM hypercube.nearest(hypercube.embedding('n5'), 3)") == 3


@pytest.mark.parametrize("call", ["analogies", "neighbor_join"])
def test_a_timeout_ends_it(server, large, call):
    with server.connect(dbname=large, autocommit=True) as db:
        db.execute("SET statement_timeout = '600ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            db.execute(f"SELECT {SLOW[call]}")
        assert time.monotonic() - began < 1.6


def test_a_refresh_of_the_consensus_can_be_cancelled(server, loaded):
    with server.connect(dbname="loaded", autocommit=True) as db:
        db.execute("SET statement_timeout = '300ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT hypercube.refresh_consensus()")
        assert time.monotonic() - began < 1.3


def test_a_first_question_that_builds_the_matrix_can_be_cancelled(server, large):
    for path in (server.data_folder / "pgsql_tmp_hypercube").glob("*/unit1-*"):
        if path.stat().st_size == ROWS * COLUMNS * 4:
            path.unlink()
    with server.connect(dbname=large, autocommit=True) as db:
        db.execute("SET statement_timeout = '60ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT hypercube.warm()")
        assert time.monotonic() - began < 1.1
        db.execute("RESET statement_timeout")
        assert one(db, "SELECT hypercube.warm()") == ROWS * COLUMNS * 4
