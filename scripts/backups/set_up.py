"""Make a server ready for backups: an encrypted repository, its configuration, and the archive of WAL."""

import base64
import os
import pwd
import re
from pathlib import Path

import clusters
from stanza import Refused, Stanza, absolute, become_owner, main, parser, say

_USAGE = (
    "scripts/backup-setup [--data FOLDER] [--repository FOLDER] [--keep N] [--log FOLDER]\n"
    "                           [--config FILE] [--stanza NAME]"
)
_TEMPLATE = Path(__file__).with_name("pgbackrest.conf")


def make_parents(folder):
    """Make a folder, and those above it, that everybody may enter."""
    before = os.umask(0o022)
    folder.mkdir(parents=True, exist_ok=True)
    os.umask(before)


def own_folder(folder, owner):
    """Make a folder that only the server's user enters; refuse one of somebody else's."""
    if not os.path.lexists(folder):
        make_parents(folder.parent)
        # The server's user may have put a link in its place, to a file that root must not give him.
        inside = os.open(folder.parent, os.O_DIRECTORY)
        os.mkdir(folder.name, 0o750, dir_fd=inside)
        made = os.open(folder.name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
        if os.geteuid() == 0:
            os.fchown(made, owner.pw_uid, owner.pw_gid)
        os.close(made)
        os.close(inside)
    elif not folder.is_dir():
        raise Refused(f"{folder} is there and is no folder: move it away")
    elif folder.stat().st_uid != owner.pw_uid:
        raise Refused(f"{folder} does not belong to {owner.pw_name}: chown -R {owner.pw_name} {folder}")


def write_config(wanted, name, owner, reached):
    """Write the configuration with a new passphrase, readable by the server's user only."""
    values = {
        "REPOSITORY": wanted.repository,
        "PASSPHRASE": base64.b64encode(os.urandom(48)).decode(),
        "KEEP": wanted.keep,
        "LOG": wanted.log,
        "STANZA": name,
        "DATA": wanted.data,
        "PORT": reached.port,
        "SOCKET": reached.host,
        "USER": os.environ.get("PGUSER", owner.pw_name),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    text = re.sub("@([A-Z]+)@", lambda found: str(values[found[1]]), text)
    make_parents(wanted.config.parent)
    # Made with its mode and its owner, and only then filled.
    descriptor = os.open(wanted.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
        file.write(text)
    say(f"wrote {wanted.config}: keep a copy of it in a safe place, its passphrase opens the backups")


def settings(data, archive_command):
    """Return what the server has to be told, as a dict; refuse to take the archive from somebody else."""
    rows = clusters.ask(
        data,
        "SELECT name, setting FROM pg_settings WHERE name IN"
        " ('archive_command', 'archive_library', 'archive_mode', 'archive_timeout', 'wal_level')",
    )
    now = {row["name"]: row["setting"] for row in rows}
    other = now["archive_command"] not in ("", "(disabled)", archive_command) and now["archive_command"]
    if now["archive_mode"] != "off" and (other or now.get("archive_library")):
        raise Refused(
            f"the server archives with something else already ({other or now['archive_library']}):"
            " clear archive_command if that is not needed any more"
        )
    needed = {}
    if now["archive_mode"] == "off":
        needed["archive_mode"] = "on"
    if now["archive_command"] != archive_command:
        needed["archive_command"] = archive_command
    if now["archive_timeout"] == "0":
        needed["archive_timeout"] = "60"
    if now["wal_level"] == "minimal":
        needed["wal_level"] = "replica"
    return needed


def refuse_unfit(wanted):
    """Refuse folders that cannot be right; return the owner of the data and how the server is reached."""
    if not (wanted.data / "PG_VERSION").exists():
        raise Refused(f"{wanted.data} is not the data folder of a server")
    owner = pwd.getpwuid(wanted.data.stat().st_uid)
    if owner.pw_uid == 0:
        raise Refused(f"{wanted.data} belongs to root, which runs no server: chown it to the user that does")
    if os.geteuid() not in (0, owner.pw_uid):
        raise Refused(f"{wanted.data} belongs to {owner.pw_name}: run this as {owner.pw_name} or as root")
    if wanted.data == wanted.repository or wanted.data in wanted.repository.parents:
        raise Refused(f"{wanted.repository} is inside of what is backed up: choose another folder")
    reached = clusters.address(wanted.data)
    if not reached:
        raise Refused(f"the server of {wanted.data} is not running: start it first")
    return owner, reached


def work():
    arguments = parser(_USAGE)
    arguments.add_argument("--data", type=absolute)
    arguments.add_argument("--repository", type=absolute, default=Path("/var/lib/pgbackrest"))
    arguments.add_argument("--log", type=absolute, default=Path("/var/log/pgbackrest"))
    arguments.add_argument("--keep", type=int, default=2)
    wanted = arguments.parse_args()
    if wanted.keep < 1:
        arguments.error("at least one full backup has to be kept")
    wanted.data = wanted.data or clusters.only_folder()
    owner, reached = refuse_unfit(wanted)
    if not wanted.config.exists():
        own_folder(wanted.repository, owner)
        own_folder(wanted.log, owner)
        write_config(wanted, wanted.stanza or "main", owner, reached)
    become_owner(wanted.data)
    stanza = Stanza(wanted.config, wanted.stanza)
    if stanza.data != wanted.data:
        raise Refused(f"stanza {stanza.name} of {wanted.config} is of {stanza.data}: choose another --stanza")
    stanza.strangers()
    if stanza.repository_disk() == wanted.data.stat().st_dev:
        say("note: repository and data are on one disk: whoever loses it loses both")
    needed = settings(wanted.data, stanza.archive_command)
    # First what may fail: a server that is told to archive, and cannot, keeps its WAL until the disk is full.
    stanza.run("stanza-create")
    for name, value in needed.items():
        clusters.tell(wanted.data, f"ALTER SYSTEM SET {name} = :'value'", value=value)
        say(f"{name} = {value}")
    clusters.tell(wanted.data, "SELECT FROM pg_reload_conf()")
    if needed.keys() & {"archive_mode", "wal_level"}:
        raise Refused("not done yet: restart the server, then run this again")
    stanza.run("check")
    say(f"ready: stanza {stanza.name} of {stanza.data}; make the first backup with scripts/backup full")


if __name__ == "__main__":
    main(work, "backup-setup")
