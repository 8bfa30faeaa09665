"""The installed extension held to its word: comments, rights, attributes of functions."""

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from servers import ThrowawayServer

ROOT = Path(__file__).parents[2]

# What PUBLIC may do, object by object; nothing else, and this is nothing.
FOR_EVERYBODY = []

# Tables that nobody sees a row of, whatever rights he is given.
FOR_NOBODY = {"limit_turn", "reader_change", "writer_turn"}

# What runs with the rights of the owner of the extension, whoever calls.
DOORS = {"_as_owner", "_read_as_owner"}

# What writes: it decides as its caller, and goes through the first of the doors.
WRITERS = {
    "allow_source", "allow_target", "create_vector_index", "disallow_source", "disallow_target", "drop_model",
    "drop_vector_index", "export_model", "ingest", "ingest_upload", "seed_atoms",
    "upload_begin", "upload_cancel", "upload_finish", "upload_part",
    "compose", "drop_composition", "drop_document", "embed_documents", "ingest_text", "ingest_texts",
    "ingest_texts_from", "maintain", "measure_recall", "read_documents", "relate_sequences",
    "grant_model", "revoke_model", "give_model", "grant_document", "revoke_document", "give_document",
    "set_limit", "unset_limit", "record_backup", "refresh_consensus",
    "audit_checkpoint", "audit_collect", "audit_drop_segment", "audit_seal", "audit_verify",
    # What the audit tells of them, and what is counted for the limits.
    "verify_document", "verify_model", "_audit_bulk", "_audit_head", "_begin_audit", "_charge",
    "_charge_caller", "_keep_audit",
}  # fmt: skip


@pytest.fixture
def blank(server):
    with server.connect(dbname="blank") as db:
        yield db


def test_every_public_object_has_a_comment(blank):
    """A name with a leading underscore is private; rows and arrays come with what has a comment."""
    without = blank.execute(
        "SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d"
        " JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'hypercube'"
        " WHERE d.deptype = 'e'"
        " AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)"
        " AND obj_description(d.objid, d.classid::regclass::name) IS NULL"
        " AND NOT coalesce((SELECT proname FROM pg_proc WHERE oid = d.objid),"
        "  (SELECT relname FROM pg_class WHERE oid = d.objid),"
        "  (SELECT typname FROM pg_type WHERE oid = d.objid))"
        "  LIKE '\\_%'"
        " AND NOT EXISTS (SELECT FROM pg_class WHERE oid = d.objid AND relkind IN ('S', 'i', 'c', 't'))"
        " AND NOT EXISTS (SELECT FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid"
        "  WHERE t.oid = d.objid AND (t.typelem <> 0 OR c.relkind IN ('r', 'v', 'm')))"
    ).fetchall()
    assert without == []


def test_comments_are_lower_case_phrases_without_a_period(blank):
    comments = blank.execute(
        "SELECT p.proname, obj_description(p.oid, 'pg_proc') FROM pg_proc AS p"
        " WHERE p.pronamespace = 'hypercube'::regnamespace AND p.proname NOT LIKE '\\_%'"
    ).fetchall()
    assert len(comments) > 12
    for name, comment in comments:
        assert comment[0].islower() and not comment.endswith("."), name


def test_the_public_may_do_nothing(blank):
    found = blank.execute(
        "SELECT 'function', p.oid::regprocedure::text FROM pg_proc AS p"
        " WHERE p.pronamespace = 'hypercube'::regnamespace"
        " AND has_function_privilege('public', p.oid, 'EXECUTE')"
        " UNION ALL SELECT 'table', c.oid::regclass::text FROM pg_class AS c"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'v', 'S')"
        "  AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE')"
        "   ELSE has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') END"
        " UNION ALL SELECT 'schema', 'hypercube'"
        " WHERE has_schema_privilege('public', 'hypercube', 'USAGE, CREATE')"
    ).fetchall()
    assert found == FOR_EVERYBODY


def test_whatever_is_not_parsed_at_creation_pins_its_search_path(blank):
    """Doors for the sake of the server, questions for that of their caller: a better match is no trap."""
    rows = blank.execute(
        "SELECT p.proname, p.prosecdef, p.proconfig, p.prosqlbody IS NOT NULL OR l.lanname = 'internal'"
        " FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang"
        " WHERE p.pronamespace = 'hypercube'::regnamespace"
    ).fetchall()
    doors = {name for name, definer, *_ in rows if definer}
    assert doors == DOORS
    for name, _, settings, parsed in rows:
        if parsed:
            assert settings is None, name
        else:
            assert "search_path=pg_catalog, pg_temp" in settings, name


def test_functions_that_run_statements_from_python_are_not_parallel(blank):
    """A statement from Python starts a subtransaction, which a parallel operation forbids."""
    unsafe = {"u"}
    rows = blank.execute(
        "SELECT p.proname, l.lanname, p.proparallel, p.provolatile FROM pg_proc AS p"
        " JOIN pg_language AS l ON l.oid = p.prolang WHERE p.pronamespace = 'hypercube'::regnamespace"
    ).fetchall()
    for name, language, parallel, _ in rows:
        if language == "plpython3u" or name in ("semantic_neighbors", "health"):
            assert parallel in unsafe, name
    volatile = {name for name, _, _, volatility in rows if volatility == "v"}
    # One door only reads.
    assert volatile == DOORS - {"_read_as_owner"} | WRITERS


