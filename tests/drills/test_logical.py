"""A logical replica: what is published, what the other server has of it, and how it becomes a primary."""

import time
from pathlib import Path

import pytest

from chapters import open_folder
from replicas import change, told
from rows import one
from servers import ThrowawayServer

_SECONDS = 60


def documented(beginning):
    """Return the statement of the manual that begins so."""
    text = (Path(__file__).parents[2] / "doc" / "operations.md").read_text(encoding="utf-8")
    [block] = [part for part in text.split("```sql\n")[1:] if beginning in part]
    return block.split("```")[0]


@pytest.fixture
def servers():
    with ThrowawayServer(wal_level="logical") as publisher, ThrowawayServer() as subscriber:
        for server in (publisher, subscriber):
            with server.connect(autocommit=True) as db:
                db.execute("CREATE EXTENSION hypercube CASCADE")
        yield publisher, subscriber


def wait_for(db, statement, *arguments):
    until = time.monotonic() + _SECONDS
    while not one(db, statement, *arguments):
        assert time.monotonic() < until, statement
        time.sleep(0.05)


def test_a_logical_replica_has_every_row_and_goes_on_as_a_primary(servers, drilled):
    publisher, subscriber = servers
    with (
        open_folder() as sources,
        publisher.connect(autocommit=True) as here,
        subscriber.connect(autocommit=True) as there,
    ):
        here.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        change(here, sources, 1)
        here.execute(documented("CREATE PUBLICATION hypercube"))
        connection = f"host={publisher.socket_folder} user=postgres dbname=test"
        there.execute(f"CREATE SUBSCRIPTION hypercube CONNECTION '{connection}' PUBLICATION hypercube")
        wait_for(there, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
        assert told(there) == told(here)

        change(here, sources, 2)
        # Also where somebody published every table.
        here.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        change(here, sources, 3)
        position = one(here, "SELECT pg_current_wal_insert_lsn()::text")
        wait_for(here, "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots", position)
        expected = told(here)
        assert not [found for found in expected if found.refusal]
        assert told(there) == expected
        count = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM hypercube.{} AS t"
        tables = there.execute("SELECT srrelid::regclass::text FROM pg_subscription_rel").fetchall()
        assert len(tables) > 25
        for (table,) in tables:
            rows = count.format(table.removeprefix("hypercube."))
            assert there.execute(rows).fetchone() == here.execute(rows).fetchone(), table

        there.execute("DROP SUBSCRIPTION hypercube")
        there.execute(documented("pg_get_serial_sequence('hypercube.model'"))
        change(there, sources, 4)
        assert not [found for found in told(there) if found.refusal]
        assert there.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall() == []
        # It tells its own story: who wrote before is told by the audit of the publisher.
        assert there.execute("SELECT ok FROM hypercube.audit_verify()").fetchone() == (True,)
        assert one(there, "SELECT count(DISTINCT chain) FROM hypercube.audit_entry") == 1
    drilled("logical replica made a primary", 1, f"{len(tables)} tables equal, writes go on")
