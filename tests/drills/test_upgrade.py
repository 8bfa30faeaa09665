"""From one version to the next: the catalogue of a fresh install, the answers of before, refusals."""

import os
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

import hypercube
import upgrades
from catalogue import differences, snapshot
from prefixes import Prefix, told

NEW = hypercube.__version__
VERSIONS = upgrades.versions()
PACKAGE = Path(hypercube.__file__).parents[1]
# Of the functions that tell of both, and of what needs no Python.
READ = (
    "SELECT count(*) FROM hypercube.semantic_neighbors('waab', 5, 'alike')",
    "SELECT count(*) FROM hypercube.spatial_neighbors('waab', 5, 'alike')",
    "SELECT count(*) FROM hypercube.search_text('waab')",
    "SELECT count(*) FROM hypercube.map",
)
END_EARLIER = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_start < (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
)
DAMAGED = "SELECT count(*) FROM hypercube.model, LATERAL hypercube.verify_model(name) AS v WHERE NOT v.ok"


@pytest.fixture(scope="module")
def prefix():
    """A folder whose server has the installed extension, and what an earlier version installed beside it."""
    folder = Path(tempfile.mkdtemp(prefix="hypercube-prefix-", dir="/tmp"))
    made = Prefix(folder)
    for path in (Path(told("sharedir")) / "extension").glob("hypercube*"):
        made.add_script(path.name, path.read_bytes())
    for version in VERSIONS:
        made.add_script(f"hypercube--{version}.sql", upgrades.install_script(version))
        upgrades.unpack_package(version, folder / version)
    # As make install would put it: the server's user need not be able to read the tree under test.
    shutil.copytree(
        PACKAGE / "hypercube", folder / "new" / "hypercube", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            os.chmod(path, 0o755)
    yield made
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(prefix):
    """A server whose sessions import what prefix.use_package named last."""
    prefix.use_package(prefix.folder / "new")
    throwaway = prefix.server()
    yield throwaway
    throwaway.stop()


@pytest.fixture
def database(server, request):
    """The name of a database that does not exist yet."""
    name = f"of_{abs(hash(request.node.nodeid))}"
    yield name
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def create(server, name):
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")


def version_of(db):
    return db.execute("SELECT extversion FROM pg_extension WHERE extname = 'hypercube'").fetchone()[0]


def red(db):
    return db.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall()


def wrappers_of(db):
    return db.execute(
        "SELECT p.proname, ARRAY(SELECT format_type(t, NULL)"
        " FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, place) ORDER BY place)"
        " FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang"
        " WHERE p.pronamespace = 'hypercube'::regnamespace AND l.lanname = 'plpython3u'"
        " AND p.prorettype <> 'trigger'::regtype"
    ).fetchall()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_update_leaves_the_catalogue_of_a_fresh_install(prefix, server, database, version, drilled):
    fresh = f"{database}_fresh"
    prefix.use_package(prefix.folder / version)
    create(server, database)
    with server.connect(dbname=database, autocommit=True) as db:
        db.execute(f"CREATE EXTENSION hypercube VERSION '{version}' CASCADE")
    prefix.use_package(prefix.folder / "new")
    create(server, fresh)
    with (
        server.connect(dbname=database, autocommit=True) as db,
        server.connect(dbname=fresh, autocommit=True) as other,
    ):
        other.execute("CREATE EXTENSION hypercube CASCADE")
        wanted = snapshot(other)
        db.execute("ALTER EXTENSION hypercube UPDATE")
        found = snapshot(db)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"DROP DATABASE {fresh} WITH (FORCE)")

    assert len(wanted) > 500
    assert not differences(wanted, found), "\n".join(differences(wanted, found))
    drilled(
        f"update from {version}, compared with a fresh install",
        1,
        f"{len(wanted)} entries of the catalogue equal",
    )


