"""What make and pgxnclient install, into a staging folder, and what they take away again."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pgxnclient
import pytest

import hypercube
from trees import copy_of_tree

ROOT = Path(__file__).parents[1]
VERSION = hypercube.__version__
EXTENSION = ("hypercube.control", f"hypercube--{VERSION}.sql")


@pytest.fixture
def tree(tmp_path):
    """A copy of what git would put into a release, so that nothing is built in the tree under test."""
    return copy_of_tree(tmp_path / "tree")


def run(command, folder, **environment):
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_below(folder):
    return {path.name: path for path in Path(folder).rglob("*") if path.is_file()}


def test_make_installs_and_uninstalls_what_it_installed(tree, tmp_path):
    stage = tmp_path / "stage"
    said = run(["make", "install", f"DESTDIR={stage}", "WITHOUT_PYTHON_PACKAGES=1"], tree)

    found = files_below(stage)
    for name in EXTENSION:
        assert found[name].parent.name == "extension"
    assert found["hypercube.pth"].parent.name == "dist-packages"
    rooms = {path.name for path in (tree / "plpy" / "hypercube").iterdir() if path.is_file()}
    assert "characters.txt" in rooms and rooms <= found.keys()
    # It says how to get the packages that it was told to leave out.
    assert "numpy==" in said and "pip install" in said
    built = found[f"hypercube--{VERSION}.sql"].read_text()
    for part in sorted((tree / "sql").glob("[0-9][0-9]_*.sql")):
        assert part.read_text() in built

    run(["make", "uninstall", f"DESTDIR={stage}"], tree)
    assert files_below(stage) == {}


def test_the_release_is_complete_and_installs_with_pgxnclient(tree, tmp_path):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    run([*git, "init", "--quiet"], tree)
    run([*git, "add", "--all"], tree)
    run([*git, "commit", "--quiet", "--message=release"], tree)
    run(["make", "dist"], tree)
    archive = tree / f"hypercube-{VERSION}.zip"
    names = zipfile.ZipFile(archive).namelist()
    assert {f"hypercube-{VERSION}/{name}" for name in ("META.json", "Makefile", "requirements.txt")} <= set(
        names
    )

    stage = tmp_path / "stage"
    # Its programs may name the interpreter of another checkout; the one of these tests runs them.
    client = Path(pgxnclient.__file__).with_name("libexec") / "pgxn-install"
    run(
        # Without a sudo it refuses a user who cannot write to the server's folders, whatever DESTDIR says.
        [sys.executable, client, "--unstable", "--sudo=env", str(archive)],
        tmp_path,
        DESTDIR=str(stage),
        WITHOUT_PYTHON_PACKAGES="1",
    )
    assert set(EXTENSION) <= files_below(stage).keys()


def test_meta_says_what_pgxn_asks_for():
    meta = json.loads((ROOT / "META.json").read_text())

    assert meta["name"] == "hypercube" and meta["license"] == "postgresql"
    assert {"name", "abstract", "version", "maintainer", "license", "provides", "meta-spec"} <= meta.keys()
    assert meta["meta-spec"]["version"] == "1.0.0"
    needs = meta["prereqs"]["runtime"]["requires"]
    assert {"PostgreSQL", "plpython3u", "cube"} <= needs.keys()
