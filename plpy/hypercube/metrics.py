"""What a monitoring system is told: about everything, whoever asks, and without a name of anything stored."""

import json
import os
import re
from contextlib import suppress

from hypercube import (
    __version__,
    attempts,
    boundary,
    calls,
    catalog,
    counters,
    exposition,
    gauges,
    mapped,
    matrix,
    rights,
)
from hypercube.errors import InvalidArgument, NotAllowed
from hypercube.exposition import COUNTER, GAUGE, HISTOGRAM, Family, sample

_KINDS = ("full", "diff", "incr", "verify")
_LABEL = re.compile(r"[!-~]{1,200}")


def rows(part):
    """Return (name, kind, help, labels, value) of every sample."""
    return [
        (one.name, one.family.kind, one.family.help, json.dumps(one.labels), one.value)
        for one in _samples(part)
    ]


def text(part):
    """Return the samples in the text format of Prometheus."""
    return exposition.text(_samples(part))


def _samples(part):
    if part is not None and part not in _PARTS:
        raise InvalidArgument(
            f'there are no metrics about "{part}"', hint=f"Name one of {', '.join(_PARTS)}, or none for all."
        )
    # All but the state of health, which takes a second.
    wanted = [part] if part else [name for name in _PARTS if name != "health"]
    boundary.caller()
    return boundary.read_as_owner(lambda: [one for name in wanted for one in _PARTS[name]()])


def _told(row, families):
    """Return samples of what a row has; what is NULL is left out."""
    return [sample(family, row[column]) for column, family in families.items() if row[column] is not None]


_INFO = Family("hypercube_version_info", GAUGE, "Always 1; the versions of the extension and of the package.")
_COUNTED = Family("hypercube_calls_counted", GAUGE, "Whether calls of the session that asks are counted.")
_SECONDS = Family("hypercube_call_seconds", HISTOGRAM, "Calls of functions in Python, by their duration.")
_ERRORS = Family("hypercube_call_errors_total", COUNTER, "Calls that failed, by SQLSTATE.")
_SQL_CALLS = Family(
    "hypercube_sql_calls_total", COUNTER, "Calls of functions without Python; needs track_functions = all."
)
_SQL_SECONDS = Family("hypercube_sql_seconds_total", COUNTER, "How long these took.")


def _calls():
    found = [sample(_COUNTED, calls.are_counted())]
    counted, failures = counters.total(calls.folder())
    for function, (seconds, buckets) in sorted(counted.items()):
        found += exposition.histogram(_SECONDS, counters.BOUNDS, buckets, seconds, function=function)
    for (function, sqlstate), count in sorted(failures.items()):
        found.append(sample(_ERRORS, count, function=function, sqlstate=sqlstate))
    for row in gauges.sql_functions():
        found.append(sample(_SQL_CALLS, row["calls"], function=row["name"]))
        found.append(sample(_SQL_SECONDS, row["seconds"], function=row["name"]))
    return found


_STORED = {
    "models": Family("hypercube_models", GAUGE, "Models."),
    "tokens": Family("hypercube_tokens", GAUGE, "Tokens of all models."),
    "documents": Family("hypercube_documents", GAUGE, "Documents."),
    "sentences": Family("hypercube_sentences", GAUGE, "Sentences of all documents."),
    "document_bytes": Family("hypercube_document_bytes", GAUGE, "Bytes of all documents in UTF-8."),
    "uploads": Family(
        "hypercube_uploads", GAUGE, "Files whose upload was begun and that no ingest has taken."
    ),
    "tensor_bytes": Family(
        "hypercube_tensor_bytes", GAUGE, "Bytes of all stored tensors, as if none were shared."
    ),
    "shared_bytes": Family(
        "hypercube_shared_bytes", GAUGE, "How many of these are those of an equal tensor."
    ),
}
_TABLE_ROWS = Family("hypercube_table_rows", GAUGE, "Rows of tables as estimated by the last ANALYZE.")
_TABLE_BYTES = Family("hypercube_table_bytes", GAUGE, "Bytes of tables on disk with their indexes.")
_COVERAGE = Family(
    "hypercube_relation_coverage",
    GAUGE,
    "Share of a sample of 500 tokens of a model that have all neighbours.",
)
_CACHE_FILES = Family("hypercube_cache_files", GAUGE, "Files that sessions of this database map.")
_CACHE_BYTES = Family("hypercube_cache_bytes", GAUGE, "Their bytes.")


def _stored():
    installed = catalog.extension_version()
    found = [sample(_INFO, 1, version=installed, package=__version__)]
    found += _told(gauges.stored(), _STORED)
    tables = [row for row in gauges.tables()]
    found += [sample(_TABLE_ROWS, row["rows"], table=row["name"]) for row in tables if row["rows"] >= 0]
    found += [sample(_TABLE_BYTES, row["bytes"], table=row["name"]) for row in tables]
    found += [sample(_COVERAGE, row["share"], model=row["id"]) for row in gauges.coverage()]
    sizes = matrix.sizes(mapped.folder())
    return [*found, sample(_CACHE_FILES, len(sizes)), sample(_CACHE_BYTES, sum(sizes))]


