"""What an earlier version left: a database made by it, and what it answered.

`make` is run once, with that version installed and its tests on the path (tests/data/README.md); the
tests of upgrades restore what it wrote, ask the same again and compare.
"""

import gzip
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import psycopg

DATA = Path(__file__).parent / "data"
DATABASE = "before"


def kept(version):
    """Return the folder with what is kept of a version."""
    return DATA / f"hypercube-{version}"


def versions():
    """Return the earlier versions that something is kept of, oldest first."""
    found = [path.name.removeprefix("hypercube-") for path in DATA.glob("hypercube-*")]
    return sorted(found, key=lambda version: [int(number) for number in version.split(".")])


def install_script(version):
    """Return the SQL that CREATE EXTENSION ran in a version."""
    return gzip.decompress((kept(version) / "install.sql.gz").read_bytes())


def unpack_package(version, folder):
    """Put the Python half of a version into a folder, as its package hypercube."""
    with tarfile.open(kept(version) / "package.tar.xz") as archive:
        for member in archive:
            if member.isfile():
                path = Path(folder, member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())


def answers(version):
    """Return what was asked and answered: dicts of role, statement, arguments, and rows or refused."""
    return json.loads(gzip.decompress((kept(version) / "answers.json.gz").read_bytes()))


def different_answers(server, name, recorded):
    """Ask all again of a database; return (role, statement, then, now) of those that differ."""
    found, connections = [], {}
    try:
        for asked in recorded:
            role = asked["role"]
            if role not in connections:
                connections[role] = server.connect(dbname=name, user=role, autocommit=True)
            then = {told: asked[told] for told in ("rows", "refused")}
            now = ask(connections[role], asked["statement"], asked["arguments"])
            if now != then:
                found.append((role, asked["statement"], then, now))
    finally:
        for connection in connections.values():
            connection.close()
    return found


def ask(db, statement, arguments):
    """Return the rows of a statement and the SQLSTATE it was refused with, as JSON holds them."""
    rows, refused = [], None
    try:
        cursor = db.execute(statement, [_from_json(value) for value in arguments])
        names = [column.name for column in cursor.description]
        # How long something took is no answer.
        rows = [
            [None if name == "seconds" else value for name, value in zip(names, row, strict=True)]
            for row in cursor
        ]
    except psycopg.Error as error:
        refused = error.sqlstate
    return json.loads(json.dumps({"rows": rows, "refused": refused}, default=_to_json))


def _to_json(value):
    return {"bytes": value.hex()} if isinstance(value, bytes) else str(value)


def _from_json(value):
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value


def restore(server, version, name):
    """Make a database of the earlier version, by the scripts that the server finds, and fill it."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    with server.connect(dbname=name, autocommit=True) as db:
        # The dump says CREATE EXTENSION IF NOT EXISTS, which would take the newest.
        db.execute(f"CREATE EXTENSION hypercube VERSION '{version}' CASCADE")
    # The schema came with the extension.
    restore_dump(server, version, name, left_out=" SCHEMA - hypercube ")


def restore_dump(server, version, name, left_out=None):
    """Restore what a version made into a database, without the lines of the dump's list that hold a text."""
    import worlds
    from servers import program_folder

    with server.connect(dbname=name, autocommit=True) as db:
        if not db.execute("SELECT to_regrole(%s)", (worlds.READER,)).fetchone()[0]:
            worlds.create_roles(db)
    command, dump = program_folder() / "pg_restore", kept(version) / "made.dump"
    listed = subprocess.run([command, "--list", dump], stdout=subprocess.PIPE, text=True, check=True).stdout
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen:
        chosen.writelines(line for line in listed.splitlines(True) if not left_out or left_out not in line)
        chosen.flush()
        options = ["--exit-on-error", "--use-list", chosen.name, "--dbname", server.url(dbname=name)]
        subprocess.run([command, *options, dump], check=True)
    with server.connect(dbname=name, autocommit=True) as db:
        db.execute("SELECT hypercube.refresh_consensus()")


