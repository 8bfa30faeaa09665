"""The throwaway servers themselves: what every other SQL test stands on."""

import os
from pathlib import Path

import psycopg
import pytest

from servers import ThrowawayServer, server_user


@pytest.fixture(scope="module")
def server():
    with ThrowawayServer(work_mem="7MB", environment={"HYPERCUBE_TEST": "told"}) as started:
        yield started


def setting(server, name):
    with server.connect() as db:
        return db.execute("SELECT current_setting(%s)", [name]).fetchone()[0]


def test_settings_are_given_by_keyword(server):
    assert setting(server, "work_mem") == "7MB"


def test_the_pid_is_the_postmaster_s_and_its_user_is_not_root(server):
    assert int((server.data_folder / "postmaster.pid").read_text().splitlines()[0]) == server.pid
    assert Path(f"/proc/{server.pid}").stat().st_uid == server_user().pw_uid != 0


def test_the_server_gets_its_environment_but_not_our_python_s(server):
    told = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")

    assert b"HYPERCUBE_TEST=told" in told
    assert not [entry for entry in told if entry.startswith((b"PYTHONPATH=", b"PYTHONHOME="))]


def test_it_listens_nowhere_but_on_its_socket(server):
    assert setting(server, "listen_addresses") == ""
    with psycopg.connect(server.url()) as db:
        assert db.execute("SELECT inet_server_addr()").fetchone() == (None,)


def test_a_restart_takes_new_settings_and_keeps_the_data_and_the_log(server):
    before = server.pid
    with server.connect(autocommit=True) as db:
        db.execute("CREATE TABLE kept AS SELECT 1 AS n")

    server.restart(work_mem="9MB")

    assert server.pid != before
    assert setting(server, "work_mem") == "9MB"
    with server.connect() as db:
        assert db.execute("SELECT n FROM kept").fetchone() == (1,)
    assert server.log.count("database system is ready to accept connections") == 2


def test_two_servers_run_side_by_side_and_stop_ends_only_its_own(server):
    other = ThrowawayServer()
    folder, pid = other.base_dir, other.pid
    with other.connect() as db:
        assert db.execute("SELECT to_regclass('kept')").fetchone() == (None,)

    other.stop()

    assert not os.path.exists(folder)
    assert not os.path.exists(f"/proc/{pid}")
    assert setting(server, "port") == "5432"


def test_a_copy_of_a_stopped_cluster_starts_as_another_server(server):
    first = ThrowawayServer()
    with first.connect(autocommit=True) as db:
        db.execute("CREATE TABLE copied AS SELECT 2 AS n")
    first.terminate()

    with ThrowawayServer(copy_data_from=first.get_data_directory()) as second, second.connect() as db:
        assert db.execute("SELECT n FROM copied").fetchone() == (2,)

    first.cleanup()
    assert not os.path.exists(first.base_dir)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(tmp_path):
    before = set(Path("/tmp").glob("hypercube-*"))

    with pytest.raises(RuntimeError, match='unrecognized configuration parameter "nonsense"'):
        ThrowawayServer(nonsense="1")

    assert set(Path("/tmp").glob("hypercube-*")) <= before
