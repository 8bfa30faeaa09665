"""What a tenant tries with the order in which PostgreSQL runs a query: leaky conditions, views, plans."""

import re

import psycopg
import pytest

from tenants import SECRETS, one, rows

_COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'v', 'm')
      AND a.attnum > 0 AND NOT a.attisdropped AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY 1, 2
"""


def plan(db, statement, *args, analyze=False):
    """Return the plan of a statement as one text."""
    options = "ANALYZE, TIMING off, SUMMARY off" if analyze else "ANALYZE off"
    return "\n".join(line for (line,) in rows(db, f"EXPLAIN ({options}) {statement}", *args))


def estimate(db, statement, *args):
    return int(re.search(r"rows=(\d+)", plan(db, statement, *args))[1])


@pytest.fixture(scope="module")
def spy(tenants):
    """A function of bob that costs nothing to the planner and tells what it is given."""
    tenants.bob.execute(
        "CREATE FUNCTION bob.spy(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 IMMUTABLE"
        " AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$"
    )
    tenants.bob.execute("GRANT USAGE ON SCHEMA bob TO PUBLIC")
    return "bob.spy"


@pytest.fixture(scope="module")
def many(tenants):
    """Forty documents of ann's, so that there is something to have statistics of."""
    names = [f"merger {number:02}" for number in range(40)]
    texts = [f"Firm {number} is sold to zanzibar{number}. The quokka is in. We go." for number in range(40)]
    tenants.ann.execute("SELECT hypercube.ingest_texts(%s::text[], %s::text[], 'hidden')", (names, texts))
    tenants.postgres.execute("ANALYZE")


def told(tenants, role, statement, *args):
    """Run a statement in a session of its own; return its rows and the notices."""
    notices = []
    with tenants.connect(role) as db:
        db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        found = rows(db, statement, *args)
    return found, notices


class TestLeakyConditions:
    def test_a_function_that_tells_its_argument_is_given_only_rows_that_are_seen(self, tenants, spy):
        columns = rows(tenants.bob, _COLUMNS)
        assert len({relation for relation, _, _ in columns}) > 25
        for relation, column, _ in columns:
            found, notices = told(
                tenants,
                "bob",
                f'SELECT "{column}"::text FROM hypercube.{relation} WHERE {spy}("{column}"::text)',
            )
            # As many as there are rows, but that a join may ask once about what stands in several.
            assert not found or notices, (relation, column)
            assert not {"hidden", "diary", "plan"} & set(notices) - {str(value) for (value,) in found}
            assert not [word for word in SECRETS if word in "\n".join(notices)], (relation, column)

    def test_nor_beside_a_condition_that_an_index_serves(self, tenants, spy):
        for statement in (
            f"SELECT 1 FROM hypercube.token WHERE label = 'zanzibar' AND {spy}(piece)",
            f"SELECT 1 FROM hypercube.composition WHERE label = 'quokka' AND {spy}(label)",
            f"SELECT 1 FROM hypercube.document WHERE name = 'plan' AND {spy}(metadata::text)",
            "SELECT 1 FROM hypercube.document WHERE words OPERATOR(hypercube.@@) 'zanzibar'::tsquery"
            f" AND {spy}(name)",
            f"SELECT 1 FROM hypercube._word_edge WHERE word = 'zanzibar' AND {spy}(label)",
            f"SELECT 1 FROM hypercube._word_edge WHERE model = 'hidden' AND {spy}(label)",
        ):
            assert told(tenants, "bob", statement) == ([], []), statement

    def test_an_operator_or_a_cast_of_a_tenant_is_held_back_as_well(self, tenants, spy):
        tenants.bob.execute(
            "CREATE FUNCTION bob.same(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0001"
            " AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$"
        )
        tenants.bob.execute("CREATE OPERATOR bob.= (LEFTARG = text, RIGHTARG = text, FUNCTION = bob.same)")
        for relation, column in (("model", "name"), ("_word_edge", "word"), ("sentence_overview", "text")):
            _, notices = told(
                tenants, "bob", f"SELECT 1 FROM hypercube.{relation} WHERE {column} OPERATOR(bob.=) 'x'"
            )
            assert notices and not [word for word in SECRETS if word in "\n".join(notices)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="leakproof"):
            tenants.bob.execute("ALTER FUNCTION bob.spy(text) LEAKPROOF")

    def test_errors_of_conditions_come_from_rows_that_are_seen(self, tenants):
        for statement in (
            "SELECT 1 FROM hypercube.document WHERE 1 / (name <> 'plan')::int > 0",
            "SELECT 1 FROM hypercube.model WHERE 1 / (name <> 'hidden')::int > 0",
            "SELECT 1 FROM hypercube._word_edge WHERE 1 / (word <> 'zanzibar')::int > 0",
            "SELECT 1 FROM hypercube.token WHERE CASE label WHEN 'zanzibar' THEN label::int END > 0",
            "SELECT 1 FROM hypercube.composition WHERE CASE label WHEN 'quokka' THEN label::date END > now()",
        ):
            tenants.bob.execute(statement)
            with pytest.raises((psycopg.errors.DivisionByZero, psycopg.DataError)):
                tenants.ann.execute(statement)


