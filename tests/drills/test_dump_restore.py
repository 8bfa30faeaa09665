"""pg_dump and pg_restore as they are done: by several jobs, by no superuser, into a database in use."""

import contextlib
import os
import random
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import worlds
from chapters import open_folder
from replies import answer
from rows import ingest, one
from servers import ThrowawayServer, program_folder
from small_models import vectors, write_model
from tenant_questions import OF_SESSIONS, QUESTIONS, REFUSED, Ask, catalogue, writers
from worlds import ADMIN, LOGINS

_ROOT = Path(__file__).parents[2]
# Of this server alone, computed again, or made anew with the chain that a restored database begins.
_NOT_IN_A_DUMP = {"audit_collection", "index_recall"}
_GROWS = {"audit_entry", "audit_tip"}


class Source:
    """A server with the world of the tenants, some objects that are not hypercube's, and a dump of it."""

    def __init__(self, server, sources, folder):
        self.server, self.sources, self.folder = server, sources, folder
        self.checkpoint = None

    def dsn(self, dbname, user="postgres"):
        return make_conninfo(**self.server.dsn(dbname=dbname, user=user))

    def create(self, name, owner="postgres"):
        with self.server.connect(dbname="postgres", autocommit=True) as db:
            db.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (name, owner))))

    def dump(self, *options, user="dumper", name="tenants"):
        """Run pg_dump; return its path and what came of it."""
        path = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        command = [program_folder() / "pg_dump", *options, "-f", path, self.dsn(name, user)]
        return path, subprocess.run(command, capture_output=True, text=True)

    def restore(self, dump, dbname, *options, user="postgres", **environment):
        command = [_ROOT / "scripts" / "restore-dump", *options, dump, self.dsn(dbname, user)]
        # Without a terminal nobody is asked for a password.
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, start_new_session=True
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        sources = stack.enter_context(open_folder())
        server = ThrowawayServer()
        stack.callback(server.stop)
        found = Source(server, sources, tmp_path_factory.mktemp("dumps"))
        found.create("tenants")
        with server.connect(dbname="tenants", autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
            worlds.create_roles(db)
            worlds.build(db, sources)
            worlds.apply(db, worlds.all_of(LOGINS[0]))
            db.execute("SELECT hypercube.audit_seal()")
            db.execute("CREATE TABLE public.kept AS SELECT 1 AS n")
            db.execute("CREATE VIEW public.words AS SELECT label FROM hypercube.token_overview")
            db.execute("GRANT SELECT ON hypercube.audit_log TO hypercube_admin")
            # Reads all there is, and is no superuser.
            db.execute("CREATE ROLE dumper LOGIN BYPASSRLS IN ROLE pg_read_all_data")
            db.execute("CREATE ROLE keeper LOGIN")
            found.checkpoint = one(db, "SELECT digest FROM hypercube.audit_checkpoint()")
        yield found


def fingerprints(db):
    """Return how many rows of each table there are, and a digest of them."""
    tables = db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace AND relkind = 'r'"
    ).fetchall()
    return {
        table: db.execute(
            f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM hypercube.{table} AS t"
        ).fetchone()
        for (table,) in tables
        if table not in _NOT_IN_A_DUMP | _GROWS
    }


def asked(source):
    """Return (name, statement, arguments) of everything that is asked; some of what there is, by chance."""
    with source.server.connect(dbname="tenants") as db:
        rows = worlds.dump(db)
        (functions, views), writing = catalogue(db), writers(db)
    ask = Ask(random.Random(3), rows, rows, {LOGINS[0]}, source.sources)
    made = QUESTIONS | REFUSED
    found = [(name, *made[name](ask)[0]) for name in sorted(functions - writing) if name in QUESTIONS]
    for view in sorted(views - OF_SESSIONS - set(REFUSED)):
        found.append((view, f"SELECT array_agg(v::text ORDER BY v::text) FROM hypercube.{view} AS v", ()))
    return found


