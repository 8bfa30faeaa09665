"""Files made to do harm: each is refused with its own SQLSTATE, and the server answers on."""

import json
import os

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rows import ingest, row_counts
from small_models import tokenizer, vectors, words, write_model


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)} | more


def content(header, data=b"\0" * 8, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


CORRUPT = {
    "an empty file": b"",
    "a header of no length": content(b"", length=0),
    "a header that is huge": content({}, length=2**64 - 1),
    "a header beyond the end": content({}, b"", length=1000),
    "a header that is not UTF-8": content(b'{"\xff\xfe": 1}'),
    "a header that is not JSON": content(b"{]"),
    "a header that is nested deeply": content(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "a name twice": content(
        b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}"
    ),
    "a key twice": content(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "offsets that overlap": content({"a": entry(), "b": entry(offsets=(4, 12))}, b"\0" * 12),
    "offsets that are reversed": content({"a": entry(offsets=(8, 0))}),
    "a gap": content({"a": entry(offsets=(4, 12))}, b"\0" * 12),
    "offsets beyond the end": content({"a": entry(shape=(4,), offsets=(0, 16))}),
    "offsets that overflow": content({"a": entry(offsets=(2**64 - 8, 2**64))}),
    "a shape of another size": content({"a": entry(shape=(3,))}),
    "a negative dimension": content({"a": entry(shape=(-2,))}),
    "a dimension that is a fraction": content({"a": entry(shape=(2.0,))}),
    "a huge dimension": content({"a": entry(shape=(2**64,))}),
    "dimensions that overflow": content({"a": entry(shape=(2**33, 2**33))}),
    "a tensor called __metadata__": content({"__metadata__": entry()}),
    "a name with NUL": content({"a\0b": entry()}),
    "a name with a newline": content({"a\nb": entry()}),
    "a name of 10,000 characters": content({"a" * 10_000: entry()}),
    "a key too many": content({"a": entry(more=1)}),
    "bytes that belong to nothing": content({"a": entry()}, b"\0" * 9),
}


@pytest.fixture
def untouched(server, own):
    """Nothing was left behind, the server is the same one, and it answers."""
    before = server.pid, row_counts(own)
    yield
    assert (server.pid, row_counts(own)) == before
    assert "terminated by signal" not in server.log


@pytest.mark.parametrize("what", CORRUPT)
def test_a_corrupt_file_is_data_corrupted(own, sources, untouched, what):
    path = sources / "m.safetensors"
    path.write_bytes(CORRUPT[what])
    os.chmod(path, 0o644)
    with pytest.raises(psycopg.errors.DataCorrupted) as refusal:
        ingest(own, str(path))
    assert refusal.value.diag.message_hint


def test_a_header_of_more_than_a_million_tensors_is_too_long(own, sources, untouched):
    one = json.dumps(entry("I8", (0,), (0, 0)))
    text = ("{" + ",".join(f'"t{i}":{one}' for i in range(1_200_000)) + "}").encode()
    path = sources / "m.safetensors"
    path.write_bytes(content(text, b""))
    os.chmod(path, 0o644)
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="at most 16777216 are read"):
        ingest(own, str(path))


def test_names_that_look_like_sql_are_names(own, sources):
    odd = ["'; DROP TABLE hypercube.model; --", '"quoted"', "%s %(x)s $1", "a.b\\c", "ünïcode.Δ"]
    folder = write_model(sources / "m", vectors(30), tensors={name: np.ones(2, np.float32) for name in odd})
    ingest(own, folder, odd[0])

    names = own.execute("SELECT tensor FROM hypercube.tensor_overview WHERE bytes = 8").fetchall()
    assert {name for (name,) in names} == set(odd)
    assert own.execute("SELECT bool_and(ok) FROM hypercube.verify_model(%s)", (odd[0],)).fetchone() == (True,)
    assert own.execute(
        "SELECT count(*) FROM hypercube.semantic_neighbors('waaa', 5, %s)", (odd[0],)
    ).fetchone() == (5,)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_refused_without_waiting(own, sources, untouched, make):
    write_model(sources / "m", vectors(30))
    (sources / "m" / "model.safetensors").unlink()
    make(sources / "m" / "model.safetensors")
    with pytest.raises((psycopg.errors.DataCorrupted, psycopg.errors.InsufficientPrivilege)):
        ingest(own, f"{sources}/m")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_not_followed(own, sources, untouched, name):
    write_model(sources / "m", vectors(30))
    (sources / "m" / name).unlink()
    (sources / "m" / name).symlink_to("/etc/hostname")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not inside a folder"):
        ingest(own, f"{sources}/m")


class TestVocabularies:
    def refused(self, own, sources, told, error):
        source = write_model(sources / "m", vectors(30), tokenizer_json=told)
        with pytest.raises(error):
            ingest(own, source)

    @pytest.mark.parametrize("token_id", [3, -1, 1.5, "7", None, True, [1], 2**40])
    def test_ids_that_are_none(self, own, sources, untouched, token_id):
        told = tokenizer(["[UNK]", *words(28)])
        told["model"]["vocab"]["odd"] = token_id
        self.refused(own, sources, told, (psycopg.errors.DataCorrupted, psycopg.errors.ProgramLimitExceeded))

    @pytest.mark.parametrize("vocab", [None, 5, "text", [[1, 2]], [["a"], 7], {"a": {}}])
    def test_a_vocabulary_of_another_type(self, own, sources, untouched, vocab):
        told = tokenizer(["[UNK]", *words(28)])
        told["model"]["vocab"] = vocab
        self.refused(own, sources, told, (psycopg.errors.DataCorrupted, psycopg.errors.FeatureNotSupported))

    def test_ten_million_entries(self, own, sources, untouched):
        source = write_model(sources / "m", vectors(30))
        with open(sources / "m" / "tokenizer.json", "w") as file:
            file.write('{"model": {"type": "WordPiece", "vocab": {')
            file.write(",".join(f'"{i}":{i}' for i in range(10_000_000)))
            file.write("}}}")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="at most"):
            ingest(own, source)

    def test_gaps_are_unused_rows(self, own, sources):
        told = tokenizer(["[UNK]", *words(20)])
        told["model"]["vocab"]["last"] = 29
        report = ingest(own, write_model(sources / "m", vectors(30), tokenizer_json=told))
        assert (report["tokens"], report["usable"]) == (30, 22)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), noise=st.binary(min_size=1, max_size=12), cut=st.booleans())
def test_a_mutated_model_is_refused_or_ingested_whole(server, own, sources, place, noise, cut):
    folder = write_model(sources / "m", vectors(12, 8))
    path = sources / "m" / "model.safetensors"
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : place + (len(data) if cut else len(noise))] = noise
    path.write_bytes(data)
    before = row_counts(own)
    try:
        ingest(own, folder)
    except psycopg.Error as refusal:
        assert refusal.sqlstate in ("XX001", "0A000", "54000", "58P01"), refusal
        assert row_counts(own) == before
    else:
        assert own.execute("SELECT bool_and(ok) FROM hypercube.verify_model('m')").fetchone() == (True,)
        own.execute("SELECT hypercube.drop_model('m')")
