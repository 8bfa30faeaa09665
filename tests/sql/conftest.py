"""Servers and databases of the tests against the real extension."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from chapters import chapter, copied
from people import People
from rows import MODELS, ingest
from servers import ThrowawayServer
from small_models import vectors, words, write_model
from tenants import made

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    """A server with a database "blank" that has the extension and nothing else."""
    throwaway = ThrowawayServer(shared_buffers="128MB")
    with throwaway.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE blank")
    with throwaway.connect(dbname="blank", autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
    yield throwaway
    throwaway.stop()


@pytest.fixture(scope="session")
def loaded(server):
    """The reports of the three real models, ingested into a database "loaded"."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE loaded TEMPLATE blank")
    reports = {}
    with server.connect(dbname="loaded", autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (str(MODELS),))
        for folder, name in (
            ("all-MiniLM-L6-v2", "minilm"),
            ("wordllama", "wordllama"),
            ("glassllm", "glassllm"),
        ):
            cursor = db.execute("SELECT * FROM hypercube.ingest(%s, %s)", (str(MODELS / folder), name))
            names = [column.name for column in cursor.description]
            reports[name] = dict(zip(names, cursor.fetchone(), strict=True))
    return reports


@pytest.fixture(scope="session")
def searched(server, loaded):
    """A connection to a database in which minilm knows the meaning of seven chapters of Moby-Dick."""
    with copied(server, "loaded", "searched") as name:
        with server.connect(dbname=name, autocommit=True) as connection:
            connection.execute("SET hypercube.model = 'minilm'")
            numbers = (36, 41, 42, 132, 133, 134, 135)
            connection.execute(
                "SELECT hypercube.ingest_texts(%s::text[], %s::text[])",
                ([f"chapter {number}" for number in numbers], [chapter(number) for number in numbers]),
            )
            yield connection


@pytest.fixture
def db(server, loaded):
    """A connection to the loaded models, minilm by default; rolled back."""
    with server.connect(dbname="loaded") as connection:
        connection.execute("SET hypercube.model = 'minilm'")
        connection.commit()
        yield connection
        connection.rollback()


@pytest.fixture
def sources():
    """A folder that the server's user can read, for models made in a test."""
    folder = Path(tempfile.mkdtemp(prefix="hypercube-sources-", dir="/tmp"))
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own(server, sources):
    """An autocommit connection to a database of the test's own, which may read `sources`."""
    name = f"own_{next(_numbers)}"
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE blank")
    with server.connect(dbname=name, autocommit=True) as connection:
        connection.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
        yield connection
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def people(server, own):
    """Roles that connect to the database of `own`."""
    found = People(server, own.info.dbname)
    yield found
    found.close()


@pytest.fixture(scope="session")
def asked(server):
    """The name of a database with two small models and two texts for everybody."""
    w = words(8)
    folder = tempfile.mkdtemp(prefix="hypercube-asked-", dir="/tmp")
    os.chmod(folder, 0o755)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE asked TEMPLATE blank")
    with server.connect(dbname="asked", autocommit=True) as db:
        db.execute("SELECT hypercube.allow_source(%s)", (folder,))
        ingest(db, write_model(f"{folder}/m", vectors(120)), neighbors=8)
        ingest(db, write_model(f"{folder}/other", vectors(120, seed=8)), neighbors=8)
        db.execute(
            "SELECT hypercube.ingest_texts('{a,b}', ARRAY[%s, %s], 'm')",
            (f"{w[0]} {w[1]}. {w[2]} {w[3]}.", f"{w[0]} {w[4]}."),
        )
        db.execute("SELECT hypercube.grant_model(name, 'public') FROM hypercube.model")
        db.execute("SELECT hypercube.grant_document(name, 'public') FROM hypercube.document")
    shutil.rmtree(folder)
    yield "asked"
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("DROP DATABASE asked WITH (FORCE)")


@pytest.fixture(scope="module")
def tenants(server):
    """The tenants of a database of the module's own."""
    with made(server, f"tenants_{next(_numbers)}") as found:
        yield found
