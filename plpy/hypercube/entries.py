"""Statements about the audit: what a session knows of itself, what changed, and the entries.

Names are qualified and values are bound.  `come` and `gone` are the rows that a statement brought or
took, in the trigger of that statement.
"""

import json

from hypercube import boundary, calls, progress

# Characters of the statement that are kept.
_STATEMENT = 1_000


def session():
    """Return who is connected, from where and with which program, in the database of which number."""
    found = boundary.rows(
        "SELECT session_user::text AS session_role, inet_client_addr()::text AS client_addr,"
        " inet_client_port()::text AS client_port, pg_backend_pid()::text AS pid,"
        " current_user::text AS role,"
        " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS at,"
        " (SELECT oid::text FROM pg_database WHERE datname = current_database()) AS database"
    )[0]
    return {**found, "application": progress.application(), "call": calls.call_id()}


def can_write():
    """Return whether the transaction may write: it is not read-only, the server no standby."""
    return boundary.rows("SELECT current_setting('transaction_read_only') = 'off' AS it")[0]["it"]


def statement():
    """Return the statement of the client: its beginning, its length, and its bytes."""
    return boundary.rows(
        "SELECT left(current_query(), $1) AS beginning, length(current_query())::text AS length,"
        " convert_to(current_query(), 'UTF8') AS content",
        types=("int",),
        args=(_STATEMENT,),
    )[0]


def names():
    """Return what the chain is named by, and the transaction."""
    return boundary.rows(
        "SELECT c.system_identifier::text AS system, d.oid::text AS database,"
        " 'hypercube.audit_entry'::regclass::oid::text AS relation,"
        " pg_current_xact_id()::text AS transaction"
        " FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()"
    )[0]


def take(count, documents):
    """Return numbers for so many entries, the free tips, which are tips no longer, and JSON as it is stored.

    A tip that another transaction has in hand is left to it.  The numbers are taken after the snapshot:
    they are greater than those of the tips.
    """
    taken = boundary.rows_of_snapshot(
        "WITH free AS MATERIALIZED"
        "  (SELECT t.chain, t.id FROM hypercube.audit_tip AS t FOR UPDATE SKIP LOCKED),"
        " taken AS (DELETE FROM hypercube.audit_tip AS t USING free"
        "  WHERE t.chain = free.chain AND t.id = free.id RETURNING t.chain, t.id, t.digest),"
        " tips AS (SELECT array_agg(chain) AS chains, array_agg(id) AS ids, array_agg(digest) AS digests"
        "  FROM taken)"
        " SELECT tips.chains, tips.ids, tips.digests,"
        "  (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS at,"
        "  ARRAY(SELECT nextval('hypercube.audit_entry_id_seq') FROM generate_series(1, $1)) AS numbers,"
        "  ARRAY(SELECT document::jsonb::text FROM unnest($2) WITH ORDINALITY AS d (document, place)"
        "   ORDER BY place) AS documents"
        " FROM tips",
        types=("int", "text[]"),
        args=(count, documents),
    )
    return taken[0] if taken is not None else _take_no_tip(count, documents)


def _take_no_tip(count, documents):
    """The same in a transaction whose snapshot is older than the tips: a later entry covers them."""
    return boundary.rows(
        "SELECT NULL::bigint[] AS chains, NULL::bigint[] AS ids, NULL::bytea[] AS digests,"
        "  (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS at,"
        "  ARRAY(SELECT nextval('hypercube.audit_entry_id_seq') FROM generate_series(1, $1)) AS numbers,"
        "  ARRAY(SELECT document::jsonb::text FROM unnest($2) WITH ORDINALITY AS d (document, place)"
        "   ORDER BY place) AS documents",
        types=("int", "text[]"),
        args=(count, documents),
    )[0]


def store(entries, tip):
    """Insert entries, dicts of text, and the tip (chain, id, digest) that the last of them is."""
    boundary.write(
        "WITH kept AS (INSERT INTO hypercube.audit_entry"
        " (chain, id, at, transaction, session_role, role, client_addr, client_port, pid, application,"
        "  operation, kind, objects, rows, by_hand, old, new, detail, statement, statement_length,"
        "  statement_digest, outcome, sqlstate, message, attempt, covers, covered_chains, covered_digests,"
        "  digest, call)"
        " SELECT e.chain, e.id, 'epoch'::timestamptz + e.at * interval '1 microsecond', e.transaction,"
        "  e.session_role, e.role, e.client_addr, e.client_port, e.pid, e.application, e.operation, e.kind,"
        "  e.objects::jsonb, e.rows, e.by_hand, e.old::jsonb, e.new::jsonb, e.detail::jsonb, e.statement,"
        "  e.statement_length, decode(e.statement_digest, 'hex'), e.outcome, e.sqlstate, e.message,"
        "  e.attempt, e.covers::bigint[], e.covered_chains::bigint[], decode(e.covered_digests, 'hex'),"
        "  decode(e.digest, 'hex'), e.call"
        " FROM jsonb_to_recordset($1) AS e (chain bigint, id bigint, at bigint, transaction bigint,"
        "  session_role text, role text, client_addr inet, client_port int, pid int, application text,"
        "  operation text, kind text, objects text, rows bigint, by_hand bool, old text, new text,"
        "  detail text, statement text, statement_length int, statement_digest text, outcome text,"
        "  sqlstate text, message text, attempt uuid, covers text, covered_chains text,"
        "  covered_digests text, digest text, call text))"
        " INSERT INTO hypercube.audit_tip (chain, id, digest) VALUES ($2, $3, $4)",
        types=("jsonb", "bigint", "bigint", "bytea"),
        args=(json.dumps(entries), *tip),
    )


