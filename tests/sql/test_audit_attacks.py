"""What somebody with every right can do to the audit, and that it is found by name."""

import subprocess

import psycopg
import pytest

from audits import changes, log, unguarded, verified
from rows import one
from servers import program_folder

TABLES = ("audit_entry", "audit_tip", "audit_segment", "audit_collection")


@pytest.fixture
def long(own):
    """A database with a dozen entries in one chain, and the ids of these."""
    changes(own, 12)
    own.ids = [row[0] for row in own.execute(
        "SELECT e.id FROM hypercube.audit_entry AS e JOIN hypercube.audit_tip USING (chain) ORDER BY 1"
    )]  # fmt: skip
    own.chain = one(own, "SELECT chain FROM hypercube.audit_tip")
    return own


@pytest.mark.parametrize("replica", [False, True])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement", ["UPDATE hypercube.{} SET chain = 1", "DELETE FROM hypercube.{}", "TRUNCATE hypercube.{}"]
)
def test_nobody_changes_the_audit(own, table, statement, replica):
    if replica:
        own.execute("SET session_replication_role = replica")
    if table == "audit_collection":
        statement = statement.replace("chain", "taken")
    changes(own, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="cannot be changed or removed") as refusal:
        own.execute(statement.format(table))
    assert "audit_drop_segment" in refusal.value.diag.message_hint
    assert verified(own)[0]


def test_what_was_refused_is_told(own):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        own.execute("DELETE FROM hypercube.audit_entry")
    own.execute("SELECT hypercube.audit_collect()")
    entry = log(own)[-1]
    assert (entry["outcome"], entry["sqlstate"], entry["objects"]) == ("refused", "42501", ["keep_audit"])


