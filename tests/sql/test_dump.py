"""pg_dump and pg_restore: a restored database gives the same answers."""

import subprocess

import pytest

from rows import TABLES, ingest, row_counts
from servers import program_folder
from small_models import vectors, write_model

QUESTIONS = (
    "SELECT * FROM hypercube.semantic_neighbors('whale', 10, 'minilm')",
    "SELECT * FROM hypercube.semantic_neighbors('whale', 10, 'wordllama')",
    "SELECT * FROM hypercube.analogy('man', 'king', 'woman', 5, 'minilm')",
    "SELECT * FROM hypercube.spatial_neighbors('whale', 10, 'minilm')",
    "SELECT hypercube.embedding('king', 'wordllama')",
    "SELECT * FROM hypercube.model_report('glassllm')",
    "SELECT * FROM hypercube.relation_kind",
    "SELECT * FROM hypercube.allowed_source",
)


@pytest.fixture(scope="module")
def restored(server, loaded, tmp_path_factory):
    """The name of a database restored from a dump of the loaded one."""
    path = str(tmp_path_factory.mktemp("dump") / "loaded.dump")
    connection = [
        "--host",
        str(server.socket_folder),
        "--port",
        str(server.dsn()["port"]),
        "--username",
        "postgres",
    ]
    programs = program_folder()
    subprocess.run([programs / "pg_dump", *connection, "-Fc", "-Z0", "-f", path, "loaded"], check=True)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE restored")
    subprocess.run(
        [programs / "pg_restore", *connection, "--exit-on-error", "-d", "restored", path], check=True
    )
    return "restored"


def test_every_row_and_every_answer_travels(server, loaded, restored):
    with server.connect(dbname="loaded") as before, server.connect(dbname=restored) as after:
        assert row_counts(after) == row_counts(before)
        assert all(row_counts(after)[table] for table in TABLES)
        for question in QUESTIONS:
            assert after.execute(question).fetchall() == before.execute(question).fetchall(), question
        found = after.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall()
        assert found == []


def test_the_next_model_gets_the_next_id(server, restored, sources):
    with server.connect(dbname=restored, autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        highest = db.execute("SELECT max(id) FROM hypercube.model").fetchone()[0]
        ingest(db, write_model(sources / "later", vectors(30)))
        assert db.execute("SELECT id FROM hypercube.model WHERE name = 'later'").fetchone()[0] > highest
