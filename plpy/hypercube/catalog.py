"""Statements that ask the tables what there is, and the lock of writers.

Names are qualified and values are bound; no statement is put together from
text.  What writes many rows stands in ``bulk``.
"""

from hypercube import boundary
from hypercube.errors import StepMissing

_LATEST = ("read committed", "read uncommitted")


def lock_writers():
    """Wait until no other transaction writes models; held until this one ends.

    Two ingests that share chunks would wait for each other in different orders,
    and a drop must not remove a chunk that an ingest just found to exist.  A
    snapshot taken before the lock would not see what the others wrote.  Whoever
    holds the lock waits for no lock that a reader can hold.

    Raises
    ------
    StepMissing
        The transaction is REPEATABLE READ or SERIALIZABLE.
    """
    require_latest_snapshots("nothing can be stored")
    boundary.as_owner(_lock)


def _lock():
    if not boundary.try_rows("LOCK TABLE hypercube.writer_turn IN SHARE ROW EXCLUSIVE MODE NOWAIT"):
        boundary.notice("another session is writing models, waiting for it to end")
        boundary.rows("LOCK TABLE hypercube.writer_turn IN SHARE ROW EXCLUSIVE MODE")


def require_latest_snapshots(refusal):
    """Refuse in a transaction whose statements do not see what others have committed meanwhile.

    Raises
    ------
    StepMissing
        It is REPEATABLE READ or SERIALIZABLE.
    """
    level = _isolation()
    if level not in _LATEST:
        raise StepMissing(
            f"{refusal} in a transaction with isolation level {level}",
            hint="Use BEGIN ISOLATION LEVEL READ COMMITTED.",
        )


def has_latest_snapshots():
    """Return whether each statement sees what others have committed meanwhile."""
    return _isolation() in _LATEST


def _isolation():
    return boundary.rows("SELECT current_setting('transaction_isolation') AS level")[0]["level"]


def allowed_sources():
    """Return the folders that the caller may read models from."""
    found = boundary.rows("SELECT DISTINCT path FROM hypercube.allowed_source ORDER BY path")
    return [row["path"] for row in found]


def add_allowed_source(path, role, added_by):
    """Allow a folder to the members of a role; again is no error."""
    boundary.write(
        "INSERT INTO hypercube.allowed_source (path, role, added_by) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        types=("text", "name", "name"),
        args=(path, role, added_by),
    )


def allowed_targets():
    """Return the folders that the caller may write models to."""
    found = boundary.rows("SELECT DISTINCT path FROM hypercube.allowed_target ORDER BY path")
    return [row["path"] for row in found]


def add_allowed_target(path, role, added_by):
    """Allow a folder to the members of a role; again is no error."""
    boundary.write(
        "INSERT INTO hypercube.allowed_target (path, role, added_by) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        types=("text", "name", "name"),
        args=(path, role, added_by),
    )


def remove_allowed_target(paths, role):
    """Return whether one of the folders was allowed, to a role or (None) to any; it no longer is."""
    return boundary.write(
        "DELETE FROM hypercube.allowed_target WHERE path = ANY ($1) AND role = coalesce($2, role)",
        types=("text[]", "name"),
        args=(paths, role),
    )


def remove_allowed_source(paths, role):
    """Return whether one of the folders was allowed, to a role or (None) to any; it no longer is."""
    return boundary.write(
        "DELETE FROM hypercube.allowed_source WHERE path = ANY ($1) AND role = coalesce($2, role)",
        types=("text[]", "name"),
        args=(paths, role),
    )


def model_exists(name):
    """Return whether a model of that name is stored, whoever may see it."""
    return boundary.read_as_owner(
        lambda: bool(
            boundary.rows("SELECT FROM hypercube.model WHERE name = $1", types=("text",), args=(name,))
        )
    )


def find_model(model, words=None):
    """Return the model that a name, the session or the catalogue decides on, with its embedding.

    `token_ids` are those of the words in `asked`, None for what is no token: one statement for a
    question about few.
    """
    found = boundary.rows(
        "SELECT m.id, m.name, m.owner, m.dimension, m.vocabulary_size, m.embedding, m.neighbors,"
        " extract(epoch FROM m.created_at)::text AS created_at, m.tokenizer, m.root,"
        " t.digest, t.dtype, t.stored, t.scaling, current_user::text AS caller,"
        " current_setting('hypercube.max_k', true) AS max_k,"
        " current_setting('hypercube.max_batch', true) AS max_batch,"
        " CASE WHEN limited THEN hypercube._limit_of_caller('k') END AS limit_k,"
        " CASE WHEN limited THEN hypercube._limit_of_caller('batch') END AS limit_batch,"
        " (SELECT array_agg(hypercube._find_token(m.id, word) ORDER BY place)"
        "  FROM unnest($2) WITH ORDINALITY AS asked (word, place)) AS token_ids"
        " FROM hypercube._find_model($1) AS m"
        " CROSS JOIN (SELECT EXISTS (SELECT FROM hypercube.role_limit)) AS l (limited)"
        " LEFT JOIN hypercube.tensor AS t ON t.model_id = m.id AND t.name = m.embedding",
        types=("text", "text[]"),
        args=(model, words),
    )[0]
    return {**found, "asked": words}


