"""Servers and databases of the tests against the real extension."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from chapters import chapter, copied
from rows import MODELS
from servers import ThrowawayServer

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
