"""The counters of questions are shared by sessions, outlive them, and are files that nobody else reaches."""

import threading
import time

import psycopg
import pytest

from people import People, name_of, refused
from replicas import standby_of
from rows import one

FAST = "SELECT label FROM hypercube.semantic_neighbors('waaa', 3, 'm')"
SPATIAL = "SELECT label FROM hypercube.spatial_neighbors('waaa', 3, 'm')"


@pytest.fixture
def people(server, asked):
    found = People(server, asked)
    yield found
    found.close()


@pytest.fixture
def ann(people):
    return people("hypercube_reader")


def counter(server, connection):
    """The file in which the questions of the caller are counted."""
    folder = server.data_folder / "pgsql_tmp_hypercube"
    database = one(connection, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return folder / str(database) / f"rate-{one(connection, 'SELECT current_user::regrole::oid')}"


def test_eight_sessions_get_no_more_than_the_bucket_together(people):
    ann = people.role("hypercube_reader")
    people.limit(ann, "questions", 30)
    sessions = [people.connect(ann) for _ in range(8)]
    for session in sessions:
        # Loads Python.
        session.execute("SELECT * FROM hypercube.limit_overview")
    answered, start = [], threading.Barrier(8)

    def ask(session):
        start.wait()
        for place in range(20):
            try:
                session.execute((FAST, SPATIAL)[place % 2])
                answered.append(time.monotonic())
            except psycopg.errors.ConfigurationLimitExceeded:
                time.sleep(0.02)

    began = time.monotonic()
    threads = [threading.Thread(target=ask, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 30 <= len(answered) <= 30 + 0.5 * (time.monotonic() - began)


def test_a_session_that_is_killed_leaves_no_lock_behind(people):
    ann = people.role("hypercube_reader")
    people.limit(ann, "questions", 1_000_000)
    busy = people.connect(ann)
    loop = f"DO $$ BEGIN FOR i IN 1..1000000 LOOP PERFORM FROM ({SPATIAL}) AS s; END LOOP; END $$"

    def ask():
        with pytest.raises(psycopg.OperationalError):
            busy.execute(loop)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.7)
    pid = busy.info.backend_pid
    assert one(people._root, "SELECT pg_terminate_backend(%s, 5000)", pid)
    asking.join()
    began = time.monotonic()
    people.connect(ann).execute(SPATIAL)
    assert time.monotonic() - began < 2


def test_the_counter_is_a_file_of_the_server_and_links_are_not_followed(server, people, ann):
    people.limit(name_of(ann), "questions", 5)
    ann.execute(FAST)
    path = counter(server, ann)
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, 32)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))
    told = refused(ann, FAST, "IoError")
    assert f"pgsql_tmp_hypercube/{path.parent.name}/{path.name}" in told.message_primary
    assert str(server.data_folder) not in told.message_primary
    assert not path.with_name("elsewhere").exists()
    path.unlink()


def test_files_of_roles_that_are_gone_go_when_a_limit_is_set(server, people, ann):
    people.limit(name_of(ann), "questions", 5)
    ann.execute(FAST)
    gone = counter(server, ann).with_name("rate-4294967290")
    gone.touch()
    people.limit(name_of(ann), "questions", 6)
    assert not gone.exists()
    assert counter(server, ann).exists()


def test_a_standby_counts_too(server, asked, people, ann):
    people.limit(name_of(ann), "questions", 2)
    ann.execute(FAST)
    with standby_of(server) as standby:
        with standby.connect(dbname=asked, user=name_of(ann), autocommit=True) as there:
            assert one(there, "SELECT pg_is_in_recovery()")
            # A bucket of its own: the file is not part of the copy.
            there.execute(FAST)
            there.execute(SPATIAL)
            refused(there, FAST, "ConfigurationLimitExceeded")