def read(chain, number, most):
    """Return the next entries behind one, in the order of (chain, id): dicts of text."""
    return boundary.rows(
        "SELECT chain::text, id::text, (extract(epoch FROM at) * 1000000)::bigint::text AS at,"
        " transaction::text, session_role, role, client_addr::text, client_port::text, pid::text,"
        " application, operation, kind, objects::text, rows::text, by_hand::text, old::text, new::text,"
        " detail::text, statement, statement_length::text,"
        " encode(statement_digest, 'hex') AS statement_digest, outcome, sqlstate, message, attempt::text,"
        " covers::text, covered_chains::text, encode(covered_digests, 'hex') AS covered_digests,"
        " encode(digest, 'hex') AS digest, call"
        " FROM hypercube.audit_entry WHERE (audit_entry.chain, audit_entry.id) > ($1, $2)"
        " ORDER BY audit_entry.chain, audit_entry.id LIMIT $3",
        types=("bigint", "bigint", "int"),
        args=(chain, number, most),
    )


def tips():
    """Return chain, id and digest of every tip."""
    found = boundary.rows("SELECT chain, id, digest FROM hypercube.audit_tip")
    return [(row["chain"], row["id"], row["digest"]) for row in found]


def segments():
    """Return the columns of every segment that the verification needs."""
    return boundary.rows(
        "SELECT chain, number, first_id, last_id, entries, digest, dropped_at IS NOT NULL AS dropped"
        " FROM hypercube.audit_segment"
    )


def lock():
    """Return whether no other transaction has an entry in hand; none begins before this one ends."""
    return boundary.try_rows(
        "LOCK TABLE hypercube.audit_tip, hypercube.audit_entry IN SHARE ROW EXCLUSIVE MODE NOWAIT"
    )


def store_segment(chain, last, digest):
    """Insert the segment that an entry sealed: all of its chain that no segment has yet."""
    return boundary.rows(
        "INSERT INTO hypercube.audit_segment (chain, number, first_id, last_id, entries, digest, sealed_at)"
        " SELECT $1, before.number + 1, before.last_id + 1, $2,"
        "  (SELECT count(*) FROM hypercube.audit_entry AS e"
        "   WHERE e.chain = $1 AND e.id > before.last_id AND e.id <= $2),"
        "  $3, clock_timestamp()"
        " FROM (SELECT coalesce(max(s.number), 0) AS number, coalesce(max(s.last_id), 0) AS last_id"
        "  FROM hypercube.audit_segment AS s WHERE s.chain = $1) AS before"
        " RETURNING number, first_id, last_id, entries, digest, sealed_at",
        types=("bigint", "bigint", "bytea"),
        args=(chain, last, digest),
    )[0]


def segment(chain, number, older_than):
    """Return a segment, locked, and whether it is older than an interval; None if there is none."""
    found = boundary.rows(
        "SELECT chain, number, first_id, last_id, entries, dropped_at IS NOT NULL AS dropped,"
        " sealed_at::text AS sealed_at, sealed_at < clock_timestamp() - $3 AS old,"
        " $3 < interval '0' AS negative"
        " FROM hypercube.audit_segment WHERE chain = $1 AND number = $2 FOR UPDATE",
        types=("bigint", "int", "interval"),
        args=(chain, number, older_than),
    )
    return found[0] if found else None


def left_of(chain, first, last, operations):
    """Return the digests of the entries that stay when those from first to last are dropped, in order."""
    found = boundary.rows(
        "SELECT digest FROM hypercube.audit_entry WHERE chain = $1 AND id BETWEEN $2 AND $3"
        " AND (operation = ANY ($4) OR NOT chain = ALL (covered_chains) OR $2 > ANY (covers)) ORDER BY id",
        types=("bigint", "bigint", "bigint", "text[]"),
        args=(chain, first, last, list(operations)),
    )
    return [row["digest"] for row in found]


