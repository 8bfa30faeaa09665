"""What the scripts for backups refuse, and that nothing is changed by a refusal or by running them twice."""

import os
import shutil
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from backups import wait_until
from rows import one
from servers import server_user


def state(backed):
    """Everything that a second run of the setup could change, byte for byte."""
    paths = [backed.config, backed.data / "postgresql.auto.conf", backed.data / "postgresql.conf"]
    paths += [path for path in backed.repository.rglob("*.info")]
    assert len(paths) > 4
    return {path: (path.read_bytes(), path.stat().st_mode, path.stat().st_uid) for path in paths}


def test_a_second_setup_changes_nothing(backed):
    before = state(backed)
    told = backed.setup().stdout

    assert "ready: stanza main" in told and "wrote" not in told and " = " not in told
    assert state(backed) == before


def test_the_repository_is_encrypted_and_only_the_server_s_user_can_read_the_passphrase(backed):
    passphrase = backed.config.read_text().split("repo1-cipher-pass=")[1].split()[0]
    assert len(passphrase) == 64
    assert backed.config.stat().st_mode & 0o777 == 0o600
    assert backed.config.stat().st_uid == server_user().pw_uid
    seen, ended = set(), threading.Event()

    def watch():
        while not ended.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes() + path.with_name("environ").read_bytes())
                except OSError:
                    continue

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        backed.backup("incr")
    finally:
        ended.set()
        watching.join()
    assert any(b"pgbackrest" in one and b"backup" in one for one in seen)
    assert not any(passphrase.encode() in one for one in seen)
    files = [path for folder in (backed.repository, backed.folder / "log") for path in folder.rglob("*")]
    contents = {path: path.read_bytes() for path in files if path.is_file()}
    assert not any(passphrase.encode() in content for content in contents.values())
    # Encrypted files begin so; anything that can be read as it is would be a leak.
    info = contents[backed.repository / "backup" / "main" / "backup.info"]
    assert info.startswith(b"Salted__") and b"backup" not in info

    os.chmod(backed.config, 0o640)
    try:
        assert f"chmod 600 {backed.config}" in backed.refusal("backup")
    finally:
        os.chmod(backed.config, 0o600)


def test_another_passphrase_is_refused_by_every_script(backed):
    right = backed.config.read_bytes()
    backed.config.write_bytes(right.replace(b"repo1-cipher-pass=", b"repo1-cipher-pass=not-"))
    try:
        before = {path: path.stat().st_mtime_ns for path in backed.repository.rglob("*.info*")}
        copy = backed.folder / "never"
        for script, *arguments in (
            ("backup-setup", "--data", backed.data), ("backup", "full"), ("backup", "point", "none"),
            ("restore", "--into", copy), ("backup-verify",),
        ):  # fmt: skip
            assert "its passphrase is another" in backed.refusal(script, *arguments), script
        assert not copy.exists()
        assert {path: path.stat().st_mtime_ns for path in backed.repository.rglob("*.info*")} == before
    finally:
        backed.config.write_bytes(right)


def test_a_setup_refuses_what_cannot_be_right(backed):
    def refused(*arguments):
        return backed.refusal("backup-setup", *arguments, config=backed.folder / "other.conf")

    data, other = backed.data, backed.folder / "other"
    assert "is not the data folder of a server" in refused("--data", backed.folder)
    assert "inside of what is backed up" in refused("--data", data, "--repository", data / "backups")
    # Root must not give away what a link leads to.
    link = backed.folder / "link"
    link.symlink_to(backed.folder / "nowhere")
    assert f"{link} is there and is no folder" in refused("--data", data, "--repository", link)
    link.unlink()
    # Another repository would take the archive away from the first.
    told = refused("--data", data, "--repository", other, "--log", backed.folder / "log")
    assert "archives with something else already" in told
    for made in (other, backed.folder / "log", backed.folder / "log" / "lock"):
        assert (made.stat().st_uid, made.stat().st_mode & 0o027) == (server_user().pw_uid, 0)
    with backed.server.connect() as db:
        assert str(backed.config) in one(db, "SHOW archive_command")
    usage = backed.run("backup-setup", "--nonsense", check=False)
    assert usage.returncode == 1 and "usage: scripts/backup-setup" in usage.stdout


