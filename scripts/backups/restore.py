"""Restore a server from its backups: to the end, to a time or to a named point, in place or beside it."""

import itertools
import os
import pwd
import re
import shutil
import struct
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import clusters
import copies
from stanza import POINT, Refused, Stanza, absolute, is_before, is_on, listing, lsn, main, parser, say, when

_USAGE = (
    "scripts/restore [latest | --time T | --name POINT] [--set LABEL] [--timeline N]\n"
    "                       [--into FOLDER | --force] [--start] [--config FILE] [--stanza NAME]"
)


def choose(stanza, wanted):
    """Return the backup to begin from and the options of pgBackRest for the target.

    pgBackRest itself begins from the newest backup, which may be later than the target, or on a timeline
    that was left: the server then refuses to start.
    """
    backups, (newest, ancestors) = stanza.backups(), stanza.timelines()
    options, until, point = ["--type=default"], None, None
    if wanted.time:
        target = parsed(wanted.time)
        until = target.timestamp()
        spelled = target.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        options = ["--type=time", f"--target={spelled}", "--target-action=promote"]
    elif wanted.name:
        point = point_of(backups, wanted.name)
        if point is None and not wanted.set:
            raise Refused(
                f'restore point "{wanted.name}" was not made by "scripts/backup point": say with --set LABEL'
                f" which backup ended before it:\n{listing(backups)}"
            )
        target = point["name"] if point else wanted.name
        options = ["--type=name", f"--target={target}", "--target-action=promote"]
    timeline = wanted.timeline or newest
    if point and not wanted.timeline and not is_on(newest, ancestors, point["timeline"], point["lsn"]):
        timeline = point["timeline"]
    if timeline != newest:
        ancestors = stanza.ancestors(timeline)
        options.append(f"--target-timeline={timeline}")
    able = [one for one in backups if is_before(one, timeline, ancestors)]
    if until is not None:
        able = [one for one in able if one["timestamp"]["stop"] <= until]
    if point:
        able = [one for one in able if lsn(one["lsn"]["stop"]) <= point["lsn"]]
    if wanted.set:
        able = [one for one in able if one["label"] == wanted.set]
    if not able:
        raise Refused(f"no backup fits that ended before the target; there are:\n{listing(backups)}")
    # One with pages that were damaged when it was made is better than none.
    chosen = ([one for one in able if not one.get("error")] or able)[-1]
    return chosen, [*options, f"--set={chosen['label']}"]


def parsed(text):
    """Return a time that a person wrote, in the zone of this machine if he named none."""
    try:
        target = datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", text.replace("Z", "+00:00")))
    except ValueError:
        raise Refused(f'"{text}" is no time: write it like 2026-11-22 21:30:00+00') from None
    target = target.astimezone()
    if target > datetime.now(UTC):
        raise Refused(f"{target} has not come yet")
    return target


def point_of(backups, name):
    """Return where a restore point is, as "scripts/backup point" noted it, or None."""
    for backup in backups:
        noted = backup.get("annotation", {}).get(POINT + name)
        if noted:
            timeline, position, own = noted.split()
            return {"timeline": int(timeline), "lsn": lsn(position), "name": own}
    return None


def unarchived(folder):
    """Return the segments of a data folder's WAL that no archive has for certain."""
    wal = folder / "pg_wal"
    if not wal.is_dir():
        return []
    done = {path.stem for path in (wal / "archive_status").glob("*.done")}
    found = [path for path in wal.iterdir() if path.name not in done]
    histories = [path for path in found if re.fullmatch(r"[0-9A-F]{8}\.history", path.name)]
    return histories + [
        path for path in found if re.fullmatch(r"[0-9A-F]{24}", path.name) and is_written(path)
    ]


