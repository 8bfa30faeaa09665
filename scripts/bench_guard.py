"""What row-level security costs: the same questions of the same role with it and without."""

from bench_questions import STORED, one_core, pgbench
from bench_tools import tell_turns, weigh

TENANT = "bench_tenant"
# What a table has no policies for is asked without them.
WITHOUT = """
ALTER TABLE hypercube.model DISABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.token DISABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.relation DISABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.projection DISABLE ROW LEVEL SECURITY;
CREATE OR REPLACE VIEW hypercube._word_edge AS
SELECT m.id AS model_id, m.name AS model, m.neighbors, s.label AS word, s.usable, s.token_id AS source,
    edge.rank, t.label, edge.weight, edge.target
FROM hypercube.model AS m
JOIN hypercube.token AS s ON s.model_id = m.id AND s.kind = 'word'
JOIN hypercube.relation AS edge
    ON edge.model_id = m.id AND edge.kind = 'E' AND edge.layer = 0 AND edge.head = 0
    AND edge.source = s.token_id
JOIN hypercube.token AS t ON t.model_id = m.id AND t.token_id = edge.target;
"""
MANY = """
INSERT INTO hypercube.model (name, vocabulary_size, neighbors, root, owner, readers)
SELECT 'another ' || n, 0, 0, root, 'postgres', readers FROM hypercube.model, generate_series(1, 300) AS n
WHERE name = 'minilm';
ANALYZE hypercube.model;
"""


def measure_guard(server, words, folder):
    """Yield the rows about stored neighbours and the map, asked by a role that the model is granted to."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE ROLE {TENANT} LOGIN IN ROLE hypercube_reader")
    with server.connect(dbname="minilm", autocommit=True) as db:
        db.execute("SELECT hypercube.grant_model('minilm', %s)", (TENANT,))
        db.execute("VACUUM ANALYZE hypercube.model")
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE unguarded TEMPLATE minilm")
        db.execute("CREATE DATABASE crowded TEMPLATE minilm")
    with server.connect(dbname="unguarded", autocommit=True) as db:
        db.execute(WITHOUT)
    with server.connect(dbname="crowded", autocommit=True) as db:
        db.execute(MANY)
    spent = {}
    with one_core(server.pid, 0):
        for _ in range(7):
            for name in (STORED, "spatial_neighbors"):
                asked = [f"SELECT * FROM hypercube.{name}('{word}', 10, 'minilm')" for _, word in words]
                for database in ("minilm", "unguarded", "crowded"):
                    seconds = pgbench(server, folder, "prepared", asked, user=TENANT, dbname=database)
                    spent.setdefault((name, database), []).append(seconds)
    tell_turns({" ".join(turn): seconds for turn, seconds in spent.items()})
    of = "the same role, no row-level security"
    # A third more time for each is 30 % less of them.
    yield weigh(
        "stored neighbours of a tenant, pgbench", spent[STORED, "minilm"], spent[STORED, "unguarded"], of,
        most=1.43,
    )  # fmt: skip
    for name, database, told in (
        (STORED, "crowded", "stored neighbours of a tenant who sees 301 models"),
        ("spatial_neighbors", "minilm", "spatial_neighbors of a tenant"),
    ):
        yield weigh(told, spent[name, database], spent[name, "unguarded"], of)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("DROP DATABASE unguarded")
        db.execute("DROP DATABASE crowded")
