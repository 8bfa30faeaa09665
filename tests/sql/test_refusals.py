"""What an ingest refuses: its own SQLSTATE, a hint, and nothing left behind."""

import os
import time

import psycopg
import pytest

from rows import ingest, row_counts
from small_models import tokenizer, vectors, words, write_model


class TestRefusals:
    """Each leaves nothing behind, which the fixture checks."""

    @pytest.fixture
    def refused(self, own):
        before = row_counts(own)

        def refused(error, match, source, *args, hint=None, **kwargs):
            with pytest.raises(error, match=match) as refusal:
                ingest(own, source, *args, **kwargs)
            assert row_counts(own) == before
            if hint:
                assert hint in refusal.value.diag.message_hint

        return refused

    def test_missing_path(self, refused, sources):
        refused(psycopg.errors.UndefinedFile, "does not exist", f"{sources}/nothing", hint="tokenizer.json")

    def test_folder_without_weights(self, refused, sources):
        refused(psycopg.errors.UndefinedFile, "holds no .safetensors", str(sources), hint="tokenizer.json")

    @pytest.mark.parametrize("source", ["/etc", "/etc/passwd", "{0}/../", "{0}/escape"])
    def test_path_that_is_not_allowed(self, refused, sources, source):
        (sources / "escape").symlink_to("/etc")
        refused(
            psycopg.errors.InsufficientPrivilege,
            "not inside a folder",
            source.format(sources),
            hint="allow_source",
        )

    @pytest.mark.parametrize("source", ["", "relative/path", None])
    def test_path_that_is_none(self, refused, source):
        refused(psycopg.errors.InvalidParameterValue, "must be an absolute path", source)

    def test_not_safetensors(self, refused, sources):
        write_model(sources / "m", vectors(30))
        (sources / "m" / "model.safetensors").write_bytes(b"\x80\x02this is a pickle" * 100)
        refused(
            psycopg.errors.DataCorrupted, "not valid safetensors", f"{sources}/m", hint="Fetch the file again"
        )

    def test_truncated_file(self, refused, sources):
        path = sources / "m" / "model.safetensors"
        write_model(sources / "m", vectors(30))
        path.write_bytes(path.read_bytes()[:-1])
        refused(psycopg.errors.DataCorrupted, "not valid safetensors", f"{sources}/m")

    def test_two_tensors_of_one_name(self, refused, sources):
        write_model(sources / "m", vectors(30))
        entry = '"a": {"dtype": "I8", "shape": [1], "data_offsets": [%d, %d]}'
        header = ("{" + entry % (0, 1) + "," + entry % (1, 2) + "}").encode()
        (sources / "m" / "model.safetensors").write_bytes(
            len(header).to_bytes(8, "little") + header + b"\1\2"
        )
        refused(psycopg.errors.DataCorrupted, "occurs twice", f"{sources}/m")

    def test_one_name_in_two_shards(self, refused, sources):
        write_model(sources / "m", vectors(30))
        path = sources / "m" / "model.safetensors"
        (sources / "m" / "other.safetensors").write_bytes(path.read_bytes())
        refused(psycopg.errors.DataCorrupted, "is in two files", f"{sources}/m")

    def test_name_taken(self, own, sources):
        source = write_model(sources / "m", vectors(30))
        ingest(own, source)
        before = row_counts(own)
        with pytest.raises(psycopg.errors.DuplicateObject, match='"m" already exists') as refusal:
            ingest(own, source)
        assert "drop_model" in refusal.value.diag.message_hint
        assert row_counts(own) == before

    @pytest.mark.parametrize("name", ["", " m", "a\nb", "x" * 201])
    def test_name_that_is_none(self, refused, sources, name):
        refused(
            psycopg.errors.InvalidParameterValue, "printable", write_model(sources / "m", vectors(30)), name
        )

    def test_no_tokenizer(self, refused, sources):
        source = write_model(sources / "m", vectors(30), tokenizer_json=False)
        refused(psycopg.errors.UndefinedFile, "no tokenizer", source, hint="tokenizer.json")

    def test_vocabulary_longer_than_the_embedding(self, refused, sources):
        source = write_model(sources / "m", vectors(30), pieces=["[UNK]", *words(30)])
        refused(psycopg.errors.DataCorrupted, "31 tokens.*only 30 rows", source)

    def test_two_tokens_with_one_id(self, refused, sources):
        told = tokenizer(["[UNK]", *words(29)])
        told["model"]["vocab"]["extra"] = 3
        source = write_model(sources / "m", vectors(30), tokenizer_json=told)
        refused(psycopg.errors.DataCorrupted, "two tokens", source)

    def test_an_id_that_would_fill_the_disk(self, refused, sources):
        told = tokenizer(["[UNK]", *words(29)])
        told["model"]["vocab"]["far"] = 300_000_000
        source = write_model(sources / "m", vectors(30), tokenizer_json=told)
        refused(psycopg.errors.ProgramLimitExceeded, "at most 4000000", source)

    def test_a_file_name_that_is_no_text(self, refused, sources):
        write_model(sources / "m", vectors(30))
        os.rename(sources / "m" / "model.safetensors", os.fsencode(sources / "m") + b"/mod\xffel.safetensors")
        refused(psycopg.errors.DataCorrupted, "not printable UTF-8", f"{sources}/m")

    @pytest.mark.parametrize("neighbors", [0, -1, 257, None])
    def test_neighbors_out_of_range(self, refused, sources, neighbors):
        source = write_model(sources / "m", vectors(30))
        refused(
            psycopg.errors.InvalidParameterValue, "neighbors is out of range", source, neighbors=neighbors
        )

    def test_config_that_is_no_object(self, refused, sources):
        source = write_model(sources / "m", vectors(30))
        for content in ("[]", "{" * 100_000, '{"a": 1' + "0" * 5000 + "}"):
            (sources / "m" / "config.json").write_text(content)
            refused(psycopg.errors.DataCorrupted, "config.json is not a JSON object", source)

    def test_a_matrix_that_is_too_large(self, own, sources):
        source = write_model(sources / "m", vectors(30_000, 64))
        own.execute("SET hypercube.matrix_limit = '7'")
        with pytest.raises(psycopg.errors.OutOfMemory, match="needs 8 MiB, 7 MiB are allowed") as refusal:
            ingest(own, source)
        assert "SET hypercube.matrix_limit = '8'" in refusal.value.diag.message_hint

    def test_the_server_survives_all_of_it(self, server, loaded):
        before = server.pid
        with server.connect() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
        assert server.pid == before
        assert "terminated by signal" not in server.log