def make(version, root):
    """Write everything that is kept of a version, whose checkout is `root` and which is installed."""
    from servers import ThrowawayServer, program_folder

    folder = kept(version)
    folder.mkdir(exist_ok=True)
    script = (root / "sql" / f"hypercube--{version}.sql").read_bytes()
    (folder / "install.sql.gz").write_bytes(gzip.compress(script, mtime=0))
    with tarfile.open(folder / "package.tar.xz", "w:xz", preset=9) as archive:
        archive.add(root / "plpy" / "hypercube", "hypercube", filter=_clean)
    server = ThrowawayServer()
    try:
        recorded = fill(server, DATABASE)
        lines = ",\n".join(json.dumps(one) for one in recorded)
        (folder / "answers.json.gz").write_bytes(gzip.compress(f"[{lines}]\n".encode(), mtime=0))
        command = [program_folder() / "pg_dump", "-Fc", "-Z9", "-f", folder / "made.dump"]
        subprocess.run([*command, server.url(dbname=DATABASE)], check=True)
        print(
            f"{len(recorded)} answers, {sum(one['refused'] is not None for one in recorded)} of them refusals"
        )
    finally:
        server.stop()


def fill(server, name):
    """Make a database with models, texts and rights of two owners; return its answers, as `answers` does."""
    import worlds
    from chapters import open_folder

    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    with open_folder() as sources, server.connect(dbname=name, autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        worlds.create_roles(db)
        db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        worlds.build(db, sources)
        _share(db)
        asked = list(_questions(db, sources))
    recorded = []
    for role in dict.fromkeys(role for role, _, _ in asked):
        with server.connect(dbname=name, user=role, autocommit=True) as db:
            for statement, arguments in (one[1:] for one in asked if one[0] == role):
                told = json.loads(json.dumps(arguments, default=_to_json))
                recorded.append(
                    {"role": role, "statement": statement, "arguments": told} | ask(db, statement, told)
                )
    return recorded


def _clean(member):
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return None if "__pycache__" in member.name else member


def _share(db):
    """Give what was made to two owners, let others see some of it, and seal a part of the audit."""
    import worlds

    ann, bob = worlds.LOGINS[:2]
    for place, name in enumerate(worlds.MODELS):
        db.execute("SELECT hypercube.give_model(%s, %s)", (name, (ann, bob)[place % 2]))
    for place, name in enumerate(worlds.DOCUMENTS):
        db.execute("SELECT hypercube.give_document(%s, %s)", (name, (ann, bob)[place // 2 % 2]))
    db.execute(
        "SELECT hypercube.grant_model('alike', %s), hypercube.grant_model('encoder', 'public')", (bob,)
    )
    for name in list(worlds.DOCUMENTS)[::3]:
        db.execute("SELECT hypercube.grant_document(%s, 'public')", (name,))
    # The folders will be gone where this is restored.
    for kind in ("source", "target"):
        db.execute(f"DELETE FROM hypercube.allowed_{kind}")
        db.execute(f"SELECT hypercube.allow_{kind}('/tmp', %s)", (ann,))
    db.execute("SELECT hypercube.audit_seal()")
    db.execute("SELECT hypercube.set_limit(%s, 'k', 20)", (bob,))
    db.execute("SELECT hypercube.audit_checkpoint()")


def _questions(db, sources):
    """Draw questions to every public function for two owners: each of what is there, and by chance."""
    import worlds
    from tenant_questions import QUESTIONS, Ask, First

    rows = worlds.dump(db)
    for place, role in enumerate(worlds.LOGINS[:2]):
        seen = worlds.seen(rows, role, set())
        for drawing in (First(), random.Random(place)):
            ask = Ask(drawing, rows, seen, {role}, sources)
            for make_question in QUESTIONS.values():
                for statement, arguments in make_question(ask):
                    yield role, statement, arguments
    for table in worlds.tables(db):
        # What a dump does not take along cannot be the same.
        if table not in (*worlds.AUDIT, "index_recall"):
            yield "postgres", f"SELECT count(*), min(t::text), max(t::text) FROM hypercube.{table} AS t", []


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
