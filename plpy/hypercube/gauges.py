"""Statements about how much there is, how old it is and how the server is, for a monitoring system.

None reads contents.  What could be counted only by reading millions of rows is an estimate of the planner.
"""

from hypercube import boundary

# Of each model so many tokens are looked up to see whether they have their neighbours.
_SAMPLE = 500


def stored():
    """Return counts and bytes of models and texts, from their heads: one row."""
    return boundary.rows(
        "SELECT (SELECT count(*) FROM hypercube.model) AS models,"
        " (SELECT coalesce(sum(vocabulary_size), 0)::bigint FROM hypercube.model) AS tokens,"
        " (SELECT count(*) FROM hypercube.document) AS documents,"
        " (SELECT coalesce(sum(sentences), 0)::bigint FROM hypercube.document) AS sentences,"
        " (SELECT coalesce(sum(bytes), 0)::bigint FROM hypercube.document) AS document_bytes,"
        " (SELECT count(*) FROM hypercube.upload) AS uploads,"
        " t.bytes AS tensor_bytes, t.bytes - t.once AS shared_bytes"
        " FROM (SELECT coalesce(sum(d.bytes * d.times), 0)::bigint AS bytes,"
        "  coalesce(sum(d.bytes), 0)::bigint AS once"
        "  FROM (SELECT max(bytes) AS bytes, count(*) AS times FROM hypercube.tensor WHERE stored"
        "   GROUP BY digest) AS d) AS t"
    )[0]


def tables():
    """Return name, estimated rows and bytes on disk of each table and materialized view.

    One that is being written anew, as by refresh_consensus(), would be waited for: it is left out.
    """
    return boundary.rows(
        "SELECT c.relname::text AS name, c.reltuples::float8 AS rows,"
        " pg_total_relation_size(c.oid)::float8 AS bytes"
        " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'hypercube' AND c.relkind IN ('r', 'm')"
        " AND NOT EXISTS (SELECT FROM pg_locks AS l LEFT JOIN pg_index AS i ON i.indexrelid = l.relation"
        "  WHERE coalesce(i.indrelid, l.relation) = c.oid AND l.mode = 'AccessExclusiveLock'"
        "   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))"
        " ORDER BY c.relname"
    )


def coverage():
    """Return of each model with stored neighbours the share of a sample of tokens that have all of them."""
    return boundary.rows(
        "SELECT m.id, avg((s.found = m.neighbors)::int)::float8 AS share"
        " FROM hypercube.model AS m"
        " CROSS JOIN LATERAL (SELECT (SELECT count(*) FROM hypercube.relation AS r"
        "   WHERE r.model_id = m.id AND r.kind = 'E' AND r.layer = 0 AND r.head = 0"
        "    AND r.source = t.token_id)"
        "   AS found"
        "  FROM generate_series(0, m.vocabulary_size - 1, greatest(m.vocabulary_size / $1, 1)) AS g (place)"
        "  JOIN hypercube.token AS t ON t.model_id = m.id AND t.token_id = g.place AND t.usable) AS s"
        " WHERE m.neighbors > 0 GROUP BY m.id ORDER BY m.id",
        types=("int",),
        args=(_SAMPLE,),
    )


def audit():
    """Return how long the audit is, what is not sealed, and how its last verification came out: one row."""
    return boundary.rows(
        "SELECT (SELECT greatest(c.reltuples, 0)::float8 FROM pg_class AS c"
        "  WHERE c.oid = 'hypercube.audit_entry'::regclass) AS entries,"
        " (SELECT count(*) FROM hypercube.audit_tip) AS tips,"
        " (SELECT count(*) FROM hypercube.audit_segment) AS segments,"
        " extract(epoch FROM last.at)::float8 AS last_entry,"
        " (SELECT extract(epoch FROM e.at)::float8 FROM hypercube.audit_entry AS e"
        "  WHERE e.chain = last.chain AND e.id > coalesce((SELECT max(s.last_id)"
        "   FROM hypercube.audit_segment AS s WHERE s.chain = last.chain), 0)"
        "  ORDER BY e.chain, e.id LIMIT 1) AS unsealed_since,"
        " extract(epoch FROM checked.at)::float8 AS verified,"
        " (checked.detail ->> 'ok')::boolean AS ok"
        " FROM (SELECT e.chain, e.at FROM hypercube.audit_entry AS e ORDER BY e.at DESC LIMIT 1) AS last"
        " LEFT JOIN (SELECT e.at, e.detail FROM hypercube.audit_entry AS e"
        "  WHERE e.operation = 'verify' AND e.kind = 'audit' ORDER BY e.at DESC LIMIT 1) AS checked ON true"
    )


