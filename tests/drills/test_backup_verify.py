"""Whether a backup can be restored is found out before it is needed: damage of every kind is told."""

import os
import shutil
import signal
import subprocess

from backups import ROOT, wait_until
from drills.conftest import rounds
from rows import one


def left_over(backed):
    return sorted(path.name for path in backed.data.parent.glob("data.verify*"))


def test_a_sound_backup_is_restored_asked_and_removed_and_the_server_does_not_notice(backed, drilled):
    with backed.server.connect(autocommit=True) as db:
        before = one(db, "SELECT pg_postmaster_start_time()")
        histories = sorted(backed.repository.rglob("*.history"))
        # What a backup looks like that is being made just now.
        begun = backed.repository / "backup" / "main" / "29990101-000000F"
        begun.mkdir()
        os.chown(begun, backed.data.stat().st_uid, backed.data.stat().st_gid)
        try:
            told = backed.run("backup-verify").stdout
        finally:
            begun.rmdir()
        # Of one of the models no bytes are stored, so nothing can be said of its tensors.
        for name in ("m", "bare"):
            assert f"test: {name}: 6 checks of verify_model, 0 failed" in told
        assert "is sound" in told
        assert one(db, "SELECT pg_postmaster_start_time()") == before
    # The copy went on to a timeline of its own, of which the archive must not hear.
    assert sorted(backed.repository.rglob("*.history")) == histories
    assert left_over(backed) == []
    drilled("the latest backup restored beside the server", 1, "sound, asked, removed")


