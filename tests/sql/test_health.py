"""health(): green after an ingest, and red where something was broken by hand."""

import os
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
from safetensors.numpy import save_file

from people import People, name_of, refused
from rows import ingest, one
from small_models import vectors, write_model

OF_SERVER = {
    "python packages", "cancel", "sources", "indexes", "audit", "owners", "vectors of sentences", "orphans",
}  # fmt: skip


EXPECTED = (
    "SELECT kind, ordinal, question, inputs, answers, scores, digest FROM hypercube.expectation"
    " ORDER BY kind, ordinal"
)


def checks(db, quick=False):
    return {row[0]: row[1:] for row in db.execute("SELECT * FROM hypercube.health(%s)", (quick,)).fetchall()}


def red(db):
    return {check: told for check, (ok, told) in checks(db).items() if not ok}


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
        # One row of hundreds, which no count and no sample would show.
        (
            "UPDATE hypercube.relation SET weight = weight + 0.000001 WHERE source = 3 AND rank = 2",
            "rows of m",
        ),
        (
            "UPDATE hypercube.relation SET target = 40 WHERE source = 3 AND rank = 16 AND target <> 40",
            "rows of m",
        ),
        (
            "UPDATE hypercube.projection SET hilbert = set_byte(hilbert, 12, 1) WHERE token_id = 3",
            "rows of m",
        ),
        (
            "UPDATE hypercube.projection SET point = p.point FROM hypercube.projection AS p"
            " WHERE projection.token_id = 3 AND p.token_id = 4",
            "rows of m",
        ),
        ("UPDATE hypercube.token SET label = 'other' WHERE token_id = 3", "rows of m"),
        ("UPDATE hypercube.token SET piece = 'other' WHERE token_id = 3", "rows of m"),
        ("UPDATE hypercube.token SET usable = false WHERE token_id = 3", "rows of m"),
        ("UPDATE hypercube.tensor SET stored = false", "rows of m"),
        ("UPDATE hypercube.token SET label = 'x' || label", "answer of m"),
        ("UPDATE hypercube.relation SET rank = 17 - rank", "answer of m"),
        ("UPDATE hypercube.relation SET weight = 0.9 * weight", "answer of m"),
        ("UPDATE hypercube.projection SET point = '(0,0,0,0)'", "answer of m"),
        ("DELETE FROM hypercube.projection", "answer of m"),
        ("UPDATE hypercube.model_file SET content = '{' WHERE path = 'tokenizer.json'", "bytes of m"),
        ("DELETE FROM hypercube.token WHERE token_id = 3", "rows of m"),
        ("DELETE FROM hypercube.model_file WHERE path = 'config.json'", "rows of m"),
        ("UPDATE hypercube.model SET tokenizer = NULL", "answer of m"),
        ("UPDATE hypercube.model SET embedding = 'nothing'", "answer of m"),
        ("UPDATE hypercube.tensor SET dtype = 'F16'", "matrix of m"),
        # An index that the catalogue knows of, and nobody can open: an error of the kind that should not be.
        ("DELETE FROM pg_class WHERE oid = 'hypercube.relation_pkey'::regclass", "rows of m"),
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


def test_damage_is_told_in_words(own, sources):
    ingest(own, write_model(sources / "m", vectors(50)))
    own.execute("UPDATE hypercube.relation SET rank = CASE rank WHEN 1 THEN 2 ELSE 1 END WHERE rank <= 2")

    told = red(own)
    assert set(told) == {"rows of m", "answer of m"}
    assert "relations are not as they were stored" in told["rows of m"]
    assert 'neighbors of "' in told["answer of m"]


def test_what_a_question_is_refused_with_is_the_answer_of_its_row_alone(server, own, sources):
    """A session that has not read the tokenizer yet: the others go on with what they read."""
    ingest(own, write_model(sources / "m", vectors(50)))
    own.execute("DELETE FROM hypercube.model_file")
    with psycopg.connect(**own.info.get_parameters(), autocommit=True) as fresh:
        found = checks(fresh)
    assert [check for check, (ok, _) in found.items() if not ok] == ["rows of m", "answer of m"]
    assert "tokenizer.json" in found["answer of m"][1] and "orphans" in found


def test_two_damages_that_even_out_in_a_sum_are_seen(own, sources):
    """Weights of two rows are exchanged: neither a count nor a plain sum would change."""
    ingest(own, write_model(sources / "m", vectors(50)))
    own.execute(
        "UPDATE hypercube.relation AS r SET weight = o.weight FROM hypercube.relation AS o"
        " WHERE r.source = 3 AND o.source = 3 AND (r.rank, o.rank) IN ((1, 16), (16, 1))"
    )

    assert "rows of m" in red(own)


