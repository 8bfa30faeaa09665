"""Documents whose rows were damaged by hand are told by name, and a dump takes them along whole."""

import subprocess

import psycopg
import pytest

from chapters import chapter, store, table_counts, unhealthy
from rows import ingest, one
from servers import program_folder
from small_models import vectors, write_model

# Longer than what is told of a text beside its sentences.
TEXT = "Call me Ishmael. Some years ago!\n\n" + " ".join(f"Never mind how long, {n}." for n in range(20))
WORD = "hypercube.composition WHERE label = 'Ishmael'"
SENTENCE = "hypercube.composition WHERE label = 'Call me Ishmael. '"
QUESTIONS = (
    "SELECT name, hypercube.document_text(name) FROM hypercube.document ORDER BY 1",
    "SELECT name, hypercube.document_bytes(name) FROM hypercube.document ORDER BY 1",
    "SELECT * FROM hypercube.document_overview ORDER BY 1",
    "SELECT * FROM hypercube.sentence_overview ORDER BY 1, 2",
    "SELECT * FROM hypercube.search('a white whale', 20)",
    "SELECT * FROM hypercube.search('a white whale', 5, scope => 'document')",
    "SELECT * FROM hypercube.search_text('whale or ship', 20)",
    "SELECT * FROM hypercube.hybrid_search('the white whale', 20)",
    "SELECT * FROM hypercube.continuations('white', 20)",
    "SELECT * FROM hypercube.cooccurs('white', 'whale')",
    "SELECT * FROM hypercube.relation WHERE kind = 'S' ORDER BY model_id, source, rank",
    "SELECT * FROM hypercube.orthographic_neighbors('whale', 10)",
    "SELECT * FROM hypercube.kept_composition",
    "SELECT * FROM hypercube.text_state",
)


@pytest.fixture
def documents(own):
    """A connection to a database with two documents; the second shares a sentence with the first."""
    store(own, "d", TEXT)
    store(own, "other", "Some years ago!\n\nUnlike.")
    return own


def test_nothing_is_damaged_to_begin_with(documents):
    assert one(documents, "SELECT hypercube.verify_document('d')") is True
    assert unhealthy(documents) == {}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (f"DELETE FROM {WORD}", "composition or atom {word} is missing"),
        (f"DELETE FROM {SENTENCE}", "composition or atom {sentence} is missing"),
        ("DELETE FROM hypercube.atom WHERE codepoint = ascii('I')", "composition or atom {atom} is missing"),
        ("UPDATE hypercube.atom SET codepoint = 7 WHERE codepoint = ascii('I')", "atom 7 has not the digest"),
        (
            "UPDATE hypercube.composition SET children = substring(children FROM 33) ||"
            " substring(children FOR 32) WHERE label = 'Ishmael'",
            "composition {word} is not made of its children",
        ),
    ],
)  # fmt: skip
def test_damage_is_named(documents, damage, problem):
    names = {
        "word": one(documents, f"SELECT encode(id, 'hex') FROM {WORD}"),
        "sentence": one(documents, f"SELECT encode(id, 'hex') FROM {SENTENCE}"),
        "atom": one(documents, "SELECT encode(id, 'hex') FROM hypercube.atom WHERE codepoint = ascii('I')"),
    }
    assert documents.execute(damage).rowcount == 1
    with pytest.raises(psycopg.errors.DataCorrupted) as refusal:
        documents.execute("SELECT hypercube.verify_document('d')")
    assert problem.format(**names) in str(refusal.value)
    assert refusal.value.diag.message_hint
    # What does not need it is whole.
    assert one(documents, "SELECT hypercube.verify_document('other')") is True


@pytest.mark.parametrize("label", ["Ishmael", "Call me Ishmael. ", TEXT[:200]])
def test_a_label_that_tells_another_text_is_named(documents, label):
    told = one(documents, "SELECT encode(id, 'hex') FROM hypercube.composition WHERE label = %s", label)
    documents.execute("UPDATE hypercube.composition SET label = 'Ahab' WHERE label = %s", (label,))
    with pytest.raises(psycopg.errors.DataCorrupted, match=f"{told} has not the label"):
        documents.execute("SELECT hypercube.verify_document('d')")


def test_a_digest_that_is_another_texts_is_named(documents):
    documents.execute("UPDATE hypercube.document SET digest = sha256('x') WHERE name = 'd'")
    with pytest.raises(psycopg.errors.DataCorrupted, match='document "d" has not the digest'):
        documents.execute("SELECT hypercube.verify_document('d')")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM hypercube.sentence WHERE document_id = 1 AND ordinal = 2",
        "DELETE FROM hypercube.sentence WHERE document_id = 1",
        "DELETE FROM hypercube.sentence WHERE document_id = 1 AND ordinal = 22",
        "UPDATE hypercube.sentence SET start = start + 1 WHERE document_id = 1 AND ordinal = 3",
        "UPDATE hypercube.sentence SET ordinal = 99 WHERE document_id = 1 AND ordinal = 22",
        "UPDATE hypercube.sentence SET composition_id = hypercube.composition_id('Unlike.')"
        " WHERE document_id = 1 AND ordinal = 3",
    ],
)
def test_sentences_that_are_not_in_their_places_are_named(documents, damage):
    assert one(documents, "SELECT id FROM hypercube.document WHERE name = 'd'") == 1
    assert documents.execute(damage).rowcount > 0
    with pytest.raises(psycopg.errors.DataCorrupted, match='"d" has not its sentences in their places'):
        documents.execute("SELECT hypercube.verify_document('d')")
    assert one(documents, "SELECT hypercube.verify_document('other')") is True


