"""What several models agree on, against sums made in Python."""

import statistics

import numpy as np
import psycopg
import pytest

from rows import ingest, one
from small_models import vectors, words, write_model


def edges(db, word):
    """Return {label: [(rank, weight, model)]} of the stored neighbours of a word, labels in lower case."""
    rows = db.execute(
        "SELECT t.label, r.rank, r.weight, r.model FROM hypercube.relation_overview AS r"
        " JOIN hypercube.token_overview AS s ON s.model = r.model AND s.token_id = r.source_id"
        " JOIN hypercube.token_overview AS t ON t.model = r.model AND t.token_id = r.target_id"
        " WHERE lower(r.source) = %s AND s.kind = 'word' AND t.kind = 'word'",
        (word,),
    ).fetchall()
    best = {}
    for label, rank, weight, model in rows:
        if label.lower() != word:
            old = best.setdefault(label.lower(), {}).get(model)
            best[label.lower()][model] = (
                min(rank, old[0]) if old else rank,
                max(weight, old[1]) if old else weight,
            )
    return best


@pytest.mark.parametrize("word", ["king", "paris", "whale"])
def test_neighbors_are_fused_by_rank(db, word):
    expected = edges(db, word)
    rows = db.execute("SELECT * FROM hypercube.consensus_neighbors(%s, 1000)", (word,)).fetchall()

    assert {row[1] for row in rows} == set(expected)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)
    for _, label, score, agree, models, mean, spread, names, exact in rows:
        known = expected[label]
        assert score == pytest.approx(sum(1 / (60 + rank) for rank, _ in known.values()), abs=1e-12)
        assert names == sorted(known) and agree == len(known) <= models <= 3 and exact
        weights = [weight for _, weight in known.values()]
        assert mean == pytest.approx(statistics.fmean(weights), abs=1e-6)
        assert spread == pytest.approx(statistics.pstdev(weights), abs=1e-6)
    few = db.execute("SELECT * FROM hypercube.consensus_neighbors(%s, 4)", (word,)).fetchall()
    assert few == rows[:4]


def test_case_and_markers_do_not_matter(db):
    statement = "SELECT * FROM hypercube.consensus_neighbors(%s, 5)"
    king = db.execute(statement, ("king",)).fetchall()
    for word in ("King", " KING", "▁king"):
        assert db.execute(statement, (word,)).fetchall() == king


def test_an_unknown_word_is_refused(db):
    with pytest.raises(psycopg.errors.UndefinedObject, match="word of no model") as refusal:
        db.execute("SELECT * FROM hypercube.consensus_neighbors('xyzzyq')")
    assert refusal.value.diag.message_hint
    db.rollback()
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="must not be null"):
        db.execute("SELECT * FROM hypercube.consensus_neighbors(NULL)")


def test_the_materialised_rows_are_the_same(db):
    assert one(db, "SELECT hypercube.refresh_consensus()") > 10_000
    for word in ("king", "paris"):
        stored = db.execute(
            "SELECT target, score, agree, models, mean_weight, spread FROM hypercube.relation_consensus"
            " WHERE source = %s", (word,)
        ).fetchall()  # fmt: skip
        live = db.execute(
            "SELECT label, score, agree, models, mean_weight, spread"
            " FROM hypercube.consensus_neighbors(%s, 1000)", (word,)
        ).fetchall()  # fmt: skip
        by_label = {row[0]: row[1:] for row in live}
        assert {row[0] for row in stored} == set(by_label)
        for label, *rest in stored:
            assert rest == pytest.approx(by_label[label], abs=1e-6)
    assert one(db, "SELECT min(models) FROM hypercube.relation_consensus") == 2
    repeated = "SELECT count(*) - count(DISTINCT (source, target)) FROM hypercube.relation_consensus"
    assert one(db, repeated) == 0


def test_it_is_empty_before_and_follows_what_is_there_at_each_refresh(own, sources):
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has not been populated"):
        own.execute("SELECT * FROM hypercube.relation_consensus")
    count = "SELECT hypercube.refresh_consensus()"
    assert one(own, count) == 0
    ingest(own, write_model(sources / "a", vectors(60)))
    assert one(own, count) == 0
    ingest(
        own,
        write_model(
            sources / "b", vectors(60, seed=9), pieces=["[UNK]", *words(30), *map(str.upper, words(29))]
        ),
    )
    both = one(own, count)
    assert both > 0
    # A word in two cases is one word of its model, and never its own neighbour.
    assert one(own, "SELECT count(*) FROM hypercube.relation_consensus WHERE source = target") == 0
    assert one(own, "SELECT max(agree) FROM hypercube.relation_consensus") == 2
    own.execute("SELECT hypercube.drop_model('b')")
    assert one(own, count) == 0


def test_labels_that_no_index_holds_are_left_out(own, sources):
    random = np.random.default_rng(0)
    long = ["".join(chr(97 + letter) for letter in random.integers(0, 26, 1900)) for _ in range(4)]
    for name, seed in (("a", 1), ("b", 2)):
        pieces = ["[UNK]", *long, *words(40)]
        ingest(own, write_model(sources / name, vectors(len(pieces), seed=seed), pieces=pieces))
    assert one(own, "SELECT hypercube.refresh_consensus()") > 0
    assert one(own, "SELECT max(length(source)) FROM hypercube.relation_consensus") == 4


def test_readers_are_not_kept_waiting_by_a_refresh(server, own, sources):
    for name, seed in (("a", 1), ("b", 2)):
        ingest(own, write_model(sources / name, vectors(60, seed=seed)))
    own.execute("SELECT hypercube.refresh_consensus()")
    with server.connect(dbname=own.info.dbname) as writer:
        writer.execute("SELECT hypercube.refresh_consensus()")
        own.execute("SET lock_timeout = '1s'")
        assert one(own, "SELECT count(*) FROM hypercube.relation_consensus") > 0
