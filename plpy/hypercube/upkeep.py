"""Every statement of maintain(): what nothing refers to, what is due, and what the tables look like.

Names are qualified and values are bound.  What is removed is removed by one statement for each table,
which the server itself can cancel.
"""

from hypercube import boundary

# In an order in which what is removed may leave something over for those that follow.
_ORPHANS = {
    "relations": "DELETE FROM hypercube.relation AS r"
    " WHERE NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = r.model_id)",
    "points": "DELETE FROM hypercube.projection AS p"
    " WHERE NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = p.model_id)",
    "tokens": "DELETE FROM hypercube.token AS t"
    " WHERE NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = t.model_id)",
    "tensor chunks": "DELETE FROM hypercube.tensor_chunk AS p"
    " WHERE NOT EXISTS (SELECT FROM hypercube.tensor AS t WHERE t.digest = p.tensor_digest AND t.stored)",
    "chunks": "DELETE FROM hypercube.chunk AS c"
    " WHERE NOT EXISTS (SELECT FROM hypercube.tensor_chunk AS p WHERE p.chunk_digest = c.digest)",
    "counts of pairs": "DELETE FROM hypercube.sequence AS s"
    " WHERE NOT EXISTS (SELECT FROM hypercube.document AS d WHERE d.id = s.document_id)"
    " OR NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = s.model_id)",
    "sentences": "DELETE FROM hypercube.sentence AS s"
    " WHERE NOT EXISTS (SELECT FROM hypercube.document AS d WHERE d.id = s.document_id)",
    "words of sentences": "DELETE FROM hypercube.sentence_search AS x"
    " WHERE NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = x.composition_id)",
    "tokens of sentences": "DELETE FROM hypercube.sentence_token AS x"
    " WHERE NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = x.composition_id)"
    " OR NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = x.model_id)",
    "vectors of sentences": "DELETE FROM hypercube.sentence_vector AS x"
    " WHERE NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = x.composition_id)"
    " OR NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = x.model_id)",
    "states of texts": "DELETE FROM hypercube.text_state AS t"
    " WHERE NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = t.model_id)",
    "marks of readers": "DELETE FROM hypercube.reader_change AS c"
    " WHERE NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = c.model_id)",
    "holders": "DELETE FROM hypercube.holder AS h WHERE"
    " h.model_id IS NOT NULL AND NOT EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = h.model_id)"
    " OR h.document_id IS NOT NULL"
    "  AND NOT EXISTS (SELECT FROM hypercube.document AS d WHERE d.id = h.document_id)"
    " OR h.role IS NOT NULL"
    "  AND NOT EXISTS (SELECT FROM hypercube.kept_composition AS k WHERE k.holder_id = h.id)",
    "holdings": "DELETE FROM hypercube.holding AS h"
    " WHERE NOT EXISTS (SELECT FROM hypercube.holder AS o WHERE o.id = h.holder_id)",
    "compositions": "DELETE FROM hypercube.composition AS c"
    " WHERE NOT EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = c.id)",
    "atoms": "DELETE FROM hypercube.atom AS a"
    " WHERE NOT EXISTS (SELECT FROM hypercube.atom_map AS v WHERE v.seeded)"
    " AND NOT EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = a.id)",
    "parts of uploads": "DELETE FROM hypercube.upload_part AS p"
    " WHERE NOT EXISTS (SELECT FROM hypercube.upload AS u WHERE u.id = p.upload_id)",
}
# A table that is being looked at by another ANALYZE or VACUUM is left to it.
_ANALYZE = {
    "allowed_source": "ANALYZE (SKIP_LOCKED) hypercube.allowed_source",
    "allowed_target": "ANALYZE (SKIP_LOCKED) hypercube.allowed_target",
    "atom": "ANALYZE (SKIP_LOCKED) hypercube.atom",
    "audit_entry": "ANALYZE (SKIP_LOCKED) hypercube.audit_entry",
    "chunk": "ANALYZE (SKIP_LOCKED) hypercube.chunk",
    "composition": "ANALYZE (SKIP_LOCKED) hypercube.composition",
    "document": "ANALYZE (SKIP_LOCKED) hypercube.document",
    "expectation": "ANALYZE (SKIP_LOCKED) hypercube.expectation",
    "holder": "ANALYZE (SKIP_LOCKED) hypercube.holder",
    "holding": "ANALYZE (SKIP_LOCKED) hypercube.holding",
    "kept_composition": "ANALYZE (SKIP_LOCKED) hypercube.kept_composition",
    "model": "ANALYZE (SKIP_LOCKED) hypercube.model",
    "model_file": "ANALYZE (SKIP_LOCKED) hypercube.model_file",
    "projection": "ANALYZE (SKIP_LOCKED) hypercube.projection",
    "projection_metadata": "ANALYZE (SKIP_LOCKED) hypercube.projection_metadata",
    "relation": "ANALYZE (SKIP_LOCKED) hypercube.relation",
    "relation_consensus": "ANALYZE (SKIP_LOCKED) hypercube.relation_consensus",
    "role_limit": "ANALYZE (SKIP_LOCKED) hypercube.role_limit",
    "sentence": "ANALYZE (SKIP_LOCKED) hypercube.sentence",
    "sentence_search": "ANALYZE (SKIP_LOCKED) hypercube.sentence_search",
    "sentence_token": "ANALYZE (SKIP_LOCKED) hypercube.sentence_token",
    "sentence_vector": "ANALYZE (SKIP_LOCKED) hypercube.sentence_vector",
    "sequence": "ANALYZE (SKIP_LOCKED) hypercube.sequence",
    "tensor": "ANALYZE (SKIP_LOCKED) hypercube.tensor",
    "tensor_chunk": "ANALYZE (SKIP_LOCKED) hypercube.tensor_chunk",
    "text_state": "ANALYZE (SKIP_LOCKED) hypercube.text_state",
    "token": "ANALYZE (SKIP_LOCKED) hypercube.token",
    "upload": "ANALYZE (SKIP_LOCKED) hypercube.upload",
    "upload_part": "ANALYZE (SKIP_LOCKED) hypercube.upload_part",
}