def test_the_comparison_sees_every_kind_of_change(server, database):
    """Otherwise an empty difference would say nothing."""
    create(server, database)
    with server.connect(dbname=database, autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        before = snapshot(db)
        for change, seen in (
            ("ALTER TABLE hypercube.token ADD COLUMN later int", "column token.later"),
            ("ALTER TABLE hypercube.token ALTER piece SET STATISTICS 7", "column token.piece"),
            ("ALTER TABLE hypercube.token ALTER piece SET DEFAULT ''", "column token.piece"),
            ("ALTER TABLE hypercube.model DISABLE TRIGGER audit_insert", "trigger audit_insert on model"),
            ("ALTER TABLE hypercube.model NO FORCE ROW LEVEL SECURITY", "relation model"),
            ("DROP POLICY auditor ON hypercube.audit_entry", "policy auditor on audit_entry"),
            ("REVOKE SELECT ON hypercube.model FROM hypercube_reader", "rights on relation model"),
            ("ALTER FUNCTION hypercube.health COST 7", "function hypercube.health(boolean)"),
            ("ALTER FUNCTION hypercube._as_owner() RESET jit", "function hypercube._as_owner()"),
            ("COMMENT ON FUNCTION hypercube.health IS 'other'", "object function hypercube.health(boolean)"),
            ("COMMENT ON COLUMN hypercube.map.label IS 'other'", "column map.label"),
            ("CREATE INDEX later ON hypercube.model (name)", "index later"),
            ("ALTER EXTENSION hypercube DROP VIEW hypercube.map", "missing: object view hypercube.map"),
            ("UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'hypercube'", "travel"),
            ("DELETE FROM hypercube.relation_kind WHERE kind = 'E'", "row relation_kind"),
            ("ALTER ROLE hypercube_reader LOGIN", "role hypercube_reader"),
        ):
            with db.transaction(force_rollback=True):
                db.execute(change)
                assert seen in "\n".join(differences(before, snapshot(db))), change
        assert differences(before, snapshot(db)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_earlier_version_made_answers_the_same_after_the_update(
    prefix, server, database, version, drilled
):
    recorded = upgrades.answers(version)
    prefix.use_package(prefix.folder / version)
    upgrades.restore(server, version, database)
    # The recorded answers are those of the earlier version: it gives them here as well.
    assert upgrades.different_answers(server, database, recorded) == []
    with server.connect(dbname=database, autocommit=True) as session:
        assert red(session) == []
        prefix.use_package(prefix.folder / "new")
        with server.connect(dbname=database, autocommit=True) as db:
            _is_refused_but_reads(db, version)
            # Whoever loaded the earlier package can do everything, but not update.
            assert red(session) == []
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as refused:
                session.execute("ALTER EXTENSION hypercube UPDATE")
            assert "connect again" in refused.value.diag.message_hint

            db.execute("ALTER EXTENSION hypercube UPDATE")
            assert version_of(db) == NEW
            # The session that was refused goes on without connecting again.
            assert red(db) == []
            # What the new version keeps of models and the earlier one did not is made.
            done = dict(db.execute("SELECT step, done FROM hypercube.maintain()").fetchall())
            assert done["expectations"] == db.execute("SELECT count(*) FROM hypercube.model").fetchone()[0]
            assert red(db) == []
            assert db.execute("SELECT ok, problem FROM hypercube.audit_verify()").fetchall() == [(True, None)]
            assert db.execute(DAMAGED).fetchone() == (0,)
            # The last step: what began before is ended.
            assert db.execute(END_EARLIER).fetchall() == [(True,)]
    assert upgrades.different_answers(server, database, recorded) == []
    drilled(f"update of a database made by {version}", 1, f"{len(recorded)} answers as before, audit whole")


def _is_refused_but_reads(db, version):
    """Before the update with the package after it: Python refuses with the remedy, SQL goes on."""
    for statement in READ:
        assert db.execute(statement).fetchone()[0] > 0
    # What only passes on work that was decided about before, and what health() reads.
    passed = {"_as_owner", "_read_as_owner", "_document_is_whole"}
    wrappers = [one for one in wrappers_of(db) if one[0] not in passed]
    assert len(wrappers) > 80
    for name, types in wrappers:
        values = (_VALUES.get(type, "'{}'" if type.endswith("[]") else "'1'") for type in types)
        given = ", ".join(f"{value}::{type}" for value, type in zip(values, types, strict=True))
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=version) as refused:
            db.execute(f"SELECT * FROM hypercube.{name}({given})")
        assert refused.value.diag.message_hint.startswith("Run ALTER EXTENSION hypercube UPDATE"), name
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        db.execute("DELETE FROM hypercube.role_limit")


_VALUES = {
    "jsonb": "'{}'",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "regconfig": "'simple'",
    "timestamp with time zone": "'2026-01-01'",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_update_that_fails_leaves_the_earlier_version_at_work(prefix, server, database, version, drilled):
    name = f"hypercube--{version}--{NEW}.sql"
    script = (prefix.extensions / name).read_bytes()
    prefix.use_package(prefix.folder / version)
    create(server, database)
    with server.connect(dbname=database, autocommit=True) as session:
        session.execute(f"CREATE EXTENSION hypercube VERSION '{version}' CASCADE")
        before = snapshot(session)
        prefix.use_package(prefix.folder / "new")
        prefix.add_script(name, script + b"\nSELECT 1 / 0;\n")
        try:
            with server.connect(dbname=database, autocommit=True) as db:
                with pytest.raises(psycopg.errors.DivisionByZero):
                    db.execute("ALTER EXTENSION hypercube UPDATE")
                assert differences(before, snapshot(db)) == []
        finally:
            prefix.add_script(name, script)
        assert red(session) == []
        with server.connect(dbname=database, autocommit=True) as db:
            with session.transaction():
                session.execute("SELECT hypercube.allow_source('/tmp')")
                # Somebody writes: with a lock_timeout the update gives up, and makes nobody wait behind it.
                db.execute("SET lock_timeout = '300ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    db.execute("ALTER EXTENSION hypercube UPDATE")
                assert version_of(db) == version
                db.execute("RESET lock_timeout")
            db.execute("ALTER EXTENSION hypercube UPDATE")
            assert version_of(db) == NEW and red(db) == []
    drilled(
        f"update from {version} fails at its last statement",
        1,
        "catalogue as before, the earlier version at work",
    )


def test_an_extension_newer_than_the_package_says_which_package_it_needs(prefix, server, database):
    prefix.add_script(f"hypercube--{NEW}--99.0.0.sql", "SELECT 1;\n")
    create(server, database)
    with server.connect(dbname=database, autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
    with server.connect(dbname=database, autocommit=True) as db:
        db.execute("ALTER EXTENSION hypercube UPDATE TO '99.0.0'")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=f"99.0.0.*{NEW}") as refused:
            db.execute("SELECT hypercube.allow_source('/tmp')")
        assert refused.value.diag.message_hint.startswith(
            "Run make install in the folder of hypercube 99.0.0"
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_an_extension_is_not_created_with_the_package_of_another_version(prefix, server, database, version):
    prefix.use_package(prefix.folder / version)
    create(server, database)
    try:
        with server.connect(dbname=database, autocommit=True) as db:
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=version) as refused:
                db.execute("CREATE EXTENSION hypercube CASCADE")
            assert "make install" in refused.value.diag.message_hint
    finally:
        prefix.use_package(prefix.folder / "new")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_dump_of_before_is_the_way_back(prefix, server, database, version, drilled):
    """As operations.md says it: the old version installed again, the dump restored."""
    control = prefix.extensions / "hypercube.control"
    new = control.read_text()
    prefix.use_package(prefix.folder / version)
    try:
        prefix.add_script(control.name, new.replace(f"'{NEW}'", f"'{version}'"))
        create(server, database)
        with server.connect(dbname=database, autocommit=True) as db:
            if not db.execute("SELECT to_regrole('hypercube_reader')").fetchone()[0]:
                db.execute("CREATE EXTENSION hypercube CASCADE")
                db.execute("DROP EXTENSION hypercube")
                db.execute("DROP SCHEMA hypercube")
        upgrades.restore_dump(server, version, database)
        with server.connect(dbname=database, autocommit=True) as db:
            assert version_of(db) == version
            assert red(db) == []
        assert upgrades.different_answers(server, database, upgrades.answers(version)) == []
    finally:
        prefix.add_script(control.name, new)
        prefix.use_package(prefix.folder / "new")
    drilled(f"rolled back to {version} by a dump of before", 1, "answers as recorded, health() green")


def test_a_session_that_missed_an_update_reads_on_and_writes_no_more(server, database):
    """What it has loaded fits the tables of before; its next connection has the package that it needs."""
    create(server, database)
    with server.connect(dbname=database, autocommit=True) as pooled:
        pooled.execute("CREATE EXTENSION hypercube CASCADE")
        compose = "SELECT hypercube.compose('abc')"
        pooled.execute(compose)
        with server.connect(dbname=database, autocommit=True) as db:
            db.execute("UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'hypercube'")
        assert pooled.execute("SELECT hypercube.composition_id('abc')").fetchone()
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="version 99.0") as refused:
            pooled.execute(compose)
        assert "connect again" in refused.value.diag.message_hint
