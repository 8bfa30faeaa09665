"""What a tenant tries with roles: shared sessions, groups that change, names that come back."""

import psycopg
import pytest

from tenants import one, rows

ASKED = (
    "SELECT count(*) FROM hypercube.model WHERE name = 'hidden'",
    "SELECT count(*) FROM hypercube._word_edge WHERE model = 'hidden'",
    "SELECT count(*) FROM hypercube.token_overview WHERE label = 'quokka'",
    "SELECT count(*) FROM hypercube.document WHERE name = 'diary'",
    "SELECT count(*) FROM hypercube.sentence_overview WHERE text LIKE '%quokka%'",
    "SELECT count(*) FROM hypercube.composition WHERE label = 'zanzibar'",
    "SELECT count(*) FROM hypercube.search_text('zanzibar')",
)
QUESTIONS = (
    "semantic_neighbors('zanzibar', 8, 'hidden')",
    "analogy('zanzibar', 'quokka', 'plan', 2, 'hidden')",
    "nearest(hypercube.embedding('quokka', 'hidden'), 2, 'hidden')",
    "tokenize('zanzibar', 'hidden')",
    "search('zanzibar', 2, 'hidden')",
    "search('zanzibar', 2, 'hidden', 'document')",
    "hybrid_search('zanzibar', 2, 'hidden')",
    "verify_model('hidden')",
)


def sees(db):
    """Return whether a session sees what is ann's alone: all of it or nothing."""
    counts = {bool(one(db, statement.replace("%", "%%"))) for statement in ASKED}
    for question in QUESTIONS:
        try:
            counts.add(bool(rows(db, f"SELECT * FROM hypercube.{question}")))
        except psycopg.errors.UndefinedObject as refusal:
            assert '"hidden" does not exist' in str(refusal)
            counts.add(False)
    assert len(counts) == 1
    return counts.pop()


@pytest.fixture
def team(tenants):
    """A role that owns nothing, for tenants to be members of."""
    tenants.postgres.execute("CREATE ROLE team")
    yield tenants.postgres
    for statement in ("DROP OWNED BY team", "DROP ROLE team"):
        tenants.postgres.execute(statement)


