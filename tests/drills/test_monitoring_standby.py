"""A standby that is watched: it writes no row, and counts its calls all the same."""

import psycopg
import pytest

from chapters import open_folder
from monitoring import promtool, wait_until
from replicas import standby_of
from rows import ingest, one
from servers import ThrowawayServer
from small_models import vectors, words, write_model

W = words(4)


def metrics(db, part):
    """Return the values of metrics of a part by name and first label."""
    rows = db.execute("SELECT name, labels, value FROM hypercube.metrics(%s)", (part,)).fetchall()
    return {(name, *sorted(labels.values())): value for name, labels, value in rows if "le" not in labels}


def test_a_standby_counts_its_own_calls_and_both_tell_how_far_it_is_behind(drilled):
    ask = f"SELECT hypercube.similarity('{W[0]}', '{W[1]}', 'm')"
    primary = ThrowawayServer(wal_level="replica", max_wal_senders="5")
    try:
        with open_folder() as folder, primary.connect(autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
            ingest(db, write_model(folder / "m", vectors(120)), neighbors=8)
            for _ in range(3):
                db.execute(ask)
            db.execute("SELECT hypercube.record_backup('a', 'full', now(), now(), 1)")
            count = ("hypercube_call_seconds_count", "similarity")
            with standby_of(primary) as copy, copy.connect(autocommit=True) as standby:
                wait_until(lambda: one(standby, "SELECT count(*) FROM hypercube.backup_record") == 1)
                assert count not in metrics(standby, "calls")
                standby.execute(ask)
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    standby.execute("SELECT hypercube.drop_model('m')")
                assert metrics(standby, "calls")[count] == 1 and metrics(db, "calls")[count] == 3
                refused = metrics(standby, "calls")["hypercube_call_errors_total", "25006", "drop_model"]
                assert refused == 1
                here = metrics(standby, "server")
                assert here["hypercube_standby",] == 1 and here["hypercube_replay_lag_seconds",] < 60
                there = metrics(db, "server")
                assert there["hypercube_standby",] == 0 and there["hypercube_standbys",] == 1
                assert ("hypercube_backup_bytes", "full") in metrics(standby, "backups")

                standby.execute("SELECT pg_wal_replay_pause()")
                db.execute(
                    "CREATE TABLE filler AS SELECT repeat('a', 1000) AS a FROM generate_series(1, 5000)"
                )
                assert metrics(db, "server")["hypercube_standby_lag_bytes",] > 1 << 20
                standby.execute("SELECT pg_wal_replay_resume()")
                wait_until(lambda: metrics(db, "server")["hypercube_standby_lag_bytes",] < 1 << 20)
                promtool("check", "metrics", told=one(standby, "SELECT hypercube.metrics_text()"))
    finally:
        primary.stop()
    drilled("a standby that stops replaying", 1, "its lag is told by the primary; it counts its own calls")
