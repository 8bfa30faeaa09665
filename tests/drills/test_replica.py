"""A streaming standby: equal answers, also of what came a second ago; writers say where to go; promotion."""

import contextlib
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import worlds
from chapters import open_folder, store
from drills.conftest import rounds
from replicas import ASKED, W, catch_up, change, promote, standby_of, told
from replies import answer
from rows import ingest, one
from servers import ThrowawayServer
from signatures import call, functions, prepare
from small_models import vectors, write_model
from tenant_questions import OF_SESSIONS, PRIVATE, QUESTIONS, REFUSED, Ask, catalogue, writers
from worlds import ADMIN, LOGINS, READER

# They are VOLATILE for the sake of the audit, which tells of them where it can be written.
ALSO_WHERE_NOTHING_IS_WRITTEN = {"audit_verify", "export_model", "verify_document", "verify_model"}
# What tells of the server itself, and so differs; that it answers is asked.
OF_THE_SERVER = {"health()", "metrics()", "metrics_text()"}


class Pair:
    """A primary and its standby, with the world of the tenants and a database for what is changed."""

    def __init__(self, primary, standby, sources):
        self.primary, self.standby, self.sources = primary, standby, sources
        self.rows = None

    def catch_up(self):
        catch_up(self.primary, self.standby)