def is_written(segment):
    """Return whether a segment holds what its name says: others are old ones, kept to be used again."""
    place = (int(segment.name[8:16], 16) << 32) + int(segment.name[16:], 16) * segment.stat().st_size
    with segment.open("rb") as file:
        header = file.read(16)
    # A disk that was full, or lost power, may leave less than that.
    if len(header) < 16:
        return False
    # Of the header of its first page: magic number, flags, timeline, address.
    _, _, _, address = struct.unpack("=HHIQ", header)
    return address == place


def refuse_overlap(stanza, folder):
    """Refuse a folder for a copy that is in the server's, or has it inside."""
    copy, data = Path(os.path.realpath(folder)), Path(os.path.realpath(stanza.data))
    if copy == data or data in copy.parents or copy in data.parents:
        raise Refused(f"{folder} overlaps {stanza.data}, the folder of the server: choose another")


def refuse_stranger(folder):
    """Refuse a folder, or a link, of somebody else: he could lead what is written into it elsewhere."""
    user = pwd.getpwuid(os.geteuid())
    if os.path.lexists(folder) and folder.lstat().st_uid != user.pw_uid:
        raise Refused(f"{folder} does not belong to {user.pw_name}: choose another folder, or remove it")


def refuse_closed(stanza, folder):
    """Refuse a folder that is not there, and that the server's user cannot make."""
    if not folder.exists() and not is_writable(folder.parent):
        user = pwd.getpwuid(os.geteuid()).pw_name
        own = folder == stanza.data
        advice = f"install -d -o {user} -m 700 {folder}" if own else "name another folder with --into"
        raise Refused(f"{user} cannot make {folder}: {advice}")


def is_writable(folder):
    """Return whether the server's user can make something in a folder."""
    return os.access(folder, os.W_OK | os.X_OK)


def refuse_unfit(stanza, folder, wanted):
    """Refuse what would overwrite something that is still needed."""
    clusters.refuse_if_used(folder)
    refuse_closed(stanza, folder)
    if wanted.into:
        refuse_overlap(stanza, folder)
        refuse_stranger(folder)
        if folder.exists() and any(folder.iterdir()):
            raise Refused(f"{folder} is not empty: choose another folder, or remove it")
        if wanted.start:
            copies.refuse_long(folder)
    elif folder.exists() and any(folder.iterdir()):
        if not (folder / "PG_VERSION").exists() and not (folder / "backup.manifest").exists():
            raise Refused(f"{folder} holds something else than a server's data: look, and move it away")
        outside = [path for path in (folder / "pg_tblspc").glob("*") if path.is_symlink()]
        fixed = outside or folder.is_symlink() or os.path.ismount(folder) or not is_writable(folder.parent)
        if fixed and not wanted.force:
            raise Refused(
                f"{folder} cannot be kept aside, as it is a mount point or a link, has tablespaces, or is in"
                " a folder of somebody else: restore over it with --force, after copying away what you need"
            )


def fetch(stanza, folder, options):
    """Restore into an empty folder; leave it empty, or none if there was none, if that fails."""
    there = folder.exists()
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder != stanza.data:
        refuse_stranger(folder)
    try:
        stanza.run("restore", f"--pg1-path={folder}", *options)
    except BaseException:
        # It may be a disk, or in a folder where the server's user makes no other.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if not there:
            folder.rmdir()
        raise


def beside(stanza, folder, options):
    """Restore a copy beside the server: it archives nothing, and has its tablespaces to itself."""
    tablespaces = Path(f"{folder}.tablespaces")
    fetch(stanza, folder, [*options, "--archive-mode=off", f"--tablespace-map-all={tablespaces}"])


def unused(name):
    """Return a path of that name, or with a number behind it, at which there is nothing."""
    numbers = itertools.count(2)
    path = Path(name)
    while path.exists():
        path = Path(f"{name}-{next(numbers)}")
    return path


