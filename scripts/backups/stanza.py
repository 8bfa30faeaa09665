"""What pgBackRest is told and what it tells: a stanza of a configuration file, its backups and timelines.

Python's own library only, as it runs on servers that have nothing else.
"""

import argparse
import contextlib
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

CONFIG = Path("/etc/pgbackrest/pgbackrest.conf")
POINT = "restore-point-"

_LOG = ("--log-level-console=off", "--log-level-stderr=warn")
# What is done with one repository where there are several; the others are for all of them.
_OF_ONE = ("annotate", "backup", "info", "repo-get", "repo-ls", "restore", "verify")

# Seconds that what pgBackRest started has to end, when it is told to.
_PATIENCE = 60

# What pgBackRest calls an error, and what a person can do about it.
_HINTS = {
    41: "files of another user are in the way: they have to belong to the server's user",
    50: "another pgBackRest command is running for this stanza: wait until it has ended",
    82: "the archive was not reached in time: look for archive_command in the server's log",
    95: "the repository cannot be decrypted: its passphrase is another",
}


class Refused(Exception):
    """Something that is not done, in a sentence that says what to do."""


def say(text):
    """Tell how far the work is."""
    print(text, flush=True)


def absolute(text):
    """Return a path that stays true when the folder of work changes."""
    return Path(os.path.abspath(text))


def parser(usage):
    """Return a parser of arguments that has what all four scripts have."""
    made = argparse.ArgumentParser(usage=usage, add_help=False, allow_abbrev=False)
    made.add_argument("--config", type=absolute, default=CONFIG)
    made.add_argument("--stanza")
    made.error = lambda problem: sys.exit(f"{problem}\nusage: {usage}")
    return made


def main(work, script):
    """Run a script: a refusal is one sentence and the status 1; being ended cleans up like an error."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.umask(0o077)
    as_root = os.geteuid() == 0
    kept = ("PGUSER", "PGPASSFILE", "PG_CONFIG", "PG_CLUSTER_CONF_ROOT", "PGDATA")
    for name in [name for name in os.environ if name.startswith(("PG", "PGBACKREST_"))]:
        # Another server or repository must not be reached by mistake.
        if name not in kept:
            del os.environ[name]
    try:
        work()
    except Refused as refusal:
        sys.exit(f"{script}: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as problem:
        advice = "; run this as root" if isinstance(problem, PermissionError) and not as_root else ""
        sys.exit(f"{script}: {problem}{advice}")


def become_owner(path):
    """Go on as the user who owns a file: the server's, never root."""
    owner = path.stat().st_uid
    if owner == 0:
        raise Refused(f"{path} belongs to root, which runs no server: chown it to the user that does")
    user = pwd.getpwuid(owner)
    if os.geteuid() not in (0, owner):
        raise Refused(f"{path} belongs to {user.pw_name}: run this as {user.pw_name} or as root")
    if os.geteuid() == 0:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(owner)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    os.chdir("/")


