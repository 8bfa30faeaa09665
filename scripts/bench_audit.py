"""What the audit costs an ingest: the time of its triggers, and of the rows that are kept for them."""

from bench_tools import Row, spell, take_turns, timed

from rows import MODELS, ingest

_ROWS = 200_000
_TURNS = 5


def measure_audit(server):
    """Ingest MiniLM into a database of its own, with the server's clock on every function.

    The time inside the triggers is told by pg_stat_user_functions.  What it costs to keep the rows of
    statements for them is not in there: it is taken from one insert with such a trigger and one without,
    and counted for every row that the ingest wrote.
    """
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE audited")
    with server.connect(dbname="audited", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("SELECT hypercube.allow_source(%s)", (str(MODELS),))
        db.execute("SET track_functions = 'all'")
        report = {}
        seconds = timed(lambda: report.update(ingest(db, str(MODELS / "all-MiniLM-L6-v2"), "minilm")))
    with server.connect(dbname="audited", autocommit=True) as db:
        db.execute("SET client_min_messages = warning")
        calls, spent = db.execute(
            "SELECT sum(calls), sum(total_time) / 1000 FROM pg_stat_user_functions"
            " WHERE schemaname = 'hypercube' AND funcname IN ('_audit_head', '_audit_bulk')"
        ).fetchone()
        kept = seconds_a_row(db) * report["relations"]
        entries = db.execute("SELECT count(*) FROM hypercube.audit_log WHERE kind = 'model'").fetchone()[0]
    share = (spent + kept) / seconds
    yield Row(
        f"audit of an ingest, {entries} entries, {calls} triggers",
        f"{spell(spent)} in triggers, {spell(kept)} to keep rows",
        f"{spell(seconds)} (the ingest)",
        f"{share:.2%}",
        "<= 5 %",
        share <= 0.05,
    )


def seconds_a_row(db):
    """Return what keeping a row of a statement for its triggers costs."""
    for table in ("bare", "watched"):
        db.execute(f"CREATE TABLE {table} (LIKE hypercube.relation)")
    db.execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    db.execute(
        "CREATE TRIGGER watch AFTER INSERT ON watched REFERENCING NEW TABLE AS come"
        " FOR EACH STATEMENT EXECUTE FUNCTION nothing()"
    )

    def insert(table):
        db.execute(f"TRUNCATE {table}")
        db.execute(f"INSERT INTO {table} SELECT * FROM hypercube.relation LIMIT {_ROWS}")

    bare, watched = take_turns(_TURNS, lambda: insert("bare"), lambda: insert("watched"))
    return max(0.0, float(min(watched) - min(bare))) / _ROWS
