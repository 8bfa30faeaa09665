"""One call found again in the log, the audit, the error of its client and what other sessions see."""

import json
import re
import time

import psycopg
import pytest

from chapters import open_folder
from guarded import guarded_server
from monitoring import wait_until
from rows import ingest, one
from servers import ThrowawayServer
from small_models import vectors, words, write_model

SECRET = "the text of a document that is in no log 2967"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
W = words(5)


def lines(server):
    """Return what the server has logged as JSON, file after file."""
    found = []
    for path in sorted((server.data_folder / "log").glob("hypercube-*.json")):
        assert path.stat().st_mode & 0o777 == 0o600
        found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return found


def test_a_line_of_json_leads_from_a_failure_to_the_audit_and_holds_no_text(drilled):
    with guarded_server("hypercube.conf", "jsonlog.conf") as server:
        for told, number in (
            ("", None),
            (f"SET hypercube.call_id = '00-{TRACE}-00f067aa0ba902b7-01'; ", TRACE),
        ):
            problem = server.psql(
                f"{told}SELECT hypercube.ingest_text('{'n' * 300}', '{SECRET}')", fails=True
            )
            [call] = re.findall(r", in call (\S+)", problem)
            assert call == number if number else re.fullmatch("[0-9a-f]{12}", call)
            failed = wait_until(
                lambda: [line for line in lines(server) if line.get("state_code") == "22023"]
            )[-1]
            assert failed["application_name"] == f"hypercube ingest_text {call}"
            assert failed["user"] == "postgres" and failed["dbname"] == "guarded"
            server.psql("SELECT hypercube.audit_collect()")
            in_audit = f"SELECT operation || ' ' || sqlstate FROM hypercube.audit_log WHERE call = '{call}'"
            assert server.psql(in_audit) == "call 22023"

        server.psql(
            "SET hypercube.log_min_duration = 10; SELECT hypercube.ingest_text('a', 'Waab. " + SECRET + "')"
        )
        slow = wait_until(lambda: [line for line in lines(server) if "ingest_text took" in line["message"]])[
            -1
        ]
        call = re.fullmatch(r"call ([0-9a-f]{12}): ingest_text took \d+\.\d{3} s", slow["message"])[1]
        assert server.psql(f"SELECT count(*) > 0 FROM hypercube.audit_log WHERE call = '{call}'") == "t"

        time.sleep(1)
        before = len(list((server.data_folder / "log").glob("hypercube-*.json")))
        server.psql("SELECT pg_rotate_logfile()")
        wait_until(lambda: len(list((server.data_folder / "log").glob("hypercube-*.json"))) > before)
        server.psql("SELECT hypercube.drop_model('rotated')", fails=True)
        wait_until(lambda: any("rotated" in line["message"] for line in lines(server)))
        assert not any(SECRET in json.dumps(line) for line in lines(server))
        # What PostgreSQL keeps out of a plain log alone, as doc/operations.md says.
        server.psql(
            "CREATE TEMP TABLE t (a text CHECK (a = '')); INSERT INTO t VALUES ('a row 6611')", fails=True
        )
        wait_until(lambda: any("a row 6611" in line.get("detail", "") for line in lines(server)))
    drilled(
        "calls that fail, a log that is rotated",
        3,
        "each found by its id in log and audit, no text in the log",
    )


