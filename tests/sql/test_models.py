"""Models as a whole: who may bring and drop them, and what a drop takes along."""

import psycopg
import pytest

from rows import TABLES, ingest, one, row_counts, snapshot
from small_models import vectors, words, write_model


class TestRights:
    @pytest.fixture
    def as_role(self, own):
        own.execute("CREATE ROLE somebody")
        own.execute("GRANT USAGE ON SCHEMA hypercube TO somebody")
        own.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hypercube TO somebody")
        own.execute("GRANT SELECT ON ALL TABLES IN SCHEMA hypercube TO somebody")
        own.execute("SET ROLE somebody")
        yield own
        own.execute("RESET ROLE")
        own.execute("DROP OWNED BY somebody")
        own.execute("DROP ROLE somebody")

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

        assert one(as_role, "SELECT hypercube.allow_source(%s)", f"{sources}/more/../more") == str(
            sources / "more"
        )
        assert (
            one(as_role, "SELECT added_by FROM hypercube.allowed_source WHERE path LIKE '%%more'")
            == "somebody"
        )
        assert one(as_role, "SELECT hypercube.disallow_source(%s)", str(sources / "more")) is True
        assert one(as_role, "SELECT hypercube.disallow_source(%s)", str(sources / "more")) is False

    def test_who_ingests_owns_and_only_the_owner_drops(self, as_role, sources):
        ingest(as_role, write_model(sources / "mine", vectors(30)))
        assert one(as_role, "SELECT owner FROM hypercube.model") == "somebody"
        as_role.execute("RESET ROLE")
        ingest(as_role, write_model(sources / "other", vectors(30)))
        as_role.execute("SET ROLE somebody")

        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not own"):
            as_role.execute("SELECT hypercube.drop_model('other')")
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

    def test_the_last_drop_leaves_only_atoms(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(100)))
        own.execute("SELECT hypercube.drop_model('m')")

        assert {table: n for table, n in row_counts(own).items() if n} == {
            "atom": len(set("[UNK]" + "".join(words(99))))
        }

    def test_an_unknown_model_is_refused(self, own):
        with pytest.raises(psycopg.errors.UndefinedObject, match='"nope" does not exist'):
            own.execute("SELECT hypercube.drop_model('nope')")
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            own.execute("SELECT hypercube.drop_model(NULL)")
