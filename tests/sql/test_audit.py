"""The audit as it is written: who, when, from where, what, and nothing that did not happen."""

import threading
import time

import psycopg
import pytest
from blake3 import blake3

from audits import changes, last, log, member, verified
from rows import ingest, one
from small_models import vectors, write_model

COLUMNS = {
    "chain", "id", "at", "session_role", "role", "client_addr", "client_port", "pid", "application",
    "operation", "kind", "objects", "rows", "by_hand", "outcome", "sqlstate", "message", "old", "new",
    "detail", "statement", "statement_length", "statement_digest", "transaction", "digest", "call",
}  # fmt: skip


def test_an_entry_says_who_did_what_when_and_from_where(server, own):
    before = one(own, "SELECT clock_timestamp()")
    own.execute("SET application_name = 'the client'")
    own.execute("SELECT hypercube.allow_source('/tmp')")
    entry = last(own)
    assert entry.keys() == COLUMNS
    assert (entry["operation"], entry["kind"], entry["rows"], entry["outcome"]) == (
        "insert",
        "allowed_source",
        1,
        "done",
    )
    assert entry["objects"][0].startswith("/tmp")
    assert (entry["session_role"], entry["role"]) == ("postgres", "postgres")
    assert entry["pid"] == own.info.backend_pid
    assert entry["application"] == "the client"
    assert before <= entry["at"] <= one(own, "SELECT clock_timestamp()")
    assert entry["statement"] == "SELECT hypercube.allow_source('/tmp')"
    assert entry["statement_digest"] == blake3(entry["statement"].encode()).hexdigest()
    assert entry["new"][0]["path"] == "/tmp"
    assert entry["old"] is None
    assert entry["client_addr"] is None


def test_every_column_that_is_hashed_is_there(own):
    from hypercube import chain

    stored = own.execute("SELECT * FROM hypercube.audit_entry LIMIT 0").description
    assert {column.name for column in stored} == {*chain.FIELDS, "digest"}


def test_the_effective_role_is_told_beside_who_logged_in(server, own):
    deputy = member(server, own, "audit_deputy", "hypercube_admin")
    own.execute(f"GRANT INSERT ON hypercube.allowed_source TO {deputy}")
    own.execute(
        "CREATE POLICY deputy ON hypercube.allowed_source FOR INSERT TO audit_deputy WITH CHECK (true)"
    )
    own.execute(f"SET ROLE {deputy}")
    own.execute(
        "INSERT INTO hypercube.allowed_source (path, role, added_by) VALUES ('/deputy', 'public', 'x')"
    )
    own.execute("RESET ROLE")
    entry = last(own)
    assert (entry["session_role"], entry["role"], entry["by_hand"]) == ("postgres", deputy, True)


def test_old_and_new_rows_are_told_without_their_bulk(own):
    own.execute(
        "INSERT INTO hypercube.allowed_source (path, role, added_by)"
        " VALUES ('/a', 'r', 'x'), ('/b', 'r', 'x')"
    )
    own.execute("UPDATE hypercube.allowed_source SET added_by = 'y' WHERE path IN ('/a', '/b')")
    entry = last(own)
    assert (entry["operation"], entry["rows"]) == ("update", 2)
    assert [row["added_by"] for row in entry["old"]] == ["x", "x"]
    assert [row["added_by"] for row in entry["new"]] == ["y", "y"]
    assert [row["path"] for row in entry["old"]] == [row["path"] for row in entry["new"]]
    own.execute(
        "INSERT INTO hypercube.model"
        " (name, vocabulary_size, neighbors, root, config, metadata, owner, report)"
        " VALUES ('m', 0, 0, decode(repeat('ab', 32), 'hex'), '{\"a\": 1}', NULL, 'postgres',"
        '  \'{"tokens": 5, "notes": ["long"], "seconds": {}}\')'
    )
    new = last(own)["new"][0]
    assert new["root"] == "\\x" + "ab" * 32
    assert new["report"] == {"tokens": 5}
    assert "metadata" not in new
    assert len(new["config"]) == 64


def test_many_rows_are_one_entry_with_a_digest_of_their_keys(own):
    own.execute(
        "INSERT INTO hypercube.allowed_source (path, role, added_by)"
        " SELECT '/folder/' || i, 'r', 'x' FROM generate_series(1, 250) AS i"
    )
    entry = last(own)
    assert (entry["rows"], len(entry["objects"]), len(entry["new"])) == (250, 100, 100)
    keys = sorted(f"/folder/{i}/r" for i in range(1, 251))
    assert entry["detail"]["keys"] == blake3("\n".join(keys).encode()).hexdigest()


