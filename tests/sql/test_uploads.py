"""Models that come through the connection."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from blake3 import blake3

from chapters import role
from rows import MODELS, ingest, one, snapshot
from small_models import vectors, write_model

ROOT = Path(__file__).parents[2]
PART = 1500


def upload(db, name, folder, order=lambda parts: parts):
    for path in sorted(Path(folder).iterdir()):
        content = path.read_bytes()
        upload_id = one(db, "SELECT hypercube.upload_begin(%s, %s)", name, path.name)
        parts = list(enumerate(content[start : start + PART] for start in range(0, len(content), PART)))
        for ordinal, data in order(parts):
            db.execute("SELECT hypercube.upload_part(%s, %s, %s)", (upload_id, ordinal, data))
        digest = blake3(content).digest()
        assert one(db, "SELECT hypercube.upload_finish(%s, %s)", upload_id, digest) == len(content)


def test_an_uploaded_model_is_the_one_of_the_folder(own, sources):
    folder = write_model(sources / "m", vectors(200))
    ingest(own, folder)
    expected = snapshot(own)
    own.execute("SELECT hypercube.drop_model('m')")
    # In any order, and some of it twice.
    upload(own, "m", folder, order=lambda parts: [*reversed(parts), *parts[:2]])
    report = own.execute("SELECT * FROM hypercube.ingest_upload('m')").fetchone()

    assert report[0] == "m" and snapshot(own) == expected
    assert (
        one(own, "SELECT count(*) FROM hypercube.upload")
        == one(own, "SELECT count(*) FROM hypercube.upload_part")
        == 0
    )


def test_a_wrong_digest_is_refused_and_can_be_mended(own):
    upload_id = one(own, "SELECT hypercube.upload_begin('m', 'model.safetensors')")
    own.execute("SELECT hypercube.upload_part(%s, 0, 'abc')", (upload_id,))
    with pytest.raises(psycopg.errors.DataCorrupted, match="not the one that was announced") as refusal:
        own.execute("SELECT hypercube.upload_finish(%s, %s)", (upload_id, blake3(b"abd").digest()))
    assert blake3(b"abc").hexdigest() in refusal.value.diag.message_detail
    own.execute("SELECT hypercube.upload_part(%s, 0, 'abd')", (upload_id,))
    assert one(own, "SELECT hypercube.upload_finish(%s, %s)", upload_id, blake3(b"abd").digest()) == 3


def test_a_missing_part_is_named(own):
    upload_id = one(own, "SELECT hypercube.upload_begin('m', 'model.safetensors')")
    for ordinal in (0, 1, 3):
        own.execute("SELECT hypercube.upload_part(%s, %s, 'abc')", (upload_id, ordinal))
    with pytest.raises(psycopg.errors.UndefinedFile, match="part 2 of file"):
        own.execute("SELECT hypercube.upload_finish(%s, 'x')", (upload_id,))


def test_an_unfinished_or_missing_upload_is_not_ingested(own):
    with pytest.raises(psycopg.errors.UndefinedFile, match="nothing was uploaded"):
        own.execute("SELECT hypercube.ingest_upload('m')")
    own.execute("SELECT hypercube.upload_begin('m', 'model.safetensors')")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not finished"):
        own.execute("SELECT hypercube.ingest_upload('m')")


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a b", ".hidden", "a/b/c/d", "x\ny", "a.header", None, "a" * 300],
)
def test_a_path_that_is_none_is_refused(own, path):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no path of a file"):
        own.execute("SELECT hypercube.upload_begin('m', %s)", (path,))


@pytest.mark.parametrize(
    ("ordinal", "data"),
    [(-1, b"a"), (10**6, b"a"), (None, b"a"), (0, b""), (0, None), (0, b"a" * (16 << 20) + b"a")],
)
def test_a_part_that_is_none_is_refused(own, ordinal, data):
    upload_id = one(own, "SELECT hypercube.upload_begin('m', 'model.safetensors')")
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        own.execute("SELECT hypercube.upload_part(%s, %s, %s)", (upload_id, ordinal, data))


def test_uploads_are_their_owners(own):
    with role(own, "ann"):
        upload_id = one(own, "SELECT hypercube.upload_begin('m', 'model.safetensors')")
        own.execute("RESET ROLE")
        with role(own, "ben"):
            assert own.execute("SELECT * FROM hypercube.upload").fetchall() == []
            for call in ("upload_part(%s, 0, 'a')", "upload_finish(%s, 'a')"):
                with pytest.raises(psycopg.errors.UndefinedObject, match="does not exist"):
                    own.execute(f"SELECT hypercube.{call}", (upload_id,))
            # A name is taken, whoever has it; what else is done with one that is not seen finds nothing.
            with pytest.raises(psycopg.errors.DuplicateObject, match='"m" already exists'):
                own.execute("SELECT hypercube.upload_begin('m', 'config.json')")
            with pytest.raises(psycopg.errors.UndefinedFile, match='nothing was uploaded for "m"'):
                own.execute("SELECT hypercube.ingest_upload('m')")
            assert one(own, "SELECT hypercube.upload_cancel('m')") == 0
        own.execute("SET ROLE ann")
        assert one(own, "SELECT hypercube.upload_cancel('m')") == 1


def test_a_cancelled_upload_begins_anew(own):
    """Otherwise the parts of a longer file before it would stay."""
    for count in (3, 1):
        upload_id = one(own, "SELECT hypercube.upload_begin('m', 'model.safetensors')")
        for ordinal in range(count):
            own.execute("SELECT hypercube.upload_part(%s, %s, 'abc')", (upload_id, ordinal))
        if count == 3:
            assert one(own, "SELECT hypercube.upload_cancel('m')") == 1
    assert one(own, "SELECT hypercube.upload_finish(%s, %s)", upload_id, blake3(b"abc").digest()) == 3
    assert one(own, "SELECT hypercube.upload_cancel('nothing')") == 0


def test_abandoned_uploads_expire(own):
    old = one(own, "SELECT hypercube.upload_begin('old', 'model.safetensors')")
    own.execute("SELECT hypercube.upload_part(%s, 0, 'abc')", (old,))
    own.execute("UPDATE hypercube.upload SET touched_at = now() - interval '25 hours'")
    own.execute("SELECT hypercube.upload_begin('new', 'model.safetensors')")

    assert own.execute("SELECT name FROM hypercube.upload").fetchall() == [("new",)]
    assert one(own, "SELECT count(*) FROM hypercube.upload_part") == 0


@pytest.mark.parametrize("by", ["string", "variables"])
def test_the_script_sends_a_folder_through_a_connection(server, own, by):
    folder, told = MODELS / "glassllm", server.dsn(dbname=own.info.dbname)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    command, environment = [ROOT / "scripts" / "upload", folder, "sent"], dict(os.environ)
    if by == "string":
        command.append(server.url(dbname=own.info.dbname))
    else:
        environment |= {names[word]: str(value) for word, value in told.items()}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert run.returncode == 0, run.stderr
    assert "100 %" in run.stderr and "relations" in run.stdout
    assert one(own, "SELECT count(*) FROM hypercube.relation WHERE kind = 'E'") == 16_384
    assert one(own, "SELECT bool_and(ok) FROM hypercube.verify_model('sent')")
