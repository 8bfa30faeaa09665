"""The optional index of pgvector over the unit vectors of a model: a table and an HNSW index for each.

The type `vector` may live in any schema or nowhere, so nothing here can stand in the
install script, and names cannot be bound: statements are filled with numbers and with a
schema that the server quoted, and with nothing else.
"""

from typing import NamedTuple

from hypercube import boundary
from hypercube.errors import Locked, NotSupported, StepMissing, quoted

# The largest hnsw.ef_search; a scan returns no more rows.
REACH = 1000
_DIMENSIONS_LIMIT = 2000
_DEFAULT_REACH = 40
_ROWS_A_STATEMENT = 500


class Index(NamedTuple):
    """The number of a model, the schema of pgvector, quoted, and the dimension of the vectors."""

    model_id: int
    schema: str
    dimension: int


def require_extension():
    """Return the schema of pgvector, quoted."""
    found = boundary.rows(
        "SELECT quote_ident(n.nspname) AS name FROM pg_extension AS e"
        " JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    )
    if not found:
        raise NotSupported(
            "approximate search needs the extension vector (pgvector), which is not installed here",
            hint="Exact search needs nothing: leave approximate out. Or CREATE EXTENSION vector,"
            " then SELECT hypercube.create_vector_index('...').",
        )
    return found[0]["name"]


def exists(model_id):
    """Return whether a model has an index whose vectors are still there."""
    return bool(
        boundary.rows(
            "SELECT FROM pg_attribute WHERE attrelid = to_regclass(format('hypercube.vector_of_%s', $1))"
            " AND attname = 'embedding' AND NOT attisdropped",
            types=("int",),
            args=(model_id,),
        )
    )


def require_index(model):
    """Return the Index of a model.

    Raises
    ------
    NotSupported
        pgvector is not installed in this database.
    StepMissing
        The model has no index.
    """
    schema = require_extension()
    if not exists(model["id"]):
        raise StepMissing(
            f'model "{model["name"]}" has no vector index',
            hint=f"SELECT hypercube.create_vector_index({quoted(model['name'])}).",
        )
    return Index(model["id"], schema, model["dimension"])


def create(model, unit, token_ids, m, ef_construction):
    """Make the table and the index of a model; `unit` is float32 (n, d), `token_ids` its rows that count."""
    schema = require_extension()
    d = unit.shape[1]
    if d > _DIMENSIONS_LIMIT:
        raise NotSupported(
            f"an index of pgvector has at most {_DIMENSIONS_LIMIT} dimensions,"
            f' model "{model["name"]}" has {d}',
            hint="Exact search has no such limit.",
        )
    table, kind = f"hypercube.vector_of_{model['id']:d}", f"{schema}.vector({d:d})"
    boundary.rows(f"CREATE TABLE {table} (token_id integer PRIMARY KEY, embedding {kind})")
    for reader in _readers():
        boundary.rows(f"GRANT SELECT ON {table} TO {reader}")
    boundary.rows(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    boundary.rows(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    boundary.rows(
        f"CREATE POLICY visible ON {table} FOR SELECT"
        f" USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = {model['id']:d}))"
    )
    # A member of the extension: it goes with it, and is left out of dumps, as it can be made again. The
    # rights it has when it becomes one are left out too.
    boundary.rows(f"ALTER EXTENSION hypercube ADD TABLE {table}")
    for start in range(0, len(token_ids), _ROWS_A_STATEMENT):
        boundary.tick()
        part = token_ids[start : start + _ROWS_A_STATEMENT]
        boundary.write(
            f"INSERT INTO {table} SELECT id, ($2[(place - 1) * {d:d} + 1 : place * {d:d}])::{kind}"
            " FROM unnest($1) WITH ORDINALITY AS part (id, place)",
            types=("int[]", "real[]"),
            args=(part.tolist(), unit[part].ravel().tolist()),
        )
    boundary.rows(
        f"CREATE INDEX vector_of_{model['id']:d}_index ON {table} USING hnsw"
        f" (embedding {schema}.vector_ip_ops) WITH (m = {m:d}, ef_construction = {ef_construction:d})"
    )
    boundary.rows(f"ANALYZE {table}")
    return boundary.rows(
        f"SELECT pg_total_relation_size('{table}'::regclass) AS bytes",
    )[0]["bytes"]


def _readers():
    """Return the roles, quoted, that may read tokens."""
    found = boundary.rows(
        "SELECT DISTINCT CASE WHEN granted.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS name"
        " FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS granted"
        " LEFT JOIN pg_roles AS r ON r.oid = granted.grantee"
        " WHERE c.oid = 'hypercube.token'::regclass AND granted.privilege_type = 'SELECT'"
        "  AND granted.grantee <> c.relowner ORDER BY 1"
    )
    return [row["name"] for row in found if row["name"] is not None]


def require_unread(model):
    """Refuse where a session reads the index of a model: nobody may wait for it with the lock of writers.

    Raises
    ------
    Locked
    """
    if not _is_there(model["id"]):
        return
    table = f"hypercube.vector_of_{model['id']:d}"
    if not boundary.as_owner(
        lambda: boundary.try_rows(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE NOWAIT")
    ):
        raise Locked(
            f'the vector index of model "{model["name"]}" is being read',
            hint="Try again; SELECT pid FROM pg_locks WHERE relation ="
            f" '{table}'::regclass tells who reads it.",
        )


def drop(model_id):
    """Remove the table and the index of a model; return whether there was one."""
    found = _is_there(model_id)
    if found:
        table = f"hypercube.vector_of_{model_id:d}"
        boundary.rows(f"ALTER EXTENSION hypercube DROP TABLE {table}")
        boundary.rows(f"DROP TABLE {table}")
    return found


def _is_there(model_id):
    return bool(
        boundary.rows(
            "SELECT FROM pg_class WHERE oid = to_regclass(format('hypercube.vector_of_%s', $1))",
            types=("int",),
            args=(model_id,),
        )
    )


def search(index, vector, count):
    """Return the token ids of about the `count` rows nearest to a vector, REACH at most."""
    before = reach()
    _set_reach(min(REACH, max(before, count)))
    # With its dimension the type cannot be a domain that somebody put in the schema's place meanwhile.
    kind = f"{index.schema}.vector({index.dimension:d})"
    try:
        found = boundary.rows(
            f"SELECT token_id FROM hypercube.vector_of_{index.model_id:d}"
            f" ORDER BY embedding OPERATOR({index.schema}.<#>) $1::{kind} LIMIT $2",
            types=("real[]", "int"),
            args=(vector.tolist(), min(count, REACH)),
        )
    finally:
        _set_reach(before)
    return [row["token_id"] for row in found]


def reach():
    """Return the setting hnsw.ef_search."""
    return boundary.setting("hnsw.ef_search", _DEFAULT_REACH)


def _set_reach(value):
    boundary.rows("SELECT set_config('hnsw.ef_search', $1::int::text, true)", types=("int",), args=(value,))
