"""What a tenant tries with SQL of his own on the tables: to read, to write, to look around the policies."""

import re

import psycopg
import pytest

from tenants import SECRETS, one, rows

_READABLE = """
    SELECT c.relname FROM pg_class AS c
    WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'v', 'm')
      AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1
"""


def relations(db, kinds="rvm"):
    found = rows(
        db,
        "SELECT relname FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace"
        " AND relkind::text = ANY (%s) ORDER BY 1",
        list(kinds),
    )
    return [name for (name,) in found]


def readable(db):
    return [name for (name,) in rows(db, _READABLE)]


def whole(db, relation):
    """Return all that a role reads in a relation, as one text."""
    return one(
        db, f"SELECT coalesce(string_agg(this_row::text, E'\\n'), '') FROM hypercube.{relation} AS this_row"
    )


def refused(db, statement, *args, error=psycopg.errors.InsufficientPrivilege):
    with pytest.raises(error) as refusal:
        db.execute(statement, args)
    return refusal.value


class TestRows:
    def test_no_relation_shows_another_anything_of_a_tenant(self, tenants):
        for role in ("bob", "carol"):
            db = getattr(tenants, role)
            for relation in readable(db):
                text = whole(db, relation)
                assert not [word for word in SECRETS if word in text], (role, relation)

    def test_the_tenant_sees_there_what_is_hidden_from_the_others(self, tenants):
        """What the test above looks for is there to be found."""
        seen = {relation: whole(tenants.ann, relation) for relation in readable(tenants.ann)}
        for relation in (
            "token",
            "_word_edge",
            "composition",
            "document",
            "sentence_overview",
            "upload",
            "map",
        ):
            assert "zanzibar" in seen[relation], relation

    def test_every_row_that_is_seen_belongs_to_what_is_seen(self, tenants):
        by_model = [
            "model_file",
            "tensor",
            "token",
            "relation",
            "projection",
            "projection_metadata",
            "sequence",
        ]
        for role, models in (("bob", {"shared", "lent", "own"}), ("carol", {"shared"})):
            db = getattr(tenants, role)
            assert {name for (name,) in rows(db, "SELECT name FROM hypercube.model")} == models
            ids = {number for (number,) in rows(db, "SELECT id FROM hypercube.model")}
            for table in by_model:
                found = {number for (number,) in rows(db, f"SELECT DISTINCT model_id FROM hypercube.{table}")}
                assert found <= ids, (role, table)
            documents = {number for (number,) in rows(db, "SELECT id FROM hypercube.document")}
            for table in ("sentence", "sequence"):
                found = {
                    number for (number,) in rows(db, f"SELECT DISTINCT document_id FROM hypercube.{table}")
                }
                assert found == documents, (role, table)

    def test_an_auditor_sees_no_row_of_a_model_or_document(self, tenants):
        assert [name for name in readable(tenants.audrey) if "model" in name or "document" in name] == []
        refused(tenants.audrey, "SELECT * FROM hypercube.model")

    def test_an_admin_sees_every_model_and_document(self, tenants):
        assert one(tenants.amy, "SELECT count(*) FROM hypercube.model") == 4
        assert one(tenants.amy, "SELECT count(*) FROM hypercube.document") == 5

    def test_bytes_of_tensors_and_vectors_are_read_by_nobody_directly(self, tenants):
        for table in ("chunk", "tensor_chunk", "sentence_token", "sentence_vector", "upload_part"):
            for role in ("ann", "bob", "carol"):
                refused(getattr(tenants, role), f"SELECT * FROM hypercube.{table}")

    def test_copy_takes_along_what_a_query_does(self, tenants):
        for relation in readable(tenants.bob):
            with tenants.bob.cursor().copy(f"COPY (TABLE hypercube.{relation}) TO STDOUT") as copy:
                text = b"".join(bytes(part) for part in copy)
            assert not [word for word in SECRETS if word.encode() in text], relation
        with tenants.bob.cursor().copy("COPY hypercube.model TO STDOUT") as copy:
            assert len(list(copy)) == 3

    def test_row_security_off_is_an_error_not_a_way_around(self, tenants):
        tenants.bob.execute("SET row_security = off")
        for table in ("model", "token", "composition"):
            refused(tenants.bob, f"SELECT * FROM hypercube.{table}")
        tenants.bob.execute("RESET row_security")

    def test_parallel_workers_are_held_to_the_policies(self, tenants):
        with tenants.connect("bob") as db:
            forced = "debug_parallel_query" if db.info.server_version >= 160000 else "force_parallel_mode"
            for setting in (f"{forced} = on", "parallel_setup_cost = 0", "parallel_tuple_cost = 0"):
                db.execute(f"SET {setting}")
            db.execute("SET min_parallel_table_scan_size = 0")
            for relation in readable(db):
                assert not [word for word in SECRETS if word in whole(db, relation)], relation
            plan = " ".join(line for (line,) in rows(db, "EXPLAIN SELECT * FROM hypercube.relation_kind"))
            assert "Gather" in plan