@pytest.mark.parametrize(
    ("damage", "checks"),
    [
        (f"DELETE FROM {SENTENCE}", {"documents", "orphans"}),
        (f"UPDATE {SENTENCE.replace('WHERE', 'SET label = repeat($$x$$, 17) WHERE')}", {"documents"}),
        ("UPDATE hypercube.document SET digest = sha256('x') WHERE name = 'd'", {"documents"}),
        ("UPDATE hypercube.document SET composition_id = sha256('x')", {"documents", "orphans"}),
        ("DELETE FROM hypercube.sentence", {"orphans"}),
        ("DELETE FROM hypercube.document WHERE name = 'd'", {"orphans"}),
        ("INSERT INTO hypercube.sentence VALUES (1, 99, sha256('x'), 0)", {"orphans"}),
        ("INSERT INTO hypercube.sentence_token VALUES (1, sha256('x'), '{1}')", {"orphans"}),
        ("INSERT INTO hypercube.sentence_vector VALUES (1, sha256('x'), 'x')", {"orphans"}),
        ("INSERT INTO hypercube.sentence_search VALUES (sha256('x'), 'english', 'x')", {"orphans"}),
    ],
)
def test_health_is_red_after_damage(documents, damage, checks):
    assert documents.execute(damage).rowcount >= 1
    found = unhealthy(documents)

    assert found.keys() == checks
    if "documents" in checks:
        assert "damaged: d" in found["documents"]


def test_a_damaged_document_is_refused_and_can_be_dropped(documents):
    documents.execute(f"DELETE FROM {SENTENCE}")
    with pytest.raises(psycopg.errors.DataCorrupted, match="is missing") as refusal:
        documents.execute("SELECT hypercube.document_text('d')")
    assert refusal.value.diag.message_hint
    documents.execute("SELECT hypercube.drop_document('d')")
    # What hung below the row that was lost stays, and harms nobody.
    assert unhealthy(documents) == {}
    store(documents, "d", TEXT)
    assert one(documents, "SELECT hypercube.verify_document('d')") is True


def test_documents_survive_a_dump(server, loaded, tmp_path):
    """Every row and every answer travels, and what comes after it gets the next number."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE documents_before TEMPLATE loaded STRATEGY file_copy")
        db.execute("CREATE DATABASE documents_after")
    options = "-c hypercube.model=minilm"
    try:
        with server.connect(dbname="documents_before", autocommit=True, options=options) as db:
            for number in (36, 132):
                store(db, f"chapter {number}", chapter(number)[:6000], metadata='{"book": "Moby-Dick"}')
            store(db, "odd", b"One\0two. \xf0\x9f\x90\x8b ")
            db.execute("SELECT hypercube.compose('Kept by somebody. ')")
            db.execute("SELECT hypercube.relate_sequences(window_size => 2)")
            db.execute("SELECT hypercube.drop_document('odd')")
            store(db, "even", "One whale. \U0001f40b ")
            before = table_counts(db), [db.execute(question).fetchall() for question in QUESTIONS]
        path = str(tmp_path / "documents.dump")
        where = ["--host", str(server.socket_folder), "--port", str(server.dsn()["port"]), "-U", "postgres"]
        programs = program_folder()
        dump = [programs / "pg_dump", *where, "-Fc", "-Z0", "-f", path, "documents_before"]
        subprocess.run(dump, check=True)
        restore = [programs / "pg_restore", *where, "--exit-on-error", "-d", "documents_after", path]
        subprocess.run(restore, check=True)
        with server.connect(dbname="documents_after", autocommit=True, options=options) as db:
            after = table_counts(db), [db.execute(question).fetchall() for question in QUESTIONS]
            assert after[0] == before[0]
            for question, found, expected in zip(QUESTIONS, after[1], before[1], strict=True):
                assert found == expected != [], question
            assert unhealthy(db) == {}
            highest = one(db, "SELECT max(id) FROM hypercube.document")
            store(db, "later", "Another whale.")
            assert one(db, "SELECT id FROM hypercube.document WHERE name = 'later'") > highest
            db.execute("SELECT hypercube.drop_document('later')")
            db.execute("SELECT hypercube.drop_document('even')")
            assert unhealthy(db) == {}
    finally:
        with server.connect(dbname="postgres", autocommit=True) as db:
            for name in ("before", "after"):
                db.execute(f"DROP DATABASE documents_{name} WITH (FORCE)")


def test_another_models_damage_is_not_the_documents(own, sources):
    ingest(own, write_model(sources / "m", vectors(60)), "m")
    store(own, "d", "Waab waac.")
    own.execute("DELETE FROM hypercube.relation")

    assert "documents" not in unhealthy(own)
    assert one(own, "SELECT hypercube.verify_document('d')") is True