def test_a_server_is_not_told_to_archive_before_the_archive_is_there(backed):
    without = backed.folder / "bin"
    without.mkdir(mode=0o755)
    for name in ("bash", "dirname", "readlink"):
        (without / name).symlink_to(shutil.which(name))
    with backed.server.connect(autocommit=True) as db:
        db.execute("ALTER SYSTEM RESET archive_timeout")
        db.execute("SELECT pg_reload_conf()")
        wait_until(lambda: one(db, "SHOW archive_timeout") == "0")
        told = backed.setup(check=False, PATH=str(without))
        assert told.returncode == 1 and "pgbackrest is not installed" in told.stdout
        assert "archive_timeout" not in (backed.data / "postgresql.auto.conf").read_text()
        assert "archive_timeout = 60" in backed.setup().stdout


def test_bad_arguments_are_answered_with_the_usage(backed):
    for script, *arguments in (
        ("backup", "everything"), ("backup", "point"), ("backup", "full", "name"),
        ("restore", "latest", "--name", "a"), ("restore", "--into", "/tmp/x", "--force"),
        ("backup-verify", "a"),
    ):  # fmt: skip
        told = backed.run(script, *arguments, check=False)
        assert told.returncode == 1 and f"usage: scripts/{script}" in told.stdout, told.stdout


def test_files_of_root_are_named_before_they_end_a_backup(backed, drilled):
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    # What a person leaves behind who runs pgbackrest as root: a file that the server's user cannot replace.
    left = backed.folder / "log" / "main-info.log"
    subprocess.run([*as_root, "touch", left], check=True)
    subprocess.run([*as_root, "chown", "0:0", left], check=True)
    try:
        for script in ("backup", "backup-verify", "restore"):
            told = backed.refusal(script)
            assert f"{left} belongs to user 0" in told and "chown -R" in told
    finally:
        subprocess.run([*as_root, "rm", left], check=True)
    # Whoever calls the scripts, all they leave is the server's user's.
    backed.backup("incr")
    for folder in (backed.repository, backed.folder / "log"):
        assert {path.lstat().st_uid for path in folder.rglob("*")} == {server_user().pw_uid}
    drilled("files of root in the log folder", 3, "refused with the chown that helps")


def test_a_running_server_is_never_restored_over(backed, drilled):
    with backed.server.connect() as db:
        for arguments in ([], ["--force"], ["--name", "x", "--set", "y"]):
            told = backed.refusal("restore", *arguments)
            assert f"a server runs in {backed.data}" in told and "nothing was changed" in told
        assert "overlaps" in backed.refusal("restore", "--into", backed.data / "copy")
        assert one(db, "SELECT 1") == 1
    drilled("restore over a running server", 3, "refused, the server went on")


def test_what_a_killed_server_left_running_keeps_its_folder(backed, drilled):
    with closing(backed.server.connect(autocommit=True)) as db:
        worker = one(db, "SELECT pg_backend_pid()")
        busy = "SELECT count(*) FROM generate_series(1, 1000000000)"
        asking = threading.Thread(target=lambda: _ended(db, busy))
        asking.start()
        with backed.server.connect() as other:
            active = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {worker}"
            wait_until(lambda: one(other, active))
        backed.kill()
        # The others end by themselves; one that computes does not look.
        time.sleep(1)
        try:
            told = backed.refusal("restore")
            assert str(worker) in told.split("processes")[1].split(")")[0]
        finally:
            os.kill(worker, 9)
            asking.join()
    wait_until(lambda: not Path(f"/proc/{worker}").exists())
    backed.control("start")
    assert backed.backup("incr")
    drilled("postmaster killed, a backend computes on", 1, "restore refused until it ended")


def _ended(db, statement):
    with pytest.raises(psycopg.OperationalError):
        db.execute(statement)


def test_a_failed_restore_leaves_the_old_data_as_it_was(backed, drilled):
    with backed.server.connect(autocommit=True) as db:
        point = one(db, "SELECT pg_create_restore_point('by hand')")
    assert point
    backed.stop()
    listed, beside = sorted(os.listdir(backed.data)), sorted(backed.data.parent.iterdir())
    aside = backed.repository.with_name("aside")
    told = {
        # A point of SQL: which backup was before it is not known, and must not be guessed.
        "say with --set LABEL": ["--name", "by hand"],
        "no backup fits": ["--time", "2020-01-01 00:00:00+00"],
        "has not come yet": ["--time", "2999-01-01"],
        "is no time": ["--time", "yesterday"],
        "is not in the archive": ["--timeline", "77"],
    }
    for expected, arguments in told.items():
        assert expected in backed.refusal("restore", *arguments), arguments
    # The old folder has been put aside by the time this is found, and a new one begun.
    newest = max(path for path in (backed.repository / "backup" / "main").iterdir() if path.name[0] == "2")
    newest.rename(aside)
    assert "pgbackrest restore failed" in backed.refusal("restore")
    aside.rename(newest)
    assert sorted(os.listdir(backed.data)) == listed
    assert sorted(backed.data.parent.iterdir()) == beside

    labels = sorted(path.name for path in (backed.repository / "backup" / "main").iterdir() if path.is_dir())
    full = next(label for label in labels if label.endswith("F"))
    backed.run("restore", "--name", "by hand", "--set", full, "--start")
    with backed.server.connect() as db:
        assert not one(db, "SELECT pg_is_in_recovery()")
    drilled("restores that cannot succeed", len(told) + 1, "refused or undone, old data in place")