class TestWriting:
    @pytest.mark.parametrize("role", ["ann", "carol", "audrey", "amy"])
    def test_nobody_writes_a_row_not_even_his_own(self, tenants, role):
        db = getattr(tenants, role)
        for table in relations(tenants.postgres, "r"):
            for statement in (
                "INSERT INTO hypercube.{} DEFAULT VALUES",
                "UPDATE hypercube.{} SET ctid = NULL",
                "DELETE FROM hypercube.{}",
                "TRUNCATE hypercube.{}",
            ):
                error = psycopg.errors.FeatureNotSupported if "ctid" in statement else None
                kinds = (psycopg.errors.InsufficientPrivilege, *([error] if error else []))
                refused(db, statement.format(table), error=kinds)
            refused(db, f"COPY hypercube.{table} FROM STDIN")

    def test_columns_cannot_be_updated_either(self, tenants):
        for statement in (
            "UPDATE hypercube.model SET owner = 'bob'",
            "UPDATE hypercube.model SET readers = '{public}'",
            "UPDATE hypercube.document SET owner = current_user WHERE name = 'plan'",
            "UPDATE hypercube.allowed_source SET role = 'bob'",
            "INSERT INTO hypercube.allowed_source (path, role, added_by) VALUES ('/', 'bob', 'bob')",
            "INSERT INTO hypercube.holding SELECT id, 1 FROM hypercube.composition",
            "INSERT INTO hypercube.model (id, name) VALUES (1, 'hidden')"
            " ON CONFLICT (id) DO UPDATE SET owner = 'bob'",
            "MERGE INTO hypercube.model AS m USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE",
        ):
            refused(tenants.bob, statement)

    def test_views_are_not_written_through(self, tenants):
        for view in ("map", "token_overview", "atom_overview", "composition_child", "_word_edge"):
            error = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
            refused(tenants.bob, f"DELETE FROM hypercube.{view}", error=error)

    def test_rows_and_tables_cannot_be_locked_against_others(self, tenants):
        for table in relations(tenants.postgres, "r"):
            refused(tenants.bob, f"SELECT 1 FROM hypercube.{table} FOR UPDATE")
            refused(tenants.bob, f"SELECT 1 FROM hypercube.{table} FOR KEY SHARE")
            for mode in ("ROW SHARE", "ROW EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"):
                with tenants.bob.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
                    with tenants.bob.transaction():
                        tenants.bob.execute(f"LOCK TABLE hypercube.{table} IN {mode} MODE")

    def test_sequences_are_neither_read_nor_moved(self, tenants):
        for sequence in relations(tenants.postgres, "S"):
            refused(tenants.bob, f"SELECT nextval('hypercube.{sequence}')")
            refused(tenants.bob, f"SELECT setval('hypercube.{sequence}', 1)")
            refused(tenants.bob, f"SELECT last_value FROM hypercube.{sequence}")


class TestObjects:
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE hypercube.mine (a int)",
            "CREATE VIEW hypercube.mine AS SELECT 1",
            "CREATE FUNCTION hypercube.mine() RETURNS int LANGUAGE sql RETURN 1",
            "CREATE FUNCTION hypercube._has(name) RETURNS boolean LANGUAGE sql RETURN true",
            "CREATE FUNCTION bob.python() RETURNS int LANGUAGE plpython3u AS 'return 1'",
            "CREATE TYPE hypercube.mine AS (a int)",
            "CREATE OPERATOR hypercube.@@ (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
            "CREATE TRIGGER t BEFORE UPDATE ON hypercube.model FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "CREATE RULE r AS ON SELECT TO hypercube.model DO INSTEAD SELECT * FROM hypercube.model",
            "CREATE RULE r AS ON INSERT TO hypercube.model DO ALSO NOTIFY x",
            "CREATE POLICY p ON hypercube.model USING (true)",
            "ALTER POLICY model_visible ON hypercube.model USING (true)",
            "DROP POLICY model_visible ON hypercube.model",
            "ALTER TABLE hypercube.model DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE hypercube.model NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE hypercube.model OWNER TO bob",
            "ALTER TABLE hypercube.model ADD COLUMN mine int",
            "ALTER TABLE hypercube.model ALTER name TYPE text COLLATE \"C\"",
            "ALTER VIEW hypercube.map SET (security_invoker = false)",
            "ALTER FUNCTION hypercube._as_owner() OWNER TO bob",
            "ALTER FUNCTION hypercube._as_owner() SET search_path = bob",
            "ALTER FUNCTION hypercube.depth(bytea) SECURITY DEFINER",
            "DROP FUNCTION hypercube.depth(bytea)",
            "DROP TABLE hypercube.model",
            "DROP SCHEMA hypercube CASCADE",
            "DROP EXTENSION hypercube",
            "ALTER EXTENSION hypercube DROP TABLE hypercube.model",
            "ALTER SCHEMA hypercube RENAME TO other",
            "ALTER ROLE hypercube_reader SUPERUSER",
            "CREATE INDEX ON hypercube.model (name)",
            "CREATE STATISTICS bob.s ON name, owner FROM hypercube.model",
            "CREATE TABLE bob.child () INHERITS (hypercube.model)",
            "CREATE TABLE bob.key (a int REFERENCES hypercube.model (id))",
            "CREATE PUBLICATION p FOR TABLE hypercube.model",
            "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION pg_catalog.unique_key_recheck()",
            "REFRESH MATERIALIZED VIEW hypercube.relation_consensus",
            "CLUSTER hypercube.model USING model_pkey",
            "REINDEX TABLE hypercube.model",
            "COMMENT ON TABLE hypercube.model IS 'mine'",
            "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO bob",
            "GRANT hypercube_admin TO bob",
            "SET SESSION AUTHORIZATION ann",
            "SET ROLE ann",
            "SET ROLE hypercube_admin",
        ],
    )  # fmt: skip
    def test_a_tenant_changes_no_object(self, tenants, statement):
        refused(tenants.bob, statement)

    def test_a_grant_by_a_tenant_gives_nothing(self, tenants):
        refused(tenants.bob, "GRANT SELECT ON hypercube.chunk TO bob")
        assert not one(tenants.bob, "SELECT has_table_privilege('hypercube.chunk', 'SELECT')")
        tenants.bob.execute("GRANT SELECT ON hypercube.model TO PUBLIC")
        assert not one(tenants.postgres, "SELECT has_table_privilege('audrey', 'hypercube.model', 'SELECT')")

    def test_default_privileges_of_a_tenant_are_about_his_own_objects(self, tenants):
        for statement in ("GRANT ALL ON TABLES TO bob", "REVOKE ALL ON TABLES FROM bob"):
            tenants.bob.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA hypercube {statement}")
        tenants.ann.execute("SELECT hypercube.compose('at noon')")
        tenants.ann.execute("SELECT hypercube.drop_composition(hypercube.composition_id('at noon'))")
        assert not one(tenants.bob, "SELECT has_table_privilege('hypercube.chunk', 'SELECT')")

    def test_analyze_and_vacuum_of_a_table_by_a_tenant_are_skipped(self, tenants):
        """A warning: so he decides neither when statistics are made nor what is in them."""
        told = []
        with tenants.connect("bob") as db:
            db.add_notice_handler(lambda notice: told.append(notice.message_primary))
            db.execute("ANALYZE hypercube.model")
            db.execute("VACUUM hypercube.model")
        assert len(told) == 2 and all(re.search('skipping "model"|"model", skipping', line) for line in told)


