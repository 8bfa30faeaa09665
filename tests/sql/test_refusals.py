"""What an ingest refuses: its own SQLSTATE, a hint, and nothing left behind."""

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
