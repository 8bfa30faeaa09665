"""Back up a server, or name a point that it can be restored to."""

import re
import time
from datetime import UTC, datetime

import clusters
from stanza import POINT, Refused, Stanza, is_before, main, parser, say

_USAGE = (
    "scripts/backup [full | diff | incr] [--record DATABASE] [--config FILE] [--stanza NAME]\n"
    "       scripts/backup point NAME [--config FILE] [--stanza NAME]"
)
_RECORDER = "hypercube.record_backup(text,text,timestamptz,timestamptz,bigint)"


def record(folder, database, label, kind, start, stop, size):
    """Note a backup in a database, if the hypercube in it knows how."""
    found = clusters.ask(folder, "SELECT to_regprocedure(:'name') AS name", database, name=_RECORDER)
    if found[0]["name"]:
        clusters.ask(
            folder,
            "SELECT hypercube.record_backup(:'label', :'kind', to_timestamp(:'start'::float8),"
            " to_timestamp(:'stop'::float8), :'size'::bigint)",
            database, label=label, kind=kind, start=start, stop=stop, size=size,
        )  # fmt: skip


def back_up(stanza, kind, database):
    """Make a backup, tell what it took, and note it."""
    stanza.run("backup", f"--type={kind}")
    made = stanza.backups()[-1]
    start, stop, size = (
        made["timestamp"]["start"],
        made["timestamp"]["stop"],
        made["info"]["repository"]["delta"],
    )
    say(
        f"{made['label']}: {made['type']}, {stop - start} s, {made['info']['size'] / 1e6:.1f} MB of data,"
        f" {size / 1e6:.1f} MB written"
    )
    if made["error"]:
        raise Refused(f"{made['label']} has pages with wrong checksums: the disk of the server is damaged")
    if database:
        try:
            record(stanza.data, database, made["label"], made["type"], start, stop, size)
        except Refused as problem:
            raise Refused(f"the backup is complete, but was not recorded in {database}: {problem}") from None


def name_point(stanza, name):
    """Make a restore point, note which backup leads to it, and have it archived."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name):
        raise Refused("the name of a restore point has up to 40 letters of ASCII, digits, dots, - and _")
    backups = stanza.backups()
    if any(POINT + name in one.get("annotation", {}) for one in backups):
        raise Refused(f'restore point "{name}" exists already: choose another name')
    newest, ancestors = stanza.timelines()
    able = [one for one in backups if is_before(one, newest, ancestors)]
    if not able:
        raise Refused("there is no backup that a restore could begin from: run scripts/backup full")
    # A server stops at the first point of a name, and one that could not be noted is in the WAL all the same.
    own = f"{name}@{time.time_ns()}"
    made = clusters.ask(
        stanza.data,
        "SELECT made.lsn, left(pg_walfile_name(made.lsn), 8) AS timeline"
        " FROM pg_create_restore_point(:'point') AS made (lsn)",
        point=own,
    )[0]
    noted = f"{int(made['timeline'], 16)} {made['lsn']} {own}"
    stanza.run("annotate", f"--set={able[-1]['label']}", f"--annotation={POINT}{name}={noted}")
    clusters.archive_all(stanza.data)
    say(f"restore point {name} at {datetime.now(UTC):%Y-%m-%d %H:%M:%S+00}: scripts/restore --name {name}")


def work():
    arguments = parser(_USAGE)
    arguments.add_argument("kind", nargs="?", choices=["full", "diff", "incr", "point"], default="incr")
    arguments.add_argument("name", nargs="?")
    arguments.add_argument("--record", metavar="DATABASE")
    wanted = arguments.parse_args()
    if (wanted.kind == "point") != bool(wanted.name):
        arguments.error("a restore point needs a name, and a backup has none")
    stanza = Stanza(wanted.config, wanted.stanza)
    stanza.strangers()
    if not clusters.address(stanza.data):
        raise Refused(f"the server of {stanza.data} is not running: start it first")
    if wanted.kind == "point":
        name_point(stanza, wanted.name)
    else:
        back_up(stanza, wanted.kind, wanted.record)


if __name__ == "__main__":
    main(work, "backup")