def backups():
    """Return of each kind of backup the last one: when it ended, how long it took, and its bytes."""
    return boundary.rows(
        "SELECT DISTINCT ON (b.kind) b.kind, extract(epoch FROM b.finished_at)::float8 AS finished,"
        " extract(epoch FROM b.finished_at - b.started_at)::float8 AS seconds, b.bytes"
        " FROM hypercube.backup_record AS b ORDER BY b.kind, b.finished_at DESC"
    )


def server():
    """Return whether this is a standby, how far it or its standbys are behind, and its archiver: one row."""
    return boundary.rows(
        "SELECT pg_is_in_recovery() AS standby,"
        " CASE WHEN NOT pg_is_in_recovery() THEN NULL"
        # Whoever is not connected to a primary does not know what there is to replay.
        "  WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn()"
        "   AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0"
        # Where no transaction was replayed since it started, it is behind by that at most.
        "  ELSE extract(epoch FROM clock_timestamp()"
        "   - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))"
        "  END::float8 AS behind,"
        # A base backup is connected too, and replays nothing.
        " (SELECT count(*) FROM pg_stat_replication AS r WHERE r.replay_lsn IS NOT NULL) AS standbys,"
        " CASE WHEN NOT pg_is_in_recovery()"
        "  THEN (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn))"
        "  FROM pg_stat_replication AS r) END::float8 AS behind_bytes,"
        " a.archived_count AS archived, a.failed_count AS failed,"
        " extract(epoch FROM a.last_archived_time)::float8 AS last_archived,"
        " extract(epoch FROM a.last_failed_time)::float8 AS last_failed,"
        " current_setting('archive_mode') <> 'off' AS archiving,"
        " (SELECT count(*) FROM pg_ls_archive_statusdir() AS f WHERE f.name LIKE '%.ready') AS waiting,"
        " extract(epoch FROM pg_postmaster_start_time())::float8 AS started"
        " FROM pg_stat_archiver AS a"
    )[0]


def sql_functions():
    """Return calls and seconds of functions without Python, as far as track_functions counted them."""
    return boundary.rows(
        "SELECT s.funcname::text AS name, sum(s.calls)::float8 AS calls,"
        " sum(s.total_time)::float8 / 1000 AS seconds"
        " FROM pg_stat_user_functions AS s JOIN pg_proc AS p ON p.oid = s.funcid"
        " JOIN pg_language AS l ON l.oid = p.prolang"
        " WHERE s.schemaname = 'hypercube' AND l.lanname <> 'plpython3u' AND s.funcname NOT LIKE '\\_%'"
        " GROUP BY s.funcname ORDER BY s.funcname"
    )


def health():
    """Return (check, ok) of all checks, those of models without the names of these."""
    return boundary.rows(
        "SELECT CASE WHEN h.\"check\" ~ '^(rows|answer|bytes|matrix) of '"
        '  THEN split_part(h."check", \' of \', 1) ELSE h."check" END AS name, bool_and(h.ok) AS ok'
        " FROM hypercube.health() AS h GROUP BY 1 ORDER BY 1"
    )


def record_backup(label, kind, started_at, finished_at, size, recorder):
    """Insert a backup; the same one again changes nothing."""
    boundary.write(
        "INSERT INTO hypercube.backup_record (label, kind, started_at, finished_at, bytes, recorded_by)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        types=("text", "text", "timestamptz", "timestamptz", "bigint", "name"),
        args=(label, kind, started_at, finished_at, size, recorder),
    )


def times(started_at, finished_at):
    """Return whether a time is before another, and whether the other is to come."""
    return boundary.rows(
        "SELECT $1 <= $2 AS ordered, $2 > clock_timestamp() + interval '5 minutes' AS to_come,"
        " isfinite($1) AND isfinite($2) AS finite",
        types=("timestamptz", "timestamptz"),
        args=(started_at, finished_at),
    )[0]
