"""Stored neighbours: the answers, the way words are found, and no Python on the way."""

import re
from pathlib import Path

import psycopg
import pytest

from rows import one


def answers(db, statement, *args):
    return [(row[1], round(row[2], 3)) for row in db.execute(statement, args).fetchall()]


def labels(db, statement, *args):
    return [row[1] for row in db.execute(statement, args).fetchall()]


def test_the_neighbours_of_whale(db):
    assert answers(db, "SELECT * FROM hypercube.semantic_neighbors('whale', 5)") == [
        ("whales", 0.820), ("whaling", 0.524), ("dolphin", 0.464), ("shark", 0.428), ("elephant", 0.386),
    ]  # fmt: skip


def test_a_ranked_row_says_everything_about_itself(db):
    cursor = db.execute("SELECT * FROM hypercube.semantic_neighbors('whale', 1)")

    assert [column.name for column in cursor.description] == [
        "rank",
        "label",
        "score",
        "model",
        "token_id",
        "exact",
    ]
    rank, label, score, model, token_id, exact = cursor.fetchone()
    assert (rank, label, model, exact) == (1, "whales", "minilm", True)
    assert db.execute(
        "SELECT label FROM hypercube.token_overview WHERE model = 'minilm' AND token_id = %s", (token_id,)
    ).fetchone() == ("whales",)


def test_a_composition_asks_the_same_question(db):
    by_id = labels(
        db, "SELECT * FROM hypercube.semantic_neighbors("
        "(SELECT id FROM hypercube.composition WHERE label = 'whale' LIMIT 1), 10)"
    )  # fmt: skip
    assert by_id == labels(db, "SELECT * FROM hypercube.semantic_neighbors('whale', 10)")
    assert len(by_id) == 10


def test_more_rows_than_are_stored_are_scanned_and_begin_with_the_stored_ones(db):
    stored = db.execute("SELECT * FROM hypercube.semantic_neighbors('king', 16)").fetchall()
    scanned = db.execute("SELECT * FROM hypercube.semantic_neighbors('king', 1000)").fetchall()

    assert len(scanned) == 1000
    assert [row[4] for row in scanned[:16]] == [row[4] for row in stored]
    assert [row[2] for row in scanned[:16]] == pytest.approx([row[2] for row in stored], abs=1e-6)
    assert [row[0] for row in scanned] == list(range(1, 1001))


@pytest.mark.parametrize(
    ("model", "query", "piece"),
    [
        ("minilm", "whale", "whale"),
        ("minilm", "Whale", "whale"),
        ("minilm", " whale ", "whale"),
        ("minilm", "##ing", "##ing"),
        ("minilm", "[CLS]", "[CLS]"),
        ("wordllama", "king", "▁king"),
        ("wordllama", "▁king", "▁king"),
        ("wordllama", "King", "▁King"),
        ("wordllama", "KING", "▁king"),
        ("wordllama", "##king", "king"),
    ],
)
def test_words_are_found_word_initial_first_and_exact_case_first(db, model, query, piece):
    found = db.execute(
        "SELECT t.piece FROM hypercube._find_model(%s) AS m, hypercube.token AS t"
        " WHERE t.model_id = m.id AND t.token_id = hypercube._find_token(m.id, %s)",
        (model, query),
    ).fetchone()
    assert found == (piece,)


def test_a_tenant_finds_a_word_by_its_label_alone(db):
    model = one(db, "SELECT id FROM hypercube.model WHERE name = 'minilm'")
    db.execute("CREATE ROLE finder IN ROLE hypercube_reader")
    db.execute("SELECT hypercube.grant_model('minilm', 'finder')")
    db.execute("SET ROLE finder")
    plan = db.execute(f"EXPLAIN SELECT * FROM hypercube._same_word({model}, 'whale')").fetchall()
    assert {read for (line,) in plan for read in re.findall(r"token_\w+_index", line)} == {
        "token_label_index"
    }


