"""Many questions in one call: the same rows as one by one, joined with tables of one's own."""

import numpy as np
import psycopg
import pytest

from rows import ingest, one
from small_models import vectors, write_model

TRIPLES = [
    ["man", "king", "woman"], ["france", "paris", "germany"], ["big", "bigger", "small"],
    ["Japan", "tokyo", "italy"], ["antidisestablishment", "king", "woman"],
]  # fmt: skip


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_a_batch_of_analogies_is_the_same_as_each_alone(db, method):
    batch = db.execute(
        "SELECT question, rank, label, score, model, token_id, exact"
        " FROM hypercube.analogies(%s, 7, method => %s)",
        (TRIPLES, method),
    ).fetchall()
    alone = [
        (number, *row)
        for number, triple in enumerate(TRIPLES, start=1)
        for row in db.execute(
            "SELECT * FROM hypercube.analogy(%s, %s, %s, 7, method => %s)", (*triple, method)
        ).fetchall()
    ]
    assert batch == alone and len(batch) == 7 * len(TRIPLES)


def test_hundreds_of_analogies_keep_their_numbers(db):
    words = [row[0] for row in db.execute(
        "SELECT label FROM hypercube.token_overview WHERE model = 'minilm' AND label ~ '^[a-z]{4,}$'"
        " ORDER BY token_id LIMIT 900"
    )]  # fmt: skip
    triples = [words[i : i + 3] for i in range(0, 900, 3)]
    rows = db.execute("SELECT question, label FROM hypercube.analogies(%s)", (triples,)).fetchall()
    assert [row[0] for row in rows] == list(range(1, 301))
    for number in (1, 77, 300):
        alone = one(db, "SELECT label FROM hypercube.analogy(%s, %s, %s, 1)", *triples[number - 1])
        assert rows[number - 1][1] == alone


def test_answers_join_the_table_that_they_came_from(db):
    db.execute("CREATE TEMP TABLE quiz (id int PRIMARY KEY, a text, b text, c text) ON COMMIT DROP")
    db.execute("INSERT INTO quiz VALUES (10, 'man', 'king', 'woman'), (20, 'france', 'paris', 'germany')")
    rows = db.execute(
        "WITH asked AS (SELECT *, row_number() OVER (ORDER BY id) AS n FROM quiz)"
        " SELECT asked.id, answer.label FROM"
        "  hypercube.analogies((SELECT array_agg(ARRAY[a, b, c] ORDER BY n) FROM asked)) AS answer"
        " JOIN asked ON asked.n = answer.question ORDER BY 1"
    ).fetchall()
    assert rows == [(10, "queen"), (20, "berlin")]


def test_neighbors_join_lateral_any_table(db):
    rows = db.execute(
        "SELECT w.id, n.rank, n.label"
        " FROM (VALUES (1, 'whale'), (2, 'king'), (3, 'the white whale')) AS w (id, word)"
        " CROSS JOIN LATERAL hypercube.semantic_neighbors(w.word, 3) AS n ORDER BY 1, 2"
    ).fetchall()
    assert [row[:2] for row in rows] == [(i, r) for i in (1, 2, 3) for r in (1, 2, 3)]
    assert rows[0][2] == "whales" and rows[3][2] == "kings"
    found = db.execute(
        "SELECT t.label, a.label FROM (SELECT label FROM hypercube.token_overview WHERE model = 'minilm'"
        "  AND label IN ('paris', 'rome') ) AS t, hypercube.analogy('france', 'paris', t.label, 1) AS a"
    ).fetchall()
    assert len(found) == 2


@pytest.mark.parametrize("k", [1, 5, 500])
def test_vectors_as_an_array_as_bytes_and_one_by_one_are_answered_alike(db, k):
    table = np.random.default_rng(5).normal(size=(7, 384)).astype(np.float32)
    array = db.execute(
        "SELECT * FROM hypercube.nearest_batch(%s::real[], %s)", (table.tolist(), k)
    ).fetchall()
    data = db.execute("SELECT * FROM hypercube.nearest_batch(%s::bytea, %s)", (table.tobytes(), k)).fetchall()
    alone = [
        (number, *row)
        for number, vector in enumerate(table.tolist(), start=1)
        for row in db.execute("SELECT * FROM hypercube.nearest(%s::real[], %s)", (vector, k)).fetchall()
    ]
    assert array == data == alone and len(alone) == 7 * k