def limits():
    """Return the settings and limits that a question without a model is held to."""
    return boundary.rows(
        "SELECT current_setting('hypercube.max_k', true) AS max_k,"
        " current_setting('hypercube.max_batch', true) AS max_batch, current_user::text AS caller,"
        " hypercube._limit_of_caller('k') AS limit_k, hypercube._limit_of_caller('batch') AS limit_batch"
    )[0]


def model_name(model_id):
    """Return the name of a model."""
    return boundary.rows("SELECT name FROM hypercube.model WHERE id = $1", types=("int",), args=(model_id,))[
        0
    ]["name"]


def models():
    """Return id, name, root and time of every model that the caller sees."""
    return boundary.rows(
        "SELECT id, name, root, extract(epoch FROM created_at)::text AS created_at"
        " FROM hypercube.model ORDER BY name"
    )


def embedded_models():
    """Return what the matrix file of each model is named by."""
    return boundary.rows(
        "SELECT m.id, m.name, m.dimension, m.vocabulary_size, m.embedding, t.digest, t.dtype, t.scaling"
        " FROM hypercube.model AS m JOIN hypercube.tensor AS t ON t.model_id = m.id AND t.name = m.embedding"
        " WHERE t.stored ORDER BY m.name"
    )


def sweep_matrices():
    """Remove the matrix files of models that are gone, with rights to see every model that is not."""
    return boundary.rows("SELECT hypercube._sweep_matrices() AS removed")[0]["removed"]


def database_number():
    """Return the object id of the database."""
    return boundary.rows("SELECT oid::bigint AS number FROM pg_database WHERE datname = current_database()")[
        0
    ]["number"]


def database_numbers():
    """Return the object ids of all databases of the cluster."""
    return [row["number"] for row in boundary.rows("SELECT oid::bigint AS number FROM pg_database")]


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


def files(model_id):
    """Return the small files of a model: a dict of path to (content, digest)."""
    found = boundary.rows(
        "SELECT path, content, digest FROM hypercube.model_file WHERE model_id = $1 ORDER BY path",
        types=("int",),
        args=(model_id,),
    )
    return {row["path"]: (row["content"], row["digest"]) for row in found}


def files_named(model_id, paths):
    """Return the contents of some of the small files of a model, by their paths."""
    found = boundary.rows(
        "SELECT path, content FROM hypercube.model_file WHERE model_id = $1 AND path = ANY ($2)",
        types=("int", "text[]"),
        args=(model_id, paths),
    )
    return {row["path"]: row["content"] for row in found}


def tensors(model_id, names=None):
    """Return the tensors of a model, those of some names if they are given."""
    found = boundary.rows(
        "SELECT name, dtype, shape, elements, file, byte_offset, bytes, digest, stored FROM hypercube.tensor"
        " WHERE model_id = $1 AND ($2 IS NULL OR name = ANY ($2)) ORDER BY file, byte_offset, name",
        types=("int", "text[]"),
        args=(model_id, names),
    )
    return [{**row, "shape": tuple(row["shape"])} for row in found]


def chunks_of_one(model_id, others):
    """Return how many chunks, of how many bytes, a model has and none of some other models."""
    return boundary.rows(
        "SELECT count(*) AS chunks, coalesce(sum(c.size), 0)::bigint AS bytes FROM hypercube.chunk AS c"
        " WHERE c.digest IN (SELECT piece.chunk_digest FROM hypercube.tensor AS t"
        "  JOIN hypercube.tensor_chunk AS piece ON piece.tensor_digest = t.digest"
        "  WHERE t.model_id = $1 AND t.stored)"
        " AND NOT EXISTS (SELECT FROM hypercube.tensor_chunk AS piece"
        "  JOIN hypercube.tensor AS t ON t.digest = piece.tensor_digest AND t.stored"
        "  WHERE piece.chunk_digest = c.digest AND t.model_id = ANY ($2))",
        types=("int", "int[]"),
        args=(model_id, others),
    )[0]


def _owner_rows(sql, types, args):
    """Return rows of tables that nobody reads but through a tensor that the caller was found to see."""
    return boundary.read_as_owner(lambda: boundary.rows(sql, types=types, args=args))


