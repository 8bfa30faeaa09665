"""Who may do what on every object: compared with a file, line by line.

After a change that is wanted, write the file anew and read its difference before it is committed:

    HYPERCUBE_WRITE_RIGHTS=1 ./scripts/test tests/sql/test_rights.py
"""

import difflib
import os
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "data" / "rights.txt"

# Rights of the owner of the extension are left out: he is a superuser.
_OBJECTS = """
    SELECT 'schema' AS kind, n.nspname::text AS name, '' AS marks,
        coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl, n.nspowner AS owner
    FROM pg_namespace AS n WHERE n.nspname = 'hypercube'
    UNION ALL
    SELECT
        CASE c.relkind::text WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
            WHEN 'S' THEN 'sequence' ELSE 'relation of kind ' || c.relkind::text END,
        c.relname,
        concat_ws(', ',
            CASE WHEN c.relkind = 'r' THEN CASE WHEN c.relrowsecurity THEN 'row level security' ELSE 'no row level security' END END,
            CASE WHEN c.relforcerowsecurity THEN 'forced' END,
            array_to_string(c.reloptions, ', ')),
        coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)), c.relowner
    FROM pg_class AS c
    WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c', 't')
    UNION ALL
    SELECT 'column', format('%s.%s', c.relname, a.attname), '', a.attacl, c.relowner
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'hypercube'::regnamespace AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'function', regexp_replace(p.oid::regprocedure::text, '^hypercube[.]', ''),
        concat_ws(', ', CASE WHEN p.prosecdef THEN 'security definer' END,
            CASE WHEN p.proleakproof THEN 'leakproof' END),
        coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
    FROM pg_proc AS p WHERE p.pronamespace = 'hypercube'::regnamespace
    UNION ALL
    SELECT 'type', t.typname, '', coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner
    FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE t.typnamespace = 'hypercube'::regnamespace AND t.typcategory <> 'A' AND coalesce(c.relkind, 'c') = 'c'
"""  # noqa: E501 - a query

_RIGHTS = f"""
    SELECT o.kind, o.name, o.marks, coalesce(string_agg(r.told, '; ' ORDER BY r.told), 'nobody')
    FROM ({_OBJECTS}) AS o
    LEFT JOIN LATERAL (
        SELECT concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee) END, ': ',
            string_agg(e.privilege_type || CASE WHEN e.is_grantable THEN ' with grant option' ELSE '' END,
                ', ' ORDER BY e.privilege_type)) AS told
        FROM aclexplode(o.acl) AS e
        WHERE e.grantee <> o.owner
        GROUP BY e.grantee
    ) AS r ON true
    GROUP BY o.kind, o.name, o.marks
    ORDER BY o.kind, o.name COLLATE "C"
"""

_POLICIES = """
    SELECT p.tablename, p.policyname, p.permissive, p.cmd, array_to_string(p.roles, ', '),
        regexp_replace(coalesce(p.qual, ''), '\\s+', ' ', 'g'),
        regexp_replace(coalesce(p.with_check, ''), '\\s+', ' ', 'g')
    FROM pg_policies AS p WHERE p.schemaname = 'hypercube' ORDER BY p.tablename, p.policyname
"""

_MEMBERS = """
    SELECT r.rolname, m.rolname FROM pg_auth_members AS a
    JOIN pg_roles AS r ON r.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
    WHERE r.rolname LIKE 'hypercube%' AND m.rolname LIKE 'hypercube%' ORDER BY 1, 2
"""


def described(db):
    """Return the lines of the file as the catalogue has them."""
    db.execute("SET search_path = pg_catalog, public")
    lines = [
        f"{kind} {name}{f' ({marks})' if marks else ''} | {rights}"
        for kind, name, marks, rights in db.execute(_RIGHTS)
    ]
    lines += [f"role {role} | has the member {member}" for role, member in db.execute(_MEMBERS)]
    for table, name, permissive, command, roles, shown, checked in db.execute(_POLICIES):
        check = f" check {checked}" if checked else ""
        lines.append(f"policy {table}.{name} | {permissive} {command} to {roles} using {shown}{check}")
    db.execute("RESET search_path")
    return lines