class TestSessions:
    def test_what_a_session_keeps_is_not_for_the_next_role(self, tenants):
        """Matrices, tokenizers, ids of sentences and plans stay in a session that a pool hands on."""
        with tenants.connect() as db:
            for _ in range(2):
                for role, answer in (("ann", True), ("bob", False), ("amy", True), ("carol", False)):
                    db.execute(f"SET ROLE {role}")
                    assert sees(db) is answer, role
                    db.execute("RESET ROLE")

    def test_the_role_that_counts_is_the_one_that_is_set(self, tenants):
        with tenants.connect() as db:
            assert sees(db)
            db.execute("SET SESSION AUTHORIZATION bob")
            assert not sees(db)
            for role in ("ann", "postgres", "hypercube_admin"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(f"SET ROLE {role}")

    def test_no_setting_makes_somebody_else_of_a_session(self, tenants):
        with tenants.connect("bob") as db:
            for name in (
                "user",
                "role",
                "owner",
                "caller",
                "tenant",
                "admin",
                "model",
                "matrix_limit",
                "max_k",
            ):
                for value in ("ann", "hypercube_admin", "postgres", "on", "999999"):
                    db.execute("SELECT set_config(%s, %s, false)", (f"hypercube.{name}", value))
                    if name in ("user", "role", "owner", "caller", "tenant", "admin"):
                        assert one(db, "SELECT count(*) FROM hypercube.model") == 3
            for name in ("model", "matrix_limit", "max_k"):
                db.execute(f"RESET hypercube.{name}")
            assert not sees(db)
            db.execute("SET hypercube.model = 'hidden'")
            with pytest.raises(psycopg.errors.UndefinedObject, match='model "hidden" does not exist'):
                db.execute("SELECT hypercube.token_id('zanzibar')")
            db.execute("SET search_path = bob, pg_temp, hypercube")
            db.execute("CREATE FUNCTION bob.pg_has_role(oid, text) RETURNS boolean LANGUAGE sql RETURN true")
            db.execute(
                "CREATE FUNCTION bob.to_regrole(text) RETURNS regrole LANGUAGE sql "
                " AS $$SELECT oid::regrole FROM pg_roles WHERE rolname = current_user$$"
            )
            db.execute("CREATE TEMP VIEW model AS SELECT 'hidden' AS name")
            db.execute("RESET hypercube.model")
            assert not sees(db)
            db.execute("DROP FUNCTION bob.pg_has_role, bob.to_regrole")


class TestMembership:
    def test_membership_counts_at_once_in_sessions_that_are_open(self, tenants):
        with tenants.connect("bob") as db:
            for _ in range(2):
                assert not sees(db)
                tenants.postgres.execute("GRANT ann TO bob")
                assert sees(db)
                tenants.postgres.execute("REVOKE ann FROM bob")
            assert not sees(db)

    def test_a_grant_to_a_group_counts_at_once_and_so_does_its_end(self, tenants, team):
        tenants.ann.execute("SELECT hypercube.grant_model('hidden', 'team')")
        tenants.ann.execute("SELECT hypercube.grant_document('diary', 'team')")
        team.execute("GRANT hypercube_reader TO team")
        with tenants.connect("carol") as db:
            for _ in range(2):
                assert one(db, "SELECT count(*) FROM hypercube.document WHERE name = 'diary'") == 0
                team.execute("GRANT team TO carol")
                found = rows(db, "SELECT document FROM hypercube.search('zanzibar', 5, 'hidden')")
                assert {name for (name,) in found} == {"diary"}
                assert rows(db, "SELECT document FROM hypercube.search_text('zanzibar')") == [("diary",)]
                team.execute("REVOKE team FROM carol")
                with pytest.raises(psycopg.errors.UndefinedObject):
                    db.execute("SELECT hypercube.search('zanzibar', 5, 'hidden')")
            tenants.ann.execute("SELECT hypercube.revoke_model('hidden', 'team')")
            team.execute("GRANT team TO carol")
            assert rows(db, "SELECT name FROM hypercube.model") == [("shared",)]
            assert rows(db, "SELECT document FROM hypercube.search_text('zanzibar')") == [("diary",)]
            tenants.ann.execute("SELECT hypercube.revoke_document('diary', 'team')")
            assert rows(db, "SELECT document FROM hypercube.search_text('zanzibar')") == []

    def test_what_a_team_owns_is_of_each_member_and_of_nobody_else(self, tenants, team):
        team.execute("GRANT hypercube_ingest TO team")
        team.execute("GRANT team TO ann, carol")
        tenants.ann.execute("SELECT hypercube.give_document('plan', 'team')")
        assert one(tenants.carol, "SELECT hypercube.document_text('plan')").startswith("The zanzibar")
        with pytest.raises(psycopg.errors.UndefinedObject):
            tenants.bob.execute("SELECT hypercube.document_text('plan')")
        tenants.carol.execute("SELECT hypercube.give_document('plan', 'team')")
        tenants.ann.execute("SELECT hypercube.give_document('plan', 'ann')")
        with pytest.raises(psycopg.errors.UndefinedObject):
            tenants.carol.execute("SELECT hypercube.document_text('plan')")

    def test_nobody_is_given_or_takes_what_he_has_no_part_in(self, tenants):
        for role, call, error in (
            ("bob", "give_model('lent', 'bob')", psycopg.errors.InsufficientPrivilege),
            ("bob", "grant_model('lent', 'carol')", psycopg.errors.InsufficientPrivilege),
            ("bob", "grant_document('lent letter', 'carol')", psycopg.errors.InsufficientPrivilege),
            ("bob", "revoke_document('lent letter', 'bob')", psycopg.errors.InsufficientPrivilege),
            ("bob", "give_model('hidden', 'bob')", psycopg.errors.UndefinedObject),
            ("bob", "give_model('own', 'ann')", psycopg.errors.InsufficientPrivilege),
            ("ann", "give_model('hidden', 'hypercube_admin')", psycopg.errors.InsufficientPrivilege),
            ("carol", "grant_model('shared', 'carol')", psycopg.errors.InsufficientPrivilege),
            ("carol", "grant_document('open letter', 'carol')", psycopg.errors.InsufficientPrivilege),
        ):
            with pytest.raises(error):
                getattr(tenants, role).execute(f"SELECT hypercube.{call}")

    def test_a_member_that_does_not_inherit_is_a_member(self, tenants, team):
        """Policies ask for membership, not for what is in use: he could SET ROLE at any time."""
        team.execute("CREATE ROLE nina LOGIN NOINHERIT IN ROLE ann")
        try:
            with tenants.connect("nina") as db:
                with pytest.raises(
                    psycopg.errors.InsufficientPrivilege, match="permission denied for schema"
                ):
                    db.execute("SELECT * FROM hypercube.model")
                db.execute("SET ROLE ann")
                assert sees(db)
            team.execute("GRANT USAGE ON SCHEMA hypercube TO nina")
            team.execute("GRANT SELECT ON hypercube.model TO nina")
            with tenants.connect("nina") as db:
                assert one(db, "SELECT count(*) FROM hypercube.model WHERE name = 'hidden'") == 1
        finally:
            team.execute("DROP OWNED BY nina")
            team.execute("DROP ROLE nina")

    def test_an_admin_that_does_not_inherit_is_none_until_he_takes_the_role(self, tenants, team):
        team.execute("CREATE ROLE nora LOGIN NOINHERIT IN ROLE hypercube_admin")
        team.execute("GRANT USAGE ON SCHEMA hypercube TO nora")
        team.execute("GRANT SELECT ON hypercube.model, hypercube._word_edge TO nora")
        try:
            with tenants.connect("nora") as db:
                seen = (
                    rows(db, "SELECT name FROM hypercube.model"),
                    rows(db, "SELECT DISTINCT model FROM hypercube._word_edge"),
                )
                assert seen == ([("shared",)], [("shared",)])
                db.execute("SET ROLE hypercube_admin")
                assert one(db, "SELECT count(*) FROM hypercube.model") == 4
                assert one(db, "SELECT count(DISTINCT model) FROM hypercube._word_edge") == 4
        finally:
            team.execute("DROP OWNED BY nora")
            team.execute("DROP ROLE nora")


class TestNames:
    def test_who_has_the_name_of_an_owner_owns(self, tenants):
        """Names count: a role that is gone leaves nothing to anybody, and one that comes back gets it all."""
        tenants.postgres.execute("CREATE ROLE eve LOGIN IN ROLE hypercube_ingest")
        with tenants.connect("eve") as db:
            db.execute("SELECT hypercube.ingest_text('of eve', 'We go.', 'shared')")
        tenants.postgres.execute("DROP ROLE eve")
        for role in ("ann", "bob", "carol"):
            assert (
                rows(getattr(tenants, role), "SELECT 1 FROM hypercube.document WHERE name = 'of eve'") == []
            )
        assert one(tenants.amy, "SELECT owner FROM hypercube.document WHERE name = 'of eve'") == "eve"
        tenants.postgres.execute("CREATE ROLE eve LOGIN IN ROLE hypercube_ingest")
        with tenants.connect("eve") as db:
            assert one(db, "SELECT hypercube.document_text('of eve')") == "We go."
            db.execute("SELECT hypercube.drop_document('of eve')")
        tenants.postgres.execute("DROP ROLE eve")

    def test_a_grant_does_not_follow_a_role_that_is_renamed(self, tenants, team):
        tenants.ann.execute("SELECT hypercube.grant_document('diary', 'team')")
        team.execute("GRANT team TO carol")
        assert one(tenants.carol, "SELECT count(*) FROM hypercube.document WHERE name = 'diary'") == 1
        team.execute("ALTER ROLE team RENAME TO crew_of_old")
        assert one(tenants.carol, "SELECT count(*) FROM hypercube.document WHERE name = 'diary'") == 0
        team.execute("ALTER ROLE crew_of_old RENAME TO team")
        tenants.ann.execute("SELECT hypercube.revoke_document('diary', 'team')")

    @pytest.mark.parametrize("name", ['"', "a.b", "1", "-", "Public", "ann'; DROP", "x" * 63, "ann "])
    def test_a_strange_name_is_a_name(self, tenants, name):
        """Not read as anything but a name: no number, no name with a schema, not everybody."""
        quoted = '"' + name.replace('"', '""') + '"'
        tenants.postgres.execute(f"CREATE ROLE {quoted} LOGIN IN ROLE hypercube_ingest")
        try:
            tenants.ann.execute("SELECT hypercube.grant_document('diary', %s)", (name,))
            with tenants.connect(name) as db:
                assert one(db, "SELECT count(*) FROM hypercube.document WHERE name = 'diary'") == 1
                db.execute("SELECT hypercube.ingest_text('strange', 'We go.', 'shared')")
                assert one(db, "SELECT owner FROM hypercube.document WHERE name = 'strange'") == name
                assert one(tenants.bob, "SELECT count(*) FROM hypercube.document WHERE name = 'diary'") == 0
                db.execute("SELECT hypercube.drop_document('strange')")
            tenants.ann.execute("SELECT hypercube.revoke_document('diary', %s)", (name,))
        finally:
            tenants.postgres.execute(f"DROP ROLE {quoted}")

    def test_there_is_no_role_of_the_name_that_stands_for_everybody(self, tenants):
        with pytest.raises(psycopg.errors.ReservedName):
            tenants.postgres.execute('CREATE ROLE "public"')
