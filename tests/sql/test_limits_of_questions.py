"""Limits of questions: how many rows, how many a minute, and what a question without limits costs."""

import re
import time
from pathlib import Path

import psycopg
import pytest

from people import People, name_of, refused
from rows import one
from small_models import words

W = words(8)
TRIPLES = f"ARRAY[['{W[0]}', '{W[1]}', '{W[2]}'], ['{W[3]}', '{W[4]}', '{W[5]}']]"
ARRAY = "(SELECT array_agg(array_fill(i::real, ARRAY[16])) FROM generate_series(1, 3) AS i)"
FAST = f"SELECT label FROM hypercube.semantic_neighbors('{W[0]}', 3, 'm')"
SPATIAL = f"SELECT label FROM hypercube.spatial_neighbors('{W[0]}', 3, 'm')"
ID = "(SELECT composition_id FROM hypercube.token WHERE token_id = 5 AND model_id = 1)"

# A call of every function that answers a question, and how many it is.
QUESTIONS = {
    f"semantic_neighbors('{W[0]}', 3, 'm')": 1,
    f"semantic_neighbors('{W[0]}', 3, 'm', minimum_score => 0.1)": 1,
    f"semantic_neighbors('{W[0]}', 3, 'm', minimum_score => 2)": 1,
    f"semantic_neighbors('{W[0]}', 30, 'm')": 1,
    f"semantic_neighbors('{W[0]} {W[1]}', 3, 'm')": 1,
    f"semantic_neighbors('{W[0]}', 3, 'm', letters_only => true)": 1,
    f"semantic_neighbors({ID}, 3, 'm')": 1,
    "nearest(array_fill(0.5::real, ARRAY[16]), 3, 'm')": 1,
    f"most_similar('{{{W[0]}}}', '{{{W[1]}}}', 3, 'm')": 1,
    f"analogy('{W[0]}', '{W[1]}', '{W[2]}', 3, 'm')": 1,
    f"midpoint('{W[0]}', '{W[1]}', 3, 'm')": 1,
    f"similarity('{W[0]}', '{W[1]}', 'm')": 1,
    f"similarity('{{{W[0]},{W[1]}}}'::text[], '{{{W[2]}}}', 'm')": 1,
    f"rank_of('{W[0]}', '{W[1]}', 'm')": 1,
    f"closer_than('{W[0]}', '{W[1]}', 3, 'm')": 1,
    f"odd_one_out('{{{W[0]},{W[1]},{W[2]}}}', 'm')": 1,
    f"rank_by_centrality('{{{W[0]},{W[1]}}}', 'm')": 1,
    f"centroid('{{{W[0]},{W[1]}}}'::text[], 'm')": 1,
    f"embedding('{W[0]}', 'm')": 1,
    f"spatial_neighbors('{W[0]}', 3, 'm')": 1,
    f"consensus_neighbors('{W[0]}', 3)": 1,
    "map_svg('m')": 1,
    f"orthographic_neighbors('{W[0]}', 3)": 1,
    f"tokenize('{W[0]}', 'm')": 1,
    f"count_tokens('{W[0]}', 'm')": 1,
    "detokenize('{1,2}', 'm')": 1,
    f"embed('{W[0]} {W[1]}', 'm')": 1,
    f"search('{W[0]}', 3, 'm')": 1,
    f"search('{W[0]}', 3, 'm', 'document')": 1,
    f"search_text('{W[0]}', 3)": 1,
    f"hybrid_search('{W[0]}', 3, 'm')": 1,
    f"hybrid_search('{W[0]}', 3, 'other')": 1,
    f"ask('{W[0]} {W[1]}', 3, 'm')": 1,
    f"continuations('{W[0]}', 3, 'm')": 1,
    f"cooccurs('{W[0]}', '{W[1]}', 'm')": 1,
    f"analogies({TRIPLES}, 1, 'm')": 2,
    f"nearest_batch({ARRAY}, 2, 'm')": 3,
    "nearest_batch(decode(repeat('0000803f', 32), 'hex'), 2, 'm')": 2,
    "neighbor_join('m', 'other', 1, source_like => 'waab')": 1,
    f"evaluate_analogies('{W[0]} {W[1]} {W[2]} {W[3]}', 'm')": 1,
    "health()": 1,
    "health(true)": 1,
    f"evaluate_similarity(E'{W[0]}\\t{W[1]}\\t1\\n{W[2]}\\t{W[3]}\\t2', 'm')": 2,
    # They read every byte.
    "verify_model('m')": 1,
    "verify_document('a')": 1,
    "model_diff('m', 'other')": 1,
}
# They ask nothing: lookups, arithmetic, what tells about oneself, and what changes something.
NO_QUESTIONS = {
    "add", "allow_source", "allow_target", "atom_map_version", "audit_checkpoint", "audit_collect",
    "audit_drop_segment", "audit_seal", "audit_verify", "children", "compose", "composition_bytes",
    "composition_id", "composition_text", "contains", "create_vector_index", "depth",
    "disallow_source", "disallow_target", "distance", "document_bytes", "document_text",
    "drop_composition", "drop_document", "drop_model", "drop_vector_index", "embed_documents",
    "explain_question", "export_model", "find_composition", "give_document", "give_model", "grant_document",
    "grant_model", "hilbert_index", "hilbert_point", "hilbert_range", "ingest", "ingest_text",
    "ingest_texts", "ingest_texts_from", "ingest_upload", "maintain", "measure_recall", "metrics",
    "metrics_text", "model_report", "normalise", "parents", "read_documents", "record_backup",
    "refresh_consensus", "relate_sequences", "revoke_document", "revoke_model", "scale", "seed_atoms",
    "set_limit",
    "subtract", "token_id", "unset_limit", "upload_begin", "upload_cancel", "upload_finish",
    "upload_part", "warm",
}  # fmt: skip


