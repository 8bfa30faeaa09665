"""Questions over the whole embedding, against facts, numpy, and bad input."""

import numpy as np
import psycopg
import pytest
from safetensors.numpy import load_file

from rows import MODELS
from small_models import vectors, write_model


@pytest.fixture(scope="module")
def table():
    """The embedding of minilm, read by the safetensors library."""
    return load_file(MODELS / "all-MiniLM-L6-v2" / "model.safetensors")["embeddings.word_embeddings.weight"]


@pytest.fixture(scope="module")
def unit(table):
    exact = table.astype(np.float64)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)


def answers(db, statement, *args):
    return [(row[1], round(row[2], 3)) for row in db.execute(statement, args).fetchall()]


def token(db, word):
    return db.execute(
        "SELECT hypercube._find_token(id, %s) FROM hypercube.model WHERE name = 'minilm'", (word,)
    ).fetchone()[0]


class TestAnalogy:
    def test_man_is_to_king_as_woman_is_to_queen(self, db):
        found = answers(db, "SELECT * FROM hypercube.analogy('man', 'king', 'woman', 5)")

        assert found[0] == ("queen", 0.502)
        assert len(found) == 5
        assert not {"man", "king", "woman"} & {label for label, _ in found}

    def test_france_is_to_paris_as_germany_is_to_berlin(self, db):
        assert (
            answers(db, "SELECT * FROM hypercube.analogy('france', 'paris', 'germany', 3)")[0][0] == "berlin"
        )

    def test_3cosadd_is_numpys(self, db, unit):
        a, b, c = (token(db, word) for word in ("man", "king", "woman"))
        target = unit[b] - unit[a] + unit[c]
        scores = unit @ (target / np.linalg.norm(target))
        scores[[a, b, c]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:20]

        rows = db.execute("SELECT * FROM hypercube.analogy('man', 'king', 'woman', 20)").fetchall()
        assert [row[4] for row in rows] == best.tolist()
        assert [row[2] for row in rows] == pytest.approx(scores[best].tolist(), abs=1e-6)

    def test_3cosmul_is_numpys(self, db, unit):
        a, b, c = (token(db, word) for word in ("man", "king", "woman"))
        near = (1 + unit @ unit[[a, b, c]].T) / 2
        scores = near[:, 1] * near[:, 2] / (near[:, 0] + 1e-6)
        scores[[a, b, c]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:20]

        rows = db.execute(
            "SELECT * FROM hypercube.analogy('man', 'king', 'woman', 20, method => '3CosMul')"
        ).fetchall()
        assert [row[4] for row in rows] == best.tolist()
        assert [row[2] for row in rows] == pytest.approx(scores[best].tolist(), abs=1e-5)

    def test_an_unknown_method_is_refused(self, db):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="unknown method") as refusal:
            db.execute("SELECT * FROM hypercube.analogy('a', 'b', 'c', method => '4cosadd')")
        assert "3cosmul" in refusal.value.diag.message_hint

    def test_all_unknown_words_are_named_at_once(self, db):
        with pytest.raises(
            psycopg.errors.UndefinedObject, match='words "\U0001f40b", "\U0001f433" not known'
        ):
            db.execute("SELECT * FROM hypercube.analogy('man', '\U0001f40b', '\U0001f433')")


