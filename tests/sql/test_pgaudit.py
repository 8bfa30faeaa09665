"""The log of pgaudit as doc/examples sets it up; a run of its own (scripts/test-pgaudit)."""

import re

import psycopg
import pytest

from guarded import EXAMPLES, guarded_server

pytestmark = pytest.mark.pgaudit

SECRET = "the text of a document that is in no log 8812"


@pytest.fixture(scope="module")
def audited():
    with guarded_server("hypercube.conf", "pgaudit.conf") as server:
        server.psql(None, "-f", EXAMPLES / "pgaudit.sql")
        yield server


class Listening:
    """What pgaudit writes while a block runs: a list of (role, kind, class, command, object)."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self._begin = len(self.server.log)
        return self

    def __exit__(self, *_):
        self.text = self.server.log[self._begin :]
        line = r" (\w+)@guarded .* AUDIT: (\w+),\d+,\d+,(\w+),([\w ]+),[\w ]*,([\w.]*),"
        self.entries = re.findall(line, self.text)
        assert len(self.entries) == self.text.count("AUDIT:")

    def reads(self):
        return {
            (role, table) for role, kind, what, _, table in self.entries if (kind, what) == ("OBJECT", "READ")
        }


def test_a_question_is_logged_with_who_asked_what_it_called_and_what_it_read(audited):
    with psycopg.connect(**audited.over_tls()) as db, Listening(audited) as heard:
        db.execute("SELECT * FROM hypercube.semantic_neighbors('waab', 5)")
    assert ("ann", "SESSION", "FUNCTION", "EXECUTE", "hypercube.semantic_neighbors") in heard.entries
    assert {
        ("ann", "hypercube.model"),
        ("ann", "hypercube.token"),
        ("ann", "hypercube.relation"),
    } <= heard.reads()
    # A few lines for a question, not one for a row.
    assert len(heard.entries) < 20
    assert "waab" not in heard.text


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM hypercube.model",
        "SELECT count(*) FROM hypercube.token_overview",
        "COPY hypercube.model TO STDOUT",
        "DO $$ BEGIN PERFORM name FROM hypercube.model; END $$",
        "PREPARE p AS SELECT name FROM hypercube.model; EXECUTE p",
        "CREATE TEMP VIEW v AS SELECT name FROM hypercube.model; SELECT * FROM v",
        "BEGIN; DECLARE c CURSOR FOR SELECT name FROM hypercube.model; FETCH c; COMMIT",
    ],
)
def test_no_way_to_read_a_table_is_silent(audited, statement):
    """Not for a superuser either."""
    with Listening(audited) as heard:
        audited.psql(statement)
    assert ("postgres", "hypercube.model") in heard.reads()


def test_texts_and_passwords_are_not_logged(audited):
    with Listening(audited) as heard:
        audited.psql(f"SELECT hypercube.ingest_text('a', '{SECRET}')")
        audited.psql(f"SELECT count(*) FROM hypercube.document WHERE name = '{SECRET}'")
        audited.psql(f"CREATE ROLE bob PASSWORD '{SECRET}'; DROP ROLE bob")
        with psycopg.connect(**audited.over_tls()) as db:
            db.execute("SELECT * FROM hypercube.search_text(%s)", (SECRET,))
    assert SECRET not in heard.text
    found = {entry[1:] for entry in heard.entries}
    assert ("SESSION", "FUNCTION", "EXECUTE", "hypercube.ingest_text") in found
    assert ("SESSION", "ROLE", "CREATE ROLE", "") in found
    assert ("ann", "SESSION", "FUNCTION", "EXECUTE", "hypercube.search_text") in heard.entries
    # It is the setting that keeps them out.
    with Listening(audited) as heard:
        audited.psql(f"SET pgaudit.log_statement = on; SELECT hypercube.find_composition('{SECRET}')")
    assert SECRET in heard.text


def test_who_asks_cannot_switch_it_off(audited):
    with psycopg.connect(**audited.over_tls(), autocommit=True) as db:
        for name, value in (("pgaudit.log", "none"), ("pgaudit.role", ""), ("log_min_messages", "panic")):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute("SELECT set_config(%s, %s, false)", (name, value))


def test_tables_of_others_are_not_watched(audited):
    with Listening(audited) as heard:
        audited.psql("CREATE TABLE public.mine (a int); SELECT * FROM public.mine")
    assert heard.reads() == set()
    assert ("postgres", "SESSION", "DDL", "CREATE TABLE", "public.mine") in heard.entries


def test_the_role_of_the_list_is_nobody(audited):
    found = audited.psql(
        "SELECT rolcanlogin, (SELECT count(*) FROM pg_auth_members AS m WHERE r.oid IN (m.roleid, m.member))"
        " FROM pg_roles AS r WHERE rolname = 'hypercube_watched'"
    )
    assert found == "f|0"
