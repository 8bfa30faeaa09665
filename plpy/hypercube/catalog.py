"""Every statement that touches the tables, and nothing else.

Names are qualified and values are bound; no statement is put together from
text.  Many rows are one statement over arrays.
"""

import json

from hypercube import boundary

# One lock for whatever writes models: two ingests that share chunks would wait
# for each other in different orders, and a drop must not remove a chunk that an
# ingest just found to exist.
_WRITERS_LOCK = 0x68797065  # "hype"


def lock_writers():
    """Wait until no other transaction writes models; held until this one ends."""
    boundary.rows("SELECT pg_advisory_xact_lock($1)", types=("bigint",), args=(_WRITERS_LOCK,))


def analyze():
    """Tell the planner what the tables hold now: autovacuum would find out too late, or never."""
    boundary.rows(
        "ANALYZE hypercube.atom, hypercube.chunk, hypercube.composition, hypercube.composition_child,"
        " hypercube.model, hypercube.projection, hypercube.relation, hypercube.tensor,"
        " hypercube.tensor_chunk, hypercube.token"
    )


# --- folders and rights ---------------------------------------------------------------------------


def allowed_sources():
    """Return the folders that models may be read from."""
    return [row["path"] for row in boundary.rows("SELECT path FROM hypercube.allowed_source ORDER BY path")]


def add_allowed_source(path, role):
    """Allow a folder; again is no error."""
    boundary.write(
        "INSERT INTO hypercube.allowed_source (path, added_by) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        types=("text", "name"),
        args=(path, role),
    )


def remove_allowed_source(path):
    """Return whether the folder was allowed; it no longer is."""
    return boundary.write(
        "DELETE FROM hypercube.allowed_source WHERE path = $1", types=("text",), args=(path,)
    )


def is_member(role, of):
    """Return whether a role is a member of another; of one that is gone, superusers are."""
    return boundary.rows(
        "SELECT coalesce(pg_has_role(asking.oid, wanted.oid, 'MEMBER'), asking.rolsuper) AS member"
        " FROM pg_roles AS asking LEFT JOIN pg_roles AS wanted ON wanted.rolname = $2"
        " WHERE asking.rolname = $1",
        types=("name", "name"),
        args=(role, of),
    )[0]["member"]


# --- models ---------------------------------------------------------------------------------------


def model_exists(name):
    """Return whether a model of that name is stored."""
    return bool(boundary.rows("SELECT FROM hypercube.model WHERE name = $1", types=("text",), args=(name,)))


def find_model(model):
    """Return the model that a name, the session or the catalogue decides on, with its embedding."""
    return boundary.rows(
        "SELECT m.id, m.name, m.owner, m.dimension, m.vocabulary_size, m.embedding, m.neighbors,"
        " t.digest, t.dtype"
        " FROM hypercube._find_model($1) AS m"
        " LEFT JOIN hypercube.tensor AS t ON t.model_id = m.id AND t.name = m.embedding",
        types=("text",),
        args=(model,),
    )[0]


def models():
    """Return id and name of every model."""
    return boundary.rows("SELECT id, name FROM hypercube.model ORDER BY name")


def extension_version():
    """Return the installed version of the extension."""
    return boundary.rows("SELECT extversion AS version FROM pg_extension WHERE extname = 'hypercube'")[0][
        "version"
    ]


def create_model(fields):
    """Insert a model from a dict of its columns and return its id."""
    return boundary.rows(
        "INSERT INTO hypercube.model"
        " (name, architecture, dimension, vocabulary_size, embedding, neighbors, root, config, metadata,"
        "  licence, owner)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        types=("text", "text", "int", "int", "text", "int", "bytea", "jsonb", "jsonb", "text", "name"),
        args=(
            fields["name"], fields["architecture"], fields["dimension"], fields["vocabulary_size"],
            fields["embedding"], fields["neighbors"], fields["root"], fields["config"], fields["metadata"],
            fields["licence"], fields["owner"],
        ),
    )[0]["id"]  # fmt: skip


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


