"""Two tenants of one database, a reader, an auditor and an admin, with something of each."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from small_models import vectors, write_model

ROLES = {
    "ann": "hypercube_ingest",
    "bob": "hypercube_ingest",
    "carol": "hypercube_reader",
    "audrey": "hypercube_auditor",
    "amy": "hypercube_admin",
}
# Only ann has these words: in a model, in a document, and in what she composed.
SECRETS = ("zanzibar", "quokka", "xylophone")
SECRET_TEXT = "The zanzibar plan is a quokka."
PUBLIC = "we meet at noon the plan is a good one sell it all and go".split()
_PIECES = ["[UNK]", ".", *dict.fromkeys(PUBLIC)]


def rows(db, statement, *args):
    """Return all rows of a statement."""
    return db.execute(statement, args).fetchall()


def one(db, statement, *args):
    """Return the first column of the first row."""
    return db.execute(statement, args).fetchone()[0]


def ingest_text(db, name, content, model="shared", **options):
    """Store a document."""
    told = "".join(f", {option} => %s" for option in options)
    db.execute(f"SELECT hypercube.ingest_text(%s, %s, %s{told})", (name, content, model, *options.values()))


class Tenants:
    """A database in which roles of the cluster have something to hide from each other.

    | whose | private | for everybody | for bob |
    | --- | --- | --- | --- |
    | amy | | model "shared" | |
    | ann | model "hidden", documents "diary" (read by it) and "plan", a composition, an upload | | |
    | ann | | document "open letter" | model "lent", document "lent letter" |
    | bob | model "own", document "notes" | | |
    """

    def __init__(self, server, name, folder):
        self._server = server
        self._open = {}
        self.name = name
        self.folder = folder

    def connect(self, role="postgres", **options):
        """Open a connection of its own, in autocommit."""
        return self._server.connect(dbname=self.name, user=role, autocommit=True, **options)

    def __getattr__(self, role):
        """Return a connection of a role, in autocommit: the same one for all tests of a module."""
        if role not in (*ROLES, "postgres"):
            raise AttributeError(role)
        if role not in self._open or self._open[role].closed:
            self._open[role] = self.connect(role)
        return self._open[role]

    def close(self):
        for connection in self._open.values():
            connection.close()

    def fill(self):
        for role in ROLES:
            self.postgres.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
        self.postgres.execute("SELECT hypercube.allow_source(%s)", (str(self.folder),))
        self._model(self.amy, "shared", _PIECES, 1)
        self.amy.execute("SELECT hypercube.grant_model('shared', 'public')")
        self._model(self.ann, "hidden", [*_PIECES, *SECRETS], 2)
        self._model(self.ann, "lent", _PIECES, 3)
        self.ann.execute("SELECT hypercube.grant_model('lent', 'bob')")
        self._model(self.bob, "own", _PIECES, 4)
        ingest_text(self.ann, "diary", f"{SECRET_TEXT} We meet at noon.", "hidden")
        ingest_text(self.ann, "plan", f"{SECRET_TEXT} We sell it all.", metadata='{"with": "xylophone"}')
        ingest_text(self.ann, "open letter", "The plan is good.")
        ingest_text(self.ann, "lent letter", "We sell a good one.")
        self.ann.execute("SELECT hypercube.grant_document('open letter', 'public')")
        self.ann.execute("SELECT hypercube.grant_document('lent letter', 'bob')")
        ingest_text(self.bob, "notes", "We meet at noon. We go.")
        self.ann.execute("SELECT hypercube.compose('xylophone')")
        upload = one(self.ann, "SELECT hypercube.upload_begin('zanzibar upload', 'config.json')")
        self.ann.execute("SELECT hypercube.upload_part(%s, 0, 'zanzibar')", (upload,))
        self.ann.execute("SELECT hypercube.upload_finish(%s, %s)", (upload, blake3(b"zanzibar").digest()))
        self.postgres.execute("ANALYZE")

    def _model(self, db, name, pieces, seed):
        folder = write_model(self.folder / name, vectors(len(pieces), seed=seed), pieces=pieces)
        db.execute("SELECT hypercube.ingest(%s, %s, 4)", (folder, name))


@contextmanager
def made(server, name):
    """Make the roles and a database; both go again."""
    folder = Path(tempfile.mkdtemp(prefix="hypercube-sources-", dir="/tmp"))
    os.chmod(folder, 0o755)
    tenants = Tenants(server, name, folder)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
        try:
            for role in ROLES:
                db.execute(f"CREATE ROLE {role} LOGIN")
            # The extension makes the roles that the tenants become members of.
            tenants.postgres.execute("CREATE EXTENSION hypercube CASCADE")
            for role, group in ROLES.items():
                db.execute(f"GRANT {group} TO {role}")
            tenants.fill()
            yield tenants
        finally:
            tenants.close()
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")
            for role in ROLES:
                db.execute(f"DROP ROLE IF EXISTS {role}")
            shutil.rmtree(folder)