def chunk_count(tensor_digest):
    """Return how many chunks a stored tensor has."""
    return _owner_rows(
        "SELECT count(*) AS n FROM hypercube.tensor_chunk WHERE tensor_digest = $1",
        types=("bytea",),
        args=(tensor_digest,),
    )[0]["n"]


def read_chunks(tensor_digest, first, last):
    """Return the bytes of the chunks numbered first to last of a tensor, in order."""
    found = _owner_rows(
        "SELECT c.data FROM hypercube.tensor_chunk AS piece"
        " JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest"
        " WHERE piece.tensor_digest = $1 AND piece.ordinal BETWEEN $2 AND $3 ORDER BY piece.ordinal",
        types=("bytea", "int", "int"),
        args=(tensor_digest, first, last),
    )
    return [row["data"] for row in found]


def read_pieces(tensor_digest, first, last):
    """Return ordinal, chunk digest and data of the chunks first to last; None for data that is gone."""
    return _owner_rows(
        "SELECT piece.ordinal, piece.chunk_digest, c.data FROM hypercube.tensor_chunk AS piece"
        " LEFT JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest"
        " WHERE piece.tensor_digest = $1 AND piece.ordinal BETWEEN $2 AND $3",
        types=("bytea", "int", "int"),
        args=(tensor_digest, first, last),
    )


def sample_chunks(model_id, count):
    """Return digest and data of some chunks of a model, evenly spaced in the order of their digests."""
    return _owner_rows(
        "SELECT s.digest, c.data FROM ("
        "  SELECT piece.chunk_digest AS digest,"
        "   row_number() OVER (ORDER BY piece.chunk_digest) - 1 AS place, count(*) OVER () AS total"
        "  FROM hypercube.tensor AS t"
        "  JOIN hypercube.tensor_chunk AS piece ON piece.tensor_digest = t.digest"
        "  WHERE t.model_id = $1 AND t.stored"
        " ) AS s LEFT JOIN hypercube.chunk AS c ON c.digest = s.digest"
        " WHERE s.place % greatest(1, s.total / $2) = 0 ORDER BY s.place",
        types=("int", "int"),
        args=(model_id, count),
    )


def read_slices(tensor_digest, ordinals, begins, lengths):
    """Return parts of chunks of a tensor, one for each (ordinal, begin, length), in order."""
    found = _owner_rows(
        "SELECT substring(c.data FROM part.begins + 1 FOR part.length) AS data"
        " FROM unnest($2, $3, $4) WITH ORDINALITY AS part (ordinal, begins, length, place)"
        " JOIN hypercube.tensor_chunk AS piece"
        "  ON piece.tensor_digest = $1 AND piece.ordinal = part.ordinal"
        " JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest ORDER BY part.place",
        types=("bytea", "int[]", "int[]", "int[]"),
        args=(tensor_digest, ordinals, begins, lengths),
    )
    return [row["data"] for row in found]


def store_recall(model_id, k, sample, mean, minimum, ef_search):
    """Keep what measure_recall found for a model and k."""
    boundary.write(
        "INSERT INTO hypercube.index_recall (model_id, k, sample, mean, minimum, ef_search)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (model_id, k) DO UPDATE"
        " SET (sample, mean, minimum, ef_search, measured_at)"
        "  = (excluded.sample, excluded.mean, excluded.minimum, excluded.ef_search, excluded.measured_at)",
        types=("int", "int", "int", "float8", "float8", "int"),
        args=(model_id, k, sample, mean, minimum, ef_search),
    )


def drop_recall(model_id):
    """Forget what was measured of the index of a model."""
    boundary.write("DELETE FROM hypercube.index_recall WHERE model_id = $1", types=("int",), args=(model_id,))


def map_points(model, first, second):
    """Return token ids (int32), two coordinates (float64), both big-endian, labels and kinds of a map."""
    found = boundary.rows(
        "SELECT string_agg(int4send(token_id), '' ORDER BY token_id) AS ids,"
        " string_agg(float8send((ARRAY[x, y, z, w])[$2]) || float8send((ARRAY[x, y, z, w])[$3]), ''"
        "  ORDER BY token_id) AS points,"
        " array_agg(label ORDER BY token_id) AS labels, array_agg(kind::text ORDER BY token_id) AS kinds"
        " FROM hypercube.map WHERE model = $1",
        types=("text", "int", "int"),
        args=(model, first, second),
    )[0]
    return found["ids"] or b"", found["points"] or b"", found["labels"] or [], found["kinds"] or []


def stored_neighbors(model_id, token_id, k):
    """Return the token ids of the stored neighbours of a token, best first."""
    found = boundary.rows(
        "SELECT token_id FROM hypercube._stored_neighbors($1, '', $2, $3)",
        types=("int", "int", "int"),
        args=(model_id, token_id, k),
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
