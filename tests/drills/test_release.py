"""scripts/release: what it refuses, and that what it builds installs and runs from a folder of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import pgxnclient
import pytest

import hypercube
from prefixes import Prefix, below, told
from trees import copy_of_tree

ROOT = Path(__file__).parents[2]
VERSION = hypercube.__version__
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
# Where the system has its own: neither a release nor a test writes there.
SYSTEM = (Path(told("sharedir")) / "extension", Path("/usr/local/lib/hypercube"))


@pytest.fixture
def tree(tmp_path):
    """A checkout of a commit that can be released, with the state of the tree under test."""
    copy = copy_of_tree(tmp_path / "tree")
    (copy / ".local").symlink_to((ROOT / ".local").resolve())
    changelog = copy / "CHANGELOG.md"
    # Of the day of a release, also where it was one already.
    dated = re.sub(
        rf"(?m)^## {re.escape(VERSION)} \(.*\)$", f"## {VERSION} (2026-12-01)", changelog.read_text()
    )
    changelog.write_text(dated)
    subprocess.run([*GIT, "init", "--quiet"], cwd=copy, check=True)
    commit(copy)
    return copy


def commit(tree):
    subprocess.run([*GIT, "add", "--all"], cwd=tree, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message=release"], cwd=tree, check=True)


def release(tree):
    """Run the script; return (its exit status, what it said)."""
    done = subprocess.run(
        [tree / "scripts" / "release"], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def system_state():
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for folder in SYSTEM
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def test_what_cannot_be_released_is_refused_with_what_to_do(tree):
    script = tree / "sql" / "upgrade" / f"hypercube--0.1.0--{VERSION}.sql"
    for path, old, new, problem, remedy in (
        ("CHANGELOG.md", f"{VERSION} (2026-12-01)", f"{VERSION} (unreleased)", "unreleased", "YYYY-MM-DD"),
        ("hypercube.control", f"'{VERSION}'", "'9.9.9'", "the versions differ", "hypercube.control: 9.9.9"),
        ("META.json", '"license": "postgresql"', '"licence": "postgresql"', "license is missing", "PGXN"),
        ("META.json", '"runtime"', '"running"', "prereqs of running", "PGXN"),
        (".gitattributes", ".ci export-ignore", "", "the archive has .ci/", "export-ignore"),
        (
            ".gitattributes",
            ".ci export",
            "LICENSE export-ignore\n.ci export",
            "lacks LICENSE",
            ".gitattributes",
        ),
        ("sql/20_lookup.sql", "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", "pytest", "only_create"),
    ):
        before = (tree / path).read_text()
        replace(tree / path, old, new)
        commit(tree)
        status, said = release(tree)
        assert status != 0 and problem in said and remedy in said, said
        (tree / path).write_text(before)
        commit(tree)
    kept = script.read_bytes()
    script.unlink()
    status, said = release(tree)
    assert status != 0 and "not clean" in said and script.name in said
    commit(tree)
    status, said = release(tree)
    assert status != 0 and f"{script.name} does not exist" in said
    script.write_bytes(kept)
    commit(tree)
    done = subprocess.run([tree / "scripts" / "release", "now"], capture_output=True, text=True)
    assert done.returncode != 0 and "usage: " in done.stderr


def test_a_release_installs_with_pgxnclient_and_runs_from_a_prefix_of_its_own(tree, drilled):
    before = system_state()
    status, said = release(tree)
    assert status == 0, said
    archive = tree / f"hypercube-{VERSION}.zip"
    assert re.search(r"^sha256 (\w{64})$", said, re.MULTILINE)[1] == sha256(archive.read_bytes()).hexdigest()

    folder = Path(tempfile.mkdtemp(prefix="hypercube-prefix-", dir="/tmp"))
    try:
        # Its programs may name the interpreter of another checkout; the one of these tests runs them.
        client = Path(pgxnclient.__file__).with_name("libexec") / "pgxn-install"
        subprocess.run(
            # Without a sudo it refuses a user who cannot write to the server's folders, also with DESTDIR.
            [sys.executable, client, "--unstable", "--sudo=env", archive],
            cwd=tree, check=True, stdout=subprocess.DEVNULL,
            env=os.environ | {"DESTDIR": str(folder), "WITHOUT_PYTHON_PACKAGES": "1"},
        )  # fmt: skip
        prefix = Prefix(folder)
        installed = {path.name for path in prefix.extensions.glob("hypercube*") if not path.is_symlink()}
        assert installed == {
            "hypercube.control",
            f"hypercube--{VERSION}.sql",
            *(path.name for path in (ROOT / "sql" / "upgrade").glob("*.sql")),
        }
        [package] = below(folder, "/usr/local/lib/hypercube").glob(f"python*/hypercube-{VERSION}-*")
        prefix.use_package(package)
        server = prefix.server()
        try:
            with server.connect(autocommit=True) as db:
                db.execute("CREATE EXTENSION hypercube CASCADE")
                assert db.execute("SELECT * FROM hypercube.health() WHERE NOT ok").fetchall() == []
                db.execute(
                    "CREATE FUNCTION pg_temp.package() RETURNS text LANGUAGE plpython3u"
                    " AS 'import hypercube; return hypercube.__file__'"
                )
                found = db.execute("SELECT pg_temp.package()").fetchone()[0]
                assert Path(found).resolve().is_relative_to(folder)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
    assert system_state() == before
    drilled(
        "release installed by pgxnclient into an empty prefix",
        1,
        "CREATE EXTENSION and health() there",
    )