def vocabulary_files(model_id):
    """Return the files that a tokenizer is made from, as a dict of path to bytes."""
    found = boundary.rows(
        "SELECT path, content FROM hypercube.model_file"
        " WHERE model_id = $1 AND path IN ('tokenizer.json', 'vocab.txt', 'tokenizer_config.json')",
        types=("int",),
        args=(model_id,),
    )
    return {row["path"]: row["content"] for row in found}


# --- tensors and their bytes ----------------------------------------------------------------------


def store_chunk(digest, data):
    """Insert a chunk unless it is there; return whether it was new."""
    return boundary.write(
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
        "  nan_count, inf_count, zero_count, minimum, maximum, mean, deviation, stored, skipped)"
        " SELECT $1, name, role, layer, dtype, shape, elements, file, byte_offset, bytes,"
        "  decode(digest, 'hex'), nan_count, inf_count, zero_count, minimum, maximum, mean, deviation, true,"
        "  skipped"
        " FROM jsonb_to_recordset($2) AS t ("
        "  name text, role text, layer smallint, dtype text, shape bigint[], elements bigint, file text,"
        "  byte_offset bigint, bytes bigint, digest text, nan_count bigint, inf_count bigint,"
        "  zero_count bigint, minimum float8, maximum float8, mean float8, deviation float8, skipped text)",
        types=("int", "jsonb"),
        args=(model_id, json.dumps(tensors)),
    )


def chunk_count(tensor_digest):
    """Return how many chunks a stored tensor has."""
    return boundary.rows(
        "SELECT count(*) AS n FROM hypercube.tensor_chunk WHERE tensor_digest = $1",
        types=("bytea",),
        args=(tensor_digest,),
    )[0]["n"]


def read_chunks(tensor_digest, first, last):
    """Return the bytes of the chunks numbered first to last of a tensor, in order."""
    found = boundary.rows(
        "SELECT c.data FROM hypercube.tensor_chunk AS piece"
        " JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest"
        " WHERE piece.tensor_digest = $1 AND piece.ordinal BETWEEN $2 AND $3 ORDER BY piece.ordinal",
        types=("bytea", "int", "int"),
        args=(tensor_digest, first, last),
    )
    return [row["data"] for row in found]


def sample_chunks(model_id, count):
    """Return digest and data of some chunks of a model, evenly spaced in the order of their digests."""
    return boundary.rows(
        "SELECT s.digest, c.data FROM ("
        "  SELECT piece.chunk_digest AS digest,"
        "   row_number() OVER (ORDER BY piece.chunk_digest) - 1 AS place, count(*) OVER () AS total"
        "  FROM hypercube.tensor AS t"
        "  JOIN hypercube.tensor_chunk AS piece ON piece.tensor_digest = t.digest WHERE t.model_id = $1"
        " ) AS s LEFT JOIN hypercube.chunk AS c ON c.digest = s.digest"
        " WHERE s.place % greatest(1, s.total / $2) = 0 ORDER BY s.place",
        types=("int", "int"),
        args=(model_id, count),
    )


def read_slices(tensor_digest, ordinals, begins, lengths):
    """Return parts of chunks of a tensor, one for each (ordinal, begin, length), in order."""
    found = boundary.rows(
        "SELECT substring(c.data FROM part.begins + 1 FOR part.length) AS data"
        " FROM unnest($2, $3, $4) WITH ORDINALITY AS part (ordinal, begins, length, place)"
        " JOIN hypercube.tensor_chunk AS piece"
        "  ON piece.tensor_digest = $1 AND piece.ordinal = part.ordinal"
        " JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest ORDER BY part.place",
        types=("bytea", "int[]", "int[]", "int[]"),
        args=(tensor_digest, ordinals, begins, lengths),
    )
    return [row["data"] for row in found]


# --- vocabulary, compositions ---------------------------------------------------------------------


def store_atoms(codepoints, ids, points, hilberts):
    """Insert atoms that are not there yet; `points` has shape (n, 4)."""
    boundary.write(
        "INSERT INTO hypercube.atom (codepoint, id, point, hilbert)"
        " SELECT codepoint, id, hypercube._point(ARRAY[x, y, z, w]), hilbert"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7) AS a (codepoint, id, x, y, z, w, hilbert)"
        " ON CONFLICT DO NOTHING",
        types=("int[]", "bytea[]", *["float8[]"] * 4, "bytea[]"),
        args=(codepoints, ids, *points.T.tolist(), hilberts),
    )


