"""A server that is watched: by an exporter, a Prometheus and its alerts, and by what it logs."""

import json
import os
import re
import signal

import psycopg
import pytest

from chapters import open_folder
from drills.conftest import rounds
from monitoring import FILES, promtool, wait_until, watch
from rows import ingest, one
from servers import ThrowawayServer
from small_models import vectors, words, write_model

W = words(8)
# What a name or a text must never be: a part of what the role for monitoring sees.
SECRETS = ("a secret model", "a secret document", "secretly", "the secret reader")
ASKED = f"SELECT label FROM hypercube.semantic_neighbors('{W[0]}', 3)"


@pytest.fixture(scope="module")
def sources():
    """A folder that the server can read, and that stays: health() looks for it."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def watched_server(sources):
    """A server with a database "watched": a model, a document, a role that asks and one that watches."""
    server = ThrowawayServer(track_functions="all")
    try:
        with server.connect(dbname="postgres", autocommit=True) as db:
            db.execute("CREATE DATABASE watched")
        with server.connect(dbname="watched", autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            # As doc/operations.md says it.
            db.execute("CREATE ROLE hypercube_exporter LOGIN IN ROLE hypercube_monitor, pg_monitor")
            db.execute('CREATE ROLE "the secret reader" LOGIN IN ROLE hypercube_reader')
            db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
            ingest(db, write_model(sources / "m", vectors(120)), "a secret model of ours", neighbors=8)
            db.execute("SELECT hypercube.ingest_text('a secret document', 'Secretly waab. Waac waad.')")
            db.execute("SELECT hypercube.grant_model('a secret model of ours', 'the secret reader')")
            db.execute("SELECT * FROM hypercube.audit_verify()")
        yield server
    finally:
        server.stop()


@pytest.fixture
def db(watched_server):
    with watched_server.connect(dbname="watched", autocommit=True) as connection:
        yield connection


@pytest.fixture
def monitor(watched_server):
    with watched_server.connect(dbname="watched", user="hypercube_exporter", autocommit=True) as connection:
        yield connection


def test_the_rules_are_right_and_fire_when_they_should(drilled):
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")
    told = promtool("test", "rules", "alerts_test.yml", "alerts_test_days.yml")
    assert told.count("SUCCESS") == 2
    tested = (FILES / "alerts_test.yml").read_text() + (FILES / "alerts_test_days.yml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", (FILES / "alerts.yml").read_text()))
    assert len(alerts) >= 20 and {name for name in alerts if name not in tested} == set()
    drilled(
        "series of numbers for each alert", len(alerts), "each fires when it should, none where all is well"
    )


def test_a_prometheus_sees_everything_and_raises_an_alert_when_something_breaks(
    tmp_path, watched_server, db, drilled
):
    """Relations are deleted, then the audit is disabled: by the one who may do everything."""
    db.execute(
        "SELECT hypercube.record_backup('20261122-040000F', 'full', now() - interval '1 hour', now(), 7)"
    )
    with watch(tmp_path, watched_server, "hypercube_exporter", "watched") as watched:
        for _ in range(30):
            db.execute(ASKED).fetchall()
            db.execute(f"SELECT hypercube.similarity('{W[0]}', '{W[1]}')")
            with pytest.raises(psycopg.Error):
                db.execute("SELECT hypercube.similarity('nonsense', 'nonsense')")
        db.execute("SELECT pg_stat_force_next_flush()")
        wait_until(lambda: watched.value('hypercube_call_seconds_count{function="similarity"}') == 60)
        assert watched.value("hypercube_models") == 1 and watched.value("hypercube_tokens") == 120
        assert watched.value('hypercube_call_errors_total{function="similarity"}') == 30
        wait_until(lambda: watched.value('hypercube_sql_calls_total{function="semantic_neighbors"}') == 30)
        assert watched.value("hypercube_relation_coverage") == 1 and watched.value("hypercube_audit_ok") == 1
        assert watched.value("min(hypercube_health_ok)") == 1
        told = watched.exported()
        promtool("check", "config", tmp_path / "prometheus.yml")
        # Of what hypercube tells: the exporter may tell names of roles itself.
        ours = "\n".join(line for line in told.splitlines() if line.startswith("hypercube_"))
        assert not [secret for secret in SECRETS if secret in ours]
        _same_names(told, one(db, "SELECT hypercube.metrics_text() || hypercube.metrics_text('health')"))
        asked = _panels(watched)

        assert watched.firing() == {}
        db.execute(
            "DELETE FROM hypercube.relation WHERE source IN"
            " (SELECT token_id FROM hypercube.token WHERE usable ORDER BY token_id LIMIT 6)"
        )
        db.execute("ALTER TABLE hypercube.relation DISABLE TRIGGER audit_delete")
        wait_until(lambda: {"HypercubeRelationsMissing", "HypercubeUnhealthy"} <= watched.firing().keys())
        red = {labels["check"] for labels, value in watched.query("hypercube_health_ok") if value == 0}
        assert {"rows", "audit"} <= red
        assert 0.9 < watched.value("hypercube_relation_coverage") < 1
    drilled(
        "relations deleted, a trigger of the audit disabled", 1, f"two alerts fire; {asked} panels have data"
    )


def _same_names(exported, told):
    """Compare the names of metrics that the exporter and metrics_text() tell."""
    ours = set(re.findall(r"^# TYPE (hypercube_\w+)", told, re.MULTILINE))
    theirs = set(re.findall(r"^# TYPE (hypercube_\w+)", exported, re.MULTILINE))
    # What is not known yet is left out by one, and NaN for the other.
    numbers = r"^{}(_count)?{{.*}} (?!NaN)"
    known = {name for name in theirs if re.search(numbers.format(name), exported, re.MULTILINE)}
    assert known == ours
    promtool("check", "metrics", told=told)


def _panels(watched):
    """Ask every query of the dashboard; return how many panels there are."""
    panels = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    # Of a server that is no standby and has none there is nothing to tell, but no error either.
    for panel in panels:
        expressions = [target["expr"].replace("$instance", ".*") for target in panel["targets"]]
        wait_until(lambda all_of=expressions: any(watched.query(one) for one in all_of), seconds=30)
    return len(panels)


def test_the_role_for_monitoring_sees_numbers_and_nothing_else(monitor, db):
    told = one(monitor, "SELECT hypercube.metrics_text() || hypercube.metrics_text('health')")
    assert "hypercube_models 1\n" in told
    checked = set(re.findall(r'^hypercube_health_ok\{check="(.*)"\}', told, re.MULTILINE))
    assert {"rows", "answer", "bytes", "matrix", "vectors of sentences", "audit"} <= checked
    assert not [check for check in checked if " of " in check and check != "vectors of sentences"]
    assert not [secret for secret in SECRETS if secret in told.lower()]
    rows = monitor.execute("SELECT name, kind, labels FROM hypercube.metrics()").fetchall()
    assert {kind for _, kind, _ in rows} == {"counter", "gauge", "histogram"}
    assert {label for *_, labels in rows for label in labels} <= {
        "function", "sqlstate", "le", "table", "model", "kind", "version", "package",
    }  # fmt: skip
    for refused in (
        "TABLE hypercube.model", "TABLE hypercube.audit_log", "SELECT * FROM hypercube.health()", ASKED,
        "SELECT hypercube._as_owner()", "SELECT hypercube.record_backup('a', 'full', now(), now(), 1)",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            monitor.execute(refused)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute('SET ROLE "the secret reader"')
        db.execute("SELECT * FROM hypercube.metrics()")


def test_who_fills_the_consensus_anew_keeps_no_metrics_waiting(watched_server, monitor):
    def tables():
        rows = monitor.execute(
            "SELECT labels ->> 'table' FROM hypercube.metrics('stored') WHERE name ~ 'bytes'"
        )
        return {table for (table,) in rows}

    before = tables()
    with watched_server.connect(dbname="watched") as other:
        other.execute("REFRESH MATERIALIZED VIEW hypercube.relation_consensus")
        monitor.execute("SET statement_timeout = '30s'")
        assert before - tables() == {"relation_consensus"}
        other.rollback()
        monitor.execute("RESET statement_timeout")
        assert tables() == before


def counted(db, function):
    """Return how often a function was called, and how often it failed."""
    rows = db.execute(
        "SELECT name, sum(value) FROM hypercube.metrics('calls') WHERE labels ->> 'function' = %s"
        " AND name IN ('hypercube_call_seconds_count', 'hypercube_call_errors_total') GROUP BY name",
        (function,),
    )
    found = dict(rows.fetchall())
    return found.get("hypercube_call_seconds_count", 0), found.get("hypercube_call_errors_total", 0)


def test_what_is_rolled_back_refused_or_only_reads_is_counted_in_every_session(watched_server, db, monitor):
    ask = f"SELECT hypercube.rank_of('{W[0]}', '{W[1]}')"
    before = counted(monitor, "rank_of")
    for number in range(4):
        with watched_server.connect(dbname="watched", user="the secret reader") as session:
            session.execute("SET TRANSACTION READ ONLY")
            session.execute(ask)
            with pytest.raises(psycopg.errors.UndefinedObject):
                session.execute("SELECT hypercube.rank_of('nonsense', 'nonsense')")
            session.rollback()
            if number == 3:
                db.execute("SELECT pg_terminate_backend(%s, 5000)", (session.info.backend_pid,))
    assert counted(monitor, "rank_of") == (before[0] + 8, before[1] + 4)


def test_who_switches_counting_off_leaves_out_his_own_calls_alone(watched_server, monitor):
    before = counted(monitor, "odd_one_out")
    ask = f"SELECT hypercube.odd_one_out('{{{W[0]},{W[1]},{W[2]}}}')"
    for options in ("-c hypercube.metrics=off", ""):
        with watched_server.connect(dbname="watched", user="the secret reader", options=options) as session:
            session.execute(ask)
    assert counted(monitor, "odd_one_out") == (before[0] + 1, before[1])


def test_counters_go_on_after_a_crash(drilled):
    times, ready = rounds(2), "ready to accept connections"
    server = ThrowawayServer()
    try:
        with server.connect(autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
        for number in range(times):
            with server.connect(autocommit=True) as db:
                assert counted(db, "composition_id") == (5 * number, 0)
                for _ in range(5):
                    db.execute("SELECT hypercube.composition_id('a')")
                assert counted(db, "composition_id") == (5 * number + 5, 0)
                starts = server.log.count(ready)
                os.kill(db.info.backend_pid, signal.SIGKILL)
                with pytest.raises(psycopg.OperationalError):
                    db.execute("SELECT 1")
            wait_until(lambda before=starts: server.log.count(ready) > before)
        with server.connect(autocommit=True) as db:
            assert counted(db, "composition_id") == (5 * times, 0)
    finally:
        server.stop()
    drilled("backend killed", times, "every call that ended is still counted")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("'a', 'weekly', now(), now(), 1", "is no kind of backup"),
        ("'a b', 'full', now(), now(), 1", "the label of a backup is out of range"),
        ("'a', 'full', now(), now() - interval '1 s', 1", "cannot have begun"),
        ("'a', 'full', now(), now() + interval '1 day', 1", "cannot have begun"),
        ("'a', 'full', '-infinity', now(), 1", "cannot have begun"),
        ("'a', 'full', now(), now(), -1", "out of range"),
        ("'a', 'full', now(), now(), NULL", "may be null"),
    ],
)
def test_a_backup_that_cannot_be_is_not_recorded(db, arguments, problem):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem):
        db.execute(f"SELECT hypercube.record_backup({arguments})")
