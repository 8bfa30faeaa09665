"""pg_upgrade of a cluster with models: the same answers under the newer server, with another Python."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import upgrades
from servers import ThrowawayServer, as_server_user, server_user

pytestmark = pytest.mark.pg_upgrade

_INITDB = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
NAME = "of_before"


def programs(wanted):
    """Return the folder of the programs of a server by its major version."""
    found = {int(path.parts[-3]): path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")}
    return found[wanted(found)]


OLD, NEW = programs(min), programs(max)


@pytest.fixture(scope="module")
def before():
    """A cluster of the older server, stopped, and what its database answered."""
    server = ThrowawayServer(initdb=OLD / "initdb", postgres=OLD / "postgres")
    try:
        recorded = upgrades.fill(server, NAME)
        server.terminate()
        yield server, recorded
    finally:
        server.stop()


def run(command, folder):
    # It writes into the folder that it is called in.
    command = as_server_user(["env", f"--chdir={folder}", *command])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    logs = "".join(path.read_text() for path in Path(folder).rglob("*.log")) if done.returncode else ""
    assert done.returncode == 0, done.stdout + logs
    return done.stdout


# The copy first: after links the older cluster must not be started again.
@pytest.mark.parametrize("mode", ["--copy", "--link"])
def test_models_answer_the_same_after_pg_upgrade(before, mode, drilled):
    old, recorded = before
    base = Path(tempfile.mkdtemp(prefix="hypercube-", dir="/tmp"))
    shutil.chown(base, server_user().pw_uid, server_user().pw_gid)
    try:
        run([NEW / "initdb", "--pgdata", base / "data", *_INITDB], base)
        command = [
            NEW / "pg_upgrade",
            "--old-bindir",
            OLD,
            "--new-bindir",
            NEW,
            "--username",
            "postgres",
            mode,
        ]
        command += ["--old-datadir", old.data_folder, "--new-datadir", base / "data", "--socketdir", base]
        assert "Clusters are compatible" in run([*command, "--check"], base)
        assert "Upgrade Complete" in run(command, base)

        server = ThrowawayServer(base_dir=str(base), initdb=NEW / "initdb", postgres=NEW / "postgres")
        try:
            with server.connect(dbname=NAME, autocommit=True) as db:
                version = db.execute("SHOW server_version").fetchone()[0]
                assert version.split(".")[0] == NEW.parts[-2]
                db.execute("ANALYZE")
                assert db.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
                assert db.execute("SELECT ok, problem FROM hypercube.audit_verify()").fetchall() == [
                    (True, None)
                ]
            assert upgrades.different_answers(server, NAME, recorded) == []
        finally:
            server.stop()
    finally:
        shutil.rmtree(base)
    earlier = re.sub(r"\D*", "", OLD.parts[-2])
    drilled(
        f"pg_upgrade {mode} from {earlier} to {version}", 1, f"{len(recorded)} answers as before, audit whole"
    )