def require_equal(source, dbname, *, granted=True):
    """Refuse a restored database that is not as the one that was dumped."""
    questions = asked(source)
    with source.server.connect(dbname="tenants") as before, source.server.connect(dbname=dbname) as after:
        assert fingerprints(after) == fingerprints(before)
        entries = "SELECT e::text FROM hypercube.audit_entry AS e WHERE id <= %s AND chain = %s ORDER BY id"
        last = before.execute("SELECT max(id), max(chain) FROM hypercube.audit_entry").fetchone()
        expected = before.execute(entries, last).fetchall()
        assert len(expected) > 20 and after.execute(entries, last).fetchall() == expected
        assert one(after, "SELECT n FROM public.kept") == 1
        assert one(after, "SELECT count(*) FROM pg_views WHERE viewname = 'words'") == 1
        everything = (
            "SELECT relname, pg_get_userbyid(relowner),"
            " coalesce(relacl, acldefault(translate(relkind, 'Svmi', 'srrr')::\"char\", relowner))::text"
            " FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace ORDER BY relname"
        )
        rights = after.execute(everything).fetchall()
        if not granted:
            after.execute("GRANT SELECT ON hypercube.audit_log TO hypercube_admin")
            rights = after.execute(everything).fetchall()
        assert rights == before.execute(everything).fetchall()
        triggers = (
            "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger"
            " WHERE NOT tgisinternal ORDER BY 1, 2"
        )
        assert after.execute(triggers).fetchall() == before.execute(triggers).fetchall()
        verdict = after.execute("SELECT ok, problem FROM hypercube.audit_verify(%s)", (source.checkpoint,))
        assert verdict.fetchone() == (True, None)
        assert after.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall() == []
    for role in (LOGINS[0], ADMIN):
        with (
            source.server.connect(dbname="tenants", user=role, autocommit=True) as before,
            source.server.connect(dbname=dbname, user=role, autocommit=True) as after,
        ):
            for name, *question in questions:
                assert repr(answer(after, *question)) == repr(answer(before, *question)), (role, name)


def require_alive(source, dbname):
    """Refuse a database in which the next model cannot be stored, or gets the number of another."""
    with source.server.connect(dbname=dbname, autocommit=True) as db:
        highest = one(db, "SELECT max(id) FROM hypercube.model")
        folder = write_model(source.sources / f"later-{dbname}", vectors(30))
        ingest(db, folder, "later")
        assert one(db, "SELECT id FROM hypercube.model WHERE name = 'later'") > highest
        assert one(db, "SELECT ok FROM hypercube.audit_verify(%s)", source.checkpoint)


@pytest.mark.parametrize("options", [["-Fc"], ["-Fd", "-j", "2"]], ids=["custom", "directory"])
def test_a_dump_of_whom_is_no_superuser_is_restored_by_several_jobs(source, options, drilled):
    path, dumped = source.dump(*options)
    assert (dumped.returncode, dumped.stderr) == (0, "")
    name = "restored_" + options[0][-1]
    source.create(name)

    restored = source.restore(path, name, "--jobs=3")

    assert (restored.returncode, restored.stderr) == (0, "")
    assert "restored 7 models and 12 documents" in restored.stdout
    require_equal(source, name)
    require_alive(source, name)
    drilled(f"dump ({' '.join(options)}) by no superuser, restore by three jobs", 1, "equal, audit whole")


