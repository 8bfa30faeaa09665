"""Servers by their data folder: whether they run, how they are asked, started and stopped."""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from stanza import Refused


class Address(NamedTuple):
    """How the server of a data folder is reached."""

    host: str
    port: str


def programs(folder):
    """Return the folder of the server programs of the version that a data folder is of."""
    version = (folder / "PG_VERSION").read_text().strip()
    told = os.environ.get("PG_CONFIG")
    candidates = [f"/usr/lib/postgresql/{version}/bin"]
    for pg_config in filter(None, [told, shutil.which("pg_config")]):
        done = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True)
        candidates.insert(0 if pg_config == told else 1, done.stdout.strip())
    for candidate in map(Path, candidates):
        if (candidate / "pg_ctl").exists():
            done = subprocess.run([candidate / "pg_ctl", "--version"], capture_output=True, text=True)
            if re.search(rf"\) {version}\b", done.stdout):
                return candidate
    raise Refused(f"{folder} is of PostgreSQL {version}, whose programs are not found: name its PG_CONFIG")


def debian(folder):
    """Return version and name of the Debian cluster that a folder belongs to, or None."""
    root = os.environ.get("PG_CLUSTER_CONF_ROOT", "/etc/postgresql")
    for path in glob.glob(f"{root}/*/*/postgresql.conf"):
        with open(path, encoding="utf-8") as file:
            found = re.search(r"^\s*data_directory\s*=\s*'(.*)'", file.read(), re.MULTILINE)
        if found and os.path.realpath(found[1]) == os.path.realpath(folder):
            return path.split("/")[-3:-1]
    return None


def only_folder():
    """Return the data folder meant when none is named: PGDATA, or that of the only Debian cluster."""
    if os.environ.get("PGDATA"):
        return Path(os.path.abspath(os.environ["PGDATA"]))
    found = []
    if shutil.which("pg_lsclusters"):
        done = subprocess.run(["pg_lsclusters", "--json"], capture_output=True, text=True)
        found = [cluster["pgdata"] for cluster in json.loads(done.stdout or "[]")]
    if len(found) != 1:
        raise Refused("name the data folder of the server with --data FOLDER")
    return Path(found[0])


def processes(folder):
    """Return the processes that work in a data folder: postmaster, backends, also those left behind."""
    real, found = os.path.realpath(folder), []
    for path in glob.glob("/proc/[0-9]*/cwd"):
        try:
            if os.readlink(path) == real:
                found.append(int(path.split("/")[2]))
        except OSError:
            continue
    return sorted(found)


def named(process):
    """Return the name of a process."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return "gone"


def address(folder):
    """Return how the server of a folder is reached, or None if nothing accepts connections there."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
        process, port, host = int(lines[0]), lines[3], lines[4] or lines[5]
    except (FileNotFoundError, IndexError):
        return None
    # The file outlasts a crash, and at the port may be another server since.
    if process not in processes(folder):
        return None
    family = socket.AF_UNIX if host.startswith("/") else socket.AF_INET
    with socket.socket(family) as trying:
        try:
            trying.connect(f"{host}/.s.PGSQL.{port}" if family == socket.AF_UNIX else (host, int(port)))
        except OSError:
            return None
    return Address(host, port)


def refuse_if_used(folder):
    """Refuse if a server, or what a server left behind, works in a folder."""
    found = processes(folder)
    if found or address(folder):
        # A person's own shell is one of them if that is where he stands.
        told = f" (processes {', '.join(f'{one} {named(one)}' for one in found)})" if found else ""
        raise Refused(f"a server runs in {folder}{told}: stop it first; nothing was changed")


def ask(folder, statement, dbname="postgres", **values):
    """Run a statement on the running server of a folder and return its rows as dicts.

    `values` are bound as variables of psql: ``:'name'``.
    """
    found = address(folder)
    if not found:
        raise Refused(f"the server of {folder} is not running: start it first")
    whole = f"SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM ({statement}) AS r;"
    return json.loads(_psql(folder, found, whole, dbname, values))


def tell(folder, statement, dbname="postgres", **values):
    """Run a statement that has no rows."""
    _psql(folder, address(folder), statement + ";", dbname, values)


def _psql(folder, reached, statement, dbname, values):
    command = [
        programs(folder) / "psql",
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        reached.host,
        "-p",
        reached.port,
    ]
    command += ["-d", dbname]
    for name, value in values.items():
        command += ["-v", f"{name}={value}"]
    # The owner of a database may set its search_path, and put functions of his own before pg_catalog's.
    environment = os.environ | {"PGOPTIONS": "-c search_path="}
    done = subprocess.run(command, input=statement, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise Refused(f"the server of {folder} said: {done.stderr.strip()}")
    return done.stdout


def archive_all(folder, seconds=60):
    """Have all that was written so far archived: nothing that is not can be restored."""
    last = ask(folder, "SELECT pg_walfile_name(pg_current_wal_lsn()) AS name, pg_switch_wal() AS at")[0][
        "name"
    ]
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        # pg_stat_archiver tells of the last file only, which need not be of the last segment.
        waiting = ask(
            folder,
            "SELECT name FROM pg_ls_archive_statusdir() WHERE name ~ '[.]ready$' AND name <= :'last'",
            last=f"{last}.ready",
        )
        if not waiting:
            return
        time.sleep(0.1)
    raise Refused(f"segment {last} was not archived within {seconds} s: look for archive_command in the log")


def start(folder):
    """Start the server of a folder; return the path of its log."""
    cluster = debian(folder)
    if cluster:
        version, name = cluster
        command = ["pg_ctlcluster", version, name, "start", "--", "-t", "86400"]
        log = Path(f"/var/log/postgresql/postgresql-{version}-{name}.log")
        conf_root = os.environ.get("PG_CLUSTER_CONF_ROOT", "/etc/postgresql")
        link = Path(conf_root, version, name, "log")
        log = link.resolve() if link.exists() else log
    else:
        log = folder / "restore.log"
        command = [programs(folder) / "pg_ctl", "-D", folder, "-l", log, "-w", "-t", "86400", "start"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"the server did not start: {done.stderr.strip()}{told_by(log)}")
    return log


def stop(folder):
    """Stop a server at once, and wait until it has."""
    command = [programs(folder) / "pg_ctl", "-D", folder, "-m", "immediate", "-w", "stop"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)


def wait_until_recovered(folder, log):
    """Wait until a started server has reached its target: it takes connections long before."""
    turned_away = 0
    while turned_away < 50:
        try:
            if not ask(folder, "SELECT pg_is_in_recovery() AS still")[0]["still"]:
                return
        except Refused as problem:
            if not processes(folder):
                raise Refused(f"the server ended before it reached the target{told_by(log)}") from None
            if accepts(folder):
                turned_away, reason = turned_away + 1, problem
        time.sleep(0.2)
    raise Refused(f"the server was started, but cannot be asked whether it is recovered: {reason}")


def accepts(folder):
    """Return whether a server takes connections, of whomever it lets in."""
    reached = address(folder)
    if not reached:
        return False
    command = [programs(folder) / "pg_isready", "-q", "-h", reached.host, "-p", reached.port]
    return subprocess.run(command).returncode == 0


def told_by(log):
    """Return what the end of a log says of errors."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
    except OSError:
        return ""
    found = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|HINT|DETAIL):", line)]
    if any("before configured recovery target was reached" in line for line in found):
        found.append(
            "the archive ends before the target, or no transaction ended after it:"
            " restore to an earlier time, or to latest"
        )
    return "".join(f"\n  {line}" for line in found[-6:])