COLUMNS = {
    "at": "at + interval '1 microsecond'", "transaction": "transaction + 1", "session_role": "'somebody'",
    "role": "'somebody'", "client_addr": "'10.0.0.1/32'", "client_port": "5", "pid": "pid + 1",
    "application": "'x'", "operation": "'verify'", "kind": "'x'", "objects": "'[\"x\"]'", "rows": "99",
    "by_hand": "NOT by_hand", "old": "'[]'", "new": "'[]'", "detail": "'{\"x\": 1.10}'", "statement": "'x'",
    "statement_length": "99", "statement_digest": "'\\x00'", "outcome": "'refused'", "sqlstate": "'00000'",
    "message": "'x'", "attempt": "gen_random_uuid()", "covers": "'{1}'", "covered_chains": "'{1}'",
    "covered_digests": "decode(repeat('00', 32), 'hex')", "digest": "decode(repeat('00', 32), 'hex')",
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_of_a_column_is_found(long, column):
    with unguarded(long):
        long.execute(
            f"UPDATE hypercube.audit_entry SET {column} = {COLUMNS[column]} WHERE id = {long.ids[5]}"
        )
    ok, _, first, problem = verified(long)
    assert (ok, first) == (False, long.ids[5])
    assert "changed" in problem


@pytest.mark.parametrize("place", [0, 1, 5, -1])
def test_a_removed_entry_is_found(long, place):
    with unguarded(long):
        long.execute(
            "DELETE FROM hypercube.audit_entry WHERE chain = %s AND id = %s", (long.chain, long.ids[place])
        )
    ok, _, first, problem = verified(long)
    assert (ok, first) == (False, long.ids[place])
    assert "removed" in problem


def test_a_removed_end_is_found_with_its_tip_or_without(long):
    with unguarded(long):
        long.execute(
            "DELETE FROM hypercube.audit_entry WHERE chain = %s AND id >= %s", (long.chain, long.ids[-3])
        )
        long.execute("DELETE FROM hypercube.audit_tip")
    ok, _, first, problem = verified(long)
    assert (ok, first) == (False, long.ids[-4])
    assert "what came after it was removed" in problem


def test_a_forged_entry_is_found(long):
    with unguarded(long):
        long.execute(
            "INSERT INTO hypercube.audit_entry SELECT (jsonb_populate_record(e, '{\"id\": 100000}')).*"
            " FROM hypercube.audit_entry AS e WHERE chain = %s AND id = %s",
            (long.chain, long.ids[4]),
        )
    ok, _, first, _ = verified(long)
    assert (ok, first) == (False, 100000)


def test_a_forged_entry_with_a_digest_of_its_own_is_found(long):
    """Whoever can write Python can compute digests; what it cannot do is to be covered by what came later."""
    long.execute("""
        CREATE FUNCTION forge(chain_number bigint, number bigint) RETURNS void LANGUAGE plpython3u AS $$
            import json
            from hypercube import chain, entries
            forged = entries.read(chain_number, number - 1, 1)[0]
            forged.update(id="100000", message="forged")
            chain.link([forged], [])
            told = {field: forged[field] for field in ("id", "message", "covers", "covered_chains")}
            told |= {field: chr(92) + "x" + forged[field] for field in ("covered_digests", "digest")}
            plpy.execute(plpy.prepare(
                "INSERT INTO hypercube.audit_entry SELECT (jsonb_populate_record(e, $3)).*"
                " FROM hypercube.audit_entry AS e WHERE chain = $1 AND id = $2",
                ["bigint", "bigint", "jsonb"]), [chain_number, number, json.dumps(told)])
        $$
    """)
    long.execute("SELECT forge(%s, %s)", (long.chain, long.ids[4]))
    changes(long, 1)
    ok, _, first, problem = verified(long)
    assert (ok, first) == (False, 100000)
    assert "inserted" in problem


def test_two_entries_that_changed_places_are_found(long):
    a, b = long.ids[3], long.ids[7]
    with unguarded(long):
        for old, new in ((a, -1), (b, a), (-1, b)):
            long.execute(
                "UPDATE hypercube.audit_entry SET id = %s WHERE chain = %s AND id = %s",
                (new, long.chain, old),
            )
    assert verified(long)[:3:2] == (False, a)


def test_contents_that_changed_places_are_found(long):
    a, b = long.ids[3], long.ids[7]
    with unguarded(long):
        long.execute(
            "UPDATE hypercube.audit_entry AS e SET (statement, digest) = (o.statement, o.digest)"
            " FROM hypercube.audit_entry AS o"
            " WHERE e.chain = o.chain AND (e.id, o.id) IN ((%s, %s), (%s, %s))",
            (a, b, b, a),
        )
    assert verified(long)[:3:2] == (False, a)


def test_an_emptied_audit_is_found(long):
    with unguarded(long):
        long.execute("TRUNCATE hypercube.audit_entry, hypercube.audit_tip, hypercube.audit_segment")
    assert verified(long)[:2] == (False, 0)


def test_a_cut_off_end_is_found_by_a_checkpoint(long):
    digest, number = long.execute("SELECT digest, id FROM hypercube.audit_checkpoint()").fetchone()
    assert verified(long, digest)[0]
    with unguarded(long):
        long.execute("DELETE FROM hypercube.audit_entry WHERE id >= %s AND chain = %s", (number, long.chain))
        long.execute("DELETE FROM hypercube.audit_tip")
        long.execute(
            "INSERT INTO hypercube.audit_tip SELECT chain, id, digest FROM hypercube.audit_entry"
            " WHERE chain = %s ORDER BY id DESC LIMIT 1",
            (long.chain,),
        )
    assert verified(long)[0]
    assert "digest of the checkpoint" in verified(long, digest)[3]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="32 bytes, not 3"):
        verified(long, b"abc")


def test_a_sealed_segment_can_go_and_the_rest_is_whole(long):
    seal = long.execute("SELECT * FROM hypercube.audit_seal()").fetchone()
    changes(long, 4)
    kept = one(long, "SELECT digest FROM hypercube.audit_checkpoint()")
    done = "SELECT count(*) FROM hypercube.audit_entry WHERE outcome = 'done'"
    count = one(long, done)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not old enough"):
        long.execute("SELECT hypercube.audit_drop_segment(1)")
    with pytest.raises(psycopg.errors.UndefinedObject, match="segment 7"):
        long.execute("SELECT hypercube.audit_drop_segment(7)")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="negative"):
        long.execute("SELECT hypercube.audit_drop_segment(1, '-1 day')")
    dropped = one(long, "SELECT hypercube.audit_drop_segment(1, '0')")
    assert seal[3] - 3 <= dropped < seal[3]
    assert one(long, done) == count - dropped + 1
    assert verified(long, kept)[0]
    assert log(long, "operation = 'drop segment'")[-1]["detail"]["entries"] == dropped
    assert one(long, "SELECT hypercube.audit_drop_segment(1, '0')") == 0
    changes(long, 2)
    long.execute("SELECT * FROM hypercube.audit_seal()")
    long.execute("SELECT hypercube.audit_drop_segment(2, '0')")
    assert verified(long, kept)[0]