def test_a_word_of_several_pieces_is_scanned_with_their_mean_and_says_so(db):
    said = []
    db.add_notice_handler(lambda notice: said.append(notice.message_primary))
    rows = db.execute("SELECT * FROM hypercube.semantic_neighbors('whale', 5, 'wordllama')").fetchall()

    assert said == ['"whale" is 2 tokens (wh + ##ale); the mean of their vectors is used']
    assert len(rows) == 5 and all(row[5] for row in rows)
    # The pieces themselves are no answer.
    assert not {"wh", "##ale"} & {row[1] for row in rows}


def test_a_word_that_the_tokenizer_normalises_to_one_token_is_that_token(db):
    assert labels(db, "SELECT * FROM hypercube.semantic_neighbors('Café', 5)") == labels(
        db, "SELECT * FROM hypercube.semantic_neighbors('cafe', 5)"
    )


def test_a_whole_vocabulary_can_be_joined(db):
    rows = db.execute(
        "SELECT word, n.label FROM unnest(ARRAY['king', 'paris', 'dog']) AS word,"
        " LATERAL hypercube.semantic_neighbors(word, 1) AS n ORDER BY word"
    ).fetchall()
    assert rows == [("dog", "dogs"), ("king", "kings"), ("paris", "parisian")]


def test_stored_neighbours_start_no_python(server, loaded):
    with server.connect(dbname="loaded") as fresh:
        fresh.execute("SET hypercube.model = 'minilm'")
        fresh.execute("SELECT * FROM hypercube.semantic_neighbors('whale', 10)").fetchall()
        fresh.execute("SELECT * FROM hypercube.spatial_neighbors('whale', 10)").fetchall()
        fresh.execute("SELECT * FROM hypercube.relation_overview LIMIT 1").fetchall()
        maps = Path(f"/proc/{fresh.info.backend_pid}/maps")
        assert "plpython3" not in maps.read_text()
        # The same look does see Python once it is there.
        fresh.execute("SELECT * FROM hypercube.semantic_neighbors('whale', 100)").fetchall()
        assert "plpython3" in maps.read_text()


def test_the_index_answers(db):
    model_id = db.execute("SELECT id FROM hypercube.model WHERE name = 'minilm'").fetchone()[0]
    plan = "\n".join(
        row[0]
        for row in db.execute(
            f"EXPLAIN SELECT * FROM hypercube._stored_neighbors({model_id}, 'minilm', 2543, 10)"
        ).fetchall()
    )
    assert "Index Scan using relation_pkey" in plan and "Index Scan using token_pkey" in plan


def test_words_that_are_no_token_can_be_left_out_of_a_join(db):
    rows = db.execute(
        "SELECT word, hypercube.token_id(word) IS NOT NULL, n.label"
        " FROM unnest(ARRAY['whale', 'xyzzyx', '\U0001f40b']) AS word"
        " LEFT JOIN LATERAL hypercube.semantic_neighbors(word, 1) AS n"
        "  ON hypercube.token_id(word) IS NOT NULL WHERE hypercube.token_id(word) IS NOT NULL"
    ).fetchall()
    assert rows == [("whale", True, "whales")]
    assert db.execute(
        "SELECT hypercube.token_id(NULL), hypercube.token_id('whale', 'wordllama')"
    ).fetchone() == (
        None,
        None,
    )


