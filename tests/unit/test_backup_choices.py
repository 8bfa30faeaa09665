"""What the scripts for backups choose and pass over, without a server."""

import contextlib
import importlib
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

_SCRIPTS = Path(__file__).parents[2] / "scripts" / "backups"


@pytest.fixture
def room(monkeypatch):
    """A function that imports a module of the scripts; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(_SCRIPTS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _backup(number, error):
    return {
        "label": f"2026010{number}-000000F",
        "error": error,
        "archive": {"start": f"0000000100000000000000{number:02d}"},
        "lsn": {"stop": f"0/{number}000100"},
        "timestamp": {"stop": number},
    }


@pytest.mark.parametrize(
    ("errors", "asked", "chosen"),
    [
        ((False, False), None, 2),
        ((False, True), None, 1),
        ((False, True), "20260102-000000F", 2),
        ((True, True), None, 2),
        ((None, None), None, 2),
    ],
)
def test_a_restore_begins_from_the_newest_backup_without_damaged_pages(room, errors, asked, chosen):
    backups = [_backup(number, error) for number, error in enumerate(errors, 1)]
    stanza = SimpleNamespace(backups=lambda: backups, timelines=lambda: (1, {}))
    wanted = SimpleNamespace(time=None, name=None, set=asked, timeline=None)

    backup, options = room("restore").choose(stanza, wanted)

    assert backup["label"] == f"2026010{chosen}-000000F"
    assert options[-1] == f"--set={backup['label']}"


def test_a_file_that_gets_its_name_meanwhile_is_no_stranger_s(room, monkeypatch, tmp_path):
    (tmp_path / "whole").touch()
    stanza = object.__new__(room("stanza").Stanza)
    stanza._told = {"repo1-path": str(tmp_path)}
    monkeypatch.setattr(os, "walk", lambda folder: [(folder, [], ["whole", "part"])] if folder else [])

    stanza.strangers()

    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="another"))
    with pytest.raises(room("stanza").Refused, match="never run pgbackrest as root"):
        stanza.strangers()


def test_a_segment_that_was_cut_off_is_not_taken_for_written(room, tmp_path):
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    (wal / "000000010000000000000001").touch()
    (wal / "000000010000000000000002").write_bytes(b"cut")
    (wal / "00000002.history").touch()

    assert room("restore").unarchived(tmp_path) == [wal / "00000002.history"]


def test_another_server_at_the_port_of_one_that_crashed_is_not_taken_for_it(room):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/.s.PGSQL.5432")
        listening.listen()
        file = Path(folder, "postmaster.pid")
        lines = [folder, "0", "5432", folder, "", "0 0", "ready"]
        # A process whose folder is another, and one that is there: the child stands where a server would.
        file.write_text("\n".join([str(os.getpid()), *lines]))
        assert room("clusters").address(Path(folder)) is None
        with subprocess.Popen(["sleep", "60"], cwd=folder) as child:
            file.write_text("\n".join([str(child.pid), *lines]))
            assert room("clusters").address(Path(folder)) == (folder, "5432")
            child.kill()


@pytest.mark.parametrize(("told", "role"), [({}, "backups"), ({"PGUSER": "another"}, "another")])
def test_the_role_is_that_of_the_setup_unless_another_is_named(tmp_path, told, role):
    config = tmp_path / "pgbackrest.conf"
    config.touch(0o600)
    config.write_text("[main]\npg1-path=/nowhere\npg1-user=backups\n")
    code = (
        "import os, pathlib, stanza\n"
        "stanza.become_owner = lambda path: None\n"
        f"stanza.Stanza(pathlib.Path({str(config)!r}))\n"
        "print(os.environ['PGUSER'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env={"PYTHONPATH": str(_SCRIPTS)} | told,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == role


def test_what_pgbackrest_started_is_not_waited_for_without_end(room, monkeypatch):
    stanza = room("stanza")
    monkeypatch.setattr(stanza, "_PATIENCE", 0.2)
    # A child that does not end when it is told, and outlives its parent.
    command = ["bash", "-c", "(trap '' TERM; echo $BASHPID; exec sleep 30) & wait"]
    began = time.monotonic()
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as running:
        child = Path(f"/proc/{int(running.stdout.readline())}/stat")
        stanza._end(running)
    with contextlib.suppress(FileNotFoundError):
        while child.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() - began < 10
            time.sleep(0.02)
    assert time.monotonic() - began < 10