@pytest.fixture(scope="module")
def blank(server):
    """A connection to a database with the extension and nothing else."""
    with server.connect(dbname="blank", autocommit=True) as connection:
        yield connection


def test_rights_are_those_of_the_file(blank):
    found = described(blank)
    if os.environ.get("HYPERCUBE_WRITE_RIGHTS"):
        GOLDEN.write_text("\n".join(found) + "\n", encoding="utf-8")
    expected = GOLDEN.read_text(encoding="utf-8").splitlines()

    assert (
        list(difflib.unified_diff(expected, found, "tests/data/rights.txt", "catalogue", lineterm="", n=0))
        == []
    )


def test_nobody_writes_a_table(blank):
    """Not by a grant on a table, a view or a column, nor by what PostgreSQL grants of itself."""
    found = blank.execute(
        "SELECT o.name, e.privilege_type"
        f" FROM ({_OBJECTS}) AS o CROSS JOIN LATERAL aclexplode(o.acl) AS e"
        " WHERE e.grantee <> o.owner AND o.kind NOT IN ('schema', 'function', 'type')"
    ).fetchall()

    assert len(found) > 30
    assert {privilege for _, privilege in found} == {"SELECT"}


def test_no_right_can_be_handed_on_and_none_is_for_everybody(blank):
    found = blank.execute(
        f"SELECT o.kind, o.name FROM ({_OBJECTS}) AS o CROSS JOIN LATERAL aclexplode(o.acl) AS e"
        " WHERE e.is_grantable AND e.grantee <> o.owner OR e.grantee = 0"
    ).fetchall()

    assert found == []


def test_every_table_has_row_level_security_that_holds_for_its_owner_too(blank):
    tables = blank.execute(
        "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class AS c"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('r', 'p')"
    ).fetchall()

    assert len(tables) > 20
    assert [name for name, enabled, forced in tables if not (enabled and forced)] == []


def test_every_policy_only_lets_rows_be_seen(blank):
    policies = blank.execute(
        "SELECT p.tablename, p.cmd FROM pg_policies AS p WHERE p.schemaname = 'hypercube'"
    ).fetchall()

    assert {command for _, command in policies} == {"SELECT"}


def test_views_run_with_the_rights_of_the_caller_but_for_one(blank):
    """hypercube._word_edge decides by itself, of the model, what the policies would of every row."""
    found = blank.execute(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'hypercube'::regnamespace"
        " AND c.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)"
    ).fetchall()

    assert found == [("_word_edge",)]


def test_only_two_functions_have_the_rights_of_their_owner(blank):
    found = blank.execute(
        "SELECT p.proname, p.pronargs, p.proconfig FROM pg_proc AS p"
        " WHERE p.pronamespace = 'hypercube'::regnamespace AND p.prosecdef ORDER BY 1"
    ).fetchall()

    assert [name for name, _, _ in found] == ["_as_owner", "_read_as_owner"]
    assert all(arguments == 0 for _, arguments, _ in found)
    assert all("search_path=pg_catalog, pg_temp" in settings for _, _, settings in found)


def test_what_may_see_rows_before_their_policy_is_named(blank):
    found = blank.execute(
        "SELECT p.proname FROM pg_proc AS p"
        " WHERE p.pronamespace = 'hypercube'::regnamespace AND p.proleakproof ORDER BY 1"
    ).fetchall()

    assert [name for (name,) in found] == ["_child_ids", "_holds", "_matches"]


def test_the_roles_may_nothing_else(blank):
    """No login, no superuser, nothing that goes around policies, and no role of the server."""
    found = blank.execute(
        "SELECT r.rolname FROM pg_roles AS r WHERE r.rolname LIKE 'hypercube%'"
        " AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb"
        "  OR r.rolreplication)"
    ).fetchall()
    above = blank.execute(
        "SELECT r.rolname FROM pg_auth_members AS a JOIN pg_roles AS r ON r.oid = a.roleid"
        " JOIN pg_roles AS m ON m.oid = a.member"
        " WHERE m.rolname LIKE 'hypercube%' AND r.rolname NOT LIKE 'hypercube%'"
    ).fetchall()

    assert found == above == []