def test_a_page_that_cannot_be_read_is_an_answer_of_its_row_alone(own, sources):
    ingest(own, write_model(sources / "m", vectors(50)))
    ingest(own, write_model(sources / "other", vectors(50, seed=8)))
    own.execute(
        "DELETE FROM hypercube.chunk WHERE digest IN (SELECT chunk_digest FROM hypercube.tensor_chunk AS p"
        " JOIN hypercube.tensor AS t ON t.digest = p.tensor_digest"
        " JOIN hypercube.model AS m ON m.id = t.model_id"
        " WHERE m.name = 'm' AND t.name LIKE '%word_embeddings%')"
    )

    found = checks(own)
    assert len([check for check in found if check.endswith(" of other")]) == 4
    assert {check for check, (ok, _) in found.items() if not ok} == {
        "rows of m", "answer of m", "bytes of m", "matrix of m", "orphans",
    }  # fmt: skip
    assert "is incomplete" in found["answer of m"][1]


def test_a_model_without_expectations_is_asked_for_a_plausible_answer(own, sources):
    """Models that an earlier version stored have none until maintain() makes them."""
    ingest(own, write_model(sources / "m", vectors(50)))
    own.execute("DELETE FROM hypercube.expectation")

    ok, told = checks(own)["answer of m"]
    assert ok and "nothing is expected of it: SELECT * FROM hypercube.maintain()" in told
    own.execute("DELETE FROM hypercube.relation")
    assert {"rows of m", "answer of m"} <= set(red(own))


@pytest.mark.parametrize("store", ["all", "embeddings", "none"])
def test_what_is_not_stored_is_not_asked(own, sources, store):
    folder = write_model(sources / "m", vectors(50))
    own.execute("SELECT hypercube.ingest(%s, 'm', 16, %s)", (folder, store))

    found = checks(own)
    assert all(ok for ok, _ in found.values()), found
    assert found["answer of m"][1] == f"{7 if store == 'none' else 11} questions answered as expected"
    assert ("matrix of m" in found) == (store != "none")


@pytest.mark.parametrize("neighbors", [1, 3, 16])
def test_neighbours_that_are_equally_near_are_no_fault(own, sources, neighbors):
    # Directions that differ by rounding only: which of them are the nearest is chance.
    random = np.random.default_rng(5)
    table = vectors(3, columns=64)[np.arange(90) % 3] * random.uniform(0.5, 2.0, size=(90, 1))
    ingest(own, write_model(sources / "m", table.astype(np.float32)), neighbors=neighbors)

    assert red(own) == {}


def test_a_model_that_is_no_language_model_is_green(own, sources):
    sources.joinpath("vad").mkdir()
    save_file({"conv.weight": vectors(4)}, sources / "vad" / "model.safetensors")
    os.chmod(sources / "vad" / "model.safetensors", 0o644)
    ingest(own, str(sources / "vad"))

    found = checks(own)
    assert all(ok for ok, _ in found.values()), found
    assert found["answer of vad"] == (True, "nothing is expected of it") and "matrix of vad" not in found


def test_a_tokenizer_that_cuts_in_another_way_is_seen(own, sources):
    ingest(own, write_model(sources / "m", vectors(50)))
    for old, new in (('"##"', '"@@"'), ('"w', '"v')):
        own.execute(
            "UPDATE hypercube.model_file SET content = convert_to(replace(convert_from(content, 'UTF8'),"
            " %s, %s), 'UTF8') WHERE path = 'tokenizer.json'",
            (old, new),
        )
    with psycopg.connect(**own.info.get_parameters(), autocommit=True) as fresh:
        found = red(fresh)
    assert "tokenize of" in found["answer of m"] and found["bytes of m"] == "differ: file tokenizer.json"


def test_expectations_go_with_their_model_and_come_with_the_next(own, sources):
    folder = write_model(sources / "m", vectors(50))
    ingest(own, folder)
    before = own.execute(EXPECTED).fetchall()
    assert len(before) > 10
    own.execute("SELECT hypercube.drop_model('m')")
    assert one(own, "SELECT count(*) FROM hypercube.expectation") == 0
    ingest(own, folder)
    assert before == own.execute(EXPECTED).fetchall()


