"""Shared by the tests of the audit: what it says, who may ask it, and hands in its tables."""

from contextlib import contextmanager

import psycopg
from psycopg.rows import dict_row

CHANGES = ("insert", "update", "delete", "truncate")


def log(db, where="true"):
    """The rows of the audit of this database, as dicts, oldest first."""
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT * FROM hypercube.audit_log WHERE {where} AND operation <> 'install' ORDER BY chain, id"
        ).fetchall()


def last(db):
    return log(db)[-1]


def verified(db, checkpoint=None):
    """What audit_verify says: (ok, entries, first_bad, problem)."""
    return db.execute("SELECT * FROM hypercube.audit_verify(%s)", (checkpoint,)).fetchone()


@contextmanager
def unguarded(db, *tables):
    """What a superuser can do: take the guards of the audit away for a while."""
    for table in tables or ("audit_entry", "audit_tip", "audit_segment"):
        db.execute(f"ALTER TABLE hypercube.{table} DISABLE TRIGGER ALL")
    try:
        yield
    finally:
        for table in tables or ("audit_entry", "audit_tip", "audit_segment"):
            db.execute(f"ALTER TABLE hypercube.{table} ENABLE ALWAYS TRIGGER keep")


def member(server, db, name, of):
    """Make a role of the cluster that is a member of another, once; return its name."""
    try:
        db.execute(f"CREATE ROLE {name} LOGIN")
    except psycopg.errors.DuplicateObject:
        pass
    db.execute(f"GRANT {of} TO {name}")
    return name


def changes(db, count):
    """Make so many entries: folders allowed and taken back."""
    for place in range(count):
        db.execute(
            "SELECT hypercube.allow_source('/tmp')"
            if place % 2 == 0
            else "SELECT hypercube.disallow_source('/tmp')"
        )