def test_a_segment_that_was_removed_by_hand_is_found(long):
    last = one(long, "SELECT last_id FROM hypercube.audit_seal()")
    changes(long, 2)
    with unguarded(long):
        long.execute("DELETE FROM hypercube.audit_entry WHERE chain = %s AND id < %s", (long.chain, last))
    assert not verified(long)[0]
    with unguarded(long):
        long.execute("UPDATE hypercube.audit_segment SET dropped_at = now()")
    ok, _, _, problem = verified(long)
    assert not ok and "not dropped" in problem


def test_a_seal_does_not_wait_and_no_writer_slips_below_it(server, long):
    with server.connect(dbname=long.info.dbname) as writer:
        writer.execute("SELECT hypercube.allow_target('/tmp')")
        with pytest.raises(
            psycopg.errors.LockNotAvailable, match="while other transactions write"
        ) as refusal:
            long.execute("SELECT * FROM hypercube.audit_seal()")
        assert "pg_stat_activity" in refusal.value.diag.message_hint
        writer.rollback()
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="isolation level"):
        with long.transaction():
            long.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            long.execute("SELECT * FROM hypercube.audit_seal()")
    long.execute("SELECT * FROM hypercube.audit_seal()")
    assert verified(long)[0]


@pytest.mark.parametrize("options", [(), ("--jobs=2",)])
def test_a_restored_database_has_the_old_chain_and_begins_its_own(server, long, tmp_path, options):
    long.execute("SELECT * FROM hypercube.audit_seal()")
    changes(long, 3)
    checkpoint = one(long, "SELECT digest FROM hypercube.audit_checkpoint()")
    rows = "SELECT e::text FROM hypercube.audit_entry AS e ORDER BY chain, id"
    before = long.execute(rows).fetchall()
    connection = [
        "--host",
        str(server.socket_folder),
        "--port",
        str(server.dsn()["port"]),
        "--username",
        "postgres",
    ]
    path, name = str(tmp_path / "dump"), f"{long.info.dbname}_restored_{len(options)}"
    subprocess.run(
        [program_folder() / "pg_dump", *connection, "-Fc", "-f", path, long.info.dbname], check=True
    )
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    subprocess.run(
        [program_folder() / "pg_restore", *connection, "--exit-on-error", *options, "-d", name, path],
        check=True,
    )
    with server.connect(dbname=name, autocommit=True) as db:
        after = db.execute(rows).fetchall()
        assert set(before) < set(after)
        assert verified(db, checkpoint)[0]
        chains = {row[0] for row in db.execute("SELECT DISTINCT chain FROM hypercube.audit_entry")}
        assert {row[0] for row in long.execute("SELECT DISTINCT chain FROM hypercube.audit_entry")} < chains
        changes(db, 1)
        newest = one(db, "SELECT chain FROM hypercube.audit_entry ORDER BY at DESC LIMIT 1")
        assert newest not in {entry["chain"] for entry in log(long)}
        assert one(db, "SELECT count(*) FROM hypercube.audit_tip") == 1
        assert db.execute(
            "SELECT count(*) FROM hypercube.audit_entry WHERE by_hand AND kind = 'allowed_source'"
        )
        with unguarded(db):
            db.execute("DELETE FROM hypercube.audit_entry WHERE digest = %s", (checkpoint,))
        assert not verified(db)[0]


@pytest.mark.parametrize(
    "change", ["DISABLE TRIGGER audit_delete", "ENABLE TRIGGER audit_delete", "ENABLE TRIGGER ALL"]
)
def test_a_trigger_that_was_disabled_shows_in_the_health(own, change):
    health = "SELECT ok, detail FROM hypercube.health() WHERE \"check\" = 'audit'"
    assert own.execute(health).fetchone()[0]
    own.execute(f"ALTER TABLE hypercube.token {change}")
    ok, detail = own.execute(health).fetchone()
    assert (ok, detail.endswith(": token")) == (False, True)