def in_place(stanza, folder, options, force):
    """Restore the server's own folder; return where the old one is kept, if it is."""
    aside = None
    saved = save_wal(stanza, folder)
    if force and folder.exists():
        (folder / "postmaster.pid").unlink(missing_ok=True)
        try:
            stanza.run("restore", f"--pg1-path={folder}", "--delta", *options)
        finally:
            # pgBackRest takes it away first: after a failure the next try would find none.
            give_wal(saved, folder)
        return aside
    try:
        if folder.exists() and any(folder.iterdir()):
            aside = unused(f"{folder}.before-{datetime.now():%Y%m%dT%H%M%S}")
            folder.rename(aside)
        fetch(stanza, folder, options)
    except BaseException:
        if aside:
            aside.rename(folder)
        if saved:
            shutil.rmtree(saved)
        raise
    give_wal(saved, folder)
    return aside


def save_wal(stanza, folder):
    """Copy what the server wrote last, and is in no archive yet; return where it is, None if there is none.

    It is kept beside the data folder, or among the logs where the server's user makes no folder there.
    """
    found = unarchived(folder)
    if not found:
        return None
    places = [path for path in (folder.parent, stanza.log) if is_writable(path)]
    if not places:
        raise Refused(
            f"the last WAL can be kept neither in {folder.parent} nor in {stanza.log}: make one writable"
        )
    saved = Path(tempfile.mkdtemp(prefix=f"{folder.name}.wal-", dir=places[0]))
    try:
        for path in found:
            shutil.copy2(path, saved)
    except BaseException:
        shutil.rmtree(saved)
        raise
    return saved


def give_wal(saved, folder):
    """Copy saved WAL into a restored folder, whose server replays it; what cannot be copied stays."""
    if not saved:
        return
    (folder / "pg_wal").mkdir(mode=0o700, exist_ok=True)
    for path in saved.iterdir():
        shutil.copy2(path, folder / "pg_wal")
    shutil.rmtree(saved)


def work():
    arguments = parser(_USAGE)
    arguments.add_argument("latest", nargs="?", choices=["latest"])
    for option in ("--time", "--name", "--set"):
        arguments.add_argument(option)
    arguments.add_argument("--timeline", type=int)
    arguments.add_argument("--into", type=absolute)
    arguments.add_argument("--force", action="store_true")
    arguments.add_argument("--start", action="store_true")
    wanted = arguments.parse_args()
    if sum(map(bool, (wanted.latest, wanted.time, wanted.name))) > 1 or (wanted.into and wanted.force):
        arguments.error("name one target, and --into or --force but not both")
    stanza = Stanza(wanted.config, wanted.stanza)
    stanza.strangers()
    folder = wanted.into or stanza.data
    refuse_unfit(stanza, folder, wanted)
    if not stanza.backups():
        raise Refused("there is no backup: run scripts/backup full")
    if wanted.into and clusters.address(stanza.data):
        clusters.archive_all(stanza.data)
    backup, options = choose(stanza, wanted)
    say(f"from backup {backup['label']}, which ended {when(backup['timestamp']['stop'])}")
    if backup.get("error"):
        say("warning: this backup holds pages with wrong checksums, and there is no other that fits")
    if wanted.time and not wanted.timeline:
        newest, left = stanza.timelines()
        if left:
            say(f"on timeline {newest}; a moment of one that was left (1 to {max(left)}) needs --timeline N")
    if wanted.into:
        beside(stanza, folder, options)
    else:
        aside = in_place(stanza, folder, options, wanted.force)
        if aside:
            say(f"the data of before is kept in {aside}: remove it when you do not need it any more")
    say(f"restored into {folder}")
    if not wanted.start:
        say("start it; it replays WAL until pg_is_in_recovery() is false, and takes connections before")
        return
    if wanted.into:
        copies.configure(folder)
    clusters.wait_until_recovered(folder, clusters.start(folder))
    host, port = clusters.address(folder)
    say(f"running and recovered: psql -h {host} -p {port}")
    if wanted.into:
        say(copies.TOLD)


if __name__ == "__main__":
    main(work, "restore")