def try_lock_writers():
    """Take the lock of writers unless that would be waiting; return whether it is held now."""
    return boundary.try_rows("LOCK TABLE hypercube.writer_turn IN SHARE ROW EXCLUSIVE MODE NOWAIT")


def drop_orphans():
    """Delete the rows that belong to nothing; return how many of each kind, of those that there were."""
    gone = {kind: boundary.write(statement) for kind, statement in _ORPHANS.items()}
    return {kind: count for kind, count in gone.items() if count}


def expire_uploads():
    """Delete the uploads that nobody touched for a day; return how many."""
    return boundary.rows(
        "WITH old AS (SELECT id FROM hypercube.upload WHERE touched_at < now() - interval '1 day'"
        "  FOR UPDATE SKIP LOCKED),"
        " gone AS (DELETE FROM hypercube.upload AS u USING old WHERE u.id = old.id RETURNING u.id),"
        " parts AS (DELETE FROM hypercube.upload_part AS p USING gone WHERE p.upload_id = gone.id)"
        " SELECT count(*) AS n FROM gone"
    )[0]["n"]


def changed_tables():
    """Return the names of the tables without statistics, or of another size than these say by a tenth.

    Not by the changes since the last ANALYZE: those of this transaction are added to them after it.
    """
    boundary.rows("SELECT pg_stat_clear_snapshot()")
    found = boundary.rows(
        "SELECT c.relname::text AS name FROM pg_class AS c"
        " LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relname = ANY ($1)"
        " AND (c.relkind <> 'm' OR c.relispopulated)"
        " AND (c.reltuples < 0 AND pg_relation_size(c.oid) > 0"
        "  OR c.reltuples >= 0 AND abs(s.n_live_tup - c.reltuples) > 50 + 0.1 * c.reltuples) ORDER BY 1",
        types=("name[]",),
        args=(list(_ANALYZE),),
    )
    return [row["name"] for row in found]