@pytest.fixture
def people(server, asked):
    found = People(server, asked)
    yield found
    found.close()


@pytest.fixture
def ann(people):
    return people("hypercube_reader")


def used(connection):
    return one(connection, "SELECT used FROM hypercube.limit_overview WHERE what = 'questions'")


def has_python(connection):
    return "plpython3" in Path(f"/proc/{connection.info.backend_pid}/maps").read_text()


class TestRows:
    @pytest.mark.parametrize(
        "call",
        [
            "semantic_neighbors('{0}', {k}, 'm')",
            "semantic_neighbors('{0}', {k}, 'm', letters_only => true)",
            "nearest(array_fill(0.5::real, ARRAY[16]), {k}, 'm')",
            "analogy('{0}', '{1}', '{2}', {k}, 'm')",
            "spatial_neighbors('{0}', {k}, 'm')",
            "consensus_neighbors('{0}', {k})",
            "orthographic_neighbors('{0}', {k})",
            "continuations('{0}', {k}, 'm')",
            "search('{0}', {k}, 'm')",
            "search_text('{0}', {k})",
            "hybrid_search('{0}', {k}, 'm')",
            "ask('{0}', {k}, 'm')",
            "nearest_batch(array_fill(0.5::real, ARRAY[2, 16]), {k}, 'm')",
        ],
    )
    def test_a_question_gives_as_many_as_the_role_may_have(self, people, ann, call):
        people.limit(name_of(ann), "k", 4)
        few, many = (f"SELECT * FROM hypercube.{call.format(*W, k=k)}" for k in (4, 5))
        expected = people("hypercube_reader").execute(few).fetchall()
        assert expected
        assert ann.execute(few).fetchall() == expected
        ann.execute("SET hypercube.max_k = '100'")
        told = refused(ann, many, "ProgramLimitExceeded")
        assert (
            f'5 rows were asked for, at most 4 are allowed to role "{name_of(ann)}"' in told.message_primary
        )
        assert f"SELECT hypercube.set_limit('{name_of(ann)}', 'k', ...)" in told.message_hint

    def test_all_that_are_nearer_are_no_way_around(self, people, ann):
        ask = f"SELECT * FROM hypercube.closer_than('{W[0]}', '{W[1]}', NULL, 'm')"
        count = len(ann.execute(ask).fetchall())
        assert count > 1
        people.limit(name_of(ann), "k", count - 1)
        refused(ann, ask, "ProgramLimitExceeded")
        people.limit(name_of(ann), "k", count)
        assert len(ann.execute(ask).fetchall()) == count

    def test_nothing_may_be_allowed(self, people, ann):
        people.limit(name_of(ann), "k", 0)
        refused(ann, f"SELECT * FROM hypercube.semantic_neighbors('{W[0]}', 1, 'm')", "ProgramLimitExceeded")
        assert one(ann, f"SELECT hypercube.similarity('{W[0]}', '{W[0]}', 'm')") == 1

    @pytest.mark.parametrize(
        "call",
        [
            f"analogies({TRIPLES}, 2, 'm')",
            "nearest_batch(array_fill(0.5::real, ARRAY[2, 16]), 2, 'm')",
            "neighbor_join('m', 'other', 2, source_like => 'waa_' )",
        ],
    )
    def test_a_batch_gives_as_many_as_the_role_may_have(self, people, ann, call):
        ask = f"SELECT * FROM hypercube.{call}"
        rows = len(ann.execute(ask).fetchall())
        people.limit(name_of(ann), "batch", rows)
        assert len(ann.execute(ask).fetchall()) == rows
        people.limit(name_of(ann), "batch", rows - 1)
        ann.execute("SET hypercube.max_batch = '1000'")
        told = refused(ann, ask, "ProgramLimitExceeded")
        assert f"at most {rows - 1} are allowed" in told.message_primary


