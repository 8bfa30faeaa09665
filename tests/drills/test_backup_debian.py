"""The scripts on a cluster as Debian lays it out: configuration and data in folders of their own."""

import os
import shutil
import subprocess

import psycopg
import pytest

from backups import ROOT, new_folder
from servers import as_server_user, program_folder, server_user


@pytest.fixture
def cluster():
    """The folder of a Debian cluster "main", which runs."""
    folder = new_folder("hypercube-debian-")
    version = program_folder().parts[-2]
    environment = {"PG_CLUSTER_CONF_ROOT": str(folder / "etc")}

    def run(*command):
        subprocess.run(as_server_user(command, environment), check=True, stdin=subprocess.DEVNULL)

    (folder / "etc").mkdir()
    shutil.chown(folder / "etc", server_user().pw_uid, server_user().pw_gid)
    defaults = folder / "etc" / "createcluster.conf"
    defaults.touch()
    run(
        "pg_createcluster", "--datadir", folder / "data", "--socketdir", folder, "--port", "5432",
        "--no-status", "--logfile", folder / "server.log", "--createclusterconf", defaults,
        version, "main", "--", "--auth=trust", "--username=postgres", "--no-sync", "--locale=C.UTF-8",
    )  # fmt: skip
    run("pg_ctlcluster", version, "main", "start")
    try:
        yield folder, lambda action: run("pg_ctlcluster", "--mode", "fast", version, "main", action)
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctlcluster", "--mode", "immediate", version, "main", "stop")
        shutil.rmtree(folder)


def test_a_debian_cluster_is_set_up_backed_up_verified_and_restored(cluster, drilled):
    folder, control = cluster
    environment = os.environ | {"PGUSER": "postgres", "PG_CLUSTER_CONF_ROOT": str(folder / "etc")}

    def script(name, *arguments, expected=0):
        command = [ROOT / "scripts" / name, *arguments, "--config", folder / "pgbackrest.conf"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    def ask(statement):
        with psycopg.connect(host=str(folder), port=5432, user="postgres", dbname="postgres") as db:
            return db.execute(statement).fetchone()[0]

    setup = (
        "backup-setup",
        "--data",
        folder / "data",
        "--repository",
        folder / "repository",
        "--log",
        folder / "log",
    )
    script(*setup, expected=1)
    control("restart")
    assert "ready" in script(*setup)
    with psycopg.connect(host=str(folder), port=5432, user="postgres", dbname="postgres") as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
    script("backup", "full")
    assert "is sound" in script("backup-verify")
    control("stop")

    # Its configuration is where it was: the script starts it by the cluster's name.
    assert "running and recovered" in script("restore", "latest", "--start")

    assert ask("SHOW config_file") == str(next((folder / "etc").glob("*/main/postgresql.conf")))
    assert ask("SELECT extname FROM pg_extension WHERE extname = 'hypercube'") == "hypercube"
    script("backup", "incr")
    drilled("a Debian cluster restored to the end", 1, "started with its own configuration")
