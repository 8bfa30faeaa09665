"""Checks of a release, in the order of what they cost; then the archive and its digest.

Everything is asked of the commit, never of the working tree: the archive is made from it.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
# What the specification of PGXN's META.json (1.0.0) asks for, and names of licences as it has them.
REQUIRED = {"name", "abstract", "version", "maintainer", "license", "provides", "meta-spec"}
KNOWN = REQUIRED | {
    "description", "generated_by", "no_index", "prereqs", "release_status", "resources", "tags",
}  # fmt: skip
PHASES = {"configure", "build", "test", "runtime", "develop"}
RELATIONS = {"requires", "recommends", "suggests", "conflicts"}
# What a server does not need and nobody installs from.
LEFT_OUT = (".ci/", ".git", ".local/")
# Without these it could be neither built nor told what it is.
HELD = (
    "META.json", "Makefile", "README.md", "CHANGELOG.md", "LICENSE", "requirements.txt", "hypercube.control",
    "sql/00_install.sql", "plpy/hypercube/__init__.py", "scripts/install-python",
)  # fmt: skip


def refuse(problem, remedy):
    """Say what is wrong and what to do, and stop."""
    sys.exit(f"release: {problem}\n{remedy}")


def run(*command):
    """Return what a command prints; stop if it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        refuse(f"{' '.join(command)} failed", done.stdout.strip())
    return done.stdout


def git(*arguments):
    """Run git in this checkout, whoever owns it."""
    return run("git", "-c", f"safe.directory={ROOT}", *arguments)


def read(name):
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def check_tree():
    """The archive holds the commit: what is not in it would be missing."""
    if changed := git("status", "--porcelain").strip():
        refuse(f"the working tree is not clean:\n{changed}", "Commit it, or take it back with git stash.")


def check_versions():
    """Return the version, which four places have to agree on, and the one before."""
    meta = json.loads(read("META.json"))
    listed = re.findall(r"^## (\S+)(?: \((.+)\))?$", read("CHANGELOG.md"), re.MULTILINE)
    found = {
        "hypercube.control": re.search(
            r"^default_version = '(.+)'$", read("hypercube.control"), re.MULTILINE
        )[1],
        "META.json": meta["version"],
        "META.json, provides": meta["provides"]["hypercube"]["version"],
        "plpy/hypercube/__init__.py": re.search(
            r'^__version__ = "(.+)"$', read("plpy/hypercube/__init__.py"), re.M
        )[1],
        "CHANGELOG.md": listed[0][0],
    }
    if len(set(found.values())) > 1:
        told = "\n".join(f"  {place}: {version}" for place, version in found.items())
        refuse(f"the versions differ:\n{told}", "Write the same one everywhere.")
    version, date = listed[0]
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        refuse(
            f"CHANGELOG.md says that {version} is {date or 'of no day'}", f"Write: ## {version} (YYYY-MM-DD)"
        )
    return version, listed[1][0] if len(listed) > 1 else None


def check_upgrade(before, version):
    """A database of the version before must have a way to this one, and the tests something it left."""
    script = f"sql/upgrade/hypercube--{before}--{version}.sql"
    if not (ROOT / script).is_file():
        refuse(
            f"{script} does not exist", f"Write what turns {before} into {version}, if only its first lines."
        )
    if not (ROOT / f"tests/data/hypercube-{before}/made.dump").is_file():
        refuse(f"nothing is kept of {before}", "tests/data/README.md says how it is made.")


def check_meta():
    """Hold META.json to the rules of PGXN, which takes no archive that breaks them."""
    meta = json.loads(read("META.json"))
    problems = [f"{name} is missing" for name in sorted(REQUIRED - meta.keys())]
    problems += [
        f"{name} is not known" for name in meta if name not in KNOWN and not name.lower().startswith("x_")
    ]
    if not problems:
        provided = meta["provides"]
        problems += [
            f"provides {one}: no file"
            for one, told in provided.items()
            if not (ROOT / told["file"]).is_file()
        ]
        versions = [meta["version"], *(told["version"] for told in provided.values())]
        problems += [f"{one} is no semantic version" for one in versions if not VERSION.fullmatch(one)]
        if meta["meta-spec"].get("version") != "1.0.0":
            problems.append("meta-spec is not 1.0.0")
        if meta.get("release_status", "stable") not in ("stable", "testing", "unstable"):
            problems.append("release_status is none of stable, testing, unstable")
        if not re.fullmatch(r"[^\s/\\\x00-\x1f]{2,}", meta["name"]):
            problems.append("name has a character that it must not have")
        for phase, needs in meta.get("prereqs", {}).items():
            if phase not in PHASES or not needs.keys() <= RELATIONS:
                problems.append(f"prereqs of {phase} are not understood")
        tags = meta.get("tags", [])
        problems += [f"tag {tag}" for tag in tags if not (isinstance(tag, str) and 0 < len(tag) < 256)]
    if problems:
        refuse(
            "META.json: " + "; ".join(problems),
            "Its rules are those of version 1.0.0 of PGXN's specification.",
        )


def check_archive(archive, version):
    """Look at what is in the archive, not at what should be."""
    names = zipfile.ZipFile(archive).namelist()
    top = f"hypercube-{version}/"
    if outside := [name for name in names if not name.startswith(top)]:
        refuse(f"the archive has {outside[0]}", f"Everything has to be below {top}.")
    inside = {name.removeprefix(top) for name in names}
    if missing := [name for name in HELD if name not in inside]:
        refuse(f"the archive lacks {', '.join(missing)}", "Look at .gitattributes.")
    if extra := sorted(name for name in inside if name.startswith(LEFT_OUT)):
        refuse(f"the archive has {', '.join(extra)}", "Name it in .gitattributes with export-ignore.")
    return len(inside)


def main():
    check_tree()
    version, before = check_versions()
    if before:
        check_upgrade(before, version)
    check_meta()
    run(sys.executable, "-m", "pytest", "-q", "tests/test_rules.py")
    run("make", "-s", f"PG_CONFIG={os.environ['PG_CONFIG']}", "dist")
    archive = ROOT / f"hypercube-{version}.zip"
    count = check_archive(archive, version)
    commit = git("rev-parse", "--short", "HEAD").strip()
    print(f"{archive.name}: version {version} of commit {commit}, {count} files")
    print(f"sha256 {hashlib.sha256(archive.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