def test_one_vector_is_a_batch_of_one(db):
    rows = db.execute(
        "SELECT question, label FROM hypercube.nearest_batch(hypercube.embedding('whale'), 2)"
    ).fetchall()
    assert rows == [(1, "whale"), (1, "whales")]


class TestJoin:
    def test_a_copy_in_half_precision_finds_itself(self, own, sources):
        table = vectors(400, 32)
        ingest(own, write_model(sources / "full", table))
        ingest(own, write_model(sources / "half", table, dtype="F16"))
        rows = own.execute("SELECT * FROM hypercube.neighbor_join('full', 'half')").fetchall()

        assert [row[0] for row in rows] == list(range(400))
        assert all(row[0] == row[3] and row[1] == row[4] and row[2] == 1 and row[6] for row in rows)
        assert min(row[5] for row in rows) > 0.99999

    def test_its_rows_are_those_of_each_token_alone(self, own, sources):
        for name, seed in (("a", 1), ("b", 2)):
            ingest(own, write_model(sources / name, vectors(300, 16, seed=seed)))
        rows = own.execute(
            "SELECT source, rank, target, score FROM hypercube.neighbor_join("
            "'a', 'b', 4, source_like => 'waa%', label_like => 'wab%', minimum_score => 0.2)"
        ).fetchall()
        alone = own.execute(
            "SELECT t.label, n.rank, n.label, n.score FROM hypercube.token_overview AS t CROSS JOIN LATERAL"
            " hypercube.nearest(hypercube.embedding(t.label, 'a'), 4, 'b', label_like => 'wab%',"
            "  minimum_score => 0.2) AS n WHERE t.model = 'a' AND t.label LIKE 'waa%' ORDER BY t.token_id, 2"
        ).fetchall()
        assert rows == alone and len(rows) > 30

    def test_models_of_other_dimensions_are_refused(self, db):
        with pytest.raises(
            psycopg.errors.InvalidParameterValue, match="has 384 dimensions, .* has 256"
        ) as refusal:
            db.execute("SELECT * FROM hypercube.neighbor_join('minilm', 'wordllama')")
        assert "consensus_neighbors" in refusal.value.diag.message_hint

    def test_both_must_be_named_and_exist(self, db):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="both models must be named"):
            db.execute("SELECT * FROM hypercube.neighbor_join('minilm', NULL)")
        db.rollback()
        with pytest.raises(psycopg.errors.UndefinedObject, match='"nope" does not exist'):
            db.execute("SELECT * FROM hypercube.neighbor_join('minilm', 'nope')")


