"""Many clients on few connections of pgbouncer, configured as doc/examples says."""

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

import worlds
from chapters import open_folder
from poolers import EXAMPLES, Pooler
from rows import MODELS, one
from servers import ThrowawayServer, as_server_user, program_folder
from tenant_questions import QUESTIONS, WRITES, Ask

WARM = "connect_query='SELECT hypercube.warm(name) FROM hypercube.model'"
# For a role that has rights only as somebody else.
WARM_AS_ANNA = "connect_query='SET ROLE anna; SELECT hypercube.warm(name) FROM hypercube.model; RESET ROLE'"
CLIENTS = 200
# Of a session, all that the next client could notice.
NOTICED = """
SELECT
    current_user, session_user,
    coalesce(nullif(current_setting('hypercube.model', true), ''), 'none'),
    coalesce(nullif(current_setting('hypercube.max_k', true), ''), 'none'),
    (SELECT string_agg(name || '=' || setting, ';' ORDER BY name) FROM pg_settings),
    (SELECT string_agg(relname, ';') FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
    (SELECT string_agg(proname, ';') FROM pg_proc WHERE pronamespace = pg_my_temp_schema()),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
    (SELECT string_agg(name, ';') FROM pg_cursors WHERE is_holdable),
    (SELECT string_agg(name, ';') FROM pg_prepared_statements WHERE name <> ''),
    (SELECT string_agg(channel, ';') FROM pg_listening_channels() AS channel)
"""
LEFT_BEHIND = (
    "SET hypercube.model = 'alike'",
    "SELECT set_config('hypercube.max_k', '1', false)",
    "SET ROLE anna",
    "SET search_path = own, pg_catalog",
    "SET application_name = 'the work of anna'",
    "SET statement_timeout = 1234",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET default_transaction_isolation = 'serializable'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "CREATE TEMPORARY TABLE model (secret text)",
    "CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql RETURN 'secret'",
    "SELECT pg_advisory_lock(7)",
    "DECLARE kept CURSOR WITH HOLD FOR SELECT 'secret'",
    "PREPARE kept AS SELECT 'secret'",
    "LISTEN kept",
    "SELECT nextval('own.counted')",
    # Whoever cleans must not run what is planted in its way.
    "SELECT set_config('search_path', 'own, pg_catalog', false)",
)


