"""What a user of pgvector without hypercube has: one table of labels and vectors, with an HNSW index.

Rows that compare with it stand in the table in any case: without pgvector their targets count as missed.
"""

import json
from contextlib import contextmanager

from bench_tools import Row, say, spell, timed

DATABASE = "minilm"
EF_SEARCH = 64


def neighbors_statement(word):
    """Return the question for the ten nearest labels, as a user of pgvector asks for them; `word` is SQL."""
    vector = f"(SELECT embedding FROM plain.v WHERE label = {word})"
    return f"SELECT label FROM plain.v WHERE label <> {word} ORDER BY embedding <=> {vector} LIMIT 10"


NEAREST = "SELECT label FROM plain.v ORDER BY embedding <=> %s::vector LIMIT 10"
ANALOGY = (
    "SELECT label FROM plain.v WHERE label <> ALL (%(inputs)s) ORDER BY embedding <=> (SELECT"
    " b.embedding - a.embedding + c.embedding FROM plain.v AS a, plain.v AS b, plain.v AS c"
    " WHERE a.label = %(a)s AND b.label = %(b)s AND c.label = %(c)s) LIMIT 10"
)


def vector_text(vector):
    """Return a vector in pgvector's notation."""
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def make_table(server, pieces, unit):
    """Make plain.v and its index; return the version of pgvector, None where it is not installed."""
    with server.connect(dbname=DATABASE, autocommit=True) as db:
        found = db.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
        version = found.fetchone()
        if version is None:
            return None
        db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        db.execute("CREATE SCHEMA plain")
        db.execute(f"CREATE TABLE plain.v (label text PRIMARY KEY, embedding vector({unit.shape[1]}))")
        with db.cursor().copy("COPY plain.v FROM STDIN") as copy:
            for piece, vector in zip(pieces, unit, strict=True):
                copy.write_row((piece, vector_text(vector)))
        db.execute("SET maintenance_work_mem = '512MB'")
        build = "CREATE INDEX v_embedding ON plain.v USING hnsw (embedding vector_cosine_ops)"
        spent = timed(lambda: db.execute(f"{build} WITH (m = 16, ef_construction = 64)"))
        db.execute("VACUUM ANALYZE plain.v")
        # For every session, pgbench's as well.
        db.execute(f"ALTER DATABASE {DATABASE} SET hnsw.ef_search = {EF_SEARCH}")
        size = db.execute("SELECT pg_size_pretty(pg_relation_size('plain.v_embedding'))").fetchone()[0]
        say(f"pgvector {version[0]}: HNSW index of {size} built in {spell(spent)}")
    with server.connect(dbname=DATABASE) as db:
        require_plan(db, neighbors_statement("'whale'"), "v_embedding")
    with exact_session(server) as db:
        require_plan(db, neighbors_statement("'whale'"), None)
    return version[0]


@contextmanager
def exact_session(server):
    """Give a session in which pgvector reads the whole table, in one process."""
    with server.connect(dbname=DATABASE, autocommit=True) as db:
        db.execute("SET enable_indexscan = off")
        db.execute("SET max_parallel_workers_per_gather = 0")
        yield db


def _nodes(plan):
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def require_plan(db, statement, index):
    """Stop unless a statement orders by this index (None: reads the whole table), all of it from memory."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    for _ in range(10):
        [[told]] = db.execute(explain).fetchall()
        plan = told[0]["Plan"]
        if not plan["Shared Read Blocks"]:
            break
    nodes = list(_nodes(plan))
    # The word itself is looked up by the primary key in either case.
    ordered = [node for node in nodes if node.get("Index Name") == "v_embedding"]
    scanned = [node for node in nodes if node["Node Type"] == "Seq Scan"]
    if bool(ordered) != bool(index) or bool(scanned) == bool(index) or plan["Shared Read Blocks"]:
        raise RuntimeError(f"pgvector is not asked as it should be: {json.dumps(plan)}")


def missing(name, target):
    """Return the row of a comparison that cannot be made."""
    return Row(name, "pgvector is not installed", target=target, met=False)
