"""Statements that ask the tables what there is, and the lock of writers.

Names are qualified and values are bound; no statement is put together from
text.  What writes many rows stands in ``bulk``.
"""

from hypercube import boundary
from hypercube.errors import StepMissing


def lock_writers():
    """Wait until no other transaction writes models; held until this one ends.

    Two ingests that share chunks would wait for each other in different orders,
    and a drop must not remove a chunk that an ingest just found to exist.  A
    snapshot taken before the lock would not see what the others wrote.

    Raises
    ------
    StepMissing
        The transaction is REPEATABLE READ or SERIALIZABLE.
    """
    level = boundary.rows("SELECT current_setting('transaction_isolation') AS level")[0]["level"]
    if level not in ("read committed", "read uncommitted"):
        raise StepMissing(
            f"models cannot be written in a transaction with isolation level {level}",
            hint="Use BEGIN ISOLATION LEVEL READ COMMITTED.",
        )
    if not boundary.try_rows("LOCK TABLE hypercube.model IN SHARE ROW EXCLUSIVE MODE NOWAIT"):
        boundary.notice("another session is writing models, waiting for it to end")
        boundary.rows("LOCK TABLE hypercube.model IN SHARE ROW EXCLUSIVE MODE")


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


def allowed_targets():
    """Return the folders that models may be written to."""
    return [row["path"] for row in boundary.rows("SELECT path FROM hypercube.allowed_target ORDER BY path")]


def add_allowed_target(path, role):
    """Allow a folder; again is no error."""
    boundary.write(
        "INSERT INTO hypercube.allowed_target (path, added_by) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        types=("text", "name"),
        args=(path, role),
    )


def remove_allowed_target(path):
    """Return whether the folder was allowed; it no longer is."""
    return boundary.write(
        "DELETE FROM hypercube.allowed_target WHERE path = $1", types=("text",), args=(path,)
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


def model_exists(name):
    """Return whether a model of that name is stored."""
    return bool(boundary.rows("SELECT FROM hypercube.model WHERE name = $1", types=("text",), args=(name,)))


def find_model(model):
    """Return the model that a name, the session or the catalogue decides on, with its embedding."""
    return boundary.rows(
        "SELECT m.id, m.name, m.owner, m.dimension, m.vocabulary_size, m.embedding, m.neighbors,"
        " m.created_at::text AS created_at, m.tokenizer, m.root,"
        " t.digest, t.dtype, t.stored, t.scaling"
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
        " (name, architecture, dimension, vocabulary_size, embedding, tokenizer, neighbors, root, config,"
        "  metadata, licence, owner)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
        types=(*["text"] * 2, *["int"] * 2, *["text"] * 2, "int", "bytea", *["jsonb"] * 2, "text", "name"),
        args=(
            fields["name"], fields["architecture"], fields["dimension"], fields["vocabulary_size"],
            fields["embedding"],
            fields["tokenizer"], fields["neighbors"], fields["root"], fields["config"], fields["metadata"],
            fields["licence"], fields["owner"],
        ),
    )[0]["id"]  # fmt: skip


def vocabulary_digests(model_id):
    """Return the digests of the files that a tokenizer is made from, in a fixed order."""
    found = boundary.rows(
        "SELECT f.digest FROM hypercube.model AS m"
        " JOIN hypercube.model_file AS f ON f.model_id = m.id"
        "  AND f.path IN (m.tokenizer, 'tokenizer_config.json')"
        " WHERE m.id = $1 ORDER BY f.path",
        types=("int",),
        args=(model_id,),
    )
    return tuple(row["digest"] for row in found)


def files(model_id):
    """Return the small files of a model: a dict of path to (content, digest)."""
    found = boundary.rows(
        "SELECT path, content, digest FROM hypercube.model_file WHERE model_id = $1 ORDER BY path",
        types=("int",),
        args=(model_id,),
    )
    return {row["path"]: (row["content"], row["digest"]) for row in found}


def tensors(model_id, names=None):
    """Return the tensors of a model, those of some names if they are given."""
    found = boundary.rows(
        "SELECT name, dtype, shape, elements, file, byte_offset, bytes, digest, stored FROM hypercube.tensor"
        " WHERE model_id = $1 AND ($2 IS NULL OR name = ANY ($2)) ORDER BY file, byte_offset, name",
        types=("int", "text[]"),
        args=(model_id, names),
    )
    return [{**row, "shape": tuple(row["shape"])} for row in found]


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


def read_pieces(tensor_digest, first, last):
    """Return ordinal, chunk digest and data of the chunks first to last; None for data that is gone."""
    return boundary.rows(
        "SELECT piece.ordinal, piece.chunk_digest, c.data FROM hypercube.tensor_chunk AS piece"
        " LEFT JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest"
        " WHERE piece.tensor_digest = $1 AND piece.ordinal BETWEEN $2 AND $3",
        types=("bytea", "int", "int"),
        args=(tensor_digest, first, last),
    )


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


def broken_postconditions(model_id):
    """Return the post-conditions of an ingest that do not hold, as texts; also one check of health()."""
    found = boundary.rows(
        "SELECT broken FROM hypercube._broken_postconditions($1) AS broken",
        types=("int",),
        args=(model_id,),
    )
    return [row["broken"] for row in found]