def test_every_table_travels_with_a_dump(blank):
    left_out = blank.execute(
        "SELECT c.relname FROM pg_class AS c JOIN pg_extension AS e ON e.extname = 'hypercube'"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'S')"
        " AND NOT c.oid = ANY (e.extconfig)"
    ).fetchall()
    # Rows that are part of the extension, or tell of what no dump takes: indexes, a file of this server.
    # The numbers of the audit begin anew with a chain.
    assert {name for (name,) in left_out} == {
        "audit_collection", "audit_entry_id_seq", "backup_record", "index_recall", "relation_kind",
    }  # fmt: skip


def test_a_publication_of_all_tables_keeps_nobody_from_writing(blank):
    """Rows of a table without a key could neither be changed nor removed while it is published."""
    without = blank.execute(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'hypercube'::regnamespace"
        " AND c.relkind = 'r' AND c.relreplident <> 'f'"
        " AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)"
    ).fetchall()
    assert without == []


def test_every_column_of_a_view_has_a_comment_and_a_type_of_its_own(blank):
    """They are what a BI tool shows."""
    columns = blank.execute(
        "SELECT c.relname, a.attname, a.atttypid::regtype::text, col_description(c.oid, a.attnum)"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('v', 'm')"
        " AND c.relname NOT LIKE '\\_%'"
    ).fetchall()
    assert len(columns) > 60
    assert [column for column in columns if column[3] is None or column[2] == "unknown"] == []


def test_views_run_as_the_caller(blank):
    """But for one, which looks itself who asks: row by row the policies would cost more than its answer."""
    views = dict(
        blank.execute(
            "SELECT relname, reloptions FROM pg_class"
            " WHERE relnamespace = 'hypercube'::regnamespace AND relkind = 'v'"
        ).fetchall()
    )
    assert len(views) >= 6
    assert views.pop("_word_edge") == ["security_barrier=true"]
    assert set(map(tuple, views.values())) == {("security_invoker=true",)}
    seen = blank.execute("SELECT pg_get_viewdef('hypercube._word_edge'::regclass)").fetchone()[0]
    for of in ("m.owner", "g.grantee", "hypercube_admin"):
        assert re.search(rf"pg_has_role\([^;]*?{of}", seen), of


def test_every_table_shows_rows_by_policies_for_reading_alone(blank):
    """Also to its owner: and no role has a right to write, so no policy speaks of writing."""
    tables = blank.execute(
        "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'hypercube'::regnamespace AND relkind = 'r'"
    ).fetchall()
    assert len(tables) > 20
    assert [name for name, shielded in tables if not shielded] == []
    policies = blank.execute(
        "SELECT tablename, cmd FROM pg_policies WHERE schemaname = 'hypercube'"
    ).fetchall()
    assert {command for _, command in policies} == {"SELECT"}
    assert {name for name, _ in tables} - {table for table, _ in policies} == FOR_NOBODY
    writers = blank.execute(
        "SELECT c.relname, r.rolname FROM pg_class AS c CROSS JOIN pg_roles AS r"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'v', 'm')"
        " AND NOT r.rolsuper AND r.rolname <> 'pg_write_all_data'"
        " AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
    ).fetchall()
    assert writers == []


def test_the_server_runs_the_package_of_this_tree():
    """Otherwise these tests would say nothing about it."""
    program = (
        "import hashlib, hypercube, pathlib; folder = pathlib.Path(hypercube.__file__).parent;"
        "print(*sorted(f'{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}'"
        " for path in folder.glob('*.py')), sep='\\n')"
    )
    command = ["/usr/bin/python3", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    tree = ROOT / "plpy" / "hypercube"
    own = sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in tree.glob("*.py"))
    assert run.stdout.split("\n")[:-1] == own


def test_create_extension_refuses_without_its_packages():
    """The packages are hidden from one server by a folder that comes before theirs."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hypercube-hidden-") as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "scipy.py").write_text("raise ImportError('hidden')\n")
        throwaway = ThrowawayServer(environment={"PYTHONPATH": folder})
        try:
            with throwaway.connect(autocommit=True) as db:
                with pytest.raises(
                    psycopg.errors.UndefinedFile, match="PL/Python cannot import scipy"
                ) as refusal:
                    db.execute("CREATE EXTENSION hypercube CASCADE")
                assert "make install" in refusal.value.diag.message_hint
                assert db.execute("SELECT to_regnamespace('hypercube')").fetchone() == (None,)
        finally:
            throwaway.stop()


def test_a_schema_of_somebody_else_is_not_taken(server):
    """Its owner could plant a function, or take the whole extension away."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE squatted")
        db.execute("CREATE ROLE squatter")
        db.execute("GRANT CREATE ON DATABASE squatted TO squatter")
    with server.connect(dbname="squatted", autocommit=True) as db:
        db.execute("SET ROLE squatter")
        db.execute("CREATE SCHEMA hypercube")
        db.execute("RESET ROLE")
        with pytest.raises(
            psycopg.errors.ObjectNotInPrerequisiteState, match="belongs to another role"
        ) as refusal:
            db.execute("CREATE EXTENSION hypercube CASCADE")
        assert "DROP SCHEMA hypercube" in refusal.value.diag.message_hint
        db.execute("ALTER SCHEMA hypercube OWNER TO postgres")
        db.execute("CREATE FUNCTION hypercube._find_model(name) RETURNS int LANGUAGE sql RETURN 1")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not empty"):
            db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("DROP FUNCTION hypercube._find_model(name)")
        db.execute("CREATE EXTENSION hypercube CASCADE")


def test_the_extension_can_be_dropped_and_made_again(own):
    own.execute("DROP EXTENSION hypercube")
    left = "SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('hypercube')::oid"
    assert own.execute(left).fetchone() == (0,)
    own.execute("CREATE EXTENSION hypercube")
    assert own.execute("SELECT count(*) FROM hypercube.model").fetchone() == (0,)