class TestBadInput:
    @pytest.mark.parametrize(
        ("call", "state", "problem"),
        [
            ("analogies(NULL)", "22023", "no question"),
            ("analogies('{}')", "22023", "no question"),
            ("analogies('{man,king,woman}')", "22023", "not three words"),
            ("analogies('{{man,king}}')", "22023", "not three words"),
            ("analogies('{{man,king,NULL}}')", "22023", "must not be null"),
            ("analogies('{{man,king,\U0001f40b},{\U0001f433,king,man}}')", "42704",
             '"\U0001f40b", "\U0001f433" not known'),
            ("analogies('{{man,king,woman},{king,king,queen}}')", "22023", 'question 2 asks .* to "king"'),
            ("analogies('{{man,king,woman}}', method => 'x')", "22023", "unknown method"),
            ("analogies('{{man,king,woman}}', 0)", "22023", "k is out of range"),
            ("analogies('{{man,king,woman}}', 1001)", "54000", "1001 rows"),
            ("nearest_batch(NULL::real[])", "22023", "must not be null"),
            ("nearest_batch(NULL::bytea)", "22023", "must not be null"),
            ("nearest_batch('{}'::real[])", "22023", "have 0 numbers"),
            ("nearest_batch('{{1,2},{3,4}}'::real[])", "22023", "have 2x2 numbers"),
            ("nearest_batch(array_fill(1::real, ARRAY[2,2,384]))", "22023", "have 2x2x384 numbers"),
            ("nearest_batch(array_fill(NULL::real, ARRAY[2,384]))", "22023", "hold a null"),
            ("nearest_batch(array_fill(0::real, ARRAY[2,384]))", "22023", "2 vectors are zero.*: 1, 2"),
            ("nearest_batch(array_fill('NaN'::real, ARRAY[1,384]))", "22023", "vector 1 is zero, or"),
            ("nearest_batch(''::bytea)", "22023", "0 bytes are not vectors"),
            ("nearest_batch('abc'::bytea)", "22023", "3 bytes are not vectors"),
            ("analogies('{{man,king,woman}}', label_like => 'a\\')", "22023", "escape"),
            ("neighbor_join('minilm', 'minilm', minimum_score => 'NaN')", "22023", "NaN"),
            ("neighbor_join('minilm', 'minilm', source_like => 'a\\')", "22023", "source_like ends"),
            ("analogies('{{man,king,woman}}', skip_unknown => NULL)", "22023", "skip_unknown must not"),
            ("evaluate_similarity('a b 1', in_pieces => NULL)", "22023", "in_pieces must not"),
            ("evaluate_analogies(ARRAY[['a b c d'],['e f g h']])", "22023", "null or an array"),
        ],
    )  # fmt: skip
    def test_it_is_refused_with_a_hint(self, db, call, state, problem):
        with pytest.raises(psycopg.Error, match=problem) as refusal:
            db.execute(f"SELECT * FROM hypercube.{call}")
        assert refusal.value.sqlstate == state and refusal.value.diag.message_hint

    def test_words_without_a_direction_can_be_skipped(self, own, sources):
        table = vectors(50)
        table[5] = 0
        ingest(own, write_model(sources / "m", table))
        asked = [["waab", "waac", "waad"], ["waab", "waae", "waad"]]
        with pytest.raises(psycopg.errors.InvalidParameterValue, match='"waae" .* is zero'):
            own.execute("SELECT * FROM hypercube.analogies(%s)", (asked,))
        rows = own.execute("SELECT question FROM hypercube.analogies(%s, skip_unknown => true)", (asked,))
        assert rows.fetchall() == [(1,)]
        pairs = "waae waaa 1\nwaab waac 2\nwaab waad 1"
        assert own.execute(
            "SELECT pairs, answered FROM hypercube.evaluate_similarity(%s)", (pairs,)
        ).fetchone() == (3, 2)

    def test_unknown_words_can_be_skipped(self, db):
        asked = [["man", "king", "\U0001f40b"], ["man", "king", "woman"], ["\U0001f433", "a", "b"]]
        rows = db.execute(
            "SELECT question, label FROM hypercube.analogies(%s, skip_unknown => true)", (asked,)
        ).fetchall()
        assert rows == [(2, "queen")]
        none = "SELECT * FROM hypercube.analogies(%s, skip_unknown => true)"
        assert db.execute(none, ([["\U0001f40b", "a", "b"]],)).fetchall() == []

    def test_more_rows_than_allowed_are_refused_up_front(self, db):
        db.execute("SET hypercube.max_batch = '20'")
        triples = [["man", "king", "woman"] for _ in range(3)]
        for call, argument, size in (
            ("analogies(%s, 7)", triples, 21),
            ("nearest_batch(%s::bytea, 21)", np.ones(384, np.float32).tobytes(), 21),
            ("neighbor_join('minilm', 'minilm', source_like => %s)", "k%", None),
            ("closer_than('king', %s)", "whale", None),
        ):
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="at most 20") as refusal:
                db.execute(f"SELECT * FROM hypercube.{call}", (argument,))
            if size:
                assert f"{size} rows" in str(refusal.value)
            assert "hypercube.max_batch" in refusal.value.diag.message_hint
            db.rollback()
            db.execute("SET hypercube.max_batch = '20'")
        assert one(db, "SELECT count(*) FROM hypercube.analogies(%s, 6)", triples) == 18


