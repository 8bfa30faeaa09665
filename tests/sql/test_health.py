"""health(): green after an ingest, and red where something was broken by hand."""

import psycopg
import pytest

from rows import ingest
from small_models import vectors, write_model


def checks(db):
    return {row[0]: row[1:] for row in db.execute("SELECT * FROM hypercube.health()").fetchall()}


def test_everything_is_green_after_the_real_ingests(db):
    found = checks(db)

    assert all(ok for ok, _ in found.values()), found
    assert {
        "version",
        "python packages",
        "cancel",
        "indexes",
        "orphans",
        "rows of minilm",
        "bytes of minilm",
    } <= set(found)
    assert "numpy 2." in found["python packages"][1]


def test_an_empty_database_is_green(own):
    assert all(ok for ok, _ in checks(own).values())


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("DELETE FROM hypercube.relation WHERE source = 3", "rows of m"),
        ("DELETE FROM hypercube.relation", "answer of m"),
        ("DELETE FROM hypercube.projection WHERE token_id = 3", "rows of m"),
        ("UPDATE hypercube.projection SET point = '(2,0,0,0)' WHERE token_id = 3", "rows of m"),
        ("UPDATE hypercube.projection SET point = '(0,0,0)' WHERE token_id = 3", "rows of m"),
        ("UPDATE hypercube.relation SET weight = 'NaN' WHERE source = 3", "rows of m"),
        ("UPDATE hypercube.chunk SET data = set_byte(data, 5, 255 - get_byte(data, 5))", "bytes of m"),
        ("DELETE FROM hypercube.chunk", "bytes of m"),
        ("DELETE FROM hypercube.tensor_chunk", "rows of m"),
        ("DELETE FROM hypercube.token WHERE token_id = 3", "rows of m"),
        ("INSERT INTO hypercube.token VALUES (99, 1, 'word', true, 'a', 'a')", "orphans"),
        ("INSERT INTO hypercube.relation VALUES (99, 1, 2, 0.5, 1, 0, 0, 'E')", "orphans"),
        ("INSERT INTO hypercube.chunk VALUES ('\\x00', 1, '\\x00')", "orphans"),
        ("DELETE FROM hypercube.composition", "orphans"),
        (
            "INSERT INTO hypercube.allowed_source VALUES ('/nowhere/at/all', 'postgres', 'postgres')",
            "sources",
        ),
    ],
)
def test_damage_is_seen(own, sources, damage, check):
    ingest(own, write_model(sources / "m", vectors(50)))
    assert all(ok for ok, _ in checks(own).values())
    own.execute(damage)

    assert checks(own)[check][0] is False


def test_damaged_bytes_are_an_error_not_an_answer(own, sources):
    ingest(own, write_model(sources / "m", vectors(50)))
    own.execute("DELETE FROM hypercube.chunk")

    with pytest.raises(psycopg.errors.DataCorrupted, match="is incomplete"):
        own.execute("SELECT * FROM hypercube.most_similar(ARRAY['waaa'])")