def sections(text):
    """Return the sections of a configuration file as dicts."""
    found, inside = {}, {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            inside = found.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            inside[key.strip()] = value.strip()
    return found


class Stanza:
    """A stanza: where its server and its repository are, and what backups there are."""

    def __init__(self, config, name=None):
        self.config = config
        if not config.exists():
            raise Refused(f"{config} is not there: run scripts/backup-setup, or give --config FILE")
        become_owner(config)
        if config.stat().st_mode & 0o077:
            raise Refused(f"{config} holds the passphrase and others may read it: chmod 600 {config}")
        told = sections(config.read_text(encoding="utf-8"))
        names = [section for section in told if section.split(":")[0] != "global"]
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            raise Refused(f"name one of the stanzas of {config} with --stanza: {', '.join(names)}")
        self.name = name
        self._told = told.get("global", {}) | told[name]
        self.data = Path(self._told["pg1-path"])
        self.log = Path(self._told.get("log-path", "/var/log/pgbackrest"))
        # Who set it up named the role; a schedule need not do so again.
        if "pg1-user" in self._told:
            os.environ.setdefault("PGUSER", self._told["pg1-user"])

    @property
    def archive_command(self):
        """What the server has to run for each segment of its WAL."""
        quoted = f"'{self.config}'" if re.search(r"[^\w/.+-]", str(self.config)) else str(self.config)
        return f"pgbackrest --config={quoted} --stanza={self.name} archive-push %p".replace(
            str(self.config), str(self.config).replace("%", "%%")
        )

    def repository_disk(self):
        """Return the device of the repository, None if it is not a folder of this machine."""
        path = Path(self._told.get("repo1-path", "/var/lib/pgbackrest"))
        return path.stat().st_dev if path.is_dir() and "repo1-host" not in self._told else None

    def strangers(self):
        """Refuse if files of another user are where pgBackRest writes: its next run would end at them."""
        for key in ("repo1-path", "log-path", "lock-path"):
            for folder, folders, files in os.walk(self._told.get(key, "")):
                for path in (Path(folder, name) for name in (".", *folders, *files)):
                    try:
                        owner = path.lstat().st_uid
                    except FileNotFoundError:
                        # The archive goes on: what it writes gets its name when it is whole.
                        continue
                    if owner != os.geteuid():
                        user = pwd.getpwuid(os.geteuid()).pw_name
                        raise Refused(
                            f"{path} belongs to user {owner}, not to {user}:"
                            f" chown -R {user} {self._told[key]}, and never run pgbackrest as root"
                        )

    def run(self, told, *options):
        """Run pgBackRest as the server's user and return what it printed."""
        command = ["pgbackrest", f"--config={self.config}", f"--stanza={self.name}", *_LOG, *options]
        if told.split()[0] in _OF_ONE:
            command.append("--repo=1")
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            running = subprocess.Popen(
                [*command, *told.split()], **piped, text=True, errors="replace", start_new_session=True
            )
        except FileNotFoundError:
            raise Refused("pgbackrest is not installed: apt-get install pgbackrest") from None
        try:
            output, errors = running.communicate()
        except BaseException:
            _end(running)
            raise
        if running.returncode:
            raise Refused(f"pgbackrest {told.split()[0]} failed:{explained(running.returncode, errors)}")
        return output

    def backups(self):
        """Return the backups from the oldest to the newest, as pgBackRest tells them."""
        found = json.loads(self.run("info", "--output=json"), strict=False)
        told = found[0] if found else {"status": {"code": 1, "message": "missing stanza"}}
        # 2 is a stanza without backups.
        if told["status"]["code"] not in (0, 2):
            said = "\n".join(repository["status"]["message"] for repository in told.get("repo", []))
            problem = explained(0, said) or (
                f" {told['status']['message']}: is the disk of the repository mounted?"
                " If it is new, run scripts/backup-setup"
            )
            raise Refused(f"the backups cannot be listed:{problem}")
        # Those of before a pg_upgrade lead to another cluster.
        return [one for one in told["backup"] if one["database"]["id"] == told["db"][-1]["id"]]

    def archived(self):
        """Return the path in the repository of every file of the archive of the cluster as it is now."""
        listed = json.loads(self.run(f"repo-ls archive/{self.name}", "--recurse", "--output=json"))
        clusters = {name.split("/")[0] for name in listed if re.match(r"[0-9.]+-[0-9]+(/|$)", name)}
        newest = max(clusters, key=lambda name: int(name.split("-")[1]), default="")
        return [f"archive/{self.name}/{name}" for name in listed if name.startswith(f"{newest}/")]

    def timelines(self):
        """Return the newest timeline of the archive, and by their number where those before it ended."""
        # A repository that is younger than a timeline has its segments, but not its history.
        names = (
            re.search(r"/([0-9A-F]{8})(\.history|[0-9A-F]{16}-[^/]+)$", name) for name in self.archived()
        )
        newest = max((int(found[1], 16) for found in names if found), default=1)
        return newest, self.ancestors(newest)

    def missing_wal(self):
        """Return the gaps of the archive: pairs of segments between which others are missing."""
        names = (re.search(r"/([0-9A-F]{24})-[^/]+$", name) for name in self.archived())
        segments = sorted({found[1] for found in names if found})
        gaps = []
        for before, after in zip(segments, segments[1:], strict=False):
            high, low = int(before[8:16], 16), int(before[16:], 16)
            # How many segments a file number has depends on their size, and is a power of two.
            follow = {f"{high:08X}{low + 1:08X}"} | (
                {f"{high + 1:08X}00000000"} if (low + 1) & low == 0 else set()
            )
            if before[:8] == after[:8] and after[8:] not in follow:
                gaps.append((before, after))
        return gaps

    def ancestors(self, timeline):
        """Return the timelines that a timeline comes from, each with the LSN at which it was left."""
        if timeline == 1:
            return {}
        paths = [name for name in self.archived() if name.endswith(f"/{timeline:08X}.history")]
        if not paths:
            if any(f"/{timeline:08X}" in name for name in self.archived()):
                return {}
            raise Refused(f"timeline {timeline} is not in the archive")
        lines = self.run(f"repo-get {paths[0]}").splitlines()
        rows = [line.split() for line in lines if re.match(r"\s*\d+\s", line)]
        return {int(row[0]): lsn(row[1]) for row in rows}


def _end(running):
    """End pgBackRest with the processes that it started: they write on after it is gone."""
    os.killpg(running.pid, signal.SIGTERM)
    running.wait()
    until = time.monotonic() + _PATIENCE
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(running.pid, 0)
            time.sleep(0.05)
        # What has ended and is not reaped, as in some containers, stays in the group.
        os.killpg(running.pid, signal.SIGKILL)


def explained(code, text):
    """Return the lines of pgBackRest's errors that a person can read, and what he can do about them."""
    # What comes out of a wrong passphrase is quoted between them.
    lines = [line.strip() for line in text.splitlines() if re.match(r"\s*(ERROR|WARN|HINT|\[\w+Error)", line)]
    if re.search("CryptoError|FormatError", text):
        code = 95
    return "".join(
        f"\n  {re.sub('[^ -~]+', '?', line)[:300]}" for line in [*lines, _HINTS.get(code, "")] if line
    )


def lsn(text):
    """Return an LSN as a number: "0/3000060" -> 50331744."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def is_on(timeline, ancestors, own, position):
    """Return whether a position of timeline `own` is in the history of another."""
    return own == timeline or (own in ancestors and position <= ancestors[own])


def is_before(backup, timeline, ancestors):
    """Return whether a timeline can be reached from a backup."""
    own = int(backup["archive"]["start"][:8], 16)
    return is_on(timeline, ancestors, own, lsn(backup["lsn"]["stop"]))


def when(seconds):
    """Return a time as a person in any zone reads it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S+00")


def listing(backups):
    """Return backups as text, one a line."""
    lines = [f"  {one['label']}  ended {when(one['timestamp']['stop'])}" for one in backups]
    return "\n".join(lines) or "  (no backup)"
