"""Models as a whole: who may bring and drop them, and what a drop takes along."""

import psycopg
import pytest

from chapters import role, table_counts
from rows import TABLES, ingest, one, row_counts, snapshot
from small_models import vectors, words, write_model


@pytest.fixture
def as_role(own):
    with role(own, "somebody"):
        yield own


class TestRights:
    def test_only_file_readers_decide_on_folders(self, as_role):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match='"somebody" may not decide'):
            as_role.execute("SELECT hypercube.allow_source('/etc')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_role.execute("SELECT hypercube.disallow_source('/etc')")

    def test_a_member_of_pg_read_server_files_decides(self, as_role, sources):
        as_role.execute("RESET ROLE")
        as_role.execute("GRANT pg_read_server_files TO somebody")
        as_role.execute("SET ROLE somebody")
        (sources / "more").mkdir()

        folder = str(sources / "more")
        assert one(as_role, "SELECT hypercube.allow_source(%s)", f"{folder}/../more") == folder
        told = "SELECT role, added_by FROM hypercube.allowed_source WHERE path = %s"
        assert as_role.execute(told, (folder,)).fetchall() == [("hypercube_ingest", "somebody")]
        assert one(as_role, "SELECT hypercube.disallow_source(%s)", folder) is True
        assert one(as_role, "SELECT hypercube.disallow_source(%s)", folder) is False

    def test_a_folder_is_for_the_members_of_its_role(self, own, sources):
        source = write_model(sources / "m", vectors(30))
        own.execute("SELECT hypercube.disallow_source(%s)", (str(sources),))
        own.execute("CREATE ROLE keeper")
        try:
            own.execute("SELECT hypercube.allow_source(%s, 'keeper')", (str(sources),))
            with role(own, "somebody"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not inside a folder"):
                    ingest(own, source)
                assert own.execute("SELECT * FROM hypercube.allowed_source").fetchall() == []
                own.execute("RESET ROLE")
                own.execute("GRANT keeper TO somebody")
                own.execute("SET ROLE somebody")
                assert ingest(own, source)["model"] == "m"
                own.execute("SELECT hypercube.drop_model('m')")
            assert one(own, "SELECT hypercube.disallow_source(%s, 'hypercube_ingest')", str(sources)) is False
            assert one(own, "SELECT hypercube.disallow_source(%s)", str(sources)) is True
        finally:
            own.execute("DROP ROLE keeper")

    def test_who_ingests_owns_and_only_the_owner_drops(self, as_role, sources):
        ingest(as_role, write_model(sources / "mine", vectors(30)))
        assert one(as_role, "SELECT owner FROM hypercube.model") == "somebody"
        as_role.execute("RESET ROLE")
        ingest(as_role, write_model(sources / "other", vectors(30)))
        as_role.execute("SET ROLE somebody")

        with pytest.raises(psycopg.errors.UndefinedObject, match='"other" does not exist'):
            as_role.execute("SELECT hypercube.drop_model('other')")
        as_role.execute("RESET ROLE")
        as_role.execute("SELECT hypercube.grant_model('other', 'somebody')")
        as_role.execute("SET ROLE somebody")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not own") as refusal:
            as_role.execute("SELECT hypercube.drop_model('other')")
        told = "Its owner postgres can do it, or a member of hypercube_admin."
        assert refusal.value.diag.message_hint == told
        assert one(as_role, "SELECT (hypercube.drop_model('mine')).model") == "mine"

    def test_tables_are_written_only_through_functions(self, as_role):
        for table in TABLES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_role.execute(f"DELETE FROM hypercube.{table}")

    def test_the_public_may_nothing(self, own):
        own.execute("CREATE ROLE nobody_special")
        own.execute("SET ROLE nobody_special")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute("SELECT * FROM hypercube.model")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute("SELECT hypercube.similarity('a', 'b')")
        own.execute("RESET ROLE")
        own.execute("DROP ROLE nobody_special")


class TestTraps:
    """Ways in which somebody else's privileges could be borrowed."""

    def test_an_index_expression_cannot_call_a_door(self, own, as_role, sources):
        """ANALYZE runs it in the session of whoever analyses, which autovacuum does as a superuser.

        It runs as the owner of the table: what is not his he does not see, and what is his is refused.
        """
        as_role.execute("RESET ROLE")
        ingest(own, write_model(sources / "victim", vectors(30)))
        own.execute("SET ROLE somebody")
        ingest(own, write_model(sources / "his", vectors(30)))
        own.execute("RESET ROLE")
        own.execute("CREATE SCHEMA trap AUTHORIZATION somebody")
        own.execute("SET ROLE somebody")
        own.execute("CREATE TABLE trap.t (a int)")
        own.execute("INSERT INTO trap.t VALUES (1), (2)")
        body = (
            "CREATE OR REPLACE FUNCTION trap.f(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE"
            " AS $$BEGIN {} RETURN a; END$$"
        )
        own.execute(body.format(""))
        own.execute("CREATE INDEX ON trap.t (trap.f(a))")
        indexed = (psycopg.errors.InsufficientPrivilege, "cannot be called from an index")
        calls = {
            "drop_model('victim')": (psycopg.errors.UndefinedObject, 'model "victim" does not exist'),
            "drop_model('his')": indexed,
            "grant_model('his', 'public')": indexed,
            "allow_source('/etc')": indexed,
            "disallow_source('/etc')": indexed,
            f"ingest('{sources}/victim', 'other')": indexed,
            "ingest_text('d', 'waab', model => 'his')": indexed,
            "compose('waab')": indexed,
            "upload_begin('u', 'model.safetensors')": indexed,
        }
        own.execute("RESET ROLE")
        before = table_counts(own)
        for call, (error, message) in calls.items():
            own.execute("SET ROLE somebody")
            call = f"IF session_user = 'postgres' THEN PERFORM hypercube.{call}; END IF;"
            own.execute(body.format(call))
            own.execute("RESET ROLE")
            with pytest.raises(error, match=message):
                own.execute("ANALYZE trap.t")
        assert table_counts(own) == before
        assert one(own, "SELECT array_agg(name ORDER BY name) FROM hypercube.model") == ["his", "victim"]
        assert one(own, "SELECT bool_and(readers = '{}') FROM hypercube.model") is True
        assert one(own, "SELECT count(*) FROM hypercube.allowed_source WHERE path = '/etc'") == 0

    def test_functions_on_the_search_path_are_not_called(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(30)))
        own.execute("CREATE SCHEMA evil")
        for arguments in ("int[]", "text[]"):
            element = arguments.removesuffix("[]")
            own.execute(
                f"CREATE FUNCTION evil.unnest({arguments}) RETURNS SETOF {element} LANGUAGE plpgsql"
                " AS $$BEGIN RAISE EXCEPTION 'hijacked'; END$$"
            )
        own.execute(
            "CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE plpgsql"
            " AS $$BEGIN RAISE EXCEPTION 'hijacked'; END$$"
        )
        own.execute("SET search_path = evil, pg_catalog")
        try:
            assert len(own.execute("SELECT * FROM hypercube.most_similar(ARRAY['waaa'])").fetchall()) == 10
            assert len(own.execute("SELECT * FROM hypercube.semantic_neighbors('waaa', 20)").fetchall()) == 20
            with pytest.raises(psycopg.errors.UndefinedObject, match='"nope" does not exist'):
                own.execute("SELECT * FROM hypercube.semantic_neighbors('waaa', 2, 'nope')")
            with pytest.raises(psycopg.errors.UndefinedObject, match='"nope" does not exist'):
                own.execute("SELECT hypercube.drop_model('nope')")
        finally:
            own.execute("RESET search_path")

    def test_an_answer_is_never_from_a_model_of_before(self, own, sources):
        """Ids begin again with a new extension in the same session; what is kept must not."""
        table = vectors(60)
        ingest(own, write_model(sources / "m", table))
        own.execute("SELECT * FROM hypercube.nearest(hypercube.embedding('waab'), 1000)").fetchall()
        own.execute("SELECT hypercube.similarity('waab waac', 'waad')")
        own.execute("DROP EXTENSION hypercube")
        own.execute("CREATE EXTENSION hypercube")
        own.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        ingest(own, write_model(sources / "m", table, pieces=["[UNK]", *reversed(words(20))]))

        rows = own.execute(
            "SELECT label FROM hypercube.nearest(hypercube.embedding('waab'), 1000)"
        ).fetchall()
        assert len(rows) == 21 and (None,) not in rows
        again = one(own, "SELECT hypercube.similarity('waab waac', 'waad')")
        with psycopg.connect(own.info.dsn) as fresh:
            assert one(fresh, "SELECT hypercube.similarity('waab waac', 'waad')") == again


class TestIsolation:
    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_models_are_not_written_from_an_old_snapshot(self, own, sources, level):
        """It would not see that another model has come to share the chunks."""
        source = write_model(sources / "m", vectors(30))
        ingest(own, source)
        for call in ("hypercube.drop_model('m')", f"hypercube.ingest('{source}', 'n')"):
            own.execute(f"BEGIN ISOLATION LEVEL {level}")
            with pytest.raises(
                psycopg.errors.ObjectNotInPrerequisiteState, match="isolation level"
            ) as refusal:
                own.execute(f"SELECT {call}")
            own.execute("ROLLBACK")
            assert "READ COMMITTED" in refusal.value.diag.message_hint

    def test_a_writer_waits_for_another_and_says_so(self, server, own, sources):
        ingest(own, write_model(sources / "m", vectors(30)))
        said = []
        with server.connect(dbname=own.info.dbname) as other:
            other.execute("LOCK TABLE hypercube.writer_turn IN SHARE ROW EXCLUSIVE MODE")
            own.add_notice_handler(lambda notice: said.append(notice.message_primary))
            own.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                own.execute("SELECT hypercube.drop_model('m')")
            other.rollback()
        assert said == ["another session is writing models, waiting for it to end"]
        own.execute("RESET lock_timeout")
        assert one(own, "SELECT (hypercube.drop_model('m')).model") == "m"

    def test_a_read_only_transaction_refuses(self, own, sources):
        source = write_model(sources / "m", vectors(30))
        own.execute("BEGIN READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            own.execute("SELECT hypercube.ingest(%s)", (source,))
        own.execute("ROLLBACK")

    def test_a_rolled_back_ingest_leaves_nothing(self, own, sources):
        source = write_model(sources / "m", vectors(30))
        before = row_counts(own)
        own.execute("BEGIN")
        ingest(own, source, "a")
        ingest(own, source, "b")
        assert len(own.execute("SELECT * FROM hypercube.semantic_neighbors('waaa', 5, 'b')").fetchall()) == 5
        own.execute("ROLLBACK")
        assert row_counts(own) == before


class TestDrop:
    def test_a_drop_takes_what_nothing_else_refers_to(self, own, sources):
        table = vectors(100)
        ingest(own, write_model(sources / "kept", table))
        before = snapshot(own), row_counts(own)
        table[:, 0] += 1
        pieces = ["[UNK]", *words(98), "zzz"]
        ingest(own, write_model(sources / "gone", table, pieces=pieces))

        cursor = own.execute("SELECT * FROM hypercube.drop_model('gone')")
        report = dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))
        assert report == {
            "model": "gone", "tensors": 2, "relations": 1600, "compositions": 1, "chunks": 1,
            "bytes": 100 * 16 * 4,
        }  # fmt: skip
        assert (snapshot(own), row_counts(own)) == before

    def test_the_last_drop_leaves_nothing(self, own, sources):
        before = table_counts(own, but=["atom_map"])
        ingest(own, write_model(sources / "m", vectors(100)))
        assert one(own, "SELECT count(*) FROM hypercube.atom") == len(set("[UNK]" + "".join(words(99))))
        own.execute("SELECT hypercube.drop_model('m')")
        assert table_counts(own, but=["atom_map"]) == before

    def test_an_unknown_model_is_refused(self, own):
        with pytest.raises(psycopg.errors.UndefinedObject, match='"nope" does not exist'):
            own.execute("SELECT hypercube.drop_model('nope')")
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            own.execute("SELECT hypercube.drop_model(NULL)")