class TestViews:
    def test_a_view_is_read_with_the_rows_of_whoever_asks_and_the_grants_of_its_owner(self, tenants):
        """Policies ask for the memberships of the current role: a view opens nothing, in either direction."""
        tenants.bob.execute("CREATE VIEW bob.models AS SELECT name FROM hypercube.model")
        tenants.bob.execute("GRANT USAGE ON SCHEMA bob TO PUBLIC")
        tenants.bob.execute("GRANT SELECT ON bob.models TO PUBLIC")
        for role, names in (
            ("ann", {"hidden", "lent", "shared"}), ("bob", {"lent", "own", "shared"}), ("carol", {"shared"}),
            ("audrey", {"shared"}),
        ):  # fmt: skip
            found = rows(getattr(tenants, role), "SELECT name FROM bob.models")
            assert {name for (name,) in found} == names, role

    def test_a_view_of_an_admin_lets_through_all_that_he_sees(self, tenants):
        """As of any table: what an admin hands on is his affair; doc/security.md says it."""
        tenants.amy.execute("CREATE VIEW amy.models AS SELECT name FROM hypercube.model")
        tenants.amy.execute("CREATE VIEW amy.own AS SELECT name FROM hypercube.model")
        tenants.amy.execute("ALTER VIEW amy.own SET (security_invoker = true)")
        tenants.amy.execute("GRANT USAGE ON SCHEMA amy TO bob")
        tenants.amy.execute("GRANT SELECT ON amy.models, amy.own TO bob")
        assert one(tenants.bob, "SELECT count(*) FROM amy.models") == 4
        assert one(tenants.bob, "SELECT count(*) FROM amy.own") == 3

    def test_a_materialized_view_holds_what_its_owner_sees(self, tenants):
        tenants.bob.execute("CREATE MATERIALIZED VIEW bob.kept AS SELECT * FROM hypercube.token_overview")
        tenants.postgres.execute("REFRESH MATERIALIZED VIEW bob.kept")
        assert one(tenants.bob, "SELECT count(*) FROM bob.kept WHERE label = 'zanzibar'") == 0

    def test_a_function_with_the_rights_of_its_owner_sees_as_its_owner(self, tenants):
        tenants.bob.execute(
            "CREATE FUNCTION bob.as_bob() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT name FROM hypercube.model'"
        )
        tenants.bob.execute(
            "CREATE FUNCTION bob.drop_as_bob(text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER"
            " AS $$BEGIN PERFORM hypercube.drop_model($1); END$$"
        )
        assert {name for (name,) in rows(tenants.ann, "SELECT bob.as_bob()")} == {"lent", "own", "shared"}
        for name, error in (
            ("hidden", psycopg.errors.UndefinedObject),
            ("lent", psycopg.errors.InsufficientPrivilege),
        ):
            with pytest.raises(error):
                tenants.ann.execute("SELECT bob.drop_as_bob(%s)", (name,))
        tenants.bob.execute(
            "CREATE FUNCTION bob.change_role() RETURNS void LANGUAGE plpgsql SECURITY DEFINER"
            " AS $$BEGIN PERFORM set_config('role', 'ann', false); END$$"
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tenants.ann.execute("SELECT bob.change_role()")


class TestPlans:
    def test_a_plan_names_nothing_of_others(self, tenants):
        for relation in {relation for relation, _, _ in rows(tenants.bob, _COLUMNS)}:
            found = plan(tenants.bob, f"SELECT * FROM hypercube.{relation}", analyze=True)
            found += plan(tenants.bob, f"SELECT * FROM hypercube.{relation}")
            assert not [word for word in (*SECRETS, "hidden", "diary") if word in found], relation

    @pytest.mark.parametrize(
        ("condition", "held", "absent"),
        [
            ("model WHERE name =", "hidden", "hiddem"),
            ("model WHERE owner =", "ann", "eve"),
            ("model WHERE vocabulary_size =", 17, 18),
            ("document WHERE name =", "plan", "plam"),
            ("document WHERE name <", "merger 35", "merger 05"),
            ("document WHERE owner =", "ann", "eve"),
            ("document WHERE characters <", 10, 100),
            ("document WHERE digest <", b"", b"\xff"),
            ("composition WHERE label =", "zanzibar", "zanzibas"),
            ("composition WHERE label <", "Firm 35", "Firm 5"),
            ("composition WHERE id <", b"", b"\xff"),
            ("composition_child WHERE child_id =", b"", b"\xff"),
            ("token WHERE label =", "zanzibar", "zanzibas"),
            ("token WHERE piece <", "a", "z"),
            ("token WHERE folded =", "quokka", "quokkb"),
            ("upload WHERE name =", "zanzibar upload", "zanzibar uploae"),
            ("tensor WHERE digest <", b"", b"\xff"),
            ("atom WHERE codepoint <", 60, 1000),
            ("_word_edge WHERE word =", "zanzibar", "zanzibas"),
            ("_word_edge WHERE model =", "hidden", "hiddem"),
            ("sentence_overview WHERE text <", "Firm 35", "Firm 5"),
        ],
    )  # fmt: skip
    def test_an_estimate_does_not_tell_whether_there_is_a_value(self, tenants, many, condition, held, absent):
        """They come from statistics of all rows where a comparison is leakproof: so there are none."""
        statement = f"SELECT 1 FROM hypercube.{condition} %s"
        assert estimate(tenants.bob, statement, held) == estimate(tenants.bob, statement, absent)

    @pytest.mark.parametrize("table", ["document", "sentence_search"])
    def test_nor_whether_a_word_is_in_a_text(self, tenants, many, table):
        for operator in ("OPERATOR(hypercube.@@)", "@@"):
            statement = f"SELECT 1 FROM hypercube.{table} WHERE words {operator} %s::tsquery"
            for held, absent in (("quokka", "quokkb"), ("zan:*", "zam:*"), ("sold", "cold")):
                assert estimate(tenants.bob, statement, held) == estimate(tenants.bob, statement, absent)

    def test_there_are_statistics_of_keys_and_counts_alone(self, tenants):
        """A rule for tables to come: sql/79_statistics.sql says why."""
        kept = rows(
            tenants.postgres,
            "SELECT c.relname, a.attname, a.attstattarget FROM pg_class AS c"
            " JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind = 'r'"
            " AND coalesce(a.attstattarget, -1) <> 0"
            " AND a.attnum > 0 AND NOT a.attisdropped AND EXISTS (SELECT FROM unnest("
            "  ARRAY['hypercube_reader', 'hypercube_ingest']::name[]) AS r (role)"
            "  WHERE has_any_column_privilege(r.role, c.oid, 'SELECT'))"
            " AND format_type(a.atttypid, NULL) NOT IN ('integer', 'smallint', 'boolean', '\"char\"',"
            "  'hypercube.token_kind') ORDER BY 1, 2",
        )
        one_value = {
            ("holding", "composition_id"),
            ("sentence", "composition_id"),
            ("token", "composition_id"),
        }
        one_value |= {
            ("sentence_search", "composition_id"),
            ("sentence_search", "language"),
            ("document", "language"),
        }
        kinds = {("relation_kind", "name"), ("relation_kind", "description")}
        assert {(table, column) for table, column, target in kept if target == 1} == one_value
        assert {(table, column) for table, column, target in kept if target != 1} == kinds
        assert (
            rows(
                tenants.postgres,
                "SELECT c.relname FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid"
                " JOIN pg_attribute AS a ON a.attrelid = c.oid"
                " WHERE c.relnamespace = 'hypercube'::regnamespace AND i.indexprs IS NOT NULL"
                " AND coalesce(a.attstattarget, -1) <> 0",
            )
            == []
        )

    def test_an_analyzed_plan_counts_rows_that_are_not_shown(self, tenants, many):
        """As PostgreSQL means it: what is leakproof is asked before a policy, and what that drops is counted.

        Whoever may write SQL can so guess a name or a text and learn whether somebody has it, never read it;
        doc/security.md says it.
        """
        statement = "SELECT 1 FROM hypercube.composition WHERE label = %s"
        assert rows(tenants.bob, statement, "zanzibar") == []
        held = plan(tenants.bob, statement, "zanzibar", analyze=True)
        absent = plan(tenants.bob, statement, "zanzibas", analyze=True)
        assert "Rows Removed by Filter: 1" in held and "never executed" in absent
        # In order, too, and without an index: the policy looks further only where the name is less.
        statement = "SELECT 1 FROM hypercube.document WHERE name < %s"
        looked = [
            max(map(int, re.findall(r"loops=(\d+)", plan(tenants.bob, statement, name, analyze=True))))
            for name in ("merger 10", "merger 20")
        ]
        assert looked[1] - looked[0] == 10

    def test_a_match_at_the_edge_of_the_stack_tells_as_much(self, tenants, many):
        """The right side of an & is looked at where a row has the left one: it may be one level too deep.

        So hypercube._matches is leakproof but for this; doc/security.md says it with the above.
        """
        tenants.bob.execute("""
            CREATE FUNCTION bob.below(n int, q tsquery) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
                IF n > 0 THEN RETURN bob.below(n - 1, q); END IF;
                RETURN (SELECT count(*) FROM hypercube.document AS d WHERE d.words OPERATOR(hypercube.@@) q);
            EXCEPTION WHEN statement_too_complex THEN RETURN 'too deep';
            END $$""")
        tenants.bob.execute("""
            CREATE FUNCTION bob.tells(held text, absent text) RETURNS boolean LANGUAGE plpgsql
            SET plan_cache_mode = force_generic_plan AS $$
            DECLARE
                deep tsquery := 'zzz';
                low int := 0;
                high int := 3000;
                middle int;
            BEGIN
                FOR i IN 1..1500 LOOP deep := 'zzz'::tsquery || deep; END LOOP;
                PERFORM bob.below(0, held::tsquery && deep);
                WHILE high - low > 1 LOOP
                    middle := (low + high) / 2;
                    IF bob.below(middle, held::tsquery && deep) = 'too deep' THEN high := middle;
                    ELSE low := middle; END IF;
                END LOOP;
                RETURN bob.below(high, held::tsquery && deep) <> bob.below(high, absent::tsquery && deep);
            END $$""")
        assert one(tenants.bob, "SELECT bob.tells('quokka', 'quokkb')")
        assert not one(tenants.bob, "SELECT bob.tells('quokkc', 'quokkb')")


class TestSessions:
    def test_a_prepared_statement_is_planned_again_for_another_role(self, tenants):
        with tenants.connect() as db:
            db.execute("SET plan_cache_mode = force_generic_plan")
            db.execute("PREPARE seen AS SELECT name FROM hypercube.model ORDER BY name")
            db.execute("PREPARE edges AS SELECT count(*) FROM hypercube._word_edge WHERE model = 'hidden'")
            for role, names, edges in (
                ("ann", ["hidden", "lent", "shared"], True),
                ("bob", ["lent", "own", "shared"], False),
                ("amy", ["hidden", "lent", "own", "shared"], True),
                ("carol", ["shared"], False),
            ):
                for _ in range(2):
                    db.execute(f"SET ROLE {role}")
                    assert [name for (name,) in rows(db, "EXECUTE seen")] == names
                    assert bool(one(db, "EXECUTE edges")) == edges
                    db.execute("RESET ROLE")

    def test_statements_inside_functions_are_planned_again_too(self, tenants):
        """PL/pgSQL and PL/Python keep plans for the session."""
        with tenants.connect() as db:
            for _ in range(2):
                for role, answers in (("ann", True), ("bob", False), ("amy", True), ("carol", False)):
                    db.execute(f"SET ROLE {role}")
                    for call in (
                        "semantic_neighbors('zanzibar', 2, 'hidden')",
                        "semantic_neighbors('zanzibar', 8, 'hidden')",
                        "spatial_neighbors('zanzibar', 2, 'hidden')",
                        "analogy('zanzibar', 'quokka', 'plan', 2, 'hidden')",
                        "tokenize('zanzibar', 'hidden')",
                        "model_report('hidden')",
                        "search('zanzibar', 1, 'hidden')",
                    ):
                        if answers:
                            assert rows(db, f"SELECT * FROM hypercube.{call}"), call
                        else:
                            with pytest.raises(
                                psycopg.errors.UndefinedObject, match='model "hidden" does not'
                            ):
                                db.execute(f"SELECT * FROM hypercube.{call}")
                    db.execute("RESET ROLE")

    def test_a_cursor_asks_the_role_that_fetches_and_one_that_is_held_was_read_before(self, tenants):
        """Whoever shares a session among tenants (a pool) closes cursors: DISCARD ALL does."""
        with tenants.connect() as db:
            db.execute("SET ROLE ann")
            with db.transaction():
                db.execute("DECLARE live CURSOR FOR SELECT name FROM hypercube.model")
                db.execute("SET LOCAL ROLE bob")
                assert {name for (name,) in rows(db, "FETCH ALL FROM live")} == {"lent", "own", "shared"}
            db.execute("DECLARE kept CURSOR WITH HOLD FOR SELECT name FROM hypercube.model")
            db.execute("SET ROLE bob")
            assert {name for (name,) in rows(db, "FETCH ALL FROM kept")} == {"hidden", "lent", "shared"}
            db.execute("DISCARD ALL")
            with pytest.raises(psycopg.errors.InvalidCursorName):
                db.execute("FETCH ALL FROM kept")
