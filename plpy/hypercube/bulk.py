"""Statements that write and delete many rows at a time.

Names are qualified and values are bound; many rows are one statement over
arrays, and nothing here runs for more than about a second.
"""

import json

from hypercube import boundary


def analyze():
    """Tell the planner what the tables hold now: autovacuum would find out too late, or never."""
    boundary.rows(
        "ANALYZE hypercube.atom, hypercube.chunk, hypercube.composition,"
        " hypercube.model, hypercube.projection, hypercube.relation, hypercube.tensor,"
        " hypercube.tensor_chunk, hypercube.token"
    )


def store_report(model_id, report):
    """Keep what an ingest returned."""
    boundary.write(
        "UPDATE hypercube.model SET report = $2 WHERE id = $1",
        types=("int", "jsonb"),
        args=(model_id, json.dumps(report)),
    )


def store_files(model_id, files):
    """Insert the small files: a dict of path to (content, digest)."""
    for path, (content, digest) in files.items():
        boundary.write(
            "INSERT INTO hypercube.model_file (model_id, path, content, digest) VALUES ($1, $2, $3, $4)",
            types=("int", "text", "bytea", "bytea"),
            args=(model_id, path, content, digest),
        )


def store_chunk(digest, data):
    """Insert a chunk unless it is there."""
    boundary.write(
        "INSERT INTO hypercube.chunk (digest, size, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        types=("bytea", "int", "bytea"),
        args=(digest, len(data), data),
    )


def store_tensor_chunks(tensor_digest, chunk_digests):
    """Say which chunks make up a tensor; known already for a tensor that another model has."""
    boundary.write(
        "INSERT INTO hypercube.tensor_chunk (tensor_digest, ordinal, chunk_digest)"
        " SELECT $1, ordinal - 1, digest FROM unnest($2) WITH ORDINALITY AS piece (digest, ordinal)"
        " ON CONFLICT DO NOTHING",
        types=("bytea", "bytea[]"),
        args=(tensor_digest, chunk_digests),
    )


def store_tensors(model_id, tensors):
    """Insert the tensors of a model from a list of dicts of their columns (digest in hexadecimal)."""
    boundary.write(
        "INSERT INTO hypercube.tensor"
        " (model_id, name, role, layer, dtype, shape, elements, file, byte_offset, bytes, digest,"
        "  nan_count, inf_count, zero_count, minimum, maximum, mean, deviation, stored, skipped, scaling)"
        " SELECT $1, name, role, layer, dtype, shape, elements, file, byte_offset, bytes,"
        "  decode(digest, 'hex'), nan_count, inf_count, zero_count, minimum, maximum, mean, deviation,"
        "  stored, skipped, scaling"
        " FROM jsonb_to_recordset($2) AS t ("
        "  name text, role text, layer smallint, dtype text, shape bigint[], elements bigint, file text,"
        "  byte_offset bigint, bytes bigint, digest text, nan_count bigint, inf_count bigint,"
        "  zero_count bigint, minimum float8, maximum float8, mean float8, deviation float8, stored boolean,"
        "  skipped text, scaling text)",
        types=("int", "jsonb"),
        args=(model_id, json.dumps(tensors)),
    )


def store_tokens(model_id, token_ids, kinds, usable, pieces, labels, composition_ids):
    """Insert tokens from equally long lists."""
    boundary.write(
        "INSERT INTO hypercube.token (model_id, token_id, kind, usable, piece, label, composition_id)"
        " SELECT $1, token_id, kind::hypercube.token_kind, usable, piece, label, composition_id"
        " FROM unnest($2, $3, $4, $5, $6, $7) AS t (token_id, kind, usable, piece, label, composition_id)",
        types=("int", "int[]", "text[]", "bool[]", "text[]", "text[]", "bytea[]"),
        args=(model_id, token_ids, kinds, usable, pieces, labels, composition_ids),
    )


def store_embedding_relations(model_id, sources, targets, ranks, weights):
    """Insert relations of kind E from four equally long arrays."""
    return boundary.write(
        "INSERT INTO hypercube.relation (model_id, source, target, weight, rank, kind)"
        " SELECT $1, source, target, weight, rank, 'E'"
        " FROM unnest($2, $3, $4, $5) AS edge (source, target, rank, weight)",
        types=("int", "int[]", "int[]", "smallint[]", "real[]"),
        args=(model_id, sources.tolist(), targets.tolist(), ranks.tolist(), weights.tolist()),
    )