def test_a_statement_that_changes_nothing_leaves_no_entry(own):
    before = len(log(own))
    own.execute("UPDATE hypercube.allowed_source SET added_by = 'x' WHERE false")
    own.execute("DELETE FROM hypercube.token WHERE false")
    own.execute(
        "INSERT INTO hypercube.allowed_source SELECT * FROM hypercube.allowed_source ON CONFLICT DO NOTHING"
    )
    assert len(log(own)) == before


def test_a_rollback_leaves_no_entry_and_no_gap_in_the_chain(own):
    before = len(log(own))
    with own.transaction(force_rollback=True):
        changes(own, 3)
        assert len(log(own)) == before + 3
    assert len(log(own)) == before
    with own.transaction():
        changes(own, 1)
        with own.transaction(force_rollback=True):
            changes(own, 3)
    assert len(log(own)) == before + 1
    assert verified(own)[0]


def test_a_long_statement_is_cut_but_told_whole_by_its_digest(own):
    long = f"SELECT hypercube.allow_source('/tmp') /* {'ü' * (1 << 20)} */"
    own.execute(long)
    entry = last(own)
    assert entry["statement"] == long[:1000]
    assert entry["statement_length"] == len(long)
    assert entry["statement_digest"] == blake3(long.encode()).hexdigest()


def test_an_ingest_and_a_drop_are_a_few_entries_with_what_they_brought(own, sources):
    before = len(log(own))
    report = ingest(own, write_model(sources / "small", vectors(40)))
    own.execute("SELECT hypercube.drop_model('small')")
    entries = log(own)[before:]
    assert not any(entry["by_hand"] for entry in entries)
    about = [entry for entry in entries if entry["kind"] == "model"]
    assert [entry["operation"] for entry in about] == ["insert", "update", "delete"]
    assert all(entry["objects"] == ["small"] for entry in about)
    assert about[1]["new"][0]["report"]["tokens"] == report["tokens"]
    assert len(entries) <= 6
    assert verified(own)[0]


def test_what_one_call_stores_is_one_entry_and_none_if_it_fails(own):
    names = [f"text {i:03}" for i in range(130)]
    own.execute("SELECT hypercube.ingest_texts(%s::text[], %s::text[])", (names, ["A text."] * 130))
    entry = log(own, "kind = 'document' AND operation = 'insert'")[-1]
    assert (entry["rows"], entry["objects"], len(entry["new"])) == (130, names[:100], 100)
    assert [row["name"] for row in entry["new"]] == names[:100]
    assert entry["detail"]["keys"] == blake3("\n".join(names).encode()).hexdigest()
    before = len(log(own))
    with pytest.raises(psycopg.errors.DuplicateObject):
        own.execute(
            "SELECT hypercube.ingest_texts(%s::text[], %s::text[])", (["new", "text 001"], ["A.", "B."])
        )
    own.execute("SELECT hypercube.allow_source('/tmp')")
    assert [e["kind"] for e in log(own)[before:] if e["outcome"] == "done"] == ["allowed_source"]


def test_progress_does_not_take_the_name_of_the_client(own, sources):
    own.execute("SET application_name = 'the client'")
    ingest(own, write_model(sources / "small", vectors(40)))
    assert {entry["application"] for entry in log(own, "kind = 'model'")} == {"the client"}


def test_an_upload_is_told_by_its_beginning_and_end_not_by_its_parts(own):
    number = one(own, "SELECT hypercube.upload_begin('up', 'model.safetensors')")
    begun = len(log(own))
    for ordinal in range(3):
        own.execute("SELECT hypercube.upload_part(%s, %s, %s)", (number, ordinal, b"abc"))
    assert [e for e in log(own)[begun:] if e["kind"] == "upload"] == []
    own.execute("SELECT hypercube.upload_finish(%s, %s)", (number, blake3(b"abc" * 3).digest()))
    entry = log(own, "kind = 'upload'")[-1]
    assert (entry["operation"], entry["objects"], entry["new"][0]["size"]) == (
        "update",
        ["up/model.safetensors"],
        9,
    )
    own.execute("SELECT hypercube.upload_cancel('up')")
    assert log(own, "kind = 'upload'")[-1]["operation"] == "delete"


