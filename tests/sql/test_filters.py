"""Which tokens may be an answer: every filter against the same rows computed by hand."""

import numpy as np
import psycopg
import pytest
from safetensors.numpy import load_file

from rows import MODELS, ingest, one
from small_models import tokenizer, vectors, write_model

CALLS = {
    "semantic_neighbors": "semantic_neighbors('king', {k}, {filters})",
    "nearest": "nearest(hypercube.embedding('king'), {k}, {filters})",
    "most_similar": "most_similar('{{king}}', '{{}}', {k}, {filters})",
    "midpoint": "midpoint('king', 'king', {k}, {filters})",
}


@pytest.fixture(scope="module")
def everything(server, loaded):
    """(token id, label, kind, cosine with king) of every token of minilm but king, best first."""
    table = load_file(MODELS / "all-MiniLM-L6-v2" / "model.safetensors")["embeddings.word_embeddings.weight"]
    unit = table.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    with server.connect(dbname="loaded") as db:
        rows = db.execute(
            "SELECT token_id, label, kind FROM hypercube.token_overview"
            " WHERE model = 'minilm' ORDER BY token_id"
        ).fetchall()
    king = next(token_id for token_id, label, kind in rows if label == "king")
    scores = unit @ unit[king]
    found = [(*row, scores[row[0]]) for row in rows if row[0] != king]
    return sorted(found, key=lambda row: (-row[3], row[0]))


def ask(db, call, k, filters):
    statement = "SELECT rank, token_id, score FROM hypercube." + call.format(k=k, filters=filters)
    rows = db.execute(statement).fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    return [row[1:] for row in rows]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("filters", "qualifies"),
    [
        ("label_like => 'que%'", lambda label, kind, score: label.startswith("que")),
        ("label_like => '%\\_%'", lambda label, kind, score: "_" in label),
        ("kinds => '{continuation}'", lambda label, kind, score: kind == "continuation"),
        ("kinds => '{word,special}'", lambda label, kind, score: kind in ("word", "special")),
        ("kinds => '{}'", lambda label, kind, score: False),
        ("letters_only => true", lambda label, kind, score: label.isalpha()),
        ("minimum_score => 0.4", lambda label, kind, score: score >= 0.4),
        ("minimum_score => 2", lambda label, kind, score: False),
        ("label_like => 'no such label %'", lambda label, kind, score: False),
        (
            "label_like => 'k%', kinds => '{word}', letters_only => true, minimum_score => 0.1",
            lambda label, kind, score: (
                label[0] == "k" and kind == "word" and label.isalpha() and score >= 0.1
            ),
        ),
    ],
)
def test_the_rows_that_qualify_come_in_their_order(db, everything, call, filters, qualifies):
    expected = [(row[0], row[3]) for row in everything if qualifies(*row[1:])]
    king = one(db, "SELECT hypercube.token_id('king')")
    for k in (1, 10, 700):
        rows = [row for row in ask(db, call, k + 1, filters) if row[0] != king][:k]
        assert [row[0] for row in rows] == [row[0] for row in expected[:k]]
        np.testing.assert_allclose([row[1] for row in rows], [row[1] for row in expected[:k]], atol=1e-6)


def test_filters_hold_for_what_is_closer(db):
    every = db.execute("SELECT label, score FROM hypercube.closer_than('king', 'whale')").fetchall()
    kinds = dict(
        db.execute("SELECT label, kind FROM hypercube.token_overview WHERE model = 'minilm'").fetchall()
    )
    assert len(every) > 300
    for filters, qualifies in (
        ("label_like => 'q%'", lambda label, score: label.startswith("q")),
        ("kinds => '{continuation}'", lambda label, score: kinds[label] == "continuation"),
        ("letters_only => true", lambda label, score: label.isalpha()),
        ("minimum_score => 0.3", lambda label, score: score >= 0.3),
        ("exclude_variants => true", lambda label, score: label.removeprefix("##") not in ("king", "whale")),
    ):
        for k in ("NULL", 7):
            call = f"closer_than('king', 'whale', {k}, {filters})"
            found = db.execute(f"SELECT label, score FROM hypercube.{call}").fetchall()
            assert found == [row for row in every if qualifies(*row)][: None if k == "NULL" else k]


def test_filters_hold_in_batches_too(db):
    for filters in (
        "kinds => '{continuation}'",
        "letters_only => true",
        "label_like => 'p%'",
        "minimum_score => 0.3",
    ):
        for method in ("3cosadd", "3cosmul"):
            single = ask(
                db, "analogy('man', 'king', 'woman', {k}, {filters})", 20, f"{filters}, method => '{method}'"
            )
            batch = ask(
                db,
                "analogies('{{{{man,king,woman}}}}', {k}, {filters})",
                20,
                f"{filters}, method => '{method}'",
            )
            assert batch == single


def test_a_minimum_is_answered_from_the_stored_graph(db):
    """Without Python: the interpreter of a fresh session is not started."""
    stored = db.execute("SELECT label, score FROM hypercube.semantic_neighbors('whale', 16)").fetchall()
    for minimum, count in ((stored[4][1], 5), (0.5, 2), (0.9, 0), (1e-300, 16), (-1e300, 16), (1e300, 0)):
        found = db.execute(
            "SELECT label, score FROM hypercube.semantic_neighbors('whale', 16, minimum_score => %s)",
            (minimum,),
        ).fetchall()
        assert found == stored[:count]