def test_a_matrix_that_has_no_file_is_no_fault_and_is_made_unless_quick(own, sources, server):
    """As by any exact question: whether others have made it already is not told."""
    ingest(own, write_model(sources / "m", vectors(50)))
    number = one(own, "SELECT oid FROM pg_database WHERE datname = current_database()")
    folder = server.data_folder / "pgsql_tmp_hypercube" / str(number)
    before = checks(own)
    for name in os.listdir(folder):
        os.unlink(folder / name)
    assert all(ok for ok, _ in checks(own, quick=True).values()) and os.listdir(folder) == []
    assert checks(own) == before and len(os.listdir(folder)) == 1


def test_a_matrix_that_may_not_be_mapped_is_not_asked(own, sources):
    ingest(own, write_model(sources / "m", vectors(50)))
    own.execute("SET hypercube.matrix_limit = '0'")
    ok, told = checks(own)["answer of m"]
    assert ok and told == (
        "7 questions answered as expected; 4 not asked: its matrix is larger than hypercube.matrix_limit"
    )


def test_an_encoder_that_may_not_be_mapped_is_not_asked(db):
    db.execute("SET hypercube.matrix_limit = '1'")
    try:
        ok, told = checks(db)["answer of minilm"]
    finally:
        db.execute("RESET hypercube.matrix_limit")
    assert ok and "1 not asked: its encoder is larger than hypercube.matrix_limit" in told


class TestReaders:
    @pytest.fixture
    def people(self, server, asked):
        found = People(server, asked)
        yield found
        found.close()

    def test_a_reader_sees_what_is_about_his_models_and_nothing_of_the_server(self, people):
        ann, admin = people("hypercube_reader"), people("hypercube_admin")
        seen, all_of_it = checks(ann), checks(admin)
        assert all(ok for ok, _ in seen.values()), seen
        assert seen.keys() | OF_SERVER == all_of_it.keys()
        assert not seen.keys() & OF_SERVER
        assert {"rows of m", "answer of m", "bytes of m", "matrix of m", "rows of other"} <= seen.keys()

    def test_who_sees_no_model_gets_no_row_about_one(self, people):
        people._root.execute("SELECT hypercube.revoke_model(name, 'public') FROM hypercube.model")
        try:
            ann = people("hypercube_reader")
            found = checks(ann)
            assert set(found) == {"version", "models", "documents", "languages"}
            assert found["models"] == (True, "0 models, 0 tokens, 0 relations")
            told = refused(ann, "SELECT * FROM hypercube._model_health('m', 'rows')", "UndefinedObject")
            assert told.message_primary.endswith('model "m" does not exist')
            assert one(ann, "SELECT count(*) FROM hypercube.expectation") == 0
        finally:
            people._root.execute("SELECT hypercube.grant_model(name, 'public') FROM hypercube.model")

    def test_a_check_that_is_none_is_a_refusal_and_no_defect(self, people):
        """Of which the alerts would tell, whoever asks for it."""
        ann = people("hypercube_reader")
        for part in ("NULL", "'nothing'"):
            refused(ann, f"SELECT * FROM hypercube._model_health('m', {part})", "InvalidParameterValue")

    def test_it_counts_as_one_question(self, people):
        ann = people("hypercube_reader")
        people.limit(name_of(ann), "questions", 2)
        checks(ann)
        checks(ann, quick=True)
        refused(ann, "SELECT * FROM hypercube.health()", "ConfigurationLimitExceeded")

    def test_other_limits_of_who_asks_do_not_make_it_red(self, people):
        ann = people("hypercube_reader")
        people.limit(name_of(ann), "k", 0)
        ann.execute("SET hypercube.max_k = '1'")
        assert all(ok for ok, _ in checks(ann).values())


def test_quick_reads_no_vector_and_starts_no_numpy(db, server):
    with server.connect(dbname="loaded", autocommit=True) as fresh:
        found = checks(fresh, quick=True)
        mapped = Path(f"/proc/{fresh.info.backend_pid}/maps").read_text()
    assert "numpy" not in mapped and "pgsql_tmp_hypercube/" not in mapped
    assert found["answer of minilm"] == (True, "6 questions answered as expected")
    assert not {"rows of minilm", "bytes of minilm", "orphans", "documents"} & found.keys()
    refused(db, "SELECT * FROM hypercube.health(NULL)", "InvalidParameterValue")


def test_it_can_be_cancelled(db):
    db.execute("SET statement_timeout = '30ms'")
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        for _ in range(20):
            db.execute("SELECT * FROM hypercube.health()")
    assert time.monotonic() - began < 2