@pytest.mark.parametrize(
    "statement, operation, kind, rows",
    [
        (
            "INSERT INTO hypercube.token SELECT 1, i, 'word', true FROM generate_series(1, 5) AS i",
            "insert",
            "token",
            5,
        ),
        ("INSERT INTO hypercube.chunk VALUES ('\\x01', 1, '\\x02')", "insert", "chunk", None),
        ("UPDATE hypercube.relation_kind SET name = name WHERE kind = 'E'", "update", "relation_kind", 1),
        ("DELETE FROM hypercube.relation_kind WHERE kind = 'M'", "delete", "relation_kind", 1),
        ("TRUNCATE hypercube.relation", "truncate", "relation", None),
        ("TRUNCATE hypercube.allowed_source", "truncate", "allowed_source", None),
    ],
)
@pytest.mark.parametrize("replica", [False, True])
def test_what_is_done_by_hand_is_told(own, statement, operation, kind, rows, replica):
    if replica:
        own.execute("SET session_replication_role = replica")
    own.execute(statement)
    entry = last(own)
    assert (entry["operation"], entry["kind"], entry["rows"], entry["by_hand"]) == (
        operation,
        kind,
        rows,
        True,
    )
    assert entry["statement"] == statement


def test_keys_of_rows_changed_by_hand_have_a_digest(own):
    own.execute("INSERT INTO hypercube.token SELECT 1, i, 'word', true FROM generate_series(1, 12) AS i")
    came = last(own)
    own.execute("DELETE FROM hypercube.token")
    keys = "\n".join(sorted(f"1/{i}" for i in range(1, 13)))
    assert came["detail"] == last(own)["detail"] == {"keys": blake3(keys.encode()).hexdigest()}


def test_every_table_of_the_extension_is_watched_whatever_the_session_says(own):
    unwatched = own.execute(
        "SELECT c.relname, e.event FROM pg_class AS c"
        " CROSS JOIN (VALUES (4, 'insert'), (8, 'delete'), (16, 'update'), (32, 'truncate'))"
        "  AS e (bit, event)"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind = 'r'"
        " AND c.relname NOT LIKE 'audit%' AND c.relname <> 'index_recall'"
        " AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgtype & e.bit <> 0"
        "  AND t.tgname LIKE 'audit%' AND t.tgenabled = 'A')"
    ).fetchall()
    assert unwatched == []


def test_a_table_of_somebody_else_cannot_pretend_to_be_one_of_ours(server, own):
    """Neither may a reader use the function of the trigger, nor would it tell of another schema."""
    own.execute("CREATE TABLE public.model (LIKE hypercube.model)")
    own.execute(
        "CREATE TRIGGER audit_insert AFTER INSERT ON public.model REFERENCING NEW TABLE AS come"
        " FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head()"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="for tables of hypercube"):
        own.execute("INSERT INTO public.model SELECT * FROM hypercube.model")
    for function in ("_audit_head", "_audit_bulk", "_keep_audit", "_begin_audit"):
        for role in ("hypercube_reader", "hypercube_admin", "hypercube_auditor"):
            may = "SELECT has_function_privilege(%s, 'hypercube.' || %s || '()', 'EXECUTE')"
            assert not one(own, may, role, function)


def test_transactions_that_write_side_by_side_do_not_wait(server, own):
    name = own.info.dbname
    with (
        server.connect(dbname=name) as first,
        server.connect(dbname=name) as second,
        server.connect(dbname=name) as third,
    ):
        for connection in (first, second, third):
            connection.execute("SET statement_timeout = '5s'")
            connection.commit()
        first.execute("SELECT hypercube.allow_target('/tmp')")
        second.execute("SELECT hypercube.allow_source('/tmp')")
        second.commit()
        third.execute("SELECT hypercube.allow_source('/usr')")
        first.rollback()
        changes(own, 2)
        third.commit()
        changes(own, 1)
    assert verified(own)[0]
    most = one(own, "SELECT max(cardinality(covers)) FROM hypercube.audit_entry")
    assert most >= 2
    assert one(own, "SELECT count(*) FROM hypercube.audit_tip") == 1


def test_many_sessions_leave_one_chain_that_is_whole(server, own):
    name, problems = own.info.dbname, []

    def work(place):
        try:
            with server.connect(dbname=name, autocommit=True) as db:
                for turn in range(15):
                    db.execute("SELECT hypercube.allow_source(%s)", ("/usr" if turn % 2 else "/tmp",))
                    with db.transaction(force_rollback=turn % 3 == 0):
                        db.execute(
                            "INSERT INTO hypercube.allowed_target (path, role, added_by)"
                            " VALUES (%s, 'r', 'x')",
                            (f"/{place}/{turn}",),
                        )
        except psycopg.Error as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert verified(own)[0]
    assert len(log(own, "kind = 'allowed_target'")) == 60