class TestTokenizers:
    """A tokenizer is read by a child process: what would end a backend ends only that."""

    HOSTILE = {
        "a panic while panicking": {
            "type": "BPE", "vocab": {"a": 0, "é": 1, "aé": 2, "b": 3}, "merges": ["a é"],
            "continuing_subword_prefix": "a",
        },
        "a merge of one part": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a"]]},
        "an unknown model": {"type": "Nothing", "vocab": {"a": 0}},
    }  # fmt: skip

    @pytest.mark.parametrize("what", HOSTILE)
    def test_a_model_that_breaks_the_library_is_refused(self, server, own, sources, what):
        before = server.pid, row_counts(own)
        told = tokenizer(["a"]) | {"model": self.HOSTILE[what], "added_tokens": []}
        source = write_model(sources / "m", vectors(30), tokenizer_json=told)
        with pytest.raises((psycopg.errors.DataCorrupted, psycopg.errors.FeatureNotSupported)):
            ingest(own, source)
        assert (server.pid, row_counts(own)) == before
        assert "terminated by signal" not in server.log

    def test_a_memory_bomb_is_refused(self, server, own, sources):
        told = tokenizer(["[UNK]", *words(29)])
        grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
        told["normalizer"] = {"type": "Sequence", "normalizers": [grow] * 9}
        source = write_model(sources / "m", vectors(30), tokenizer_json=told)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="too long"):
            ingest(own, source)
        assert "terminated by signal" not in server.log

    def test_a_cancel_ends_the_child_too(self, own, sources):
        path = sources / "m" / "tokenizer.json"
        source = write_model(sources / "m", vectors(30))
        path.write_text('{"model": {"type": "BPE", "vocab": {}, "zz": [' + "[]," * 10_000_000 + "[]]}}")
        own.execute("SET statement_timeout = '1s'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            ingest(own, source)
        assert time.monotonic() - began < 2.0