def store_compositions(ids, labels, atom_counts, centroids, hilberts):
    """Insert compositions of atoms that are not there yet; return how many were new."""
    return boundary.write(
        "INSERT INTO hypercube.composition (id, label, depth, child_count, atom_count, centroid, hilbert)"
        " SELECT id, label, 1, atoms, atoms, hypercube._point(ARRAY[x, y, z, w]), hilbert"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS c (id, label, atoms, x, y, z, w, hilbert)"
        " ON CONFLICT DO NOTHING",
        types=("bytea[]", "text[]", "int[]", *["float8[]"] * 4, "bytea[]"),
        args=(ids, labels, atom_counts, *centroids.T.tolist(), hilberts),
    )


def store_children(composition_ids, codepoints_of_each):
    """Insert the atoms that spell each composition, unless they are there."""
    boundary.write(
        "INSERT INTO hypercube.composition_child (composition_id, ordinal, child_id)"
        " SELECT spelled.id, letter.ordinal - 1, a.id"
        " FROM unnest($1, $2) AS spelled (id, text)"
        " CROSS JOIN LATERAL unnest(string_to_array(spelled.text, ' ')::int[])"
        "  WITH ORDINALITY AS letter (codepoint, ordinal)"
        " JOIN hypercube.atom AS a ON a.codepoint = letter.codepoint"
        " ON CONFLICT DO NOTHING",
        types=("bytea[]", "text[]"),
        args=(composition_ids, [" ".join(map(str, codepoints)) for codepoints in codepoints_of_each]),
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


def find_tokens(model_id, words):
    """Return the token id of each word that is one token, None for the others, in order."""
    found = boundary.rows(
        "SELECT hypercube._find_token($1, word) AS token_id"
        " FROM unnest($2) WITH ORDINALITY AS asked (word, place) ORDER BY place",
        types=("int", "text[]"),
        args=(model_id, words),
    )
    return [row["token_id"] for row in found]


def labels(model_id, token_ids):
    """Return the labels of tokens, in the order of their ids in the list."""
    found = boundary.rows(
        "SELECT t.label FROM unnest($2) WITH ORDINALITY AS wanted (token_id, place)"
        " JOIN hypercube.token AS t ON t.model_id = $1 AND t.token_id = wanted.token_id ORDER BY place",
        types=("int", "int[]"),
        args=(model_id, token_ids),
    )
    return [row["label"] for row in found]


def unusable_tokens(model_id):
    """Return the ids of the tokens that no answer may hold."""
    found = boundary.rows(
        "SELECT token_id FROM hypercube.token WHERE model_id = $1 AND NOT usable ORDER BY token_id",
        types=("int",),
        args=(model_id,),
    )
    return [row["token_id"] for row in found]


# --- relations, projection ------------------------------------------------------------------------


def store_embedding_relations(model_id, sources, targets, ranks, weights):
    """Insert relations of kind E from four equally long arrays."""
    return boundary.write(
        "INSERT INTO hypercube.relation (model_id, source, target, weight, rank, kind)"
        " SELECT $1, source, target, weight, rank, 'E'"
        " FROM unnest($2, $3, $4, $5) AS edge (source, target, rank, weight)",
        types=("int", "int[]", "int[]", "smallint[]", "real[]"),
        args=(model_id, sources.tolist(), targets.tolist(), ranks.tolist(), weights.tolist()),
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


def broken_postconditions(model_id):
    """Return the post-conditions of an ingest that do not hold, as texts; also one check of health()."""
    found = boundary.rows(
        "SELECT broken FROM hypercube._broken_postconditions($1) AS broken",
        types=("int",),
        args=(model_id,),
    )
    return [row["broken"] for row in found]


# --- drop -----------------------------------------------------------------------------------------


def drop_model(model_id):
    """Delete a model and whatever nothing else refers to; return the counts."""
    return boundary.rows("SELECT * FROM hypercube._drop_model($1)", types=("int",), args=(model_id,))[0]