def drop(chain, first, last, operations):
    """Delete the others; return how many there were."""
    return boundary.write(
        "DELETE FROM hypercube.audit_entry WHERE chain = $1 AND id BETWEEN $2 AND $3"
        " AND NOT (operation = ANY ($4) OR NOT chain = ALL (covered_chains) OR $2 > ANY (covers))",
        types=("bigint", "bigint", "bigint", "text[]"),
        args=(chain, first, last, list(operations)),
    )


def mark_dropped(chain, number):
    """Say that the entries of a segment are gone."""
    boundary.write(
        "UPDATE hypercube.audit_segment SET dropped_at = clock_timestamp() WHERE chain = $1 AND number = $2",
        types=("bigint", "int"),
        args=(chain, number),
    )


def collection():
    """Return how far the attempts are taken in, locked; None if another session is at it."""
    found = boundary.rows_of_snapshot(
        "SELECT generation, taken, undescribed, transaction = pg_current_xact_id()::text::bigint AS ours"
        " FROM hypercube.audit_collection FOR UPDATE SKIP LOCKED"
    )
    return found[0] if found else None


def store_collection(generation, taken, undescribed):
    """Say how far the attempts are taken in."""
    boundary.write(
        "UPDATE hypercube.audit_collection SET generation = $1, taken = $2, undescribed = $3,"
        " transaction = pg_current_xact_id()::text::bigint",
        types=("text", "bigint", "bigint"),
        args=(generation, taken, undescribed),
    )


def known(attempts):
    """Return which ids of attempts have an entry already."""
    found = boundary.rows(
        "SELECT attempt::text FROM hypercube.audit_entry WHERE attempt = ANY ($1)",
        types=("uuid[]",),
        args=(attempts,),
    )
    return {row["attempt"] for row in found}


# In the trigger of every table and event these names are other rows.
def come(relation, keys, bulk, noise, most):
    """Return the keys of the rows that came, and what the first of them hold, as JSON; None for none.

    `bulk` are columns of which only the SHA-256 is told, `noise` those that are left out.
    """
    return boundary.rows_of_trigger(
        relation,
        "SELECT array_agg(hypercube._audited_key(r.held, $1)) AS keys,"
        " jsonb_agg(hypercube._audited_row(r.held, $2, $3)) FILTER (WHERE r.place <= $4)::text AS held"
        " FROM (SELECT to_jsonb(c) AS held, row_number() OVER () AS place FROM come AS c) AS r",
        types=("text[]", "text[]", "text[]", "int"),
        args=(list(keys), list(bulk), list(noise), most),
    )[0]


def gone(relation, keys, bulk, noise, most):
    """The same of the rows that went, or are no longer as they were."""
    return boundary.rows_of_trigger(
        relation,
        "SELECT array_agg(hypercube._audited_key(r.held, $1)) AS keys,"
        " jsonb_agg(hypercube._audited_row(r.held, $2, $3)) FILTER (WHERE r.place <= $4)::text AS held"
        " FROM (SELECT to_jsonb(g) AS held, row_number() OVER () AS place FROM gone AS g) AS r",
        types=("text[]", "text[]", "text[]", "int"),
        args=(list(keys), list(bulk), list(noise), most),
    )[0]


def are_alike(relation, noise):
    """Return whether the rows that came are those that went, but for the columns that are left out."""
    return boundary.rows_of_trigger(
        relation,
        "SELECT NOT EXISTS ("
        "SELECT sha256(convert_to((to_jsonb(c) - $1)::text, 'UTF8')) FROM come AS c"
        " EXCEPT ALL SELECT sha256(convert_to((to_jsonb(g) - $1)::text, 'UTF8')) FROM gone AS g) AS it",
        types=("text[]",),
        args=(list(noise),),
    )[0]["it"]


def count_come(relation):
    """Return how many rows came."""
    return boundary.rows_of_trigger(relation, "SELECT count(*) AS n FROM come")[0]["n"]


def count_gone(relation):
    """Return how many rows went."""
    return boundary.rows_of_trigger(relation, "SELECT count(*) AS n FROM gone")[0]["n"]


def keys_come(relation, keys):
    """Return the keys of the rows that came."""
    if keys == ("name",):
        return boundary.rows_of_trigger(relation, "SELECT array_agg(c.name) AS keys FROM come AS c")[0][
            "keys"
        ]
    return boundary.rows_of_trigger(
        relation,
        "SELECT array_agg(hypercube._audited_key(to_jsonb(c), $1)) AS keys FROM come AS c",
        types=("text[]",),
        args=(list(keys),),
    )[0]["keys"]


def keys_gone(relation, keys):
    """The same of the rows that went."""
    if keys == ("name",):
        return boundary.rows_of_trigger(relation, "SELECT array_agg(g.name) AS keys FROM gone AS g")[0][
            "keys"
        ]
    return boundary.rows_of_trigger(
        relation,
        "SELECT array_agg(hypercube._audited_key(to_jsonb(g), $1)) AS keys FROM gone AS g",
        types=("text[]",),
        args=(list(keys),),
    )[0]["keys"]