def _shuffle():
    """Return a Shuffle in which everybody has something, and sees something of others."""
    drawn = random.Random(5)

    def owned(names):
        return [(drawn.choice(worlds.OWNERS), drawn.sample(worlds.GRANTEES, 2)) for _ in names]

    return worlds.Shuffle(
        owned(worlds.MODELS), owned(worlds.DOCUMENTS), drawn.choices(worlds.OWNERS, k=len(worlds.KEPT)),
        drawn.choices(worlds.OWNERS, k=len(worlds.UPLOADS)), [LOGINS[0], LOGINS[1]],
        ["public", LOGINS[0], LOGINS[1], LOGINS[2]], False, frozenset({("klub", LOGINS[1])}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pair():
    with contextlib.ExitStack() as stack:
        sources = stack.enter_context(open_folder())
        # A VACUUM at a moment that nobody chose would end questions of the standby.
        primary = ThrowawayServer(autovacuum="off")
        stack.callback(primary.stop)
        with primary.connect(dbname="postgres", autocommit=True) as db:
            db.execute("CREATE DATABASE tenants")
            db.execute("CREATE DATABASE changed")
            db.execute("CREATE DATABASE quiet")
        for name in ("tenants", "changed", "quiet"):
            with primary.connect(dbname=name, autocommit=True) as db:
                db.execute("CREATE EXTENSION hypercube CASCADE")
                db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        # The copy has a line of it that the primary will have taken in.
        refuse(primary, "before the copy")
        with primary.connect(dbname="tenants", autocommit=True) as db:
            worlds.create_roles(db)
            worlds.build(db, sources)
        standby = stack.enter_context(standby_of(primary, max_standby_streaming_delay="300ms"))
        found = Pair(primary, standby, sources)
        # What decides over rights comes by replay, not with the copy.
        with primary.connect(dbname="tenants", autocommit=True) as db:
            worlds.apply(db, _shuffle())
            found.rows = worlds.dump(db)
        found.catch_up()
        yield found


def refuse(server, name):
    """Make a call that is refused, in a database where nothing else happens."""
    with server.connect(dbname="quiet", autocommit=True) as db:
        with pytest.raises((psycopg.errors.UndefinedObject, psycopg.errors.ReadOnlySqlTransaction)):
            db.execute("SELECT hypercube.drop_model(%s)", (name,))


def everything(pair, role, drawing):
    """Return (name, statement, arguments) of what a role asks: every function that only reads, every view."""
    memberships = _shuffle().memberships
    seen = pair.rows if role == "postgres" else worlds.seen(pair.rows, role, memberships)
    mine = set(worlds.OWNERS) if role == "postgres" else worlds.members(role, memberships)
    ask = Ask(drawing, pair.rows, seen, mine, pair.sources)
    with pair.primary.connect(dbname="tenants") as db:
        (asked, views), writing = catalogue(db), writers(db)
    made = QUESTIONS | PRIVATE | REFUSED
    unknown = asked - writing - made.keys()
    assert not unknown, f"nothing is asked of {unknown}: see tests/tenant_questions.py"
    for name in sorted((asked - writing) | PRIVATE.keys()):
        for _ in range(3 if role == "postgres" else 1):
            yield from ((name, *question) for question in made[name](ask))
    for view in sorted(views - OF_SESSIONS):
        yield view, f"SELECT array_agg(v::text ORDER BY v::text) FROM hypercube.{view} AS v", ()


def test_every_function_that_reads_answers_as_on_the_primary_for_everybody(pair, drilled):
    answered, count = set(), 0
    for role in ("postgres", ADMIN, READER, *LOGINS):
        asked = list(everything(pair, role, random.Random(role)))
        count += len(asked)
        with (
            pair.primary.connect(dbname="tenants", user=role, autocommit=True) as here,
            pair.standby.connect(dbname="tenants", user=role, autocommit=True) as there,
        ):
            for name, *question in asked:
                mine, other = answer(here, *question), answer(there, *question)
                if name in OF_THE_SERVER:
                    assert mine.refusal == other.refusal, (role, name)
                else:
                    assert repr(other) == repr(mine), (role, name, question)
                if other.refusal is None and other.is_one:
                    answered.add(name)
    assert {name for name, *_ in asked} - answered == set()
    unhealthy = 'SELECT "check" FROM hypercube.health() WHERE NOT ok'
    with pair.standby.connect(dbname="tenants") as db:
        assert one(db, "SELECT pg_is_in_recovery()")
        # One of the owners is no role.
        assert db.execute(unhealthy).fetchall() == [("owners",)]
    drilled("questions to a standby, of seven roles", count, "rows and refusals of the primary")


@pytest.fixture(scope="module")
def prepared(pair):
    """A database "prepared" with something of each kind: arguments that fit, and the functions that write."""
    with pair.primary.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE prepared")
    with pair.primary.connect(dbname="prepared", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("SELECT hypercube.allow_source(%s)", (str(pair.sources),))
        return prepare(db, pair.sources), [function for function in functions(db) if function.writes]


def test_whatever_writes_refuses_with_25006_before_it_does_anything(pair, prepared, drilled):
    """On the standby, and in a transaction of the primary that only reads; each one, from the catalogue."""
    sane, writing = prepared
    pair.catch_up()
    assert {function.name for function in writing} > ALSO_WHERE_NOTHING_IS_WRITTEN
    count = 0
    for server, setting, where, what in (
        (pair.standby, "off", "on a standby", "Connect to the primary"),
        (pair.primary, "on", "in a read-only transaction", "Use BEGIN READ WRITE"),
    ):
        with server.connect(dbname="prepared", autocommit=True) as db:
            db.execute("SELECT set_config('default_transaction_read_only', %s, false)", (setting,))
            for function in writing:
                if function.name in ALSO_WHERE_NOTHING_IS_WRITTEN:
                    continue
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as refusal:
                    db.execute(*call(function, sane))
                assert f"nothing can be written {where}" in str(refusal.value), function.signature
                assert what in refusal.value.diag.message_hint, function.signature
                count += 1
            # What is wrong with the call is not looked at.
            for wrong in ("ingest('/no/such/folder')", "drop_model('no such model')"):
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    db.execute(f"SELECT * FROM hypercube.{wrong}")
    drilled("writers called on a standby or in READ ONLY", count, "25006 with a hint, each")


def checked(db, folder):
    """Return what the functions tell that write nothing but what the audit knows of them."""
    exported = db.execute("SELECT * FROM hypercube.export_model('m', %s)", (str(folder),)).fetchall()
    return (
        [(path.removeprefix(str(folder)), size, digest) for path, size, digest in exported],
        db.execute("SELECT * FROM hypercube.verify_model('m')").fetchall(),
        db.execute("SELECT * FROM hypercube.verify_document('a')").fetchall(),
    )


def test_verifying_and_exporting_work_where_nothing_can_be_written(pair, prepared, drilled):
    pair.sources.chmod(0o777)
    with pair.primary.connect(dbname="prepared", autocommit=True) as db:
        db.execute("SELECT hypercube.allow_target(%s)", (str(pair.sources),))
        expected = checked(db, pair.sources / "here")
        entries = one(db, "SELECT count(*) FROM hypercube.audit_entry")
    pair.catch_up()
    with pair.standby.connect(dbname="prepared", autocommit=True) as db:
        assert checked(db, pair.sources / "there") == expected
        ok, verified, *_ = db.execute("SELECT * FROM hypercube.audit_verify()").fetchone()
        assert ok and verified == entries
        assert one(db, "SELECT hypercube.warm('m')") > 0
    drilled("verify, export, warm on a standby", 5, "as on the primary")


def test_a_session_of_the_standby_that_knew_a_model_answers_from_the_one_that_took_its_place(pair, drilled):
    """What it had mapped and remembered is of rows that are gone; and in both orders of waiting."""
    times, seen = rounds(4), []
    with (
        pair.primary.connect(dbname="changed", autocommit=True) as here,
        pair.standby.connect(dbname="changed", autocommit=True) as there,
    ):
        for seed in range(times):
            if seed == times // 2:
                # From here on a commit returns when the standby shows it.
                here.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                here.execute("SELECT pg_reload_conf()")
                here.execute("SET synchronous_commit = remote_apply")
                wait_for_sync(pair.primary)
            change(here, pair.sources, seed)
            if seed < times // 2:
                pair.catch_up()
            seen.append(told(there))
            assert seen[-1] == told(here)
            assert not [statement for statement, one in zip(ASKED, seen[-1], strict=True) if one.refusal]
        here.execute("ALTER SYSTEM RESET synchronous_standby_names")
        here.execute("SELECT pg_reload_conf()")
    for earlier, later in zip(seen, seen[1:], strict=False):
        assert not [place for place in (0, 1, 2, 3, 4, 5) if earlier[place] == later[place]]
    drilled("model replaced under a warm session of a standby", times, "the answers of the new one")


def wait_for_sync(server):
    with server.connect(dbname="postgres", autocommit=True) as db:
        until = time.monotonic() + 30
        while one(db, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 0:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_grant_that_is_replayed_changes_what_a_warm_session_finds(pair, drilled):
    ask = "SELECT document FROM hypercube.search('waab waac', 50, 'alike')"
    role, other = LOGINS[0], LOGINS[1]
    name = "second"
    with (
        pair.primary.connect(dbname="tenants", autocommit=True) as here,
        pair.standby.connect(dbname="tenants", user=role, autocommit=True) as there,
    ):
        here.execute(
            "UPDATE hypercube.model SET owner = %s, readers = '{public}' WHERE name = 'alike'", (other,)
        )
        here.execute("SELECT hypercube.give_document(%s, %s)", (name, other))
        here.execute("UPDATE hypercube.document SET readers = '{}' WHERE name = %s", (name,))
        here.execute("SELECT hypercube.grant_document('first', 'public')")
        times = rounds(3)
        for _ in range(times):
            for does, found in (("grant", True), ("revoke", False)):
                here.execute(f"SELECT hypercube.{does}_document(%s, %s)", (name, role))
                pair.catch_up()
                assert ((name,) in there.execute(ask).fetchall()) == found, does
    drilled("grant and revoke under a warm session of a standby", 2 * times, "seen as soon as replayed")


def asked_for_long(pair, asking):
    """Ask until it fails; return the problem."""
    question = "SELECT count(hypercube.similarity(%s::text, %s, 'changing')) FROM generate_series(1, 1000000)"
    with pair.standby.connect(dbname="changed", autocommit=True) as db:
        told(db)
        asking.set()
        with pytest.raises(psycopg.Error) as problem:
            db.execute(question, (W[0], W[1]))
        return problem.value


def test_limits_are_replayed_and_each_server_counts_for_itself(pair, drilled):
    role = LOGINS[2]
    ask = "SELECT * FROM hypercube.semantic_neighbors('waab', 4, 'alike')"
    with (
        pair.primary.connect(dbname="tenants", autocommit=True) as admin,
        pair.primary.connect(dbname="tenants", user=role, autocommit=True) as here,
        pair.standby.connect(dbname="tenants", user=role, autocommit=True) as there,
    ):
        admin.execute("SELECT hypercube.grant_model('alike', 'public')")
        admin.execute("SELECT hypercube.set_limit(%s, 'k', 4)", (role,))
        pair.catch_up()
        assert len(there.execute(ask).fetchall()) == 4
        admin.execute("SELECT hypercube.set_limit(%s, 'questions', 2)", (role,))
        pair.catch_up()
        for db in (there, here):
            for _ in range(2):
                db.execute(ask)
            with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
                db.execute(ask)
        admin.execute("SELECT hypercube.unset_limit(%s, 'questions')", (role,))
        admin.execute("SELECT hypercube.set_limit(%s, 'k', 3)", (role,))
        pair.catch_up()
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            there.execute(ask)
    drilled("limits set under a session of a standby", 4, "held to as soon as replayed")


def test_a_question_that_recovery_cannot_wait_for_fails_with_40001_and_can_be_asked_again(pair, drilled):
    """What it still reads is vacuumed on the primary; the standby waits for 0.3 s here."""
    times = rounds(2)
    with pair.primary.connect(dbname="changed", autocommit=True) as here, ThreadPoolExecutor() as threads:
        for seed in range(times):
            change(here, pair.sources, 100 + seed)
            pair.catch_up()
            asking = threading.Event()
            asked = threads.submit(asked_for_long, pair, asking)
            asking.wait(60)
            time.sleep(0.2)
            change(here, pair.sources, 200 + seed)
            here.execute("VACUUM hypercube.model, hypercube.token, hypercube.relation, hypercube.chunk")
            problem = asked.result(60)
            assert (problem.sqlstate, "conflict with recovery" in str(problem)) == ("40001", True)
            pair.catch_up()
            with pair.standby.connect(dbname="changed", autocommit=True) as there:
                assert told(there) == told(here)
    drilled("rows of a running question vacuumed on the primary", times, "40001, asked again it answers")


def test_a_promoted_standby_answers_as_before_writes_and_goes_on_with_the_audit(pair, drilled):
    role = LOGINS[0]
    refuse(pair.primary, "on the primary")
    with pair.primary.connect(dbname="quiet", autocommit=True) as db:
        assert one(db, "SELECT hypercube.audit_collect()") == 2
    refuse(pair.standby, "on the standby, as of a longer line")
    with pair.primary.connect(dbname="tenants", autocommit=True) as db:
        checkpoint = one(db, "SELECT digest FROM hypercube.audit_checkpoint()")
        questions = list(everything(pair, role, random.Random(1)))
    with pair.primary.connect(dbname="tenants", user=role, autocommit=True) as db:
        before = [answer(db, *question) for name, *question in questions]
    pair.catch_up()
    pair.primary.terminate(signal.SIGQUIT)
    assert "received immediate shutdown request" in pair.primary.log

    with pair.standby.connect(dbname="tenants", user=role, autocommit=True) as warm:
        assert answer(warm, *questions[0][1:]) == before[0]
        seconds = promote(pair.standby)
        after = [answer(warm, *question) for name, *question in questions]
    assert [repr(one) for one in after] == [repr(one) for one in before]

    with pair.standby.connect(dbname="tenants", autocommit=True) as db:
        shutil.rmtree(pair.sources / "later", ignore_errors=True)
        ingest(db, write_model(pair.sources / "later", vectors(40, seed=40)), "later")
        store(db, "later", "Waab later waac.", model="later")
        assert one(db, "SELECT count(*) FROM hypercube.search('waab', 5, 'later')") == 1
        ok, _, bad, problem = db.execute("SELECT * FROM hypercube.audit_verify(%s)", (checkpoint,)).fetchone()
        assert (ok, bad, problem) == (True, None, None)
        assert one(db, "SELECT count(DISTINCT chain) FROM hypercube.audit_entry") == 1
    with pair.standby.connect(dbname="quiet", autocommit=True) as db:
        assert one(db, "SELECT hypercube.audit_collect()") == 1
        refused = db.execute(
            "SELECT detail #>> '{arguments,model}', sqlstate FROM hypercube.audit_log"
            " WHERE outcome = 'refused' ORDER BY id"
        ).fetchall()
        assert refused == [
            ("before the copy", "42704"),
            ("on the primary", "42704"),
            ("on the standby, as of a longer line", "25006"),
        ]
    drilled("primary lost, standby promoted", 1, f"writes after {seconds:.1f} s, answers and audit go on")
