"""Back up, break, restore: to a point, to a time, to the end, and every answer is as it was."""

import os
import shutil
from datetime import UTC, datetime

import psycopg
import pytest

from answers import answers, differences
from drills.conftest import rounds
from rows import ingest, one
from servers import server_user
from small_models import vectors, write_model


def everything(backed):
    with backed.server.connect(autocommit=True) as db:
        assert one(db, "SELECT NOT pg_is_in_recovery()"), "the script came back before the target was reached"
        return answers(db)


def drop_everything(backed):
    with backed.server.connect(autocommit=True) as db:
        db.execute("SELECT hypercube.drop_document(name) FROM hypercube.document")
        db.execute("SELECT hypercube.drop_model(name) FROM hypercube.model")


def restore(backed, *arguments):
    """Restore in place while the matrix files of before are there, and without them after."""
    backed.stop()
    backed.run("restore", *arguments, "--start")
    assert not (backed.data / "pgsql_tmp_hypercube").exists()
    for aside in backed.data.parent.glob("data.before-*"):
        assert (aside / "pgsql_tmp_hypercube").exists()
        shutil.rmtree(aside)


def test_a_point_a_time_and_the_end_give_every_answer_of_then(backed, drilled):
    done = 0
    for number in range(rounds(1)):
        name = f"before-the-drop-{number}"
        with backed.server.connect(autocommit=True) as db:
            ingest(db, write_model(backed.folder / "sources" / f"late {number}", vectors(60)), neighbors=4)
        before = everything(backed)
        assert len(before) > 70 and before["audit_verify"][0][0] and all(ok for _, ok in before["health"])
        backed.run("backup", "point", name)
        at = datetime.now(UTC)
        drop_everything(backed)
        assert len(differences(everything(backed), before)) > 50
        # Newer than the targets: a restore that begins from it cannot reach them.
        late = backed.backup("full")

        restore(backed, "--name", name)
        assert differences(everything(backed), before) == []
        matrices = backed.data / "pgsql_tmp_hypercube"
        assert [file for file in matrices.rglob("unit1-*") if file.stat().st_size], (
            "questions make them again"
        )

        drop_everything(backed)
        # This is on the timeline that the restore began, and one level further after the next.
        early = backed.backup("incr")
        assert early > late
        restore(backed, "--time", at.isoformat())
        assert differences(everything(backed), before) == []

        # No backup of this timeline is there yet, and those of the others are newer than where it began.
        restore(backed, "latest")
        assert differences(everything(backed), before) == []
        backed.backup("diff")
        done += 3
    drilled(
        "all models dropped after a backup, restored to a point, a time, the end", done, "every answer equal"
    )


def test_what_was_committed_right_before_a_crash_is_there_without_the_archive(backed, drilled):
    times = rounds(2)
    for number in range(times):
        with backed.server.connect(autocommit=True) as db:
            db.execute(f"CREATE TABLE last_{number} AS SELECT 1 AS n")
        backed.kill()
        # As if the server could not be started: damaged, or another copy of it is wanted.
        backed.run("restore", "latest", "--start", *(["--force"] if number % 2 else []))
        with backed.server.connect() as db:
            assert one(db, f"SELECT n FROM last_{number}") == 1
            assert one(db, "SELECT NOT pg_is_in_recovery()")
    drilled("postmaster killed after a commit, restored to the end", times, "the commit is there")


def test_a_lost_data_folder_comes_back_up_to_the_last_archived_segment(backed, drilled):
    with backed.server.connect(user="ann", autocommit=True) as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT hypercube.drop_model('other')")
    # The refusal is in a file that the backup takes along, and after that in the audit: not twice after all.
    backed.backup("incr")
    before = everything(backed)
    assert sum("refused" in entry for entry in before["audit_log"]) >= 1
    backed.run("backup", "point", "before-the-disk-was-lost")
    backed.stop("immediate")
    shutil.rmtree(backed.data)

    backed.run("restore", "--start")

    assert (backed.data / "hypercube_audit").is_dir()
    assert differences(everything(backed), before) == []
    drilled("data folder lost, restored to the end", 1, "every answer equal")