class TestRate:
    @pytest.mark.parametrize("call", QUESTIONS)
    def test_a_call_counts_once_and_a_batch_for_each_of_its_questions(self, people, ann, call):
        people.limit(name_of(ann), "questions", 10)
        ann.execute(f"SELECT * FROM hypercube.{call}").fetchall()
        assert used(ann) == QUESTIONS[call]

    @pytest.mark.parametrize("call", QUESTIONS)
    def test_nobody_who_may_ask_nothing_gets_an_answer(self, people, ann, call):
        people.limit(name_of(ann), "questions", 0)
        told = refused(ann, f"SELECT * FROM hypercube.{call}", "ConfigurationLimitExceeded")
        assert f'role "{name_of(ann)}" is limited to 0 questions a minute' in told.message_primary

    def test_every_function_is_known_to_be_a_question_or_none(self, ann):
        every = {
            row[0]
            for row in ann.execute(
                "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'hypercube'::regnamespace"
                " AND left(proname, 1) <> '_'"
            )
        }
        assert {call.split("(")[0] for call in QUESTIONS} == every - NO_QUESTIONS

    @pytest.mark.parametrize("ask", [FAST, SPATIAL, f"SELECT hypercube.similarity('{W[0]}', '{W[1]}', 'm')"])
    def test_a_bucket_that_is_empty_says_when_to_come_back(self, people, ann, ask):
        people.limit("hypercube_reader", "questions", 20)
        answers, began = 0, time.monotonic()
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded) as refusal:
            while answers < 100:
                ann.execute(ask)
                answers += 1
        assert 20 <= answers <= 20 + (time.monotonic() - began) / 3
        told = refusal.value.diag
        assert told.message_detail == '1 asked, 0 left. The limit was set for role "hypercube_reader".'
        seconds = int(re.match(r"Ask again in (\d+) s\. A member of", told.message_hint)[1])
        assert 1 <= seconds <= 3
        time.sleep(seconds)
        ann.execute(ask)
        people._root.execute("SELECT hypercube.unset_limit('hypercube_reader', 'questions')")

    def test_a_batch_is_answered_as_a_whole_or_not_at_all(self, people, ann):
        people.limit(name_of(ann), "questions", 2)
        told = refused(
            ann, f"SELECT * FROM hypercube.nearest_batch({ARRAY}, 2, 'm')", "ConfigurationLimitExceeded"
        )
        assert "3 asked, 2 left." in told.message_detail
        assert told.message_hint.startswith("Ask fewer at once.")
        assert len(ann.execute(f"SELECT * FROM hypercube.analogies({TRIPLES}, 1, 'm')").fetchall()) == 2

    def test_a_question_that_is_rolled_back_stays_counted(self, people, ann):
        people.limit(name_of(ann), "questions", 5)
        with pytest.raises(psycopg.errors.DivisionByZero), ann.transaction():
            ann.execute(FAST)
            ann.execute("SAVEPOINT s")
            ann.execute(SPATIAL)
            ann.execute("ROLLBACK TO s")
            ann.execute("SELECT 1 / 0")
        assert used(ann) == 2

    def test_it_counts_in_a_transaction_that_may_not_write(self, people, ann):
        people.limit(name_of(ann), "questions", 1)
        with ann.transaction():
            ann.execute("SET TRANSACTION READ ONLY")
            ann.execute(FAST)
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded), ann.transaction():
            ann.execute("SET TRANSACTION READ ONLY")
            ann.execute(FAST)

    def test_sessions_of_a_role_share_it_and_roles_do_not(self, people, ann):
        people.limit("public", "questions", 1)
        bob = people("hypercube_reader")
        ann.execute(FAST)
        refused(people.connect(name_of(ann)), SPATIAL, "ConfigurationLimitExceeded")
        bob.execute(FAST)
        people._root.execute("SELECT hypercube.unset_limit('public', 'questions')")

    def test_a_view_that_is_refreshed_is_a_question_of_its_owner(self, people, ann):
        admin = people._root
        people.limit(name_of(ann), "questions", 1)
        admin.execute("CREATE SCHEMA views")
        admin.execute(f"GRANT ALL ON SCHEMA views TO {name_of(ann)}")
        try:
            ann.execute(f"CREATE MATERIALIZED VIEW views.near AS {SPATIAL}")
            refused(admin, "REFRESH MATERIALIZED VIEW views.near", "ConfigurationLimitExceeded")
        finally:
            admin.execute("DROP SCHEMA views CASCADE")