@pytest.fixture(scope="module")
def small():
    """A connection to a server with a small model."""
    server = ThrowawayServer()
    try:
        with open_folder() as folder, server.connect(autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
            ingest(db, write_model(folder / "m", vectors(120)), neighbors=8)
            db.execute("SET application_name = 'the client'")
            yield db
    finally:
        server.stop()


def failed(db, statement):
    """Return the id of the call that a statement fails in."""
    with pytest.raises(psycopg.Error) as problem:
        db.execute(statement)
    [call] = re.findall(r", in call (\S+)", problem.value.diag.context)
    return call


def test_each_call_has_an_id_of_its_own_and_one_call_has_one(small):
    ask = "SELECT hypercube.similarity('nonsense', 'nonsense')"
    assert failed(small, ask) != failed(small, ask)
    small.execute("SELECT hypercube.ingest_texts('{a,b}', '{Waab.,Waac.}', model => 'm')")
    small.execute("SELECT hypercube.drop_document('a')")
    calls = small.execute(
        "SELECT operation, count(DISTINCT call) FROM hypercube.audit_log WHERE kind = 'document'"
        " GROUP BY operation ORDER BY operation"
    ).fetchall()
    assert dict(calls)["insert"] == dict(calls)["delete"] == 1
    assert one(small, "SELECT count(*) FROM hypercube.audit_log WHERE call IS NULL") == 0
    assert small.execute("SELECT ok, problem FROM hypercube.audit_verify()").fetchone() == (True, None)


@pytest.mark.parametrize("given", ["", "a b", "x" * 33, "a\nERROR", "%u"])
def test_what_is_no_id_is_not_taken(small, given):
    small.execute("SELECT set_config('hypercube.call_id', %s, false)", (given,))
    assert re.fullmatch("[0-9a-f]{12}", failed(small, "SELECT hypercube.similarity('nonsense', 'nonsense')"))
    small.execute("RESET hypercube.call_id")


def test_the_longest_id_fits_behind_the_longest_name_of_a_function(small):
    """Of what is longer than PostgreSQL keeps the end would be gone, and its client told so each time."""
    told = []
    small.add_notice_handler(lambda notice: told.append(notice.message_primary))
    small.execute("SELECT set_config('hypercube.call_id', %s, false)", ("x" * 32,))
    assert failed(small, "SELECT hypercube.orthographic_neighbors('waab', -1)") == "x" * 32
    small.execute("RESET hypercube.call_id")
    assert told == []


@pytest.mark.parametrize("least", ["1e3", "-1", "9" * 5000])
def test_a_duration_that_is_none_is_not_taken(small, least):
    # The first question of a session imports numpy: a short call does not look at the setting.
    with psycopg.connect(small.info.dsn, autocommit=True) as fresh:
        fresh.execute("SELECT set_config('hypercube.log_min_duration', %s, false)", (least,))
        assert -1 <= one(fresh, f"SELECT hypercube.similarity('{W[0]}', '{W[1]}')") <= 1


def test_a_statement_that_fails_inside_is_told_with_the_id_as_well(small):
    """It is no refusal of ours, and passes through with its own code."""
    with small.transaction(force_rollback=True):
        small.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as problem:
            small.execute("SELECT hypercube.allow_source('/tmp')")
        assert re.search(r", in call [0-9a-f]{12}\b", problem.value.diag.context)


def test_the_name_of_the_client_comes_back_whatever_happens(small):
    for statement in (
        "SELECT hypercube.drop_model('nothing')",
        "SELECT hypercube.similarity('nonsense', 'nonsense')",
        "DO $$ BEGIN PERFORM hypercube.drop_model('nothing'); EXCEPTION WHEN undefined_object THEN END $$",
        "SELECT hypercube.ingest_text('c', 'Waab.', replace => true)",
    ):
        try:
            small.execute(statement)
        except psycopg.Error as problem:
            assert problem.sqlstate == "42704"
        assert one(small, "SHOW application_name") == "the client"
    with small.transaction(force_rollback=True):
        small.execute("SELECT hypercube.ingest_text('d', 'Waab.')")
        assert one(small, "SHOW application_name") == "the client"
        assert (
            one(small, "SELECT application FROM hypercube.audit_log ORDER BY id DESC LIMIT 1") == "the client"
        )


def test_counting_is_cheap(small, drilled):
    """Two sessions, one that counts and one that does not, take turns: the best of each is compared."""
    ask = (
        f"SELECT count(hypercube.similarity('{W[0]}', (ARRAY['{W[1]}', '{W[2]}'])[mod(i, 2) + 1]))"
        " FROM generate_series(1, 50) AS i"
    )
    best = {}
    with (
        psycopg.connect(small.info.dsn, autocommit=True) as counts,
        psycopg.connect(small.info.dsn, autocommit=True, options="-c hypercube.metrics=off") as silent,
    ):
        for turn in range(40):
            for name, db in (("on", counts), ("off", silent)):
                began = time.perf_counter()
                assert one(db, ask) == 50
                if turn:
                    best[name] = min(best.get(name, 9.0), time.perf_counter() - began)
    cost = best["on"] / best["off"]
    assert cost < 1.15, best
    drilled("counting switched on and off", 40, f"similarity() takes {cost:.3f} times as long with it")
