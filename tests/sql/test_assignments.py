"""Documents that a model comes to read after they were stored."""

import psycopg
import pytest

from chapters import chapter, drop, role, store, table_counts, unhealthy
from rows import ingest, one
from small_models import vectors, write_model

OWN_COUNTS = "SELECT source, target, count FROM hypercube.sequence WHERE model_id = %s ORDER BY 1, 2"
OWN_VECTORS = "SELECT composition_id, vector FROM hypercube.sentence_vector WHERE model_id = %s ORDER BY 1"
TEXT = "Waab waac waad. Waae! Waab waac waaf? "


def model_id(db, name):
    return one(db, "SELECT id FROM hypercube.model WHERE name = %s", name)


def reading(db, name):
    """Return all that documents have of a model, but for its id."""
    its_id = model_id(db, name)
    tokens = "SELECT composition_id, token_ids FROM hypercube.sentence_token WHERE model_id = %s ORDER BY 1"
    return [db.execute(statement, (its_id,)).fetchall() for statement in (OWN_COUNTS, OWN_VECTORS, tokens)]


@pytest.fixture
def models(own, sources):
    for name, seed in (("m", 7), ("n", 8)):
        ingest(own, write_model(sources / name, vectors(60, seed=seed)), name)
    own.execute("SET hypercube.model = 'm'")
    return own


def test_a_document_from_before_the_first_model_is_read_like_any_other(own, sources):
    store(own, "early", TEXT)
    assert one(own, "SELECT model FROM hypercube.document_overview") is None
    ingest(own, write_model(sources / "m", vectors(60)), "m")
    assert one(own, "SELECT hypercube.read_documents()") == 1
    found = reading(own, "m")
    assert all(found) and own.execute("SELECT * FROM hypercube.search('waab')").fetchall()

    drop(own, "early")
    assert reading(own, "m") == [[], [], []]
    store(own, "late", TEXT)
    assert reading(own, "m") == found


def test_a_model_that_was_dropped_and_came_back_reads_again(models, sources):
    store(models, "d", TEXT)
    before = reading(models, "m")
    models.execute("SELECT hypercube.drop_model('m')")
    assert one(models, "SELECT model FROM hypercube.document_overview") is None
    ingest(models, str(sources / "m"), "m")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as refusal:
        models.execute("SELECT * FROM hypercube.search('waab')")
    assert "read_documents()" in refusal.value.diag.message_hint

    assert one(models, "SELECT hypercube.read_documents()") == 1
    assert reading(models, "m") == before
    assert one(models, "SELECT hypercube.read_documents()") == 0
    assert unhealthy(models) == {}


def test_a_document_leaves_the_model_that_read_it(models):
    store(models, "a", TEXT)
    store(models, "b", "Waab waac waad. Waag.")
    assert one(models, "SELECT hypercube.read_documents('n', '{a}')") == 1
    kept, moved = reading(models, "m"), reading(models, "n")

    for name in ("a", "b"):
        drop(models, name)
    store(models, "a", TEXT, model="n")
    store(models, "b", "Waab waac waad. Waag.")
    assert (kept, moved) == (reading(models, "m"), reading(models, "n"))
    assert one(models, "SELECT hypercube.read_documents('n', '{a}')") == 0


def test_vectors_can_wait(models):
    store(models, "a", TEXT, vectors=False)
    assert one(models, "SELECT hypercube.read_documents('n', '{a}', vectors => false)") == 1
    assert one(models, "SELECT count(*) FROM hypercube.sentence_vector") == 0
    assert one(models, "SELECT hypercube.embed_documents('n')") == 3


def test_a_real_chapter_with_the_null_character_is_read_as_it_is(models):
    store(models, "a", (chapter(1)[:3000] + "\0 waab waac").encode(), model="n")
    before = reading(models, "n")
    models.execute("SELECT hypercube.read_documents('m', '{a}')")
    models.execute("SELECT hypercube.read_documents('n', '{a}')")
    assert reading(models, "n") == before


def test_only_documents_of_the_caller_are_read(models):
    store(models, "mine", TEXT)
    models.execute("SELECT hypercube.grant_model('n', 'public')")
    ask = "SELECT hypercube.read_documents('n', '{mine}')"
    with role(models, "other"):
        with pytest.raises(psycopg.errors.UndefinedObject, match='document "mine" does not exist'):
            models.execute(ask)
        models.execute("RESET ROLE")
        models.execute("SELECT hypercube.grant_document('mine', 'other')")
        models.execute("SET ROLE other")
        with pytest.raises(
            psycopg.errors.InsufficientPrivilege, match='does not own document "mine"'
        ) as refusal:
            models.execute(ask)
        assert "owner postgres" in refusal.value.diag.message_hint
        assert one(models, "SELECT hypercube.read_documents('n')") == 0
        store(models, "his", TEXT, model="n")
        with pytest.raises(psycopg.errors.UndefinedObject, match='model "m" does not exist'):
            models.execute("SELECT hypercube.read_documents('m')")
    # A superuser may all.
    assert one(models, "SELECT hypercube.read_documents('n', '{mine,his}')") == 1


@pytest.mark.parametrize(
    ("call", "error", "message", "hint"),
    [
        ("read_documents('no')", psycopg.errors.UndefinedObject, 'model "no" does not exist', "SELECT name"),
        ("read_documents('m', '{no}')", psycopg.errors.UndefinedObject, 'document "no"', "SELECT name"),
        (
            "read_documents('m', '{NULL}')",
            psycopg.errors.InvalidParameterValue,
            "not a list of text",
            "ARRAY",
        ),
        ("read_documents('m', '{{a},{b}}')", psycopg.errors.InvalidParameterValue, "not a list", "ARRAY"),
        ("read_documents(vectors => NULL)", psycopg.errors.InvalidParameterValue, "must not be null", "true"),
    ],
)
def test_what_cannot_be_read_is_refused(models, call, error, message, hint):
    before = table_counts(models)
    with pytest.raises(error, match=message) as refusal:
        models.execute(f"SELECT hypercube.{call}")
    assert hint in refusal.value.diag.message_hint
    assert table_counts(models) == before