def test_a_transaction_with_an_old_snapshot_can_write(server, own):
    with server.connect(dbname=own.info.dbname) as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM hypercube.audit_tip")
        changes(own, 2)
        old.execute("SELECT hypercube.allow_target('/tmp')")
        old.commit()
    changes(own, 1)
    assert verified(own)[0]
    assert len(log(own, "kind = 'allowed_target'")) == 1


def test_what_changes_no_row_is_recorded_and_passed_by_where_nothing_can_be_written(own):
    own.execute(
        "CREATE FUNCTION recorded() RETURNS void LANGUAGE plpython3u AS $$"
        "from hypercube import audit\n"
        "audit.record('export', 'model', 'minilm', {'files': 3, 'note': 'a\\x00b'})$$"
    )
    own.execute("SELECT recorded()")
    entry = last(own)
    assert (entry["operation"], entry["kind"], entry["objects"]) == ("export", "model", ["minilm"])
    assert entry["detail"] == {"files": 3, "note": "a\u2400b"}
    before = len(log(own))
    with own.transaction():
        own.execute("SET TRANSACTION READ ONLY")
        own.execute("SELECT recorded()")
    assert len(log(own)) == before


@pytest.mark.parametrize(
    "role, may",
    [
        ("hypercube_auditor", {"audit_verify()", "audit_checkpoint()", "audit_seal()", "audit_collect()"}),
        ("hypercube_admin", {"audit_seal()", "audit_collect()", "audit_drop_segment(1)"}),
        ("hypercube_reader", set()),
    ],
)
def test_who_may_ask_and_who_sees(server, own, role, may):
    changes(own, 2)
    own.execute("SELECT * FROM hypercube.audit_seal()")
    asking = member(server, own, f"audit_{role}", role)
    # As 90_privileges leaves them; here for the sake of roles that have nothing yet.
    own.execute(f"GRANT USAGE ON SCHEMA hypercube TO {role}")
    own.execute(f"SET ROLE {asking}")
    for call in (
        "audit_verify()",
        "audit_checkpoint()",
        "audit_seal()",
        "audit_collect()",
        "audit_drop_segment(1)",
    ):
        try:
            own.execute(f"SELECT * FROM hypercube.{call}")
            allowed = True
        except psycopg.errors.InsufficientPrivilege:
            allowed = False
        except psycopg.errors.ObjectNotInPrerequisiteState as refusal:
            assert "not old enough" in str(refusal)
            allowed = True
        assert allowed == (call in may), call
    try:
        seen = len(log(own))
    except psycopg.errors.InsufficientPrivilege:
        seen = 0
    assert (seen > 0) == (role == "hypercube_auditor")
    own.execute("RESET ROLE")


def test_what_an_auditor_does_is_told_too(server, own):
    auditor = member(server, own, "audit_watcher", "hypercube_auditor")
    with server.connect(dbname=own.info.dbname, user=auditor, autocommit=True) as db:
        assert verified(db)[0]
        digest = one(db, "SELECT digest FROM hypercube.audit_checkpoint()")
        assert verified(db, digest)[0]
    told = [(entry["operation"], entry["session_role"]) for entry in log(own)[-3:]]
    assert told == [("verify", auditor), ("checkpoint", auditor), ("verify", auditor)]
    assert last(own)["detail"]["checkpoint"] == digest.hex()


def test_a_verification_can_be_cancelled(server, own):
    """Behind a lock it waits inside the server, so the poll is what has to notice during the work."""
    changes(own, 40)
    with own.transaction():
        own.execute("ALTER TABLE hypercube.audit_entry DISABLE TRIGGER ALL")
        own.execute(
            "INSERT INTO hypercube.audit_entry SELECT (jsonb_populate_record(e,"
            " jsonb_build_object('id', e.id + 1000 * i))).*"
            " FROM hypercube.audit_entry AS e, generate_series(1, 3000) AS i"
        )
        own.execute("ALTER TABLE hypercube.audit_entry ENABLE ALWAYS TRIGGER keep")
    threading.Timer(0.7, own.cancel).start()
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        verified(own)
    assert time.monotonic() - began < 2
