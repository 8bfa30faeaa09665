"""A server with the files of doc/examples: who gets in, and what is written down about it."""

import os
import pwd
import signal
import socket
import ssl
import time
from pathlib import Path

import psycopg
import pytest

from guarded import PASSWORD, guarded_server
from rows import one

SECRET = "the text of a document that is in no log 2967"


@pytest.fixture(scope="module")
def guarded():
    with guarded_server("hypercube.conf") as server:
        yield server


def files_with(server, text):
    """Return the files of the cluster, and its log, that hold a text."""
    found = [
        str(path.relative_to(server.base_dir))
        for path in Path(server.base_dir).rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]
    return found + (["log"] if text in server.log else [])


def test_a_reader_asks_over_tls(guarded):
    with psycopg.connect(**guarded.over_tls()) as db:
        assert db.execute(
            "SELECT s.ssl, s.version, current_user FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()"
        ).fetchone() == (True, "TLSv1.3", "ann")
        assert len(db.execute("SELECT * FROM hypercube.semantic_neighbors('waab', 5)").fetchall()) == 5
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT hypercube.drop_model('m')")


def test_a_reader_has_limits(guarded):
    with psycopg.connect(**guarded.over_tls()) as db:
        for name, value in {
            "statement_timeout": "30s",
            "idle_in_transaction_session_timeout": "1min",
            "idle_session_timeout": "15min",
            "default_transaction_read_only": "on",
        }.items():
            assert one(db, "SELECT current_setting(%s)", name) == value
        db.execute("SET statement_timeout = '200ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT pg_sleep(20)")
    opened = [psycopg.connect(**guarded.over_tls()) for _ in range(5)]
    with pytest.raises(psycopg.OperationalError, match='too many connections for role "ann"'):
        psycopg.connect(**guarded.over_tls())
    for db in opened:
        db.close()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sslmode": "disable", "channel_binding": "disable"}, "rejects connection .* no encryption"),
        ({"password": "a guess"}, "password authentication failed"),
        ({"password": None}, "no password supplied"),
        ({"user": "nobody"}, "password authentication failed"),
        ({"user": "postgres"}, "pg_hba.conf rejects connection"),
        ({"sslrootcert": "system"}, "certificate verify failed"),
    ],
)  # fmt: skip
def test_others_do_not_get_in(guarded, changes, problem):
    with pytest.raises(psycopg.OperationalError, match=problem):
        psycopg.connect(**guarded.over_tls(**changes))


def test_the_socket_is_for_the_dba_alone(guarded):
    assert guarded.psql("SELECT current_user") == "postgres"
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        psycopg.connect(**guarded.dsn(user="ann", dbname="guarded", password=PASSWORD))


def read_map(server, text):
    """Let the server take another map of users."""
    (server.data_folder / "pg_ident.conf").write_text(text)
    os.kill(server.pid, signal.SIGHUP)
    time.sleep(0.5)


def test_a_user_of_the_machine_whom_the_map_does_not_name_is_not_the_dba(guarded):
    """Root becomes another user; everybody is one, once the map names somebody else."""
    problem = 'Peer authentication failed for user "postgres"'
    if os.getuid() == 0:
        assert problem in guarded.psql("SELECT 1", user=pwd.getpwnam("nobody").pw_uid, fails=True)
    named = (guarded.data_folder / "pg_ident.conf").read_text()
    try:
        read_map(guarded, "dba nobody postgres\n")
        assert problem in guarded.psql("SELECT 1", fails=True)
    finally:
        read_map(guarded, named)
    assert guarded.psql("SELECT current_user") == "postgres"


def handshake(server, version):
    """Begin TLS of one version; the library of this client would take any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("localhost", server.settings["port"]), timeout=10) as plain:
        plain.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as secure:
            return secure.version()


def test_old_tls_is_refused_by_the_server(guarded):
    assert handshake(guarded, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        handshake(guarded, ssl.TLSVersion.TLSv1_1)


def test_a_password_is_nowhere_to_be_read(guarded):
    assert (
        guarded.psql("SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'ann'") == "t"
    )
    assert guarded.psql("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
    guarded.psql("CREATE TABLE seen AS SELECT 'a text that is stored 5520'::text AS a")
    guarded.psql("CHECKPOINT")
    assert files_with(guarded, "a text that is stored 5520")
    assert files_with(guarded, PASSWORD) == []


def test_the_log_says_who_and_what_was_refused_but_not_what_was_stored(guarded):
    refused = f"SELECT hypercube.ingest_text('{'n' * 300}', '{SECRET}')"
    assert SECRET not in guarded.log
    guarded.psql(refused, fails=True)
    failed = f"CREATE TEMP TABLE t (a text CHECK (a IS NULL)); INSERT INTO t VALUES ('{SECRET}')"
    guarded.psql(failed, fails=True)
    guarded.psql(f"SELECT '{SECRET}', pg_sleep(0.1)")
    assert SECRET not in guarded.log
    assert "postgres@guarded [local]" in guarded.log and " 22023 " in guarded.log and " 23514 " in guarded.log
    assert "connection authorized: user=ann database=guarded SSL enabled" in guarded.log

    # The settings are what keeps it out.
    for text, setting in (
        ("6611", "log_min_error_statement = error"),
        ("6612", "log_error_verbosity = verbose"),
    ):
        guarded.psql(f"SET {setting}; {failed.replace(SECRET, text)}", fails=True)
        assert text in guarded.log
