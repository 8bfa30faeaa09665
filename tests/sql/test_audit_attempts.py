"""Calls that were refused are told, although their transaction left nothing."""

import json
import os
import threading

import psycopg
import pytest

from audits import changes, last, log, member, verified
from rows import ingest, one
from servers import server_user
from small_models import vectors, write_model


@pytest.fixture
def file(server, own):
    """The path of the file of attempts of the test's database."""
    number = one(own, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return server.data_folder / "hypercube_audit" / f"{number}.jsonl"


def refuse(db, path="relative"):
    with pytest.raises(psycopg.Error):
        db.execute("SELECT hypercube.allow_source(%s)", (path,))


def refused(db):
    return log(db, "outcome = 'refused'")


def test_a_refusal_is_taken_in_by_the_next_write_of_any_session(server, own):
    own.execute("SET application_name = 'the client'")
    refuse(own)
    assert refused(own) == []
    with server.connect(dbname=own.info.dbname, autocommit=True) as other:
        changes(other, 1)
        entry = refused(other)[0]
    assert (entry["operation"], entry["kind"], entry["objects"]) == ("call", "function", ["allow_source"])
    assert (entry["sqlstate"], entry["outcome"]) == ("22023", "refused")
    assert "absolute path" in entry["message"]
    assert (entry["session_role"], entry["role"], entry["application"]) == (
        "postgres",
        "postgres",
        "the client",
    )
    assert entry["pid"] == own.info.backend_pid
    assert entry["detail"]["arguments"]["path"] == "relative"
    assert entry["statement"] is None
    assert verified(own)[0]


def test_the_refusal_of_a_rolled_back_transaction_and_of_a_caught_error_stay(own):
    with own.transaction(force_rollback=True):
        own.execute("SELECT hypercube.allow_source('/tmp')")
        with pytest.raises(psycopg.Error), own.transaction():
            own.execute("SELECT hypercube.drop_model('nothing')")
    own.execute(
        "DO $$ BEGIN PERFORM hypercube.allow_target('relative'); EXCEPTION WHEN OTHERS THEN NULL; END $$"
    )
    assert one(own, "SELECT hypercube.audit_collect()") == 2
    assert [entry["objects"] for entry in refused(own)] == [["drop_model"], ["allow_target"]]


def test_who_was_refused_is_told_by_both_names(server, own):
    role = member(server, own, "attempting", "hypercube_ingest")
    own.execute(f"SET ROLE {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        own.execute("SELECT hypercube.allow_source('/tmp')")
    own.execute("RESET ROLE")
    changes(own, 1)
    assert [(e["session_role"], e["role"], e["sqlstate"]) for e in refused(own)] == [
        ("postgres", role, "42501")
    ]


def test_contents_are_told_by_their_size_alone(own, file):
    secret = "a secret text " * 1000
    with pytest.raises(psycopg.Error):
        own.execute("SELECT * FROM hypercube.ingest_text('', %s)", (secret,))
    assert "secret" not in file.read_text()
    own.execute("SELECT hypercube.audit_collect()")
    arguments = last(own)["detail"]["arguments"]
    assert arguments["content"] == f"str of {len(secret)}"


def test_the_file_is_emptied_when_all_of_it_is_committed(own, file):
    refuse(own)
    assert oct(os.stat(file).st_mode & 0o777) == "0o600"
    assert oct(os.stat(file.parent).st_mode & 0o777) == "0o700"
    size = file.stat().st_size
    with own.transaction(force_rollback=True):
        assert one(own, "SELECT hypercube.audit_collect()") == 1
        assert one(own, "SELECT hypercube.audit_collect()") == 0
        assert file.stat().st_size == size
    assert refused(own) == []
    assert one(own, "SELECT hypercube.audit_collect()") == 1
    assert file.stat().st_size == size
    assert one(own, "SELECT hypercube.audit_collect()") == 0
    assert file.stat().st_size == 0
    assert len(refused(own)) == 1


def test_a_file_that_comes_back_is_not_taken_in_twice(own, file):
    """As after a backup of the files was restored beside a newer database."""
    refuse(own)
    content = file.read_bytes()
    for _ in range(2):
        own.execute("SELECT hypercube.audit_collect()")
    refuse(own)
    file.write_bytes(content + file.read_bytes())
    assert one(own, "SELECT hypercube.audit_collect()") == 1
    assert len(refused(own)) == 2


def test_a_thousand_at_a_time(own):
    own.execute(
        "DO $$ BEGIN FOR i IN 1..1100 LOOP BEGIN PERFORM hypercube.allow_target('relative');"
        " EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$"
    )
    assert [one(own, "SELECT hypercube.audit_collect()") for _ in range(3)] == [1000, 100, 0]
    assert verified(own)[0]


def test_sessions_that_collect_at_once_take_each_line_once(server, own):
    for _ in range(30):
        refuse(own)

    def work():
        with server.connect(dbname=own.info.dbname, autocommit=True) as db:
            for _ in range(5):
                changes(db, 2)
                refuse(db)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(2):
        own.execute("SELECT hypercube.audit_collect()")
    assert len(refused(own)) == 55
    assert one(own, "SELECT count(DISTINCT attempt) FROM hypercube.audit_entry") == 55
    assert verified(own)[0]


def test_a_full_file_is_counted_on_and_that_shows(own, file):
    refuse(own)
    line = file.read_bytes()
    with file.open("ab") as more:
        more.write(line[:-1] + b" " * ((16 << 20) - 2 * len(line)) + b"\n")
    for _ in range(3):
        refuse(own)
    assert file.stat().st_size <= 16 << 20
    own.execute("SELECT hypercube.audit_collect()")
    assert [
        entry["detail"]["not described"] for entry in refused(own) if "not described" in entry["detail"]
    ] == [3]
    own.execute("SELECT hypercube.audit_collect()")
    assert file.stat().st_size == 0
    refuse(own)
    own.execute("SELECT hypercube.audit_collect()")
    assert sum("not described" in entry["detail"] for entry in refused(own)) == 1


def test_a_line_that_was_edited_or_is_none_shows_and_stops_nothing(own, file):
    for path in ("a", "b", "c"):
        refuse(own, path)
    lines = file.read_bytes().splitlines(keepends=True)
    forged = json.loads(lines[1]) | {"id": "00000000-0000-0000-0000-000000000001", "client_port": "x"}
    lines[1] = lines[1].replace(b'"path": "b"', b'"path": "z"')
    file.write_bytes(b"".join(lines) + b"{}\nno JSON\n" + json.dumps(forged).encode() + b"\n")
    assert one(own, "SELECT hypercube.audit_collect()") == 6
    found = [entry["detail"] for entry in refused(own)]
    assert [detail.get("broken", False) for detail in found[:3]] == [False, False, True]
    assert found[3:] == [{"unreadable": True}] * 3
    assert verified(own)[0]


def test_where_it_cannot_be_written_the_client_is_warned_and_told_the_refusal(server, own, file):
    said = []
    own.add_notice_handler(lambda notice: said.append((notice.severity, notice.message_primary)))
    file.parent.mkdir(exist_ok=True, mode=0o700)
    os.chown(file.parent, server_user().pw_uid, server_user().pw_gid)
    os.symlink("/etc/passwd", file)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="absolute path"):
        own.execute("SELECT hypercube.allow_source('relative')")
    assert said[0][0] == "WARNING" and "allow_source could not be kept" in said[0][1]
    changes(own, 1)
    os.unlink(file)


def test_a_cancelled_call_is_told(own, sources):
    own.execute("SET statement_timeout = '1ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        own.execute("SELECT hypercube.seed_atoms()")
    own.execute("RESET statement_timeout")
    own.execute("SELECT hypercube.audit_collect()")
    assert [(entry["sqlstate"], entry["objects"]) for entry in refused(own)] == [("57014", ["seed_atoms"])]


def test_an_export_that_is_rolled_back_is_told_as_its_files_stay(own, sources):
    ingest(own, write_model(sources / "m", vectors(30)))
    out = sources / "out"
    out.mkdir()
    os.chown(out, server_user().pw_uid, -1)
    own.execute("SELECT hypercube.allow_target(%s)", (str(out),))
    with own.transaction(force_rollback=True):
        own.execute("SELECT hypercube.export_model('m', %s)", (str(out / "m"),))

    assert os.path.isdir(out / "m") and log(own, "operation = 'export'") == []
    assert one(own, "SELECT hypercube.audit_collect()") == 1
    [entry] = log(own, "outcome = 'begun'")
    assert (entry["objects"], entry["session_role"]) == (["export_model"], "postgres")
    assert entry["detail"]["arguments"] == {"model": "m", "directory": str(out / "m")}
    assert verified(own)[0]
