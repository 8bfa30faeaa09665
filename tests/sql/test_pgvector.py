"""The optional index of pgvector; a run of its own (scripts/test-pgvector), as the server has to have it."""

import re
import subprocess
import threading
import time

import numpy as np
import psycopg
import pytest

from audits import log, verified
from chapters import role
from people import People, name_of
from rows import ingest, one
from servers import program_folder
from small_models import vectors, write_model
from waiting import WRITERS, Waiting

pytestmark = pytest.mark.pgvector


@pytest.fixture(scope="module")
def indexed(server, loaded):
    """A database with minilm and an index over it; pgvector lives in a schema with an odd name."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE indexed TEMPLATE loaded")
    with server.connect(dbname="indexed", autocommit=True) as db:
        db.execute('CREATE SCHEMA "odd ""one"')
        db.execute('CREATE EXTENSION vector SCHEMA "odd ""one"')
        db.execute("SET maintenance_work_mem = '256MB'")
        assert one(db, "SELECT hypercube.create_vector_index('minilm')") > 40 << 20
    return "indexed"


@pytest.fixture
def vdb(server, indexed):
    with server.connect(dbname=indexed) as db:
        db.execute("SET hypercube.model = 'minilm'")
        yield db
        db.rollback()


def test_approximate_answers_say_so_and_are_mostly_the_exact_ones(vdb):
    for call in (
        "semantic_neighbors('whale', 10, approximate => {})",
        "nearest(hypercube.embedding('whale'), 10, approximate => {})",
        "analogy('man', 'king', 'woman', 10, approximate => {})",
        "most_similar('{{paris,berlin}}', '{{france}}', 10, approximate => {})",
        "midpoint('king', 'queen', 10, approximate => {})",
    ):
        near, exact = (
            vdb.execute(f"SELECT token_id, score, exact FROM hypercube.{call.format(flag)}").fetchall()
            for flag in ("true", "false")
        )
        assert len(near) == 10 and not any(row[2] for row in near) and all(row[2] for row in exact)
        assert len({row[:2] for row in near} & {row[:2] for row in exact}) >= 8
        assert [row[1] for row in near] == sorted((row[1] for row in near), reverse=True)


def test_filters_hold_and_a_rare_pattern_is_answered_exactly(vdb):
    call = (
        "SELECT label, score, exact FROM hypercube.semantic_neighbors('whale', 10, approximate => true, {})"
    )
    common = vdb.execute(call.format("letters_only => true, exclude_variants => true")).fetchall()
    assert len(common) == 10 and all(row[0].isalpha() and not row[2] for row in common)
    rare = vdb.execute(call.format("label_like => 'z_b%'")).fetchall()
    plain = vdb.execute(call.replace("approximate => true, ", "").format("label_like => 'z_b%'")).fetchall()
    assert rare == plain and all(row[2] for row in rare)
    above = vdb.execute(call.format("minimum_score => 0.5")).fetchall()
    assert [row[0] for row in above] == ["whales", "whaling"]
    assert vdb.execute(call.format("label_like => 'no such thing'")).fetchall() == []


def test_more_rows_than_ef_search_are_all_there_and_the_setting_comes_back(vdb):
    vdb.execute("SET hnsw.ef_search = 20")
    rows = vdb.execute(
        "SELECT * FROM hypercube.semantic_neighbors('whale', 300, approximate => true)"
    ).fetchall()
    assert len(rows) == 300
    assert one(vdb, "SHOW hnsw.ef_search") == "20"


def test_recall_is_measured_and_kept(server, indexed):
    with server.connect(dbname=indexed, autocommit=True) as db:
        model, k, sample, mean, least, ef_search, milliseconds = db.execute(
            "SELECT * FROM hypercube.measure_recall('minilm', 10, 100)"
        ).fetchone()
        assert (model, k, sample, ef_search) == ("minilm", 10, 100, 40)
        assert 0.8 < mean <= 1 and 0 <= least <= mean and milliseconds > 0
        db.execute("SET hnsw.ef_search = 400")
        better = db.execute(
            "SELECT mean, ef_search FROM hypercube.measure_recall('minilm', 10, 100)"
        ).fetchone()
        assert better[0] >= mean and better[1] == 400
        kept = db.execute("SELECT k, sample, mean, minimum, ef_search FROM hypercube.index_recall").fetchall()
        assert [(row[0], row[1], row[2], row[4]) for row in kept] == [(10, 100, *better)]


def test_recall_is_what_a_scan_in_float64_says(server, indexed):
    with server.connect(dbname=indexed, autocommit=True) as db:
        usable = one(
            db,
            "SELECT array_agg(token_id ORDER BY token_id) FROM hypercube.token_overview"
            " WHERE model = 'minilm' AND usable",
        )
        tokens = np.array(usable)[np.linspace(0, len(usable) - 1, 20).astype(int)].tolist()
        shares = []
        for token_id in tokens:
            label = one(
                db,
                "SELECT label FROM hypercube.token_overview WHERE model = 'minilm' AND token_id = %s",
                token_id,
            )
            if one(db, "SELECT hypercube.token_id(%s, 'minilm')", label) != token_id:
                continue
            ask = "SELECT token_id FROM hypercube.semantic_neighbors(%s, 10, 'minilm', approximate => %s)"
            near, exact = (set(db.execute(ask, (label, flag)).fetchall()) for flag in (True, False))
            shares.append(len(near & exact) / 10)
        measured = one(db, "SELECT mean FROM hypercube.measure_recall('minilm', 10, 20)")
        assert abs(float(np.mean(shares)) - measured) < 0.15


def test_an_embedding_casts_to_vector_as_it_is(vdb):
    vdb.execute('SET search_path = "odd ""one", public')
    distance = "SELECT hypercube.embedding('whale')::vector(384) <=> hypercube.embedding('shark')::vector"
    assert 1 - one(vdb, distance) == pytest.approx(
        one(vdb, "SELECT hypercube.similarity('whale', 'shark')"), abs=1e-6
    )


def test_readers_may_ask_and_only_the_owner_may_change(server, own, sources):
    ingest(own, write_model(sources / "m", vectors(200)))
    own.execute("CREATE EXTENSION vector")
    own.execute("SELECT hypercube.create_vector_index('m')")
    ask = "SELECT count(*) FROM hypercube.semantic_neighbors('waab', 5, model => 'm', approximate => true)"
    with role(own, '"asks a lot"'):
        with pytest.raises(psycopg.errors.UndefinedObject, match='"m" does not exist'):
            own.execute(ask)
        own.execute("RESET ROLE")
        own.execute("SELECT hypercube.grant_model('m', 'asks a lot')")
        own.execute('SET ROLE "asks a lot"')
        assert one(own, ask) == 5
        for call in ("create_vector_index('m')", "drop_vector_index('m')", "measure_recall('m')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not own"):
                own.execute(f"SELECT hypercube.{call}")


class TestLifeOfAnIndex:
    TABLES = "SELECT count(*) FROM pg_class WHERE relname ~ '^vector_of_[0-9]+$' AND relkind = 'r'"

    @pytest.fixture
    def small(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(200)))
        own.execute("CREATE EXTENSION vector")
        return own

    def test_it_is_made_dropped_and_made_again(self, small):
        ask = "SELECT bool_or(exact) FROM hypercube.semantic_neighbors('waab', 5, approximate => true)"
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no vector index") as refusal:
            small.execute(ask)
        assert "create_vector_index('m')" in refusal.value.diag.message_hint
        small.execute("SELECT hypercube.create_vector_index('m', m => 8, ef_construction => 32)")
        assert one(small, ask) is False
        definition = "SELECT indexdef FROM pg_indexes WHERE indexname ~ '^vector_of_[0-9]+_index$'"
        assert "m='8', ef_construction='32'" in one(small, definition)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="already"):
            small.execute("SELECT hypercube.create_vector_index('m')")
        small.execute("SELECT hypercube.measure_recall('m', 5, 10)")
        assert one(small, "SELECT hypercube.drop_vector_index('m')") is True
        assert one(small, "SELECT hypercube.drop_vector_index('m')") is False
        assert one(small, "SELECT count(*) FROM hypercube.index_recall") == 0
        assert one(small, self.TABLES) == 0

    @pytest.mark.parametrize("call", ["drop_vector_index", "drop_model"])
    def test_one_that_is_being_read_is_not_dropped(self, server, small, call):
        """Nobody may wait for it with the lock of the writers: all of them would wait for one reader."""
        small.execute("SELECT hypercube.create_vector_index('m')")
        small.execute("SET lock_timeout = '10s'")
        ask = "SELECT count(*) FROM hypercube.semantic_neighbors('waab', 5, approximate => true)"
        with server.connect(dbname=small.info.dbname) as reading:
            assert one(reading, ask) == 5
            with pytest.raises(psycopg.errors.LockNotAvailable, match="is being read") as refusal:
                small.execute(f"SELECT hypercube.{call}('m')")
            assert refusal.value.diag.message_hint.startswith("Try again")
            told = re.search("SELECT .*regclass", refusal.value.diag.message_hint)[0]
            assert (reading.info.backend_pid,) in small.execute(told).fetchall()
            assert one(reading, ask) == 5
        small.execute(f"SELECT hypercube.{call}('m')")
        assert one(small, self.TABLES) == 0

    @pytest.mark.parametrize("call", ["create_vector_index('m')", "drop_vector_index('m')"])
    def test_that_of_a_model_that_was_given_away_meanwhile_is_no_longer_ones_own(self, server, small, call):
        if "drop" in call:
            small.execute("SELECT hypercube.create_vector_index('m')")
        there = one(small, self.TABLES)
        small.execute("SELECT hypercube.grant_model('m', 'public')")
        people = People(server, small.info.dbname)
        try:
            ann, heir = people("hypercube_ingest"), people.role("hypercube_ingest")
            small.execute("SELECT hypercube.give_model('m', %s)", (name_of(ann),))
            with small.transaction():
                small.execute(WRITERS)
                asked = Waiting(ann, f"SELECT hypercube.{call}", small)
                small.execute("SELECT hypercube.give_model('m', %s)", (heir,))
            assert asked.error().sqlstate == "42501"
            assert one(small, self.TABLES) == there
        finally:
            small.execute("SELECT hypercube.give_model('m', 'postgres')")
            people.close()

    def test_what_is_done_with_it_is_an_entry_each(self, small):
        before = len(log(small))
        size = one(small, "SELECT hypercube.create_vector_index('m', m => 8)")
        small.execute("SELECT hypercube.measure_recall('m', 5, 10)")
        small.execute("SELECT hypercube.drop_vector_index('m')")
        told = log(small)[before:]
        assert size > 0
        assert [(entry["operation"], entry["kind"], entry["objects"]) for entry in told] == [
            (operation, "model", ["m"])
            for operation in ("create_vector_index", "measure_recall", "drop_vector_index")
        ]
        assert (told[0]["detail"]["m"], told[1]["detail"]["k"]) == (8, 5)
        assert verified(small)[0]

    def test_it_goes_with_its_model_and_with_the_extension(self, small):
        small.execute("SELECT hypercube.create_vector_index('m')")
        small.execute("SELECT hypercube.drop_model('m')")
        assert one(small, self.TABLES) == 0

    def test_hypercube_can_be_dropped_with_it(self, small):
        small.execute("SELECT hypercube.create_vector_index('m')")
        small.execute("DROP EXTENSION hypercube")
        assert one(small, self.TABLES) == 0

    def test_without_pgvector_it_can_be_made_again_later(self, small):
        small.execute("SELECT hypercube.create_vector_index('m')")
        small.execute("DROP EXTENSION vector CASCADE")
        ask = "SELECT bool_or(exact) FROM hypercube.semantic_neighbors('waab', 5, approximate => true)"
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="not installed here") as refusal:
            small.execute(ask)
        assert "CREATE EXTENSION vector" in refusal.value.diag.message_hint
        small.execute("CREATE EXTENSION vector")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no vector index"):
            small.execute(ask)
        small.execute("SELECT hypercube.create_vector_index('m')")
        assert one(small, ask) is False

    def test_a_dump_leaves_it_out_and_can_be_restored(self, server, small):
        """Also where a role may read the tables: its right on this one is left out with it."""
        small.execute("CREATE ROLE reads_vectors")
        small.execute("GRANT SELECT ON ALL TABLES IN SCHEMA hypercube TO reads_vectors")
        small.execute("SELECT hypercube.create_vector_index('m')")
        table = one(small, "SELECT relname FROM pg_class WHERE relname ~ '^vector_of_[0-9]+$'")
        assert one(small, "SELECT has_table_privilege('reads_vectors', 'hypercube.' || %s, 'SELECT')", table)
        small.execute("SELECT hypercube.refresh_consensus()")
        name, dsn = small.info.dbname, server.dsn()
        where = ["-h", dsn["host"], "-p", str(dsn["port"]), "-U", "postgres"]
        dump = subprocess.run(
            [program_folder() / "pg_dump", *where, name], capture_output=True, text=True, check=True
        ).stdout
        assert "vector_of_" not in dump
        with server.connect(dbname="postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}_copy")
        try:
            psql = [program_folder() / "psql", *where, "-q", "-v", "ON_ERROR_STOP=1", "-d", f"{name}_copy"]
            subprocess.run(psql, input=dump, text=True, check=True, capture_output=True)
            with server.connect(dbname=f"{name}_copy", autocommit=True) as db:
                db.execute("SELECT hypercube.create_vector_index('m')")
                ask = (
                    "SELECT bool_or(exact) FROM hypercube.semantic_neighbors('waab', 5, approximate => true)"
                )
                assert one(db, ask) is False
        finally:
            with server.connect(dbname="postgres", autocommit=True) as db:
                db.execute(f"DROP DATABASE {name}_copy WITH (FORCE)")
            small.execute("DROP OWNED BY reads_vectors")
            small.execute("DROP ROLE reads_vectors")

    @pytest.mark.parametrize(
        ("call", "problem"),
        [
            ("create_vector_index('m', m => 1)", "m is out of range: 1"),
            ("create_vector_index('m', m => NULL)", "m is out of range: null"),
            ("create_vector_index('m', ef_construction => 1001)", "ef_construction is out of range"),
            ("create_vector_index('m', m => 40)", "less than twice m"),
            ("create_vector_index(NULL)", "must be named"),
            ("drop_vector_index(NULL)", "must be named"),
            ("measure_recall('m', sample => 0)", "sample is out of range"),
            ("measure_recall('m', 0)", "k is out of range"),
            ("measure_recall('m', 1000)", "k is out of range: 1000"),
        ],
    )
    def test_arguments_out_of_range_are_refused(self, small, call, problem):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem) as refusal:
            small.execute(f"SELECT hypercube.{call}")
        assert refusal.value.diag.message_hint

    def test_a_vocabulary_of_one_token_is_refused(self, small, sources):
        ingest(small, write_model(sources / "one", vectors(1), pieces=["a"]))
        for call in ("create_vector_index('one')", "measure_recall('one')"):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="fewer than two usable"):
                small.execute(f"SELECT hypercube.{call}")

    def test_a_model_without_an_embedding_and_one_too_wide_are_refused(self, small, sources):
        ingest(small, write_model(sources / "wide", vectors(40, 2001)))
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="at most 2000 dimensions"):
            small.execute("SELECT hypercube.create_vector_index('wide')")

    def test_a_timeout_leaves_nothing(self, small, sources):
        ingest(small, write_model(sources / "large", vectors(20_000, 256)))
        small.execute("SELECT hypercube.warm('large')")
        small.execute("SET statement_timeout = '700ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            small.execute("SELECT hypercube.create_vector_index('large')")
        assert time.monotonic() - began < 1.7
        assert one(small, self.TABLES) == 0


def test_a_schema_that_changes_hands_during_a_measurement_runs_nothing_of_its_owner(server, own, sources):
    """Its owner puts an operator of his own where pgvector was: it must not run as somebody else."""
    ingest(own, write_model(sources / "m", vectors(9000, 128)))
    own.execute("CREATE EXTENSION vector")
    own.execute("SELECT hypercube.create_vector_index('m')")
    own.execute("CREATE ROLE tenant")
    own.execute("ALTER SCHEMA public OWNER TO tenant")
    own.execute(f"GRANT CREATE ON DATABASE {own.info.dbname} TO tenant")
    said = []

    def measure():
        with server.connect(dbname=own.info.dbname, autocommit=True) as db:
            try:
                db.execute("SELECT * FROM hypercube.measure_recall('m', 100, 8000)")
            except psycopg.Error as error:
                said.append(str(error))

    worker = threading.Thread(target=measure)
    worker.start()
    time.sleep(0.5)
    try:
        own.execute("SET ROLE tenant")
        own.execute("BEGIN")
        own.execute("SET LOCAL lock_timeout = '5s'")
        own.execute("ALTER SCHEMA public RENAME TO moved")
        own.execute("CREATE SCHEMA public")
        own.execute("CREATE DOMAIN public.vector AS real[]")
        own.execute(
            "CREATE FUNCTION public.evil(a moved.vector, b real[]) RETURNS float8 LANGUAGE plpgsql"
            " AS $$BEGIN RAISE EXCEPTION 'ran as %', current_user; END$$"
        )
        own.execute(
            "CREATE OPERATOR public.<#> (LEFTARG = moved.vector, RIGHTARG = real[], FUNCTION = public.evil)"
        )
        own.execute("COMMIT")
        assert worker.is_alive(), "the measurement ended before the schema changed hands"
    finally:
        own.execute("RESET ROLE")
        worker.join()
        own.execute("ALTER SCHEMA moved OWNER TO postgres")
        own.execute("DROP SCHEMA IF EXISTS public CASCADE")
        own.execute("DROP OWNED BY tenant")
        own.execute("DROP ROLE tenant")
    assert not any("ran as" in text for text in said)


def test_3cosmul_has_no_index(vdb):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no index"):
        vdb.execute(
            "SELECT * FROM hypercube.analogy('a', 'b', 'c', method => '3cosmul', approximate => true)"
        )