class TestMostSimilar:
    def test_one_word_gives_its_neighbours(self, db):
        similar = db.execute(
            "SELECT token_id FROM hypercube.most_similar(ARRAY['whale'], k => 16)"
        ).fetchall()
        assert (
            similar == db.execute("SELECT token_id FROM hypercube.semantic_neighbors('whale', 16)").fetchall()
        )

    def test_sums_and_differences_are_numpys(self, db, unit):
        words = ("paris", "berlin", "france")
        ids = [token(db, word) for word in words]
        target = unit[ids[0]] + unit[ids[1]] - unit[ids[2]]
        scores = unit @ (target / np.linalg.norm(target))
        scores[ids] = -np.inf
        best = np.argsort(-scores, kind="stable")[:10]

        rows = db.execute(
            "SELECT * FROM hypercube.most_similar(ARRAY['paris', 'berlin'], ARRAY['france'])"
        ).fetchall()
        assert [row[4] for row in rows] == best.tolist()

    @pytest.mark.parametrize("arguments", ["NULL", "'{}'", "ARRAY['king'], NULL"])
    def test_no_words_are_refused(self, db, arguments):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="at least one word"):
            db.execute(f"SELECT * FROM hypercube.most_similar({arguments})")

    def test_a_null_among_the_words_is_refused(self, db):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="must not be null"):
            db.execute("SELECT * FROM hypercube.most_similar(ARRAY['king', NULL])")

    def test_an_array_in_an_array_is_refused(self, db):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="not a list of text"):
            db.execute("SELECT * FROM hypercube.most_similar(ARRAY[['king', 'queen'], ['man', 'woman']])")

    def test_words_that_cancel_out_are_refused(self, db):
        call = "most_similar(ARRAY['king'], ARRAY['King'])"
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="cancel out"):
            db.execute(f"SELECT * FROM hypercube.{call}")

    def test_a_word_on_both_sides_is_refused_with_all_of_them(self, db):
        call = "most_similar(ARRAY['king', 'queen', 'man'], ARRAY['king', 'man'])"
        with pytest.raises(psycopg.errors.InvalidParameterValue, match='"king", "man" are both') as refusal:
            db.execute(f"SELECT * FROM hypercube.{call}")
        assert refusal.value.diag.message_hint

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ("positive_weights => '{1}'", "one number for each word: 2"),
            ("positive_weights => '{1,NULL}'", "one number for each word"),
            ("positive_weights => '{1,NaN}'", "NaN or infinity"),
            ("negative_weights => '{1,2}'", "negative_weights needs one number for each word: 1"),
            ("positive_weights => '{0,0}', negative_weights => '{0}'", "cancel out"),
            ("positive_weights => '{1,1}', method => '3cosmul'", "takes no weights"),
            ("method => NULL", "must not be null"),
            ("method => 'x'", "unknown method"),
        ],
    )
    def test_weights_that_are_none_are_refused(self, db, arguments, problem):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem) as refusal:
            db.execute(f"SELECT * FROM hypercube.most_similar('{{king,woman}}', '{{man}}', {arguments})")
        assert refusal.value.diag.message_hint

    @pytest.mark.parametrize("weight", ["1e200", "1e308", "1e-200", "5e-324"])
    def test_only_the_proportions_of_weights_count(self, db, weight):
        call = "SELECT * FROM hypercube.most_similar('{{king,queen}}', positive_weights => '{{{0},{0}}}')"
        assert answers(db, call.format(weight)) == answers(db, call.format(1))

    def test_a_weight_of_zero_leaves_a_word_out_of_the_sum_but_not_among_the_answers(self, db):
        rows = answers(
            db, "SELECT * FROM hypercube.most_similar('{king,queen}', '{}', 16, positive_weights => '{1,0}')"
        )
        alone = answers(db, "SELECT * FROM hypercube.semantic_neighbors('king', 17)")
        assert rows == [row for row in alone if row[0] != "queen"]


class TestNearest:
    def test_the_vector_of_a_word_finds_the_word(self, db):
        rows = db.execute("SELECT * FROM hypercube.nearest(hypercube.embedding('whale'), 3)").fetchall()

        assert [row[1] for row in rows] == ["whale", "whales", "whaling"]
        assert rows[0][2] == pytest.approx(1.0, abs=1e-6)

    def test_any_vector_is_answered_as_numpy_does(self, db, unit):
        vector = np.random.default_rng(3).normal(size=384)
        scores = unit @ (vector / np.linalg.norm(vector))
        best = np.argsort(-scores, kind="stable")[:50]

        rows = db.execute("SELECT * FROM hypercube.nearest(%s::real[], 50)", (vector.tolist(),)).fetchall()
        assert [row[4] for row in rows] == best.tolist()

    def test_k_beyond_the_vocabulary_gives_the_vocabulary(self, db, loaded):
        n = min(1000, loaded["glassllm"]["usable"])
        vector = "hypercube.embedding('the', 'glassllm')"
        rows = db.execute(f"SELECT * FROM hypercube.nearest({vector}, 1000, 'glassllm')").fetchall()
        assert len(rows) == n

    @pytest.mark.parametrize(
        ("vector", "problem"),
        [
            ("ARRAY[1, 2, 3]", "has 3 numbers"),
            ("'{}'", "has 0 numbers"),
            ("NULL", "must not be null"),
            ("array_fill(NULL::real, ARRAY[384])", "hold a null"),
            ("array_fill(0::real, ARRAY[384])", "is zero"),
            ("array_fill('NaN'::real, ARRAY[384])", "NaN"),
            ("array_fill('Infinity'::real, ARRAY[384])", "infinity"),
            ("array_fill(1::real, ARRAY[384, 2])", "has 384x2 numbers"),
        ],
    )
    def test_a_vector_that_is_none_is_refused(self, db, vector, problem):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem) as refusal:
            db.execute(f"SELECT * FROM hypercube.nearest({vector}::real[])")
        assert refusal.value.diag.message_hint


class TestSimilarity:
    def test_king_and_queen(self, db, unit):
        found = db.execute("SELECT hypercube.similarity('king', 'queen')").fetchone()[0]

        assert round(found, 3) == 0.627
        assert found == pytest.approx(unit[token(db, "king")] @ unit[token(db, "queen")], abs=1e-6)

    def test_it_is_symmetric_and_one_for_a_word_with_itself(self, db):
        assert db.execute(
            "SELECT hypercube.similarity('king', 'paris') = hypercube.similarity('paris', 'king'),"
            " hypercube.similarity('king', 'king')"
        ).fetchone() == (True, 1.0)

    def test_it_agrees_with_the_stored_relation(self, db):
        stored = db.execute("SELECT score FROM hypercube.semantic_neighbors('whale', 1)").fetchone()[0]
        assert db.execute("SELECT hypercube.similarity('whale', 'whales')").fetchone()[0] == pytest.approx(
            stored, abs=1e-6
        )

    @pytest.mark.parametrize("words", ["NULL, 'king'", "'king', NULL"])
    def test_null_is_refused(self, db, words):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="must not be null"):
            db.execute(f"SELECT hypercube.similarity({words})")