def _flip(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_damage_of_the_repository_is_found(backed, drilled):
    bundle = max(backed.repository.rglob("bundle/*"), key=lambda path: path.stat().st_size)
    with backed.server.connect(autocommit=True) as db:
        names = []
        for number in range(3):
            names.append(one(db, f"SELECT pg_walfile_name(pg_create_restore_point('n{number}'))"))
            db.execute("SELECT pg_switch_wal()")
    backed.run("backup", "point", f"after-{names[-1]}")
    chosen = [bundle, next(backed.repository.rglob(f"{names[1]}-*"))]
    done = 0
    for damage, sentence in ((_flip, "the repository is damaged"), (os.unlink, "")):
        for path in chosen:
            content, mode, owner = path.read_bytes(), path.stat().st_mode, path.stat()
            damage(path)
            try:
                told = backed.refusal("backup-verify")
                assert sentence in told
                assert (
                    path is bundle
                    or damage is _flip
                    or f"between {names[0]} and {names[2]} is missing" in told
                )
            finally:
                path.write_bytes(content)
                os.chmod(path, mode)
                os.chown(path, owner.st_uid, owner.st_gid)
            done += 1
    drilled("a byte turned or a file removed in the repository", done, "found each time")


def test_a_backup_of_damaged_rows_is_not_sound(backed, drilled):
    with backed.server.connect(autocommit=True) as db:
        content = "UPDATE hypercube.chunk SET data = set_byte(data, 5, 255 - get_byte(data, 5))"
        db.execute(content)
        label = backed.backup("diff")
        told = backed.refusal("backup-verify")
        assert (
            f"backup {label} is not sound" in told
            and "test: bytes of m" in told
            and "test: m: tensor" in told
        )
        assert left_over(backed) == []
        db.execute(content)
        backed.backup("diff")
    drilled("bytes of a model changed before the backup", 1, "not sound, names the model")


def test_an_interrupted_verification_leaves_nothing_or_is_cleared_by_the_next(backed, drilled):
    command = [ROOT / "scripts" / "backup-verify", "--config", backed.config]
    environment = os.environ | {"PGUSER": "postgres"}
    copy = backed.data.with_name("data.verify")
    for number in range(rounds(2)):
        sent = (signal.SIGTERM, signal.SIGKILL)[number % 2]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            begun = copy / "data" / ("PG_VERSION" if sent == signal.SIGTERM else "postmaster.pid")
            wait_until(begun.exists)
            assert "another verification works in" in backed.refusal("backup-verify")
            run.send_signal(sent)
            run.wait()
        if sent == signal.SIGTERM:
            assert left_over(backed) == []
        else:
            assert "data.verify" in left_over(backed)
    told = backed.run("backup-verify").stdout
    assert "removing what an interrupted verification left behind" in told and "is sound" in told
    assert left_over(backed) == []
    drilled("a verification ended or killed", rounds(2), "removed, by itself or by the next")


def test_a_verification_touches_no_folder_that_it_did_not_begin(backed, drilled):
    copy = backed.data.with_name("data.verify")
    # A copy that somebody restored where a verification was killed once.
    backed.run("restore", "--into", copy)
    held = (copy / "PG_VERSION").read_bytes()
    assert f"{copy} is there and not ours" in backed.refusal("backup-verify")
    assert (copy / "PG_VERSION").read_bytes() == held
    aside = copy.rename(backed.folder / "of-somebody")
    copy.symlink_to(aside)
    assert f"{copy} is there and not ours" in backed.refusal("backup-verify")
    copy.unlink()
    shutil.rmtree(aside)
    link = backed.folder / "link"
    link.symlink_to(backed.data.parent)
    for into in (backed.data, backed.data / "copy", backed.data.parent, link, link / "data" / "copy"):
        assert "overlaps" in backed.refusal("backup-verify", "--into", into)
    link.unlink()
    assert not list(backed.data.glob("*copy*")) and left_over(backed) == []
    drilled("a verification told to use a folder of somebody else", 7, "refused, nothing was touched")


def test_the_folder_of_another_user_is_no_place_for_a_copy(backed, drilled):
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    folder, held = backed.folder / "planted", backed.folder / "held"
    held.write_text("held")
    os.chown(held, backed.data.stat().st_uid, backed.data.stat().st_gid)
    folder.mkdir()
    os.chmod(folder, 0o777)
    subprocess.run([*as_root, "chown", "0:0", folder], check=True)
    try:
        assert f"{folder} does not belong to" in backed.refusal("restore", "--into", folder)
        # Whoever made it may know the name of the mark.
        (folder / ".hypercube-backup-verify").symlink_to(held)
        assert f"{folder} does not belong to" in backed.refusal("backup-verify", "--into", folder)
        assert held.read_text() == "held"
    finally:
        subprocess.run([*as_root, "rm", "-r", folder], check=True)
    drilled("a copy told to be made in a folder of another user", 2, "refused, nothing written")


def test_the_owner_of_a_database_becomes_nobody_else_by_its_search_path(backed, drilled):
    def as_ann(dbname, *statements):
        with backed.server.connect(user="ann", dbname=dbname, autocommit=True) as db:
            for statement in statements:
                db.execute(statement)

    with backed.server.connect(autocommit=True) as db:
        db.execute("CREATE DATABASE owned OWNER ann")
    as_ann(
        "owned",
        "CREATE SCHEMA own",
        "CREATE FUNCTION own.ran() RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$",
        "CREATE VIEW own.pg_extension AS SELECT 'hypercube'::name AS extname WHERE own.ran()",
        "ALTER DATABASE owned SET search_path = own, pg_catalog",
    )
    try:
        assert "is sound" in backed.run("backup-verify").stdout
    finally:
        with backed.server.connect(autocommit=True) as db:
            db.execute("DROP DATABASE owned")
    drilled("a database whose owner put a table before that of the catalogue", 1, "the script did not ask it")


def test_a_second_repository_gets_the_archive_and_disturbs_nothing(backed, drilled):
    alone = backed.config.read_text()
    second, other = backed.folder / "second", backed.folder / "second.conf"
    lines = "repo2-path={}\nrepo2-cipher-type=aes-256-cbc\nrepo2-cipher-pass={}\nrepo2-retention-full=1\n"
    more = lines.format(second, "a" * 64)
    try:
        backed.config.write_text(alone.replace("\n[main]", f"{more}\n[main]"))
        assert "ready" in backed.setup().stdout
        label = backed.backup("incr")
        backed.run("backup", "point", "with-a-second-repository")
        # The second is the first of a file of its own.
        passed = [line for line in alone.splitlines() if not line.startswith("repo1-")]
        other.touch(0o600)
        other.write_text("\n".join(passed).replace("[global]", f"[global]\n{more.replace('repo2', 'repo1')}"))
        shutil.chown(other, backed.data.stat().st_uid, backed.data.stat().st_gid)
        assert "full" in backed.run("backup", "full", config=other).stdout
        assert "is sound" in backed.run("backup-verify", config=other).stdout
        assert f"{label} is sound" in backed.run("backup-verify").stdout
        backed.run("backup", "point", "after-both")
    finally:
        backed.config.write_text(alone)
    shutil.rmtree(second)
    backed.backup("incr")
    drilled("a second repository with a passphrase of its own", 2, "backups of both are sound")


def test_tablespaces_of_the_server_are_not_touched(backed, drilled):
    space = backed.folder / "space"
    space.mkdir()
    os.chown(space, backed.data.stat().st_uid, backed.data.stat().st_gid)
    with backed.server.connect(autocommit=True) as db:
        db.execute(f"CREATE TABLESPACE outside LOCATION '{space}'")
        db.execute("CREATE TABLE there TABLESPACE outside AS SELECT 1 AS n")
        backed.backup("diff")
        before = {path: path.stat().st_mtime_ns for path in space.rglob("*")}
        backed.run("backup-verify")
        assert {path: path.stat().st_mtime_ns for path in space.rglob("*")} == before
        assert one(db, "SELECT n FROM there") == 1
    backed.stop()
    assert "restore over it with --force" in backed.refusal("restore")
    backed.run("restore", "--force", "--start")
    with backed.server.connect(autocommit=True) as db:
        assert one(db, "SELECT n FROM there") == 1
        db.execute("DROP TABLE there")
        db.execute("DROP TABLESPACE outside")
    backed.backup("diff")
    assert left_over(backed) == []
    drilled("a tablespace outside of the data folder", 2, "copied aside; kept aside refused, restored over")


def test_a_backup_can_be_asked_for_in_sql_as_a_schedule_does(backed):
    """The statement of the example for pg_cron, with the folder and the options of this test."""
    example = (ROOT / "scripts" / "backups" / "schedule" / "pg_cron.sql").read_text(encoding="utf-8")
    statement = example.split("$$")[3]
    assert statement.startswith("COPY ") and "/opt/hypercube/scripts/backup diff" in statement
    statement = statement.replace("/opt/hypercube", str(ROOT)).replace(
        "--record mydatabase", f"--record test --config {backed.config}"
    )
    before = len(list((backed.repository / "backup" / "main").iterdir()))
    with backed.server.connect(autocommit=True) as db:
        db.execute(statement)
        recorder = "hypercube.record_backup(text,text,timestamptz,timestamptz,bigint)"
        if one(db, "SELECT to_regprocedure(%s)", recorder):
            assert one(db, "SELECT count(*) FROM hypercube.backup_record WHERE kind = 'diff'") == 1
    assert len(list((backed.repository / "backup" / "main").iterdir())) == before + 1