@pytest.fixture(scope="module")
def world():
    """A server with models and texts, half anna's and half berta's, and the folder they came from."""
    server = ThrowawayServer(shared_buffers="64MB", max_connections="50")
    with open_folder() as sources, server.connect(autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        worlds.create_roles(db)
        db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        worlds.build(db, sources)
        half = worlds.all_of("anna")
        halves = {
            field: [
                ("berta", []) if place % 2 else ("anna", []) for place in range(len(getattr(half, field)))
            ]
            for field in ("models", "documents")
        }
        worlds.apply(db, half._replace(**halves))
        # The role of a web server, which is somebody's for a transaction only.
        db.execute("CREATE ROLE web LOGIN NOINHERIT IN ROLE anna, berta")
        db.execute("CREATE SCHEMA own AUTHORIZATION web")
        db.execute("CREATE SEQUENCE own.counted; ALTER SEQUENCE own.counted OWNER TO web")
        db.execute(
            "CREATE FUNCTION own.pg_advisory_unlock_all() RETURNS void LANGUAGE sql"
            " AS $$ SELECT set_config('hypercube.model', 'planted', false) $$"
        )
        yield server, sources
    server.stop()


def pooler(server, *users, warm=WARM, **settings):
    """Start one for a database of the server."""
    behind = f"host={server.socket_folder} port=5432 dbname=test {warm}"
    return Pooler({"app": behind}, users, **settings)


def single(server, *users, **settings):
    """Start one with a single connection for each user."""
    told = {"default_pool_size": 1, "min_pool_size": 0, "reserve_pool_size": 0}
    return pooler(server, *users, **(told | settings))


def noticed(pool, **changes):
    """Return the process of the server's session, and what a new client notices there."""
    with pool.connect(**changes) as db:
        with db.transaction():
            found = one(db, "SELECT pg_backend_pid()"), *db.execute(NOTICED).fetchone()
        try:
            return *found, one(db, "SELECT lastval()")
        except psycopg.errors.ObjectNotInPrerequisiteState:
            return found


def leave_behind(pool, statement):
    with pool.connect(user="web") as db:
        pid = one(db, "SELECT pg_backend_pid()")
        db.execute(statement)
    return pid


def test_nothing_of_a_client_is_left_for_the_next_one_of_the_same_connection(world, drilled):
    server, _ = world
    with single(server, "web") as pool:
        first = noticed(pool, user="web")
        for statement in LEFT_BEHIND:
            assert leave_behind(pool, statement) == first[0]
            assert noticed(pool, user="web") == first, statement
    # Without the line that cleans, most of it would be noticed.
    with single(server, "web", server_reset_query_always=0) as pool:
        first = noticed(pool, user="web")
        left = 0
        for statement in LEFT_BEHIND[:6]:
            leave_behind(pool, statement)
            left += noticed(pool, user="web") != first
        assert left >= 5
    drilled(
        "pooling: something left behind in a connection",
        len(LEFT_BEHIND),
        "the next client noticed none of it",
    )


def answer(db, statement, arguments):
    """Return the rows of a statement without seconds, or its refusal."""
    try:
        cursor = db.execute(statement, arguments)
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall() if names else []
        hidden = [place for place, name in enumerate(names) if name == "seconds"]
        return [tuple(v for place, v in enumerate(row) if place not in hidden) for row in rows]
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary, error.diag.message_hint


def answers(db, role, asked):
    """Ask as a role, each question in a transaction of its own, as backends of web sites do."""
    found = []
    for statement, arguments in asked:
        with db.transaction(force_rollback=True):
            if role:
                db.execute(f"SET LOCAL ROLE {role}")
            found.append(answer(db, statement, arguments))
    return found


def test_one_connection_is_one_tenant_and_then_another_and_neither_learns_of_the_other(world, drilled):
    server, sources = world
    with server.connect(autocommit=True) as db:
        rows = worlds.dump(db)
    drawn = Ask(random.Random(5), rows, rows, {"anna", "berta"}, sources)
    asked = [question for make in QUESTIONS.values() for question in make(drawn)]
    # What fails or is rolled back in the middle of writing leaves nothing in Python either.
    writing = [question for make in WRITES.values() for question in make(drawn)]
    direct = {}
    for role in ("anna", "berta"):
        with server.connect(user=role, autocommit=True) as db:
            direct[role] = answers(db, None, asked)
    assert direct["anna"] != direct["berta"]
    with single(server, "web", warm=WARM_AS_ANNA) as pool:
        with pool.connect(user="web") as db:
            assert has_mapped(one(db, "SELECT pg_backend_pid()"))
            assert one(db, "SELECT current_user") == "web"
        pids = set()
        for role in ("anna", "berta", "anna"):
            with pool.connect(user="web") as db:
                pids.add(one(db, "SELECT pg_backend_pid()"))
                for question, mine, expected in zip(
                    asked, answers(db, role, asked), direct[role], strict=True
                ):
                    assert repr(mine) == repr(expected), (role, question)
                answers(db, role, writing)
                shutil.rmtree(sources / "part" / "exported", ignore_errors=True)
        assert len(pids) == 1
    # A pool for each user, which is the other way.
    with single(server, "anna", "berta") as pool:
        for role in ("anna", "berta", "anna"):
            with pool.connect(user=role) as db:
                assert one(db, "SELECT current_user") == role
                found = answers(db, None, asked[::7])
                assert repr(found) == repr(direct[role][::7])
    drilled(
        "pooling: tenants take turns on one connection",
        3 * len(asked),
        "every answer is that of a connection of their own",
    )


def has_mapped(pid):
    """Whether a session has the matrix of a model in reach."""
    return "unit1-" in Path(f"/proc/{pid}/maps").read_text()


def until(condition, seconds=10):
    """Return after how many seconds a condition holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def running(db, what):
    return one(db, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s", what)


def begin_ingest(pool, name):
    command = [program_folder() / "psql", "-X", "-h", pool.folder, "-p", 6432, "-U", "postgres", "-d", "app"]
    command += ["-c", f"SELECT hypercube.ingest('{MODELS / 'all-MiniLM-L6-v2'}', '{name}')"]
    return subprocess.Popen(
        as_server_user(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_an_ingest_ends_with_its_client_or_with_ctrl_c_and_the_connection_is_clean(world, drilled):
    server, _ = world
    seconds = []
    with single(server, "postgres", server_login_retry=1) as pool, server.connect(autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (str(MODELS),))
        for name, sent in (("killed", signal.SIGKILL), ("cancelled", signal.SIGINT)):
            client = begin_ingest(pool, name)
            until(lambda: one(db, "SELECT count(*) FROM hypercube.progress WHERE percent > 2"), 30)
            client.send_signal(sent)
            seconds.append(until(lambda: not running(db, "SELECT hypercube.ingest%")))
            said, _ = client.communicate(timeout=10)
            assert sent == signal.SIGKILL or "canceling statement due to user request" in said, said
            with pool.connect() as next_client:
                assert one(next_client, "SELECT current_setting('application_name')") == ""
                assert one(next_client, "SELECT count(*) FROM hypercube.model WHERE name = %s", name) == 0
                assert one(
                    next_client, "SELECT count(*) FROM hypercube.semantic_neighbors('waab', 3, 'alike')"
                )
        assert (
            one(db, "SELECT count(*) FROM pg_locks WHERE relation = 'hypercube.writer_turn'::regclass") == 0
        )
    assert max(seconds) < 5
    drilled(
        "pooling: a client killed in an ingest, one that cancels",
        len(seconds),
        f"the ingest ended after {max(seconds):.1f} s, the next client has a clean connection",
    )


def test_a_session_keeps_its_name_though_an_earlier_client_had_another(world):
    server, _ = world
    with single(server, "postgres") as pool:
        for name in ("the work of anna", "hypercube of berta"):
            with pool.connect(application_name=name) as db, db.transaction(force_rollback=True):
                db.execute("SELECT hypercube.verify_model('alike')")
                assert one(db, "SELECT current_setting('application_name')") == name
                db.execute("SELECT hypercube.compose(%s)", (f"by {name}",))
                told = db.execute(
                    "SELECT DISTINCT application FROM hypercube.audit_log WHERE pid = pg_backend_pid()"
                )
                assert told.fetchall() == [(name,)]


def test_hundreds_of_clients_share_few_warm_connections_and_get_their_own_answers(world, drilled):
    server, _ = world
    question = "SELECT array_agg(label) FROM hypercube.most_similar(ARRAY[%s], k => 5, model => 'alike')"
    with server.connect(autocommit=True) as db:
        expected = {word: one(db, question, word) for word in worlds.WORDS[:20]}
    assert len({tuple(answer) for answer in expected.values()}) == 20

    async def client(pool, number, wrong):
        async with await psycopg.AsyncConnection.connect(**pool.dsn(), autocommit=True) as db:
            for step in range(5):
                word = worlds.WORDS[(number + step) % 20]
                cursor = await db.execute(question, (word,))
                if (await cursor.fetchone())[0] != expected[word]:
                    wrong.append(word)

    async def all_clients(pool, wrong):
        await asyncio.gather(*(client(pool, number, wrong) for number in range(CLIENTS)))

    with pooler(server, "postgres") as pool, server.connect(autocommit=True) as db:
        with pool.connect() as first:
            # Before its first question: the connection is warm.
            assert has_mapped(one(first, "SELECT pg_backend_pid()"))
        with pool.held(), contextlib.ExitStack() as arrived:
            for _ in range(CLIENTS):
                waiting = arrived.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                # EAGAIN where the backlog is full.
                waiting.connect(str(pool.folder / ".s.PGSQL.6432"))
        wrong = []
        asyncio.run(all_clients(pool, wrong))
        assert wrong == []
        found = one(
            db,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()",
        )
        assert found <= 6
    drilled(f"pooling: {CLIENTS} clients at a time", 5 * CLIENTS, f"right answers, from {found} connections")


def test_clients_prove_themselves_and_no_password_is_kept(world, drilled):
    server, _ = world
    rules = server.data_folder / "pg_hba.conf"
    before = rules.read_text()
    with server.connect(autocommit=True) as db:
        db.execute((EXAMPLES / "pgbouncer.sql").read_text())
        db.execute("ALTER ROLE pgbouncer PASSWORD 'of the pooler'")
        db.execute("ALTER ROLE anna PASSWORD 'of anna'")
        db.execute("ALTER ROLE postgres PASSWORD 'of postgres'")
        rules.write_text("local all pgbouncer,anna scram-sha-256\n" + before)
        db.execute("SELECT pg_reload_conf()")
        try:
            with pooler(server, passwords={"pgbouncer": "of the pooler", "postgres": "console"}) as pool:
                # Who runs the server's programs needs no password for the console.
                command = [program_folder() / "psql", "-h", pool.folder, "-p", 6432, "-U", "pgbouncer"]
                command += ["-w", "-c", "RECONNECT", "pgbouncer"]
                subprocess.run(as_server_user(command), check=True, stdout=subprocess.DEVNULL)
                with pool.connect(user="anna", password="of anna") as client:
                    assert one(client, "SELECT current_user") == "anna"
                for user, password in (("anna", "wrong"), ("nobody", "x"), ("postgres", "of postgres")):
                    with pytest.raises(psycopg.OperationalError, match="(?i)auth|no such user"):
                        pool.connect(user=user, password=password)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                with server.connect(user="berta") as berta:
                    berta.execute("SELECT * FROM pooling.verifier_of('anna')")
        finally:
            rules.write_text(before)
            db.execute("SELECT pg_reload_conf()")
    drilled("pooling: wrong password, unknown role, superuser", 3, "refused; the right one is let in")
