"""A streaming standby of a throwaway server, as pg_basebackup makes one, and what is changed and asked."""

import os
import random
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from chapters import store
from replies import answer
from rows import ingest, one
from servers import ThrowawayServer, as_server_user, program_folder, server_user
from small_models import vectors, words, write_model

_SECONDS = 60
W = words(9)
ASKED = (
    f"SELECT * FROM hypercube.semantic_neighbors('{W[0]}', 5, 'changing')",
    f"SELECT * FROM hypercube.analogy('{W[0]}', '{W[1]}', '{W[2]}', 5, 'changing')",
    f"SELECT * FROM hypercube.most_similar('{{{W[3]},{W[4]}}}', k => 5, model => 'changing')",
    f"SELECT hypercube.embedding('{W[5]}', 'changing')",
    f"SELECT * FROM hypercube.spatial_neighbors('{W[6]}', 5, 'changing')",
    f"SELECT * FROM hypercube.search('{W[0]} {W[2]}', 5, 'changing')",
    f"SELECT * FROM hypercube.continuations('{W[0]}', 5, 'changing')",
    f"SELECT * FROM hypercube.tokenize('{W[7]} {W[8]}', 'changing')",
    "SELECT m.architecture, m.root, d.name FROM hypercube.model AS m, hypercube.document AS d"
    " WHERE m.name = 'changing' ORDER BY d.name",
)


def base_backup(server, folder):
    """Copy a running server into a folder as one that follows it when it is started."""
    if os.getuid() == 0:
        shutil.chown(folder.parent, server_user().pw_uid, server_user().pw_gid)
    dsn = server.dsn()
    command = [program_folder() / "pg_basebackup", "-D", folder, "-h", dsn["host"], "-p", dsn["port"]]
    command += ["-U", "postgres", "-R", "-c", "fast", "-X", "stream", "--no-sync"]
    subprocess.run(as_server_user(command), check=True, capture_output=True)


@contextmanager
def standby_of(server, **settings):
    """Give a running standby of a server while it is needed; it may be promoted meanwhile."""
    base = Path(tempfile.mkdtemp(prefix="hypercube-standby-", dir="/tmp"))
    try:
        base_backup(server, base / "data")
        standby = ThrowawayServer(base_dir=str(base), copy_data_from=None, **settings)
        try:
            yield standby
        finally:
            standby.stop()
    finally:
        shutil.rmtree(base)


def catch_up(primary, standby):
    """Wait until the standby has replayed all that is committed on the primary."""
    with primary.connect(dbname="postgres") as db:
        position = db.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
    with standby.connect(dbname="postgres", autocommit=True) as db:
        until = time.monotonic() + _SECONDS
        while not db.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)).fetchone()[0]:
            assert time.monotonic() < until, f"{position} was not replayed within {_SECONDS} s"
            time.sleep(0.01)


def promote(standby):
    """Make a primary of a standby; return the seconds until it writes."""
    began = time.monotonic()
    with standby.connect(dbname="postgres", autocommit=True) as db:
        assert db.execute(f"SELECT pg_promote(true, {_SECONDS})").fetchone()[0]
    return time.monotonic() - began


def change(db, sources, seed):
    """Put another model and its documents in the place of those of the same names."""
    if one(db, "SELECT count(*) FROM hypercube.model"):
        db.execute("SELECT hypercube.drop_document(name) FROM hypercube.document")
        db.execute("SELECT hypercube.drop_model('changing')")
        shutil.rmtree(sources / "changing")
    ingest(db, write_model(sources / "changing", vectors(200, seed=seed)), "changing")
    drawn = random.Random(seed)
    for name in ("a", "b", "c"):
        text = ". ".join(" ".join(drawn.choices(W, k=6)) for _ in range(4)) + "."
        store(db, name, text.capitalize(), model="changing")
    db.execute("SELECT hypercube.relate_sequences('changing', 2, 1)")


def told(db):
    """Return the answers to all that is asked of that model."""
    return [answer(db, statement) for statement in ASKED]