class TestEmbedding:
    def test_it_is_the_row_of_the_file(self, db, table):
        for word in ("whale", "king", "##ing"):
            found = db.execute("SELECT hypercube.embedding(%s)", (word,)).fetchone()[0]
            assert np.array_equal(np.array(found, np.float32), table[token(db, word)])

    def test_rows_that_lie_in_two_chunks_are_put_together(self, db, table):
        # A row has 1536 bytes, a chunk 1 MiB: row 682 begins in one and ends in the next.
        piece = db.execute(
            "SELECT label FROM hypercube.token_overview WHERE model = 'minilm' AND token_id = 682"
        ).fetchone()[0]
        found = db.execute("SELECT hypercube.embedding(%s)", (piece,)).fetchone()[0]
        assert np.array_equal(np.array(found, np.float32), table[token(db, piece)])

    def test_a_word_of_several_pieces_is_their_mean(self, db):
        wordllama = load_file(MODELS / "wordllama" / "model.safetensors")["embedding.weight"].astype(
            np.float64
        )
        ids = [
            row[0]
            for row in db.execute(
                "SELECT token_id FROM hypercube.token_overview"
                " WHERE model = 'wordllama' AND piece IN ('▁wh', 'ale')"
            ).fetchall()
        ]
        found = db.execute("SELECT hypercube.embedding('whale', 'wordllama')").fetchone()[0]
        assert np.allclose(found, wordllama[ids].mean(axis=0), atol=1e-6)

    def test_null_is_refused(self, db):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            db.execute("SELECT hypercube.embedding(NULL)")


def test_k_out_of_range_is_refused_by_every_question(db):
    for call in (
        "nearest(hypercube.embedding('whale'), {})", "most_similar(ARRAY['whale'], k => {})",
        "analogy('man', 'king', 'woman', {})",
    ):  # fmt: skip
        for k in (0, -5, "NULL"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="k is out of range"):
                db.execute(f"SELECT * FROM hypercube.{call.format(k)}")
            db.rollback()
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="1001 rows .* at most 1000") as refusal:
            db.execute(f"SELECT * FROM hypercube.{call.format(1001)}")
        assert "SET hypercube.max_k = '1001'" in refusal.value.diag.message_hint
        db.rollback()
        db.execute("SET hypercube.max_k = '3'")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="4 rows .* at most 3"):
            db.execute(f"SELECT * FROM hypercube.{call.format(4)}")
        db.rollback()
        db.execute("SET hypercube.max_k = 'many'")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match='max_k is not a count: "many"'):
            db.execute(f"SELECT * FROM hypercube.{call.format(4)}")
        db.rollback()


def test_a_cancelled_first_question_leaves_the_session_usable(server, loaded):
    with server.connect(dbname="loaded", autocommit=True) as db:
        db.execute("SET hypercube.model = 'minilm'")
        db.execute("SET statement_timeout = '15ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT * FROM hypercube.analogy('man', 'king', 'woman', 5)")
        db.execute("RESET statement_timeout")
        assert db.execute("SELECT label FROM hypercube.analogy('man', 'king', 'woman', 1)").fetchone() == (
            "queen",
        )


@pytest.mark.parametrize("why", ["no usable token embedding", "without its bytes"])
def test_a_model_that_cannot_be_asked_refuses_every_question(own, sources, why):
    table = vectors(40)
    if "usable" in why:
        table[:] = np.nan
    source = write_model(sources / "m", table)
    own.execute(
        "SELECT hypercube.ingest(%s, 'm', store => %s)", (source, "none" if "bytes" in why else "all")
    )
    for call in (
        "semantic_neighbors('waab', 30)", "nearest('{1,2}')", "most_similar('{waab}')",
        "midpoint('waab', 'waac')", "analogy('waab', 'waac', 'waad')", "similarity('waab', 'waac')",
        "similarity('{waab}'::text[], '{waac}')",
        "rank_of('waab', 'waac')", "closer_than('waab', 'waac')", "odd_one_out('{waab,waac,waad}')",
        "rank_by_centrality('{waab}')", "centroid('{waab}'::text[])", "embedding('waab')", "warm()",
        "analogies('{{waab,waac,waad}}')", "nearest_batch('{{1,2}}'::real[])", "neighbor_join('m', 'm')",
        "evaluate_analogies('waab waac waad waae')", "evaluate_similarity('waab waac 1')",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=why) as refusal:
            own.execute(f"SELECT * FROM hypercube.{call}")
        assert refusal.value.diag.message_hint