def restorer(source, dbname, *, done=False):
    """Give the rights of a restore to keeper, or take them back, as the example says."""
    command = [
        program_folder() / "psql", "-X", "-q", "-d", source.dsn(dbname), "-v", "role=the restorer",
        "-v", "member=keeper", *(["-v", "done="] if done else []),
        "-f", _ROOT / "doc" / "examples" / "restorer.sql",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


def test_the_owner_of_a_database_restores_what_a_superuser_prepared(source, drilled):
    """A superuser makes the extension and lends the rights; the rest is done by one who is none."""
    path, _ = source.dump("-Fc")
    source.create("owned", "keeper")
    as_keeper = {"user": "keeper"}

    refused = source.restore(path, "owned", **as_keeper)
    assert refused.returncode and "let a superuser run CREATE EXTENSION hypercube CASCADE" in refused.stderr
    with source.server.connect(dbname="owned", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
    refused = source.restore(path, "owned", **as_keeper)
    assert refused.returncode and "role keeper may not restore" in refused.stderr
    with source.server.connect(dbname="owned", user="keeper", autocommit=True) as db:
        db.execute("CREATE SCHEMA own")
        db.execute("CREATE FUNCTION own.ran(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1 / 0::bigint'")
        db.execute(
            "CREATE AGGREGATE own.count(*)"
            " (sfunc = int8inc, stype = bigint, initcond = '0', finalfunc = own.ran)"
        )
        db.execute("ALTER DATABASE owned SET search_path = own, pg_catalog")
    restorer(source, "owned")
    with source.server.connect(dbname="owned", user="keeper", autocommit=True) as db:
        db.execute("ALTER DATABASE owned RESET search_path")
        db.execute("DROP SCHEMA own CASCADE")

    restored = source.restore(path, "owned", "--jobs=2", "--role=the restorer", **as_keeper)

    assert (restored.returncode, restored.stderr) == (0, "")
    assert "for a superuser to do" in restored.stdout
    restorer(source, "owned", done=True)
    with source.server.connect(dbname="owned", user="keeper", autocommit=True) as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SET ROLE 'the restorer'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT FROM hypercube.model")
    with source.server.connect(dbname="owned") as db:
        assert one(db, "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'") == "keeper"
        assert not one(db, "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'the restorer'")
        db.execute("SET ROLE 'the restorer'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("INSERT INTO hypercube.writer_turn DEFAULT VALUES")
    with source.server.connect(dbname="owned", autocommit=True) as db:
        db.execute("ANALYZE")
    require_equal(source, "owned", granted=False)
    require_alive(source, "owned")
    drilled("restore by the owner of a database, no superuser", 1, "equal; rights are gone afterwards")


def test_nothing_is_restored_into_a_database_that_uses_hypercube_already(source, drilled):
    path, _ = source.dump("-Fc")
    source.create("used")
    with source.server.connect(dbname="used", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("SELECT hypercube.compose('one text')")
        before = fingerprints(db)
        # Who owns the database may have put something of his before the catalogue.
        db.execute("CREATE SCHEMA own")
        db.execute("CREATE VIEW own.pg_roles AS SELECT current_user AS rolname, 1 / 0 = 0 AS rolsuper")
        db.execute("ALTER DATABASE used SET search_path = own, pg_catalog")
        refused = source.restore(path, "used")
        assert refused.returncode == 1
        assert "hypercube is already used in the database; restore into a new one" in refused.stderr
        assert fingerprints(db) == before
    drilled("restore into a database in use", 1, "refused, no row changed")


def test_a_password_is_taken_from_the_file_that_is_named(source, tmp_path):
    path, _ = source.dump("-Fc")
    source.create("closed")
    with source.server.connect(dbname="closed", autocommit=True) as db:
        db.execute("CREATE ROLE locked LOGIN PASSWORD 'a word'")
        rules = source.server.data_folder / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text("local all locked scram-sha-256\n" + before)
        db.execute("SELECT pg_reload_conf()")
        passwords = tmp_path / "passwords"
        passwords.touch(0o600)
        passwords.write_text("*:*:*:locked:a word\n")
        try:
            refused = source.restore(path, "closed", user="locked", PGPASSFILE=str(tmp_path / "none"))
            assert "no password supplied" in refused.stderr
            refused = source.restore(path, "closed", user="locked", PGPASSFILE=str(passwords))
            assert "let a superuser run CREATE EXTENSION hypercube CASCADE" in refused.stderr
        finally:
            rules.write_text(before)
            db.execute("SELECT pg_reload_conf()")


def test_a_dump_that_is_less_than_the_database_is_refused_or_told(source):
    """By who may not read all, pg_dump refuses; without the rows of hypercube, the restore does."""
    for user in (ADMIN, LOGINS[0]):
        _, dumped = source.dump("-Fc", user=user)
        assert dumped.returncode and ("row-level security" in dumped.stderr or "denied" in dumped.stderr)
    source.create("less")
    for options in (["-Fc", "--schema-only"], ["-Fc", "--schema=public"]):
        path, dumped = source.dump(*options)
        assert dumped.returncode == 0
        refused = source.restore(path, "less")
        assert refused.returncode and "holds no rows of hypercube" in refused.stderr
    with source.server.connect(autocommit=True) as db:
        db.execute("CREATE ROLE half LOGIN IN ROLE pg_read_all_data, hypercube_admin")
    path, dumped = source.dump("-Fc", "--enable-row-security", user="half")
    assert dumped.returncode == 0
    refused = source.restore(path, "less")
    assert refused.returncode and "who made it did not see all rows" in refused.stderr
    plain, _ = source.dump("-Fp")
    refused = source.restore(plain, "less")
    assert refused.returncode and "no dump in the format custom or directory" in refused.stderr
    assert "usage" in source.restore(plain, "less", "--jobs=many").stderr


def test_jobs_without_the_script_fail_at_a_foreign_key_and_say_so(source):
    """Why the script restores models first: an archive does not keep the order of tables of an extension."""
    path, _ = source.dump("-Fc")
    source.create("raced")
    command = [program_folder() / "pg_restore", "--jobs=3", "-d", source.dsn("raced"), path]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    assert run.returncode and 'violates foreign key constraint "' in run.stderr
    assert "_model_fkey" in run.stderr


def test_triggers_that_a_restore_disabled_are_told_by_health_and_set_right_again(source, drilled):
    path, _ = source.dump("-Fc")
    source.create("disabled")
    with source.server.connect(dbname="disabled", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        command = [program_folder() / "pg_restore", "--data-only", "--disable-triggers", "-n", "hypercube"]
        subprocess.run([*command, "-d", source.dsn("disabled"), path], check=True, capture_output=True)
        red = 'SELECT "check" FROM hypercube.health() WHERE NOT ok'
        assert db.execute(red).fetchall() == [("audit",)]
        text = (_ROOT / "doc" / "operations.md").read_text(encoding="utf-8")
        [block] = [part for part in text.split("```sql\n")[1:] if "ENABLE ALWAYS TRIGGER %I" in part]
        db.execute(block.split("```")[0])
        assert db.execute(red).fetchall() == []
        assert one(db, "SELECT ok FROM hypercube.audit_verify(%s)", source.checkpoint)
    drilled("pg_restore --disable-triggers", 1, "red in health(), right again by one block")
