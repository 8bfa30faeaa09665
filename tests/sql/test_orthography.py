"""The words that are spelled most like another, beside a table of all of them."""

import numpy as np
import psycopg
import pytest

from hypercube import orthography
from rows import one

WORDS = (
    "whale Whale whales wale while hale wahle whalé shale Starbuck starbucks a A á b ab ba abc abcd abcdefgh"
    " extraordinarily extraordinary 漢 字 WHALE whalebone 1,000 it's qaaaa"
)


@pytest.fixture(scope="module")
def spelled(server):
    """A database of words, and of some that are nothing but marks or very long."""
    random = np.random.default_rng(3)
    made = ["".join(random.choice(list("aehlstwé"), random.integers(1, 12))) for _ in range(400)]
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE spelled TEMPLATE blank")
    with server.connect(dbname="spelled") as db:
        db.execute("SELECT hypercube.compose(%s)", (" ".join([WORDS, *made, "z" * 90, "Nobody's."]),))
        for text in ("...", "----", "  ", "y" * 60):
            db.execute("SELECT hypercube.compose(%s)", (text,))
        db.commit()
        yield db


def neighbors(db, *asked):
    statement = f"SELECT * FROM hypercube.orthographic_neighbors({', '.join(['%s'] * len(asked))})"
    return db.execute(statement, asked).fetchall()


def brute_force(db, query):
    """Everything of atoms alone but the query itself, by path, then by label."""
    rows = db.execute("SELECT label, id FROM hypercube.composition WHERE depth = 1").fetchall()
    labels = [label for label, _ in rows]
    paths = orthography.paths(query, labels).tolist()
    ranked = sorted((path, *row) for path, row in zip(paths, rows, strict=True) if row[0] != query)
    return [(label, round(path, 6), its_id) for path, label, its_id in ranked]


@pytest.mark.parametrize(
    "query", ["whale", "Whale", "a", "漢", "éé", "starbuck", "abcdefgh", "z" * 100, " ", "q.", "q"]
)
@pytest.mark.parametrize("k", [1, 5, 40, 1000])
def test_neighbors_are_those_of_all_words(spelled, query, k):
    found = neighbors(spelled, query, k)

    expected = brute_force(spelled, query)[:k]
    assert [(label, path, its_id) for _, label, path, _, its_id in found] == expected
    assert [row[0] for row in found] == list(range(1, len(found) + 1))
    distances = orthography.centroid_distances(query, [row[1] for row in found])
    assert [row[3] for row in found] == pytest.approx(distances, abs=1e-12)
    assert len(found) == min(k, len(brute_force(spelled, query)))


def test_words_of_one_path_are_in_the_order_of_labels_whatever_their_length(server):
    """Four letters more, or one other letter and three more: both are four changes away."""
    smiles = "\U0001f600" * 4
    with server.connect(dbname="blank") as db:
        db.execute("SELECT hypercube.compose('qaaaa'), hypercube.compose(%s)", (smiles,))
        assert [row[:3] for row in neighbors(db, "q", 2)] == [(1, "qaaaa", 4.0), (2, smiles, 4.0)]
        assert neighbors(db, "q", 1) == neighbors(db, "q", 2)[:1]
        db.rollback()


def test_forms_of_a_word_come_first(spelled):
    assert [row[1] for row in neighbors(spelled, "whale", 3)][:2] == ["Whale", "whalé"]
    assert len(neighbors(spelled, "whale")) == 10
    assert [row[1] for row in neighbors(spelled, "extraordinarily", 1)] == ["extraordinary"]


def test_a_neighbor_names_its_composition(spelled):
    [(_, label, _, _, its_id)] = neighbors(spelled, "wjale", 1)
    assert its_id == one(spelled, "SELECT hypercube.find_composition(%s)", label)


def test_nothing_is_near_where_nothing_is_stored(server):
    with server.connect(dbname="blank") as db:
        assert neighbors(db, "whale") == []


class TestRefusals:
    def refused(self, db, kind, message, *asked):
        with pytest.raises(kind, match=message) as refusal, db.transaction():
            neighbors(db, *asked)
        return refusal.value.diag.message_hint

    @pytest.mark.parametrize("k", [0, -1, None])
    def test_k_below_one(self, spelled, k):
        kind = psycopg.errors.InvalidParameterValue
        assert self.refused(spelled, kind, "k is out of range", "whale", k) == "Ask for at least 1 row."

    def test_k_above_the_setting(self, spelled):
        kind = psycopg.errors.ProgramLimitExceeded
        hint = self.refused(spelled, kind, "1001 rows were asked for, at most 1000", "whale", 1001)
        assert hint.startswith("SET hypercube.max_k = '1001'")
        with spelled.transaction():
            spelled.execute("SET LOCAL hypercube.max_k = '2'")
            assert "max_k = '3'" in self.refused(spelled, kind, "at most 2 are allowed", "whale", 3)
            assert len(neighbors(spelled, "whale", 2)) == 2
            spelled.execute("SET LOCAL hypercube.max_k = '1001'")
            assert len(neighbors(spelled, "whale", 1001)) > 300

    @pytest.mark.parametrize("query, characters", [("", 0), ("a" * 101, 101), ("é" * 500, 500)])
    def test_what_has_not_the_length_of_a_word(self, spelled, query, characters):
        kind = psycopg.errors.InvalidParameterValue
        hint = self.refused(spelled, kind, f"a word has {characters} characters", query)
        assert hint == "Ask for 1 to 100."

    def test_null(self, spelled):
        self.refused(spelled, psycopg.errors.InvalidParameterValue, "must not be null", None)