class TestWhichModel:
    def test_the_setting_decides_where_no_model_is_named(self, db):
        db.execute("SET hypercube.model = 'wordllama'")
        rows = db.execute("SELECT DISTINCT model FROM hypercube.semantic_neighbors('king', 5)").fetchall()
        assert rows == [("wordllama",)]

    def test_several_models_and_none_named_lists_them(self, db):
        db.execute("RESET hypercube.model")
        with pytest.raises(psycopg.errors.UndefinedObject, match="no model was named") as refusal:
            db.execute("SELECT * FROM hypercube.semantic_neighbors('king', 5)")
        assert "glassllm, minilm, wordllama" in refusal.value.diag.message_hint

    def test_an_unknown_model_is_an_undefined_object_with_a_hint(self, db):
        with pytest.raises(psycopg.errors.UndefinedObject, match='"nope" does not exist') as refusal:
            db.execute("SELECT * FROM hypercube.semantic_neighbors('king', model => 'nope')")
        assert refusal.value.diag.message_hint.startswith("List the loaded models")

    def test_no_model_at_all_says_how_to_load_one(self, own):
        with pytest.raises(psycopg.errors.UndefinedObject, match="no model is loaded") as refusal:
            own.execute("SELECT * FROM hypercube.semantic_neighbors('king')")
        assert "hypercube.ingest" in refusal.value.diag.message_hint


class TestBadInput:
    @pytest.mark.parametrize("k", [0, -1, None])
    def test_k_out_of_range(self, db, k):
        for question in ("semantic_neighbors", "spatial_neighbors", "consensus_neighbors"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="k is out of range") as refusal:
                db.execute(f"SELECT * FROM hypercube.{question}('whale', %s)", (k,))
            assert "at least 1 row" in refusal.value.diag.message_hint
            db.rollback()

    def test_k_beyond_the_setting(self, db):
        for question in ("semantic_neighbors", "spatial_neighbors", "consensus_neighbors"):
            with pytest.raises(
                psycopg.errors.ProgramLimitExceeded, match="1001 rows .* at most 1000"
            ) as refusal:
                db.execute(f"SELECT * FROM hypercube.{question}('whale', 1001)")
            assert "SET hypercube.max_k = '1001'" in refusal.value.diag.message_hint
            db.rollback()
        db.execute("SET hypercube.max_k = '1500'")
        assert one(db, "SELECT count(*) FROM hypercube.semantic_neighbors('whale', 1500)") == 1500
        db.execute("SET hypercube.max_k = '1 OR 1=1'")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="max_k is not a count"):
            db.execute("SELECT * FROM hypercube.semantic_neighbors('whale')")

    def test_null_words(self, db):
        for call in (
            "semantic_neighbors(NULL::text)",
            "semantic_neighbors(NULL::bytea)",
            "spatial_neighbors(NULL)",
        ):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="must not be null"):
                db.execute(f"SELECT * FROM hypercube.{call}")
            db.rollback()

    def test_unknown_words_are_named(self, db):
        with pytest.raises(psycopg.errors.UndefinedObject, match='word "\U0001f40b" not known') as refusal:
            db.execute("SELECT * FROM hypercube.semantic_neighbors('\U0001f40b', model => 'minilm')")
        assert "token_overview" in refusal.value.diag.message_hint

    @pytest.mark.parametrize("query", ["", " ", "'; DROP TABLE hypercube.model; --", "%", "\x01", "a" * 1000])
    def test_odd_words_are_refused_or_answered(self, db, query):
        try:
            rows = db.execute("SELECT * FROM hypercube.semantic_neighbors(%s, 3)", (query,)).fetchall()
        except psycopg.errors.UndefinedObject as refusal:
            assert "not known to model" in str(refusal)
        else:
            assert len(rows) == 3

    def test_a_word_of_more_than_a_thousand_characters_is_refused_at_once(self, db):
        for question in ("semantic_neighbors(%s)", "spatial_neighbors(%s)", "most_similar(ARRAY[%s])"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="has 4000000 characters"):
                db.execute(f"SELECT * FROM hypercube.{question}", ("word" * 1_000_000,))
            db.rollback()
            db.execute("SET hypercube.model = 'minilm'")

    def test_an_unknown_composition(self, db):
        with pytest.raises(psycopg.errors.UndefinedObject, match="composition .* does not exist"):
            db.execute("SELECT * FROM hypercube.semantic_neighbors('\\x00'::bytea)")
