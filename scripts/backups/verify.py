"""Prove that the backups can be restored: check the repository, restore the latest backup, ask the copy."""

import fcntl
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import clusters
import copies
from back_up import record
from restore import beside, choose, refuse_closed, refuse_overlap, refuse_stranger
from stanza import Refused, Stanza, absolute, main, parser, say, when

_USAGE = "scripts/backup-verify [--into FOLDER] [--record DATABASE] [--config FILE] [--stanza NAME]"
_MARK = ".hypercube-backup-verify"
_COPY = "data"
_LATEST = SimpleNamespace(time=None, name=None, set=None, timeline=None)


def check_repository(stanza):
    """Have pgBackRest read every file of the repository; refuse if one is missing or damaged."""
    told = stanza.run("verify", "--output=text", "--verbose")
    wrong = re.compile(
        r"status: (?!ok|valid|in-progress)|(missing|checksum invalid|size invalid|other): [1-9]|ERROR|WARN"
    )
    problems = [line.strip() for line in told.splitlines() if wrong.search(line)]
    problems += [
        f"WAL between {one} and {other} is missing: a backup before it leads no further"
        for one, other in stanza.missing_wal()
    ]
    if problems:
        raise Refused("the repository is damaged:\n  " + "\n  ".join(problems))
    say("repository: every file has its checksum, no WAL is missing")


def begin(folder):
    """Make the folder of a verification, or take over one that was killed; return its mark, locked.

    The mark is inside: a folder that has the name later is not taken for ours.
    """
    mark = folder / _MARK
    if folder.is_symlink() or (folder.exists() and not mark.is_file()):
        raise Refused(f"{folder} is there and not ours: remove it, or name another folder with --into")
    folder.mkdir(mode=0o700, exist_ok=True)
    refuse_stranger(folder)
    file = mark.open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(f"another verification works in {folder}: wait until it has ended") from None
    if (folder / _COPY).exists():
        say("removing what an interrupted verification left behind")
        remove(folder)
    return file


def remove(folder):
    """Stop the copy and remove it; the folder stays, with its mark."""
    if (folder / _COPY / "PG_VERSION").exists():
        clusters.stop(folder / _COPY)
    shutil.rmtree(folder / _COPY, ignore_errors=True)
    shutil.rmtree(folder / f"{_COPY}.tablespaces", ignore_errors=True)


def end(folder):
    """Remove the folder, unless something in it could not be removed: the next verification tries again."""
    remove(folder)
    if [path.name for path in folder.iterdir()] == [_MARK]:
        (folder / _MARK).unlink()
        folder.rmdir()


def problems_of(folder):
    """Ask every database of a running copy that has hypercube; return what is wrong, as sentences."""
    found, asked = [], 0
    for database in clusters.ask(folder, "SELECT datname AS name FROM pg_database WHERE datallowconn"):
        name = database["name"]
        if not clusters.ask(folder, "SELECT FROM pg_extension WHERE extname = 'hypercube'", name):
            continue
        asked += 1
        for row in clusters.ask(folder, 'SELECT "check", detail FROM hypercube.health() WHERE NOT ok', name):
            found.append(f"{name}: {row['check']}: {row['detail']}")
        models = [
            row["name"]
            for row in clusters.ask(folder, "SELECT name FROM hypercube.model ORDER BY name", name)
        ]
        for model in models:
            rows = clusters.ask(folder, "SELECT * FROM hypercube.verify_model(:'model')", name, model=model)
            # Null is what the model was stored without (`store`): nobody can say anything of it.
            bad = [row for row in rows if row["ok"] is False]
            found += [f"{name}: {model}: {row['kind']} {row['name']}: {row['detail']}" for row in bad]
            say(f"{name}: {model}: {len(rows)} checks of verify_model, {len(bad)} failed")
        say(f"{name}: health() and {len(models)} models")
    if not asked:
        found.append("no database of the copy has hypercube")
    return found


def verify(stanza, copy, database):
    """Check the repository, restore and ask the latest backup, and note that in a database."""
    began = time.time()
    if not stanza.backups():
        raise Refused("there is no backup: run scripts/backup full")
    if clusters.address(stanza.data):
        clusters.archive_all(stanza.data)
    backup, options = choose(stanza, _LATEST)
    say(f"backup {backup['label']}, which ended {when(backup['timestamp']['stop'])}")
    check_repository(stanza)
    beside(stanza, copy, options)
    copies.configure(copy, passing=True)
    clusters.wait_until_recovered(copy, clusters.start(copy))
    say(f"restored and recovered after {time.time() - began:.1f} s")
    problems = problems_of(copy)
    if problems:
        raise Refused(f"backup {backup['label']} is not sound:\n  " + "\n  ".join(problems))
    if database and clusters.address(stanza.data):
        size = backup["info"]["size"]
        record(stanza.data, database, backup["label"], "verify", began, time.time(), size)
    say(f"{backup['label']} is sound, {time.time() - began:.1f} s, {datetime.now(UTC):%Y-%m-%d %H:%M:%S+00}")


def work():
    arguments = parser(_USAGE)
    arguments.add_argument("--into", type=absolute)
    arguments.add_argument("--record", metavar="DATABASE")
    wanted = arguments.parse_args()
    stanza = Stanza(wanted.config, wanted.stanza)
    stanza.strangers()
    folder = wanted.into or Path(f"{stanza.data}.verify")
    copy = folder / _COPY
    refuse_overlap(stanza, folder)
    refuse_closed(stanza, folder)
    copies.refuse_long(copy)
    with begin(folder):
        try:
            verify(stanza, copy, wanted.record)
        finally:
            end(folder)


if __name__ == "__main__":
    main(work, "backup-verify")
