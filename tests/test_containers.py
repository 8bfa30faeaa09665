"""The container files: linted, valid, and naming what is there; scripts/test-containers follows them."""

import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from compose_spec import PyCompose

import hypercube
from servers import as_server_user, program_folder, server_user

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = (DOCKER / "compose.yaml").read_text()


def lint(text):
    command = [Path(sys.executable).with_name("hadolint"), "--no-color", "-"]
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True)


def copied():
    """What the Dockerfile copies from the project, not from another stage."""
    lines = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    return [name for names in lines for name in names if not names[0].startswith("--from=")]


def test_the_linter_finds_nothing_in_the_dockerfile_and_would():
    found = lint(DOCKERFILE)
    assert (found.returncode, found.stdout) == (0, "")
    assert "DL3002" in lint(DOCKERFILE + "USER root\n").stdout


def test_compose_knows_every_key_and_would_refuse_another():
    services = PyCompose.from_yaml(COMPOSE).services
    assert set(services) == {"db", "pooler"}
    with pytest.raises(ValueError, match="portz"):
        PyCompose.from_yaml(COMPOSE.replace("ports:", "portz:"))


def test_images_have_the_version_of_the_project():
    assert COMPOSE.count(f":{hypercube.__version__}\n") == 2


def test_what_is_copied_is_there_and_sent_to_the_engine():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert len(copied()) > 5
    for name in copied():
        assert (ROOT / name).exists(), name
        assert any(name == one or name.startswith(one + "/") for one in sent), name


def test_the_image_holds_no_secret_and_runs_as_nobody_else():
    stages = DOCKERFILE.split("\nFROM ")[2:]
    assert len(stages) == 2
    assert all("\nUSER 999:999\n" in stage for stage in stages)
    assert "PASSWORD" not in DOCKERFILE
    assert "HEALTHCHECK" in stages[-1]


def test_the_image_has_the_program_of_the_interpreter():
    """PL/Python needs its library alone; an ingest starts it to read a tokenizer, and backups are scripts."""
    assert " python3 " in DOCKERFILE.split("\nFROM ")[-1]


def start(folder):
    """Run the entrypoint of the image for a cluster in a folder, as far as the server's start."""
    environment = {
        "PATH": f"{program_folder()}:/usr/bin:/bin",
        "PGDATA": folder / "cluster",
        "POSTGRES_PASSWORD_FILE": folder / "password",
        "HYPERCUBE_DATABASE": "app",
        "PGUSER": "postgres",
    }
    command = as_server_user(["bash", "-s", "postgres", "--version"], environment)
    # Who runs the tests need not be the user postgres.
    entrypoint = (DOCKER / "entrypoint").read_text().replace("--auth-local=peer", "--auth-local=trust")
    return subprocess.run(command, input=entrypoint, capture_output=True, text=True)


def test_a_folder_that_is_there_is_refused_unless_it_is_empty():
    folder = Path(tempfile.mkdtemp(prefix="hypercube-", dir="/tmp"))
    cluster = folder / "cluster"
    try:
        (folder / "password").write_text("secret\n")
        cluster.mkdir()
        (cluster / "mine").write_text("")
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, server_user().pw_uid, server_user().pw_gid)

        refused = start(folder)
        assert refused.returncode == 1 and "is there and holds no cluster" in refused.stderr
        assert (cluster / "mine").exists() and not (folder / "cluster.new").exists()

        (cluster / "mine").unlink()
        for _ in range(2):
            started = start(folder)
            assert started.returncode == 0, started.stderr
            assert (cluster / "PG_VERSION").exists() and not (cluster / "cluster.new").exists()
    finally:
        shutil.rmtree(folder)


def test_what_runs_in_a_folder_is_stopped_below_the_shell_that_waits_for_it():
    described = importlib.util.spec_from_file_location("containers", ROOT / "scripts" / "containers.py")
    containers = importlib.util.module_from_spec(described)
    described.loader.exec_module(containers)
    waiting = '"$@" && exit || exit'
    # As scripts/inside leaves it: unshare, a shell, what was asked for.
    command = [
        "bash",
        "-c",
        waiting,
        "-",
        "bash",
        "-c",
        waiting,
        "-",
        "env",
        "--default-signal=INT",
        "sleep",
        "120",
    ]
    with subprocess.Popen(command) as started:
        while not [one for child in containers.children(started.pid) for one in containers.children(child)]:
            time.sleep(0.01)
        containers.stop(started, 10)
    assert started.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize("script", ["test-matrix", "test-containers"])
def test_a_folder_in_which_somebody_has_something_is_not_filled(tmp_path, script):
    """It would be emptied first."""
    folder = tmp_path / "mine"
    (folder / "build").mkdir(parents=True)
    sourced = '. "$1/lib.sh"; . "$1/folders.sh"; own_folder "$2"'

    def own():
        command = ["bash", "-euc", sourced, script, ROOT / "scripts", folder]
        return subprocess.run(command, capture_output=True, text=True)

    refused = own()
    assert refused.returncode == 1 and "holds what no script put there" in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["build"]
    (folder / "build").rmdir()
    for _ in range(2):
        assert own().returncode == 0
    (folder / "more").mkdir()
    assert own().returncode == 0
    used = (ROOT / "scripts" / script).read_text()
    assert 0 < used.index('own_folder "$folder"') < used.index("\nbootstrap ")
