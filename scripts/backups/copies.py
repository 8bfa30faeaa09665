"""A restored copy that runs beside its server and touches nothing of it.

It listens on a socket inside its own folder only, which nobody else may enter, and archives, replicates
and schedules nothing: what the original is told by its configuration, the copy is not.
"""

import re
import subprocess

import clusters
from stanza import Refused

_KEPT = ("restore_command", "recovery_target", "archive_mode")
# Recovery refuses to run with less than the original had.
_AT_LEAST = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_xacts",
    "max_locks_per_xact",
)
_SPELLED = {
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
_PORT = 5432

# For the person who was given a copy, and may go on to use it.
TOLD = (
    "a copy to look into: postgresql.conf and pg_hba.conf in it are not the server's. They have no TCP,"
    " no autovacuum, no archive and no preloaded libraries, 128 MB of shared buffers, and trust for"
    " whoever may enter the folder; put the server's there before you go on to use it"
)


def refuse_long(folder):
    """Refuse a folder whose path is too long for a socket in it."""
    if len(f"{folder}/.s.PGSQL.{_PORT}.lock") > 107:
        raise Refused(f"{folder} is too long for a socket: choose a shorter path")


def configure(folder, *, passing=False):
    """Give a restored folder a configuration of its own; a passing one need not outlast a crash."""
    control = subprocess.run(
        [clusters.programs(folder) / "pg_controldata", folder],
        capture_output=True, text=True, check=True, env={"LC_ALL": "C"},
    ).stdout  # fmt: skip
    lines = [
        "listen_addresses = ''",
        f"unix_socket_directories = '{str(folder).replace(chr(39), chr(39) * 2)}'",
        # A server's folder may be open to the group of its user, who must not become a superuser by it.
        "unix_socket_permissions = 0700",
        f"port = {_PORT}",
        "archive_mode = off",
        "shared_buffers = 128MB",
        "autovacuum = off",
        "max_logical_replication_workers = 0",
    ]
    if passing:
        lines.append("fsync = off")
    for name in _AT_LEAST:
        found = re.search(rf"^{name} setting:\s*(\d+)", control, re.MULTILINE)
        lines.append(f"{_SPELLED.get(name, name)} = {found[1]}")
    (folder / "postgresql.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "pg_hba.conf").write_text("local all all trust\n", encoding="utf-8")
    (folder / "pg_ident.conf").write_text("", encoding="utf-8")
    automatic = folder / "postgresql.auto.conf"
    kept = [
        line
        for line in automatic.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.startswith(_KEPT)
    ]
    automatic.write_text("".join(kept), encoding="utf-8")