def test_a_restored_server_that_lets_nobody_in_is_not_waited_for_without_end(backed):
    backed.stop()
    told = backed.refusal("restore", "latest", "--force", "--start", PGUSER="nobody of this server")
    assert "cannot be asked whether it is recovered" in told
    assert 'role "nobody of this server" does not exist' in told
    with backed.server.connect() as db:
        wait_until(lambda: not one(db, "SELECT pg_is_in_recovery()"))


def test_data_in_a_folder_of_root_is_restored_over_and_a_folder_that_was_made_stays(backed, drilled):
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    parent, user = backed.data.parent, server_user().pw_name
    aside, label = parent / "aside", backed.backup("incr")
    with backed.server.connect(autocommit=True) as db:
        db.execute("CREATE TABLE last AS SELECT 1 AS n")
    backed.stop("immediate")
    subprocess.run([*as_root, "chown", "0", parent], check=True)
    try:
        assert "restore over it with --force" in backed.refusal("restore")
        # The last WAL, which cannot be kept beside the folder, is not lost.
        backed.run("restore", "--force", "--start")
        with backed.server.connect(autocommit=True) as db:
            assert one(db, "SELECT n FROM last") == 1
            db.execute("DROP TABLE last")
        backed.stop()
        subprocess.run([*as_root, "mv", backed.data, aside], check=True)
        assert f"install -d -o {user} -m 700 {backed.data}" in backed.refusal("restore")
        subprocess.run([*as_root, "install", "-d", "-o", user, "-m", "700", backed.data], check=True)
        held = backed.repository / "backup" / "main" / label
        held.rename(backed.repository / "held")
        assert "pgbackrest restore failed" in backed.refusal("restore", "--set", label)
        assert list(backed.data.iterdir()) == []
        (backed.repository / "held").rename(held)
        backed.run("restore", "--start")
        subprocess.run([*as_root, "rm", "-r", aside], check=True)
    finally:
        subprocess.run([*as_root, "chown", user, parent], check=True)
    with backed.server.connect() as db:
        assert one(db, "SELECT to_regclass('last')") is None
    assert not list((backed.folder / "log").glob("*.wal-*"))
    drilled("data in a folder in which the server's user makes no other", 3, "restored over, and into it")


def test_what_no_archive_has_outlives_a_restore_over_the_data_that_fails(backed, drilled):
    with backed.server.connect(autocommit=True) as db:
        db.execute("CREATE TABLE last AS SELECT 1 AS n")
    backed.stop("immediate")
    # What has to be fetched, and cannot be: by the time that is found, the folder has no WAL any more.
    (backed.data / "base" / "1" / "PG_VERSION").unlink()
    held = [
        path for name in ("bundle", "pg_data") for path in (backed.repository / "backup" / "main").rglob(name)
    ]
    assert held
    for path in held:
        path.rename(f"{path}.aside")
    assert "pgbackrest restore failed" in backed.refusal("restore", "--force")
    for path in held:
        Path(f"{path}.aside").rename(path)
    backed.run("restore", "--force", "--start")

    with backed.server.connect(autocommit=True) as db:
        assert one(db, "SELECT n FROM last") == 1
        db.execute("DROP TABLE last")
    assert not list(backed.data.parent.glob(f"{backed.data.name}.wal-*"))
    drilled("a restore over the data that fails half-way", 1, "the last transaction is there after the next")


def test_a_target_after_the_last_transaction_is_told_and_the_old_data_is_kept(backed, drilled):
    backed.stop()
    # A full second that began after the last transaction.
    time.sleep(1.1)
    at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime())
    told = backed.refusal("restore", "--time", at, "--start")
    assert "restore to an earlier time, or to latest" in told
    kept = Path(told.split("is kept in ")[1].split(":")[0])
    assert (kept / "PG_VERSION").exists()
    # As the sentence says.
    backed.run("restore", "latest", "--start")
    shutil.rmtree(kept)
    drilled("a time target after the last transaction", 1, "told what to do; latest works")
