"""A standby that is watched: it writes no row, and counts its calls all the same."""

import os
import shutil
from contextlib import contextmanager

import psycopg
import pytest

from chapters import open_folder
from monitoring import program, promtool, wait_until
from replicas import standby_of
from rows import ingest, one
from servers import ThrowawayServer, as_server_user, program_folder, server_user
from small_models import vectors, words, write_model

W = words(4)


def metrics(db, part):
    """Return the values of metrics of a part by name and first label."""
    rows = db.execute("SELECT name, labels, value FROM hypercube.metrics(%s)", (part,)).fetchall()
    return {(name, *sorted(labels.values())): value for name, labels, value in rows if "le" not in labels}


@contextmanager
def receiver_of(server, folder):
    """Run pg_receivewal, which pg_basebackup does too while it copies."""
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, server_user().pw_name)
    place = ["-h", server.socket_folder, "-p", server.settings["port"], "-U", "postgres"]
    command = [program_folder() / "pg_receivewal", "-D", folder, "--no-sync", *place]
    with program(as_server_user(command), folder.with_suffix(".log")):
        yield


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
                assert metrics(db, "server")["hypercube_standby",] == 0
                wait_until(lambda: metrics(db, "server")["hypercube_standbys",] == 1)
                assert ("hypercube_backup_bytes", "full") in metrics(standby, "backups")

                standby.execute("SELECT pg_wal_replay_pause()")
                db.execute(
                    "CREATE TABLE filler AS SELECT repeat('a', 1000) AS a FROM generate_series(1, 5000)"
                )
                assert metrics(db, "server")["hypercube_standby_lag_bytes",] > 1 << 20
                standby.execute("SELECT pg_wal_replay_resume()")
                wait_until(lambda: metrics(db, "server")["hypercube_standby_lag_bytes",] < 1 << 20)
                promtool("check", "metrics", told=one(standby, "SELECT hypercube.metrics_text()"))

                # Who only receives WAL stands in nobody's place.
                with receiver_of(primary, folder / "received"):
                    seen = "SELECT count(*) FROM pg_stat_replication"
                    wait_until(lambda: one(db, seen) == 2)
                    assert metrics(db, "server")["hypercube_standbys",] == 1

                # It has replayed all that it received, and does not know what it did not.
                wait_until(lambda: metrics(standby, "server")["hypercube_replay_lag_seconds",] == 0)
                standby.execute("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
                standby.execute("SELECT pg_reload_conf()")
                wait_until(lambda: metrics(standby, "server")["hypercube_replay_lag_seconds",] > 1)
    finally:
        primary.stop()
    drilled("a standby that stops replaying", 1, "its lag is told by the primary; it counts its own calls")