class TestEvaluations:
    TEXT = (
        ": royals\nman king woman queen\nman king woman king\nman king woman xyzzyq\n"
        ": capitals\nfrance paris germany berlin\n"
    )

    def test_a_row_for_each_section_and_one_for_all(self, db):
        expected = [("royals", 3, 2, 1, 0.5), ("capitals", 1, 1, 1, 1.0), ("total", 4, 3, 2, 2 / 3)]
        rows = db.execute("SELECT * FROM hypercube.evaluate_analogies(%s)", (self.TEXT,)).fetchall()
        assert rows == expected
        lines = self.TEXT.split("\n")
        assert (
            db.execute("SELECT * FROM hypercube.evaluate_analogies(%s::text[])", (lines,)).fetchall()
            == expected
        )

    def test_lines_of_a_table(self, db):
        db.execute("CREATE TEMP TABLE line (n int, line text) ON COMMIT DROP")
        db.execute("INSERT INTO line VALUES (1, ': x'), (2, 'man king woman queen')")
        lines = "(SELECT array_agg(line ORDER BY n) FROM line)"
        rows = db.execute(f"SELECT * FROM hypercube.evaluate_analogies({lines})").fetchall()
        assert rows[0] == ("x", 1, 1, 1, 1.0)

    def test_the_vocabulary_can_be_narrowed(self, db):
        rows = db.execute(
            "SELECT * FROM hypercube.evaluate_analogies(%s, label_like => '%%e%%')", (self.TEXT,)
        ).fetchall()
        # "man", "king" and "paris" have no e: nothing can be answered.
        assert rows[-1] == ("total", 4, 0, 0, None)

    def test_pairs_and_their_coverage(self, db):
        text = "tiger\tcat\t7.35\nking\tqueen\t8.58\nplane\tcar\t5.77\nantidisestablishmentarianism\tcat\t1\n"
        row = db.execute("SELECT * FROM hypercube.evaluate_similarity(%s)", (text,)).fetchone()
        assert row[:4] == (4, 3, 0.75, 1.0)
        row = db.execute(
            "SELECT * FROM hypercube.evaluate_similarity(%s, in_pieces => true)", (text,)
        ).fetchone()
        assert row[:3] == (4, 4, 1.0)
        none = db.execute("SELECT * FROM hypercube.evaluate_similarity('xyzzyq qzzyx 3')").fetchone()
        assert none == (1, 0, 0.0, None, None)

    @pytest.mark.parametrize(
        ("call", "state", "problem"),
        [
            ("evaluate_analogies('')", "22023", "no question"),
            ("evaluate_analogies(NULL::text[])", "22023", "no question"),
            ("evaluate_analogies(NULL::text)", "22023", "no question"),
            ("evaluate_similarity(NULL::text)", "22023", "no pair"),
            ("evaluate_analogies('a b c')", "22023", "line 1 of the questions has 3 words"),
            ("evaluate_analogies('a b c d', method => '?')", "22023", "unknown method"),
            ("evaluate_similarity('')", "22023", "no pair"),
            ("evaluate_similarity('a b')", "22023", "line 1 of the pairs"),
            ("evaluate_analogies('a b c d', 'nope')", "42704", "does not exist"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, db, call, state, problem):
        with pytest.raises(psycopg.Error, match=problem) as refusal:
            db.execute(f"SELECT * FROM hypercube.{call}")
        assert refusal.value.sqlstate == state and refusal.value.diag.message_hint


@pytest.mark.parametrize(
    "call",
    [
        "_nearest_batch(''::bytea, true, 2, 'minilm', NULL, NULL, false, NULL)",
        # One dimension and no element that follows, more elements than follow, fewer.
        "_nearest_batch('\\x000000010000000000000000', true, 2, 'minilm', NULL, NULL, false, NULL)",
        "_nearest_batch(decode(repeat('00000001', 2) || '000002bc0000018000000001', 'hex'), true, 2,"
        " 'minilm', NULL, NULL, false, NULL)",
        "_nearest_batch(array_send(ARRAY[1::real]) || '\\x00', true, 2, 'minilm', NULL, NULL, false, NULL)",
        "_hilbert_index(NULL, true)",
        "_hilbert_index(ARRAY[1, 2, NULL, 4], true)",
        "_hilbert_index(ARRAY[[1, 2], [3, 4], [5, 6], [7, 8]], true)",
        "_hilbert_range(ARRAY[0, 0, 0, 0], ARRAY[1, 1], 4)",
        "_hilbert_range(ARRAY[0, 0, 0, NULL], ARRAY[1, 1, 1, 1], 4)",
    ],
)
def test_what_public_functions_call_takes_no_nonsense_either(db, call):
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        db.execute(f"SELECT hypercube.{call}")
