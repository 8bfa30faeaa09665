"""Shared by the tests of ingest: what was written, as counts and as rows."""

from pathlib import Path

# Fetched by scripts/models.
MODELS = (Path(__file__).parents[1] / ".local" / "models").resolve()

TABLES = (
    "model", "model_file", "tensor", "chunk", "tensor_chunk", "atom", "composition",
    "token", "relation", "projection", "projection_metadata",
)  # fmt: skip


def ingest(db, source, name=None, neighbors=16):
    cursor = db.execute("SELECT * FROM hypercube.ingest(%s, %s, %s)", (source, name, neighbors))
    return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def one(db, statement, *args):
    return db.execute(statement, args).fetchone()[0]


def row_counts(db):
    return {table: one(db, f"SELECT count(*) FROM hypercube.{table}") for table in TABLES}


def snapshot(db):
    """Every row that an ingest writes, but for times and seconds."""
    statements = {
        "tensor": "SELECT name, role, layer, shape, digest, mean FROM hypercube.tensor ORDER BY name",
        "relation": "SELECT source, target, rank, weight FROM hypercube.relation ORDER BY source, rank",
        "projection": "SELECT token_id, point::text, hilbert FROM hypercube.projection ORDER BY token_id",
        "token": "SELECT token_id, kind, label, composition_id FROM hypercube.token ORDER BY token_id",
        "composition": "SELECT id, label, atom_count, centroid::text FROM hypercube.composition ORDER BY id",
        "atom": "SELECT codepoint, id, point::text, hilbert FROM hypercube.atom ORDER BY codepoint",
        "root": "SELECT root FROM hypercube.model",
    }
    return {what: db.execute(statement).fetchall() for what, statement in statements.items()}
