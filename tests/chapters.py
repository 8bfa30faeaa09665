"""Shared by the tests of texts: the chapters of a book, and what a database holds of them."""

import contextlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import psycopg

BOOK = (Path(__file__).parents[1] / ".local" / "books" / "moby-dick").resolve()
CHAPTERS = range(1, 136)

# What is known of a model that has read stays; settings are no texts.
_STAY = ("atom_map", "text_state", "reader_change", "allowed_source", "relation_kind")


def chapter(number):
    """Return the text of a chapter of Moby-Dick."""
    return json.loads((BOOK / f"{number:03}.json").read_text(encoding="utf-8"))["text"]


def table_counts(db, *, but=()):
    """Return how many rows every table of the extension has, but for those named and for the audit."""
    tables = db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace AND relkind = 'r'"
        " AND relname NOT LIKE 'audit\\_%'"
    ).fetchall()
    return {
        table: db.execute(f"SELECT count(*) FROM hypercube.{table}").fetchone()[0]
        for (table,) in tables
        if table not in but
    }


def held(db):
    """Return the same for the tables whose rows go with the last document that needs them."""
    return table_counts(db, but=_STAY)


def reports(db, statement, *args):
    """Return the rows of a statement as dicts."""
    cursor = db.execute(statement, args)
    return [dict(zip([column.name for column in cursor.description], row, strict=True)) for row in cursor]


def store(db, name, content, **options):
    """Store a document; return its report."""
    told = "".join(f", {option} => %s" for option in options)
    [report] = reports(
        db, f"SELECT * FROM hypercube.ingest_text(%s, %s{told})", name, content, *options.values()
    )
    return report


def drop(db, name):
    """Drop a document; return its report."""
    [report] = reports(db, "SELECT * FROM hypercube.drop_document(%s)", name)
    return report


def unhealthy(db):
    """Return the checks of health() that are not green."""
    return dict(db.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall())


@contextlib.contextmanager
def copied(server, template, name):
    """Give a database that is a copy of another while it is needed; its name."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield name
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def open_folder():
    """Give a folder that the server's user can read, for models of several tests."""
    with tempfile.TemporaryDirectory(prefix="hypercube-sources-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextlib.contextmanager
def role(db, name, of="hypercube_ingest"):
    """Let a new member of one of the roles of the extension act on a connection."""
    db.execute(f"CREATE ROLE {name} IN ROLE {of}")
    try:
        db.execute(f"SET ROLE {name}")
        yield name
    finally:
        db.execute("RESET ROLE")
        db.execute(f"DROP OWNED BY {name}")
        db.execute(f"DROP ROLE {name}")


def show_all(db, grantee="public"):
    """Let a role, or everybody, see every model and document that there is."""
    db.execute("SELECT hypercube.grant_model(name, %s) FROM hypercube.model", (grantee,))
    db.execute("SELECT hypercube.grant_document(name, %s) FROM hypercube.document", (grantee,))


def cancelled(db, statement, args, after):
    """Cancel a statement some seconds after it began; return the error and how long it took to end."""
    raised = []

    def work():
        try:
            db.execute(statement, args)
        except psycopg.Error as error:
            raised.append((error, time.monotonic()))

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(after)
    assert worker.is_alive(), "the statement ended before it was cancelled"
    asked = time.monotonic()
    db.cancel_safe()
    worker.join()
    [(error, ended)] = raised
    return error, ended - asked