class TestVariants:
    """Capitals, continuations and markers of a word are left out, its plural is not."""

    PIECES = (
        "[UNK]", "king", "King", "KING", "##king", "##King", "kings", "queen", "Queen", "duke", "earl",
        "baron",
    )  # fmt: skip

    @pytest.fixture
    def royal(self, own, sources):
        table = vectors(len(self.PIECES), 8, seed=3)
        table[1:6] = table[1] + 0.05 * table[1:6]
        settings = tokenizer(self.PIECES)
        settings["normalizer"] = None
        ingest(own, write_model(sources / "royal", table, tokenizer_json=settings))
        return own

    def labels(self, db, call):
        return [row[0] for row in db.execute(f"SELECT label FROM hypercube.{call}").fetchall()]

    @pytest.mark.parametrize("word", ["king", "KING", "##king", " king "])
    def test_of_one_word(self, royal, word):
        every = self.labels(royal, f"semantic_neighbors('{word}', 100)")
        kept = self.labels(royal, f"semantic_neighbors('{word}', 100, exclude_variants => true)")

        assert len(every) == len(self.PIECES) - 1
        assert kept == [label for label in every if label.lower().removeprefix("##") != "king"]
        assert "kings" in kept
        few = self.labels(royal, f"semantic_neighbors('{word}', 3, exclude_variants => true)")
        assert few == kept[:3]

    def test_of_several(self, royal):
        for call in (
            "most_similar('{king,queen}'",
            "midpoint('king', 'queen'",
            "analogy('king', 'queen', 'duke'",
        ):
            found = self.labels(royal, f"{call}, k => 100, exclude_variants => true)")
            assert not {label.lower().removeprefix("##") for label in found} & {"king", "queen"}
            assert {"kings", "earl", "baron"} <= set(found)

    def test_in_a_batch(self, royal):
        single = self.labels(royal, "analogy('king', 'queen', 'duke', 100, exclude_variants => true)")
        for k in (2, 100):
            batch = self.labels(
                royal,
                f"analogies('{{{{king,queen,duke}},{{duke,earl,baron}}}}', {k}, exclude_variants => true)",
            )
            assert batch[: min(k, len(single))] == single[:k]

    def test_more_variants_than_are_looked_at_first(self, own, sources):
        """Dozens of spellings nearer than anything else: more is asked for until k others are found."""
        spellings = [f"{'#' * (i % 3 == 2) * 2}{form}" for i, form in enumerate(sorted(self.cases("king")))]
        spellings += [f"##{form}" for form in sorted(self.cases("king"))]
        pieces = ["[UNK]", *dict.fromkeys(spellings), *(f"other{i}" for i in range(30))]
        table = vectors(len(pieces), 8, seed=5)
        table[1 : len(pieces) - 30] = table[1] + 0.01 * table[1 : len(pieces) - 30]
        settings = tokenizer(pieces)
        settings["normalizer"] = None
        ingest(own, write_model(sources / "many", table, tokenizer_json=settings))
        found = self.labels(own, "semantic_neighbors('king', 12, exclude_variants => true)")
        assert len(found) == 12 and not any("king" in label.lower() for label in found)
        batch = self.labels(own, "analogies('{{king,KING,King}}', 12, exclude_variants => true)")
        assert len(batch) == 12 and not any("king" in label.lower() for label in batch)

    def cases(self, word):
        if not word:
            return [""]
        return [first + rest for rest in self.cases(word[1:]) for first in (word[0], word[0].upper())]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ("letters_only => NULL", "letters_only must not be null"),
        ("exclude_variants => NULL", "exclude_variants must not be null"),
        ("approximate => NULL", "approximate must not be null"),
        ("minimum_score => 'NaN'", "must not be NaN"),
        ("kinds => '{word,NULL}'", "must not hold a null"),
        ("kinds => '{{word},{special}}'", "array in an array"),
        ("label_like => 'a\\'", "ends with an escape character"),
        ("label_like => 'a\\\\\\'", "ends with an escape character"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(db, filters, problem):
    for call in (
        "semantic_neighbors('king', {filters})", "most_similar('{{king}}', {filters})",
        "analogy('man', 'king', 'woman', {filters})", "midpoint('man', 'king', {filters})",
        "closer_than('man', 'king', {filters})",
    ):  # fmt: skip
        if "approximate" in filters and "closer" in call:
            continue
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem) as refusal:
            db.execute("SELECT * FROM hypercube." + call.format(filters=filters))
        assert refusal.value.diag.message_hint
        db.rollback()


def test_all_questions_give_one_pair_one_score(db):
    """Stored, scanned, in a batch, as a similarity: to the last bit."""
    stored = dict(db.execute("SELECT label, score FROM hypercube.semantic_neighbors('king', 16)").fetchall())
    calls = (
        "semantic_neighbors('king', 17)", "most_similar('{king}', k => 16)",
        "closer_than('king', 'whale', 16)",
        "nearest(hypercube.embedding('king'), 17)", "semantic_neighbors('king', 16, letters_only => true)",
        "neighbor_join('minilm', 'minilm', 17, source_like => 'king')",
    )  # fmt: skip
    for call in calls:
        label = "target" if "join" in call else "label"
        found = dict(db.execute(f"SELECT {label}, score FROM hypercube.{call}").fetchall())
        assert stored.items() <= {**stored, **found}.items(), call
    for label, score in stored.items():
        assert one(db, "SELECT hypercube.similarity('king', %s)", label) == score
        assert one(db, "SELECT hypercube.similarity(%s, 'king')", label) == score