class TestAround:
    """What else the server knows about the rows of others."""

    def test_statistics_of_columns_are_not_shown(self, tenants):
        for role in ("ann", "bob", "carol", "audrey", "amy"):
            db = getattr(tenants, role)
            for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
                assert one(db, f"SELECT count(*) FROM {view} WHERE schemaname = 'hypercube'") == 0, view
            for catalogue in ("pg_statistic", "pg_statistic_ext_data"):
                refused(db, f"SELECT * FROM {catalogue}")
        assert one(tenants.postgres, "SELECT count(*) FROM pg_statistic") > 0

    def test_files_and_programs_of_the_server_are_out_of_reach(self, tenants):
        for statement in (
            "SELECT pg_read_file('base/1/1259')",
            "SELECT pg_read_binary_file('pgsql_tmp_hypercube')",
            "SELECT pg_ls_dir('pgsql_tmp_hypercube')",
            "SELECT pg_stat_file('pgsql_tmp_hypercube')",
            "SELECT lo_import('/etc/passwd')",
            "SELECT lo_export(1, '/tmp/x')",
            "COPY hypercube.model TO '/tmp/x'",
            "COPY (SELECT 1) TO PROGRAM 'id'",
            "LOAD 'plpython3'",
        ):
            for role in ("ann", "carol", "amy"):
                refused(getattr(tenants, role), statement)

    def test_nothing_lies_about_as_a_large_object_or_a_message(self, tenants):
        assert one(tenants.postgres, "SELECT count(*) FROM pg_largeobject_metadata") == 0
        with tenants.connect("bob") as db:
            for channel in ("hypercube", "model", "document", "upload"):
                db.execute(f"LISTEN {channel}")
            tenants.ann.execute("SELECT hypercube.compose('quokka at noon')")
            assert list(db.notifies(timeout=0.2)) == []
        tenants.ann.execute("SELECT hypercube.drop_composition(hypercube.composition_id('quokka at noon'))")

    def test_what_others_run_is_not_shown(self, tenants):
        with tenants.connect("ann", application_name="mine") as db, db.cursor() as cursor:
            cursor.execute("SELECT 'zanzibar'")
            seen = rows(
                tenants.bob,
                "SELECT query, application_name FROM pg_stat_activity WHERE pid = %s",
                db.info.backend_pid,
            )
            assert seen == [("<insufficient privilege>", "mine")]
        assert rows(tenants.bob, "SELECT * FROM hypercube.progress") == []

    def test_how_big_a_table_is_is_no_secret(self, tenants):
        """PostgreSQL tells everybody; said in doc/security.md."""
        assert (
            one(tenants.bob, "SELECT reltuples FROM pg_class WHERE oid = 'hypercube.document'::regclass") == 5
        )
        assert one(tenants.bob, "SELECT count(*) FROM hypercube.document") == 3