def never_analyzed(names):
    """Return the tables of some tables and indexes that have rows and no statistics."""
    found = boundary.rows(
        "SELECT DISTINCT t.relname::text AS name FROM pg_class AS c"
        " LEFT JOIN pg_index AS i ON i.indexrelid = c.oid"
        " JOIN pg_class AS t ON t.oid = coalesce(i.indrelid, c.oid)"
        " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relname = ANY ($1)"
        " AND t.reltuples < 0 AND pg_relation_size(t.oid) > 0 ORDER BY 1",
        types=("text[]",),
        args=(names,),
    )
    return [row["name"] for row in found]


def analyze(name):
    """Tell the planner what a table holds."""
    boundary.rows(_ANALYZE[name])


def bloated_tables():
    """Return the names of the tables with many dead rows, by the rule of autovacuum, and how many."""
    return boundary.rows(
        "SELECT format('%I.%I', s.schemaname, s.relname) AS name, s.n_dead_tup AS dead"
        " FROM pg_stat_all_tables AS s JOIN pg_class AS c ON c.oid = s.relid"
        " WHERE c.relnamespace = 'hypercube'::regnamespace"
        " AND s.n_dead_tup > 50 + 0.2 * greatest(c.reltuples, 0) ORDER BY 1"
    )


def unsealed(chain):
    """Return how many entries of a chain no segment has, and whether one of them is older than a day."""
    return boundary.rows(
        "SELECT count(*) AS entries,"
        " coalesce(min(e.at) < clock_timestamp() - interval '1 day', false) AS old"
        " FROM hypercube.audit_entry AS e WHERE e.chain = $1 AND e.id >"
        "  (SELECT coalesce(max(s.last_id), 0) FROM hypercube.audit_segment AS s WHERE s.chain = $1)",
        types=("bigint",),
        args=(chain,),
    )[0]


def consensus():
    """Return whether relation_consensus is filled, whether it ever was, and whether with these models."""
    return boundary.rows(
        "WITH known AS (SELECT array_agg(m.id ORDER BY m.id) AS ids FROM hypercube.model AS m"
        "  WHERE m.neighbors > 0)"
        " SELECT c.relispopulated AS filled,"
        "  EXISTS (SELECT FROM hypercube.expectation AS e WHERE e.kind = 'consensus') AS was_filled,"
        "  (SELECT bool_and(e.inputs IS NOT DISTINCT FROM known.ids)"
        "   FROM hypercube.model AS m LEFT JOIN hypercube.expectation AS e"
        "    ON e.model_id = m.id AND e.kind = 'consensus' WHERE m.neighbors > 0) AS of_these"
        " FROM known, pg_class AS c WHERE c.oid = 'hypercube.relation_consensus'::regclass"
    )[0]


def consensus_has_rows():
    """Return whether there are any; refused by the server where it was never filled."""
    return bool(boundary.rows("SELECT FROM hypercube.relation_consensus LIMIT 1"))


def try_refresh_consensus():
    """Compute relation_consensus anew unless another session is at it; return whether it was done."""
    before = boundary.rows("SELECT current_setting('lock_timeout') AS value")[0]["value"]
    boundary.rows("SELECT set_config('lock_timeout', '2s', true)")
    try:
        done = boundary.try_rows("SELECT hypercube.refresh_consensus()")
    finally:
        boundary.rows("SELECT set_config('lock_timeout', $1, true)", types=("text",), args=(before,))
    if done:
        boundary.write("DELETE FROM hypercube.expectation WHERE kind = 'consensus'")
        boundary.write(
            "INSERT INTO hypercube.expectation (model_id, kind, ordinal, inputs)"
            " SELECT m.id, 'consensus', 1, known.ids FROM hypercube.model AS m,"
            " (SELECT array_agg(o.id ORDER BY o.id) AS ids FROM hypercube.model AS o WHERE o.neighbors > 0)"
            " AS known WHERE m.neighbors > 0"
        )
    return done


def forget_turns():
    """Delete the rows of roles that are gone, which sessions with a limit waited at; return how many.

    One that another session has in hand is left to it.
    """
    return boundary.write(
        "WITH gone AS (SELECT t.role FROM hypercube.limit_turn AS t"
        "  WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = t.role) FOR UPDATE OF t SKIP LOCKED)"
        " DELETE FROM hypercube.limit_turn AS t USING gone WHERE t.role = gone.role"
    )