_AUDIT = {
    "entries": Family("hypercube_audit_entries", GAUGE, "Entries as estimated by the last ANALYZE."),
    "tips": Family("hypercube_audit_tips", GAUGE, "Entries that none covers yet."),
    "segments": Family("hypercube_audit_segments", GAUGE, "Segments that were sealed."),
    "last_entry": Family(
        "hypercube_audit_last_entry_timestamp_seconds", GAUGE, "When the last entry was written."
    ),
    "unsealed_since": Family(
        "hypercube_audit_unsealed_timestamp_seconds",
        GAUGE,
        "When the first entry was written that is not sealed.",
    ),
    "verified": Family(
        "hypercube_audit_verified_timestamp_seconds",
        GAUGE,
        "When the chain was verified last, by audit_verify().",
    ),
    "ok": Family("hypercube_audit_ok", GAUGE, "Whether it was whole then."),
}
_PENDING = Family(
    "hypercube_audit_pending_bytes", GAUGE, "Failed calls that are not in the audit yet, as bytes."
)


def _audit():
    found = [one for row in gauges.audit() for one in _told(row, _AUDIT)]
    name = f"{boundary.database_number()}.jsonl"
    size = 0
    with suppress(FileNotFoundError):
        size = os.lstat(os.path.join(boundary.data_directory(), attempts.FOLDER, name)).st_size
    return [*found, sample(_PENDING, size)]


_BACKUP = {
    "finished": Family(
        "hypercube_backup_finished_timestamp_seconds", GAUGE, "When the last backup of a kind was finished."
    ),
    "seconds": Family("hypercube_backup_seconds", GAUGE, "How long it took."),
    "bytes": Family("hypercube_backup_bytes", GAUGE, "Its bytes."),
}


def _backups():
    return [
        sample(family, row[column], kind=row["kind"])
        for column, family in _BACKUP.items()
        for row in gauges.backups()
    ]


_SERVER = {
    "standby": Family("hypercube_standby", GAUGE, "Whether this server is a standby."),
    "behind": Family("hypercube_replay_lag_seconds", GAUGE, "Age of what this standby has replayed."),
    "standbys": Family("hypercube_standbys", GAUGE, "Standbys that are connected."),
    "behind_bytes": Family(
        "hypercube_standby_lag_bytes", GAUGE, "WAL that the slowest of them has not replayed."
    ),
    "archiving": Family("hypercube_archive_mode", GAUGE, "Whether archive_mode is on."),
    "waiting": Family("hypercube_archive_waiting_files", GAUGE, "WAL files that are not archived yet."),
    "archived": Family("hypercube_archived_total", COUNTER, "WAL files that were archived."),
    "failed": Family("hypercube_archive_failures_total", COUNTER, "Attempts to archive that failed."),
    "last_archived": Family(
        "hypercube_archived_timestamp_seconds", GAUGE, "When a WAL file was archived last."
    ),
    "last_failed": Family("hypercube_archive_failed_timestamp_seconds", GAUGE, "When archiving failed last."),
    "started": Family("hypercube_server_start_timestamp_seconds", GAUGE, "When the server was started."),
}
_DISK = Family("hypercube_disk_bytes", GAUGE, "Size of the file system of the data directory.")
_DISK_FREE = Family("hypercube_disk_free_bytes", GAUGE, "What is free there for the server.")


def _server():
    disk = os.statvfs(boundary.data_directory())
    return [
        *_told(gauges.server(), _SERVER),
        sample(_DISK, disk.f_blocks * disk.f_frsize),
        sample(_DISK_FREE, disk.f_bavail * disk.f_frsize),
    ]


_HEALTH = Family("hypercube_health_ok", GAUGE, "Whether all rows of a check of health() are ok.")


def _health():
    return [sample(_HEALTH, row["ok"], check=row["name"]) for row in gauges.health()]


_PARTS = {
    "calls": _calls,
    "stored": _stored,
    "audit": _audit,
    "backups": _backups,
    "server": _server,
    "health": _health,
}


def record_backup(label, kind, started_at, finished_at, size):
    """Write down that a backup was made or verified.

    Raises
    ------
    NotAllowed
        The caller is no admin.
    InvalidArgument
    """
    role = boundary.caller()
    if not rights.is_member(role, rights.ADMIN):
        raise NotAllowed(
            f'role "{role}" may not record backups', hint=f"A superuser can call it, or GRANT {rights.ADMIN}."
        )
    if None in (label, kind, started_at, finished_at, size):
        raise InvalidArgument(
            "nothing about a backup may be null", hint="Give its label, kind, times and bytes."
        )
    if kind not in _KINDS:
        raise InvalidArgument(f'"{kind}" is no kind of backup', hint=f"Name one of {', '.join(_KINDS)}.")
    if not _LABEL.fullmatch(label):
        raise InvalidArgument(
            "the label of a backup is out of range", hint="Give 1 to 200 characters of ASCII without spaces."
        )
    if size < 0:
        raise InvalidArgument(f"the bytes of a backup are out of range: {size}", hint="Give 0 or more.")
    times = gauges.times(started_at, finished_at)
    if not (times["ordered"] and times["finite"]) or times["to_come"]:
        raise InvalidArgument(
            f"a backup cannot have begun at {started_at} and ended at {finished_at}",
            hint="Give when it began and when it ended, which is not to come.",
        )
    boundary.as_owner(lambda: gauges.record_backup(label, kind, started_at, finished_at, size, role))