def test_a_copy_beside_the_server_tells_what_was_then_and_changes_nothing(backed, drilled):
    before = everything(backed)
    copy = backed.folder / "copy"
    with backed.server.connect(autocommit=True) as db:
        at = one(db, "SELECT clock_timestamp()")
        db.execute("CREATE TABLE afterwards AS SELECT 1 AS n")

    # The segment of that moment is not full: the script has it archived first.
    told = backed.run("restore", "--time", at.isoformat(), "--into", copy, "--start").stdout
    try:
        assert f"psql -h {copy}" in told and "no autovacuum" in told and "trust" in told
        assert (copy.stat().st_mode & 0o777) == 0o700
        with backed.server.connect(host=str(copy), autocommit=True) as db:
            assert one(db, "SELECT to_regclass('afterwards')") is None
            told_of = one(
                db,
                "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN"
                " ('archive_mode', 'autovacuum', 'fsync', 'listen_addresses', 'shared_preload_libraries',"
                " 'unix_socket_permissions')",
            )
            assert told_of.split(" ") == ["off", "off", "on", "", "", "0700"]
            assert differences(answers(db), before) == []
    finally:
        backed.control("-m", "immediate", "stop", folder=copy)
    with backed.server.connect() as db:
        assert one(db, "SELECT n FROM afterwards") == 1
    drilled("a copy restored beside the running server", 1, "answers of then, the server as it was")


def test_a_point_is_the_one_that_was_noted_not_an_earlier_one_of_its_name(backed, drilled):
    copy = backed.folder / "noted"
    with backed.server.connect(autocommit=True) as db:
        # As a script leaves it that is ended, or finds another pgBackRest at work: in the WAL, not noted.
        assert one(db, "SELECT pg_create_restore_point('twice')")
        db.execute("CREATE TABLE in_between AS SELECT 1 AS n")
        backed.run("backup", "point", "twice")
        db.execute("DROP TABLE in_between")
    backed.run("restore", "--name", "twice", "--into", copy, "--start")
    try:
        with backed.server.connect(host=str(copy)) as db:
            assert one(db, "SELECT n FROM in_between") == 1
    finally:
        backed.control("-m", "immediate", "stop", folder=copy)
        shutil.rmtree(copy)
    drilled("a restore point of which there are two in the WAL", 1, "restored to the one that was noted")


def test_backups_beyond_the_retention_go_and_their_points_with_them(backed):
    backed.run("backup", "point", "long-ago")
    for _ in range(2):
        kept = backed.backup("full")

    listed = os.listdir(backed.repository / "backup" / "main")
    assert len([name for name in listed if name.endswith("F") and not name.startswith("latest")]) == 2
    assert kept in listed
    assert "was not made by" in backed.refusal(
        "restore", "--name", "long-ago", "--into", backed.folder / "old"
    )
    assert not (backed.folder / "old").exists()


def test_a_lost_repository_and_a_lost_passphrase_are_made_again(backed, drilled):
    shutil.rmtree(backed.repository)
    with backed.server.connect(autocommit=True) as db:
        # The archive fails now, and the server keeps what it could not archive.
        db.execute("CREATE TABLE meanwhile AS SELECT pg_switch_wal()")
    assert "ready" in backed.setup().stdout
    assert backed.backup("incr").endswith("F")

    backed.config.unlink()
    assert "its passphrase is another" in backed.refusal(
        "backup-setup",
        "--data",
        backed.data,
        "--repository",
        backed.repository,
        "--log",
        backed.folder / "log",
    )
    backed.repository.rename(backed.folder / "unreadable")
    backed.repository.mkdir()
    shutil.chown(backed.repository, server_user().pw_uid, server_user().pw_gid)
    assert "ready" in backed.setup().stdout
    label = backed.backup("full")

    shutil.rmtree(backed.folder / "log")
    backed.stop()
    shutil.rmtree(backed.data)
    assert label in backed.run("restore", "--start").stdout
    with backed.server.connect() as db:
        assert one(db, "SELECT count(*) FROM meanwhile") == 1
    drilled(
        "the repository, the passphrase, then the data and the logs lost",
        3,
        "backups go on, the data is back",
    )