class TestNothingIsLimited:
    def test_stored_neighbours_start_no_python_where_no_limit_concerns_the_caller(self, people, ann):
        bob = people("hypercube_reader")
        people.limit(name_of(bob), "questions", 5)
        people.limit(name_of(bob), "k", 5)
        people.limit(name_of(ann), "models", 5)
        for _ in range(7):
            ann.execute(FAST)
            ann.execute(SPATIAL)
        assert not has_python(ann)
        bob.execute(FAST)
        assert has_python(bob)

    def test_who_administers_starts_none_either(self, people):
        admin = people("hypercube_admin")
        people.limit("hypercube_reader", "questions", 0)
        admin.execute(FAST)
        admin.execute(SPATIAL)
        people._root.execute("SELECT hypercube.unset_limit('hypercube_reader', 'questions')")
        assert not has_python(admin)

    def test_a_limit_counts_from_the_next_question_of_a_session_on(self, people, ann):
        ann.execute(FAST)
        people.limit(name_of(ann), "questions", 0)
        refused(ann, FAST, "ConfigurationLimitExceeded")
        people._root.execute("SELECT hypercube.unset_limit(%s, 'questions')", (name_of(ann),))
        ann.execute(FAST)


def test_a_question_ends_under_the_timeout_that_a_role_has(people):
    ann = people.role("hypercube_reader")
    people._root.execute(f"ALTER ROLE {ann} SET statement_timeout = '300ms'")
    session = people.connect(ann)
    many = (
        "SELECT count(*) FROM generate_series(1, 1000000) AS i"
        f" CROSS JOIN LATERAL hypercube.{{}}('{W[0]}', 3 + mod(i, 2), 'm') AS n"
    )
    for function in ("semantic_neighbors", "spatial_neighbors"):
        began = time.monotonic()
        refused(session, many.format(function), "QueryCanceled")
        assert time.monotonic() - began < 2
    assert len(session.execute(FAST).fetchall()) == 3