def store_merges(model_id, sources, targets, ranks, weights):
    """Insert relations of kind M from four equally long lists."""
    return boundary.write(
        "INSERT INTO hypercube.relation (model_id, source, target, weight, rank, kind)"
        " SELECT $1, source, target, weight, rank, 'M'"
        " FROM unnest($2, $3, $4, $5) AS edge (source, target, rank, weight)",
        types=("int", "int[]", "int[]", "smallint[]", "real[]"),
        args=(model_id, sources, targets, ranks, weights),
    )


def store_projection(model_id, token_ids, points, hilberts):
    """Insert the points of tokens; `points` has shape (n, 4)."""
    return boundary.write(
        "INSERT INTO hypercube.projection (model_id, token_id, point, hilbert)"
        " SELECT $1, token_id, hypercube._point(ARRAY[x, y, z, w]), hilbert"
        " FROM unnest($2, $3, $4, $5, $6, $7) AS p (token_id, x, y, z, w, hilbert)",
        types=("int", "int[]", *["float8[]"] * 4, "bytea[]"),
        args=(model_id, token_ids.tolist(), *points.T.tolist(), hilberts),
    )


def store_projection_metadata(model_id, fields):
    """Insert what a projection is worth, from a dict of its columns."""
    boundary.write(
        "INSERT INTO hypercube.projection_metadata"
        " (model_id, tensor_name, method, points, components, converged, residual, eigenvalues,"
        "  trustworthiness, neighbor_preservation, variance_explained, quality_score, parameters, seconds)"
        " SELECT $1, p.* FROM jsonb_to_record($2) AS p ("
        "  tensor_name text, method text, points int, components int, converged bool,"
        "  residual float8, eigenvalues float8[], trustworthiness float8, neighbor_preservation float8,"
        "  variance_explained float8, quality_score float8, parameters jsonb, seconds float8)",
        types=("int", "jsonb"),
        args=(model_id, json.dumps(fields)),
    )


def drop_rows(model_id, first, last):
    """Delete relations, points and tokens of the token ids from first up to last; return the relations."""
    bounds = {"types": ("int", "int", "int"), "args": (model_id, first, last)}
    relations = boundary.write(
        "DELETE FROM hypercube.relation WHERE model_id = $1 AND kind IN ('E', 'M', 'S')"
        " AND layer = 0 AND head = 0 AND source >= $2 AND source < $3",
        **bounds,
    )
    boundary.write(
        "DELETE FROM hypercube.projection WHERE model_id = $1 AND token_id >= $2 AND token_id < $3", **bounds
    )
    boundary.write(
        "DELETE FROM hypercube.token WHERE model_id = $1 AND token_id >= $2 AND token_id < $3", **bounds
    )
    return relations


def drop_model(model_id):
    """Delete a model and its tensors; return the digests of the tensors."""
    digests = boundary.rows(
        "DELETE FROM hypercube.tensor WHERE model_id = $1 RETURNING digest", types=("int",), args=(model_id,)
    )
    for table in (
        "DELETE FROM hypercube.projection_metadata WHERE model_id = $1",
        "DELETE FROM hypercube.expectation WHERE model_id = $1",
        "DELETE FROM hypercube.model_file WHERE model_id = $1",
        "DELETE FROM hypercube.model WHERE id = $1",
    ):
        boundary.write(table, types=("int",), args=(model_id,))
    return [row["digest"] for row in digests]


def drop_tensor_bytes(tensor_digest):
    """Delete the chunks of a tensor that no model has any more."""
    pieces = boundary.rows(
        "DELETE FROM hypercube.tensor_chunk AS piece WHERE piece.tensor_digest = $1"
        " AND NOT EXISTS (SELECT FROM hypercube.tensor AS t"
        "  WHERE t.digest = piece.tensor_digest AND t.stored)"
        " RETURNING chunk_digest",
        types=("bytea",),
        args=(tensor_digest,),
    )
    boundary.write(
        "DELETE FROM hypercube.chunk AS c WHERE c.digest = ANY ($1)"
        " AND NOT EXISTS (SELECT FROM hypercube.tensor_chunk AS piece WHERE piece.chunk_digest = c.digest)",
        types=("bytea[]",),
        args=([row["chunk_digest"] for row in pieces],),
    )


def refresh_consensus():
    """Fill relation_consensus from the models that there are; return its rows."""
    filled = boundary.rows(
        "SELECT c.relispopulated AS it FROM pg_class AS c"
        " WHERE c.oid = 'hypercube.relation_consensus'::regclass"
    )[0]["it"]
    if filled:
        # Readers go on with the rows of before.
        boundary.rows("REFRESH MATERIALIZED VIEW CONCURRENTLY hypercube.relation_consensus")
    else:
        boundary.rows("REFRESH MATERIALIZED VIEW hypercube.relation_consensus")
    return boundary.rows("SELECT count(*) AS n FROM hypercube.relation_consensus")[0]["n"]
