"""maintain(): each step does what it says, once; what others are at is left to them."""

import os
import threading
import time

import psycopg
import pytest

from people import People, name_of, refused
from rows import ingest, one
from small_models import vectors, words, write_model

STEPS = [
    "uploads", "limits", "failed calls", "rows", "files", "expectations", "consensus", "statistics", "vacuum",
    "audit",
]  # fmt: skip
BUSY = "another session writes models or documents: not done, call again"


def maintain(db):
    """Return what each step did, by its name: (done, detail)."""
    found = db.execute("SELECT step, done, seconds, detail FROM hypercube.maintain()").fetchall()
    assert [row[0] for row in found] == STEPS
    assert all(row[2] >= 0 for row in found)
    return {step: (done, detail) for step, done, _, detail in found}


def settled(db):
    """Bring a database into a state in which there is nothing to do; return what the last call said."""
    # What the session did itself is counted a little later unless it says so.
    db.execute("SELECT pg_stat_force_next_flush()")
    maintain(db)
    found = maintain(db)
    assert all(done == 0 for done, _ in found.values()), found
    return found


def folder(server, db):
    number = one(db, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return server.data_folder / "pgsql_tmp_hypercube" / str(number)


@pytest.fixture
def stored(own, sources):
    """A connection to a database with a model, a document and nothing to do."""
    ingest(own, write_model(sources / "m", vectors(120)), "m")
    w = words(4)
    own.execute("SELECT hypercube.ingest_text('a', %s, 'm')", (f"{w[0]} {w[1]}. {w[2]} {w[3]}.",))
    settled(own)
    return own


def test_a_second_call_finds_nothing_to_do_and_changes_nothing(stored):
    told = settled(stored)
    before = one(stored, "SELECT count(*) FROM hypercube.audit_entry")
    assert told["expectations"][1] == "every model has some"
    assert told["rows"][1] == "every row belongs to something"
    settled(stored)
    assert one(stored, "SELECT count(*) FROM hypercube.audit_entry") == before
    assert stored.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []


@pytest.mark.parametrize(
    ("orphans", "count"),
    [
        (
            "INSERT INTO hypercube.relation VALUES (99, 1, 2, 1, 1, 0, 0, 'E'), (99, 2, 1, 1, 1, 0, 0, 'E')",
            2,
        ),
        ("INSERT INTO hypercube.token VALUES (99, 1, 'word', true, 'a', 'a')", 1),
        ("INSERT INTO hypercube.chunk VALUES ('\\x00', 1, '\\x00')", 1),
        ("INSERT INTO hypercube.tensor_chunk VALUES ('\\x00', 0, '\\x00')", 1),
        ("INSERT INTO hypercube.holding SELECT id, 9999 FROM hypercube.composition LIMIT 3", 3),
        # And with the holder what only it holds.
        ("INSERT INTO hypercube.holder (document_id) VALUES (9999)", 1),
        ("INSERT INTO hypercube.holder (role) VALUES ('nobody')", 1),
        ("INSERT INTO hypercube.sentence VALUES (9999, 1, '\\x00', 0)", 1),
        ("INSERT INTO hypercube.sentence_token VALUES (1, '\\x00', '{1}')", 1),
        ("INSERT INTO hypercube.sentence_vector VALUES (1, '\\x00', '\\x00')", 1),
        ("INSERT INTO hypercube.sequence VALUES (1, 1, 2, 9999, 1)", 1),
        ("INSERT INTO hypercube.text_state (model_id) VALUES (99)", 1),
        ("INSERT INTO hypercube.reader_change VALUES (99, 1)", 1),
        ("INSERT INTO hypercube.upload_part VALUES (gen_random_uuid(), 0, 'x')", 1),
    ],
)
def test_rows_that_belong_to_nothing_go(stored, orphans, count):
    stored.execute(orphans)
    assert maintain(stored)["rows"][0] == count
    assert maintain(stored)["rows"][0] == 0
    assert stored.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []


def test_what_only_a_lost_document_was_made_of_goes_with_it(stored):
    """Sentences, words and letters that a model does not have."""
    stored.execute("SELECT hypercube.ingest_text('b', 'Zebras quizzed xylophones.', 'm')")
    tables = ("composition", "atom", "holding", "sentence", "sentence_search", "sentence_token", "sequence")
    stored.execute("DELETE FROM hypercube.document WHERE name = 'b'")
    counts = {table: one(stored, f"SELECT count(*) FROM hypercube.{table}") for table in tables}

    done, told = maintain(stored)["rows"]
    gone = {table: counts[table] - one(stored, f"SELECT count(*) FROM hypercube.{table}") for table in tables}
    assert all(gone[table] > 0 for table in tables[:6]) and done >= sum(gone.values())
    assert f"compositions {gone['composition']}" in told and f"atoms {gone['atom']}" in told
    assert stored.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
    assert one(stored, "SELECT hypercube.verify_document('a')")


def test_files_that_belong_to_nothing_go(stored, server):
    here = folder(server, stored)
    kept = set(os.listdir(here))
    for name in ("unit1-00ff", "unit1-00ff.new", "encoder1-00ff-00ff"):
        (here / name).write_bytes(b"left over")
    gone = here.parent / "999999999"
    gone.mkdir()
    (gone / "unit1-00").write_bytes(b"of a database that was dropped")
    os.chown(gone, here.stat().st_uid, here.stat().st_gid)

    assert maintain(stored)["files"] == (3, "files that belong to nothing")
    assert set(os.listdir(here)) == kept and not gone.exists()
    assert maintain(stored)["files"][0] == 0


def test_uploads_that_nobody_touched_for_a_day_go(stored):
    upload = one(stored, "SELECT hypercube.upload_begin('old', 'config.json')")
    stored.execute("SELECT hypercube.upload_part(%s, 0, '{}')", (upload,))
    stored.execute("SELECT hypercube.upload_begin('new', 'config.json')")
    stored.execute("UPDATE hypercube.upload SET touched_at = now() - interval '25 hours' WHERE name = 'old'")

    assert maintain(stored)["uploads"] == (1, "not touched for a day")
    assert stored.execute("SELECT name FROM hypercube.upload").fetchall() == [("new",)]
    assert one(stored, "SELECT count(*) FROM hypercube.upload_part") == 0
    assert maintain(stored)["uploads"][0] == 0


def test_calls_that_failed_come_into_the_audit(stored):
    for _ in range(3):
        refused(stored, "SELECT hypercube.drop_model('nope')", "UndefinedObject")
    assert maintain(stored)["failed calls"] == (3, "taken into the audit")
    assert maintain(stored)["failed calls"][0] == 0


def test_the_audit_is_sealed_when_an_entry_is_a_day_old(stored):
    assert "none older than a day" in maintain(stored)["audit"][1]
    stored.execute("ALTER TABLE hypercube.audit_entry DISABLE TRIGGER keep")
    stored.execute("UPDATE hypercube.audit_entry SET at = at - interval '25 hours'")
    stored.execute("ALTER TABLE hypercube.audit_entry ENABLE ALWAYS TRIGGER keep")
    entries = one(stored, "SELECT count(*) FROM hypercube.audit_entry")

    done, told = maintain(stored)["audit"]
    assert done >= entries and told == "sealed as segment 1"
    assert maintain(stored)["audit"] == (0, "0 entries since it was sealed, none older than a day")
    assert one(stored, "SELECT count(*) FROM hypercube.audit_segment WHERE dropped_at IS NULL") == 1


def test_models_without_expectations_get_them(stored):
    before = one(stored, "SELECT count(*) FROM hypercube.expectation")
    stored.execute("DELETE FROM hypercube.expectation")
    assert maintain(stored)["expectations"] == (1, "made for m")
    assert one(stored, "SELECT count(*) FROM hypercube.expectation") == before
    assert maintain(stored)["expectations"][0] == 0


def test_a_model_that_lost_its_bytes_keeps_no_other_from_being_maintained(stored, sources, server):
    ingest(stored, write_model(sources / "other", vectors(50, seed=8)))
    here = folder(server, stored)
    for name in os.listdir(here):
        os.unlink(here / name)
    stored.execute("DELETE FROM hypercube.expectation")
    stored.execute(
        "DELETE FROM hypercube.chunk WHERE digest IN (SELECT p.chunk_digest FROM hypercube.tensor_chunk AS p"
        " JOIN hypercube.tensor AS t ON t.digest = p.tensor_digest"
        " WHERE t.model_id = 1 AND t.name LIKE '%word_embeddings%')"
    )
    done, told = maintain(stored)["expectations"]
    assert done == 1 and "made for other; of m none made: the stored embedding" in told


def test_the_consensus_is_kept_current_once_it_was_filled(stored, sources):
    assert maintain(stored)["consensus"][1].startswith("was never filled")
    assert not one(stored, "SELECT relispopulated FROM pg_class WHERE relname = 'relation_consensus'")
    stored.execute("SELECT hypercube.refresh_consensus()")
    assert maintain(stored)["consensus"] == (1, "computed anew")
    assert maintain(stored)["consensus"] == (0, "is of the models that there are")
    ingest(stored, write_model(sources / "other", vectors(120, seed=8)), "other")
    assert maintain(stored)["consensus"][0] == 1
    assert one(stored, "SELECT count(*) FROM hypercube.relation_consensus") > 0
    settled(stored)
    assert maintain(stored)["consensus"] == (0, "is of the models that there are")
    for name, left in (("other", 1), ("m", 0)):
        stored.execute("SELECT hypercube.drop_model(%s)", (name,))
        assert maintain(stored)["consensus"][0] == left
        assert maintain(stored)["consensus"] == (0, "is of the models that there are")
    assert one(stored, "SELECT count(*) FROM hypercube.relation_consensus") == 0


def test_tables_without_statistics_and_those_that_changed_get_some(stored):
    stored.execute("DELETE FROM pg_statistic WHERE starelid = 'hypercube.relation'::regclass")
    stored.execute("UPDATE pg_class SET reltuples = -1 WHERE oid = 'hypercube.relation'::regclass")
    stored.execute(
        "INSERT INTO hypercube.kept_composition SELECT c.id, 'postgres', now(), h.id"
        " FROM hypercube.composition AS c, (SELECT id FROM hypercube.holder LIMIT 1) AS h"
    )
    stored.execute("SELECT pg_stat_force_next_flush()")
    done, told = maintain(stored)["statistics"]
    assert {"relation", "kept_composition"} <= set(told.split(", ")) and done >= 2
    assert one(stored, "SELECT reltuples FROM pg_class WHERE oid = 'hypercube.relation'::regclass") > 0
    assert "relation" not in maintain(stored)["statistics"][1]


def test_tables_with_many_dead_rows_are_named_with_the_command(stored):
    stored.execute("ALTER TABLE hypercube.relation SET (autovacuum_enabled = off)")
    stored.execute("UPDATE hypercube.relation SET weight = weight")
    stored.execute("SELECT pg_stat_force_next_flush()")
    done, told = maintain(stored)["vacuum"]
    assert done == 0 and told.startswith("for you to do: VACUUM ") and "hypercube.relation" in told
    stored.execute(told.removeprefix("for you to do: "))
    stored.execute("SELECT pg_stat_force_next_flush()")
    assert maintain(stored)["vacuum"][1] == "no table has many dead rows"


def test_counters_of_roles_that_are_gone_go(stored, server):
    here = folder(server, stored)
    stored.execute("CREATE ROLE leaving LOGIN IN ROLE hypercube_reader")
    number = one(stored, "SELECT 'leaving'::regrole::oid")
    stored.execute("SELECT hypercube.set_limit('leaving', 'questions', 5)")
    with server.connect(dbname=stored.info.dbname, user="leaving", autocommit=True) as leaving:
        leaving.execute("SELECT * FROM hypercube.health(true)")
    assert (here / f"rate-{number}").exists()
    stored.execute("DROP ROLE leaving")
    assert maintain(stored)["limits"] == (1, "counters of roles that are gone")
    assert not (here / f"rate-{number}").exists()
    assert maintain(stored)["limits"][0] == 0


class TestOthers:
    def test_it_does_not_wait_for_a_session_that_writes_models(self, stored, server, sources):
        stored.execute("INSERT INTO hypercube.chunk VALUES ('\\x00', 1, '\\x00')")
        stored.execute("DELETE FROM hypercube.expectation")
        with server.connect(dbname=stored.info.dbname) as writer:
            writer.execute("SELECT hypercube.compose('waab')")
            began = time.monotonic()
            found = maintain(stored)
            assert time.monotonic() - began < 5
            assert found["rows"] == found["expectations"] == (0, BUSY)
            writer.rollback()
        assert maintain(stored)["rows"][0] == 1

    def test_two_at_once_do_not_wait_for_each_other(self, stored, server):
        stored.execute("INSERT INTO hypercube.limit_turn VALUES ('nobody')")
        with server.connect(dbname=stored.info.dbname) as first:
            assert maintain(first)["limits"][0] == 1
            stored.execute("SET statement_timeout = '20s'")
            found = maintain(stored)
            assert found["limits"] == (0, "no counter of a role that is gone")
            assert found["rows"] == found["expectations"] == found["consensus"] == (0, BUSY)
            first.rollback()
        assert maintain(stored)["limits"][0] == 1

    def test_it_does_not_wait_for_one_that_writes_into_the_audit(self, stored, server):
        stored.execute("ALTER TABLE hypercube.audit_entry DISABLE TRIGGER keep")
        stored.execute("UPDATE hypercube.audit_entry SET at = at - interval '25 hours'")
        stored.execute("ALTER TABLE hypercube.audit_entry ENABLE ALWAYS TRIGGER keep")
        with server.connect(dbname=stored.info.dbname) as writer:
            writer.execute("SELECT hypercube.grant_model('m', 'public')")
            assert maintain(stored)["audit"] == (0, "another transaction writes to it: not done, call again")
            writer.commit()
        assert maintain(stored)["audit"][0] > 0

    def test_it_does_not_wait_for_one_that_makes_a_file(self, stored, server):
        import fcntl

        here = os.open(folder(server, stored), os.O_RDONLY)
        try:
            fcntl.flock(here, fcntl.LOCK_EX)
            began = time.monotonic()
            assert maintain(stored)["files"] == (0, "another session makes a file: not done, call again")
            assert time.monotonic() - began < 10
        finally:
            os.close(here)

    def test_readers_go_on_meanwhile(self, stored, server):
        stop, answers = threading.Event(), []

        def ask():
            with server.connect(dbname=stored.info.dbname, autocommit=True) as reader:
                while not stop.is_set():
                    ask = "SELECT count(*) FROM hypercube.semantic_neighbors(%s, 3, 'm')"
                    answers.append(one(reader, ask, words(4)[0]))

        reading = threading.Thread(target=ask)
        reading.start()
        try:
            # Until it ends, maintenance holds all the locks that it took.
            with stored.transaction():
                stored.execute("INSERT INTO hypercube.chunk VALUES ('\\x00', 1, '\\x00')")
                maintain(stored)
                before, end = len(answers), time.monotonic() + 20
                while len(answers) <= before + 5 and time.monotonic() < end:
                    time.sleep(0.01)
        finally:
            stop.set()
            reading.join()
        assert len(answers) > before + 5 and set(answers) == {3}


class TestWho:
    @pytest.fixture
    def people(self, server, asked):
        found = People(server, asked)
        yield found
        found.close()

    def test_an_admin_may_and_nobody_else(self, people):
        admin = people("hypercube_admin")
        maintain(admin)
        settled(admin)
        ann = people("hypercube_reader", "hypercube_ingest", "hypercube_auditor")
        refused(ann, "SELECT * FROM hypercube.maintain()", "InsufficientPrivilege")
        people._root.execute(f"GRANT EXECUTE ON FUNCTION hypercube.maintain() TO {name_of(ann)}")
        try:
            told = refused(ann, "SELECT * FROM hypercube.maintain()", "InsufficientPrivilege")
            assert "GRANT hypercube_admin" in told.message_hint
        finally:
            people._root.execute(f"REVOKE EXECUTE ON FUNCTION hypercube.maintain() FROM {name_of(ann)}")

    def test_a_reader_does_not_learn_which_models_the_consensus_is_of(self, people):
        people._root.execute("SELECT hypercube.refresh_consensus()")
        maintain(people._root)
        ann, admin = people("hypercube_reader"), people("hypercube_admin")
        count = "SELECT count(*) FROM hypercube.expectation WHERE kind = 'consensus'"
        assert one(ann, count) == 0 < one(admin, count)

    def test_it_is_refused_where_it_could_not_see_what_others_wrote(self, own):
        with own.transaction():
            own.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with pytest.raises(
                psycopg.errors.ObjectNotInPrerequisiteState, match="nothing can be maintained"
            ):
                own.execute("SELECT * FROM hypercube.maintain()")
            raise psycopg.Rollback

    def test_what_it_did_is_in_the_audit(self, own):
        own.execute("INSERT INTO hypercube.chunk VALUES ('\\x00', 1, '\\x00')")
        maintain(own)
        detail = one(own, "SELECT detail FROM hypercube.audit_log WHERE operation = 'maintain'")
        assert detail["rows"] == "chunks 1"
