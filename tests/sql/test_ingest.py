"""The main job: what an ingest leaves in the tables, for real and for small models."""

import json
import os

import numpy as np
import psycopg
import pytest

from rows import MODELS, ingest, one, snapshot
from small_models import vectors, words, write_model


class TestRealModels:
    def test_minilm_is_counted(self, db, loaded):
        report = loaded["minilm"]

        assert (report["tensors"], report["bytes"], report["tokens"]) == (104, 90_856_960, 30_522)
        assert report["usable"] == 30_522
        assert report["relations"] == 30_522 * 16 == one(
            db, "SELECT count(*) FROM hypercube.relation AS r JOIN hypercube.model AS m ON m.id = r.model_id"
            " WHERE m.name = 'minilm'"
        )  # fmt: skip
        assert report["projected"] == 30_522
        assert report["residual"] <= 1e-4
        assert report["neighbor_preservation"] > 0.05
        assert report["classified"] >= 103
        assert set(report["seconds"]) == {"store", "vocabulary", "relations", "projection", "checks"}

    def test_the_report_is_kept(self, db, loaded):
        cursor = db.execute("SELECT * FROM hypercube.model_report('minilm')")

        assert (
            dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))
            == loaded["minilm"]
        )

    def test_every_byte_is_kept(self, db, loaded):
        """Chunks put together give back the file, header included."""
        from blake3 import blake3

        original = (MODELS / "all-MiniLM-L6-v2" / "model.safetensors").read_bytes()
        header = one(
            db, "SELECT content FROM hypercube.model_file AS f JOIN hypercube.model AS m ON m.id = f.model_id"
            " WHERE m.name = 'minilm' AND f.path = 'model.safetensors.header'"
        )  # fmt: skip
        rebuilt = bytearray(len(original))
        rebuilt[:8] = len(header).to_bytes(8, "little")
        rebuilt[8 : 8 + len(header)] = header
        with db.cursor(name="pieces", binary=True) as pieces:
            pieces.execute(
                "SELECT t.byte_offset + c.ordinal * 1048576::bigint, k.data FROM hypercube.tensor AS t"
                " JOIN hypercube.model AS m ON m.id = t.model_id AND m.name = 'minilm'"
                " JOIN hypercube.tensor_chunk AS c ON c.tensor_digest = t.digest"
                " JOIN hypercube.chunk AS k ON k.digest = c.chunk_digest"
            )
            for offset, data in pieces:
                rebuilt[offset : offset + len(data)] = data
        assert blake3(rebuilt).digest() == blake3(original).digest()

    def test_half_precision_and_a_llama_are_read_too(self, loaded):
        assert loaded["wordllama"]["relations"] == 32_000 * 16
        assert loaded["wordllama"]["projected"] == 32_000
        assert loaded["glassllm"]["classified"] == loaded["glassllm"]["tensors"]
        assert loaded["glassllm"]["projected"] == loaded["glassllm"]["tokens"] > 100

    def test_the_overviews_name_what_was_stored(self, db, loaded):
        row = db.execute(
            "SELECT architecture, dimension, vocabulary_size, embedding, tensors, parameters, licence"
            " FROM hypercube.model_overview WHERE model = 'minilm'"
        ).fetchone()
        assert row == (
            "bert",
            384,
            30_522,
            "embeddings.word_embeddings.weight",
            104,
            22_713_216 + 512,
            "apache-2.0",
        )

        roles = dict(db.execute(
            "SELECT role, count(*) FROM hypercube.tensor_overview WHERE model = 'minilm' GROUP BY role"
        ).fetchall())  # fmt: skip
        assert roles["attention_query"] == roles["attention_key"] == 12
        assert roles["token_embedding"] == 1
        assert (
            one(
                db,
                "SELECT count(*) FROM hypercube.relation_overview"
                " WHERE model = 'minilm' AND source = 'whale'",
            )
            == 16
        )
        assert (
            one(db, "SELECT count(*) FROM hypercube.token_overview WHERE model = 'glassllm'")
            == loaded["glassllm"]["tokens"]
        )

    def test_tokens_are_read_as_a_person_reads_them(self, db, loaded):
        rows = db.execute(
            "SELECT m.name, t.piece, t.label, t.kind::text FROM hypercube.token AS t"
            " JOIN hypercube.model AS m ON m.id = t.model_id"
            " WHERE (m.name, t.piece) IN (('minilm', 'whale'), ('minilm', '##ing'), ('minilm', '[CLS]'),"
            "  ('minilm', '[unused0]'), ('wordllama', '▁king'), ('wordllama', 'ale'),"
            "  ('wordllama', '<0x0A>'))"
            ' ORDER BY m.name, t.piece COLLATE "C"'
        ).fetchall()
        assert rows == [
            ("minilm", "##ing", "##ing", "continuation"),
            ("minilm", "[CLS]", "[CLS]", "special"),
            ("minilm", "[unused0]", "[unused0]", "unused"),
            ("minilm", "whale", "whale", "word"),
            ("wordllama", "<0x0A>", "<0x0A>", "byte"),
            ("wordllama", "ale", "##ale", "continuation"),
            ("wordllama", "▁king", "king", "word"),
        ]

    def test_a_composition_is_spelled_by_its_atoms_in_every_model(self, db):
        spelled = one(
            db, "SELECT string_agg(chr(a.codepoint), '' ORDER BY c.ordinal) FROM hypercube.composition AS w"
            " JOIN hypercube.composition_child AS c ON c.composition_id = w.id"
            " JOIN hypercube.atom AS a ON a.id = c.child_id WHERE w.label = 'king'"
        )  # fmt: skip
        assert spelled == "king"
        users = one(
            db, "SELECT count(DISTINCT t.model_id) FROM hypercube.token AS t"
            " JOIN hypercube.composition AS w ON w.id = t.composition_id WHERE w.label = 'king'"
        )  # fmt: skip
        assert users == 3


class TestSmallModels:
    def test_the_folder_gives_the_name_and_equal_input_gives_equal_rows(self, own, sources):
        source = write_model(sources / "ocean", vectors(300))
        assert ingest(own, source)["model"] == "ocean"
        first = snapshot(own)
        own.execute("SELECT hypercube.drop_model('ocean')")
        ingest(own, source)

        assert snapshot(own) == first

    def test_relations_are_the_exact_neighbours(self, own, sources):
        table = vectors(200, 24)
        ingest(own, write_model(sources / "m", table), neighbors=5)
        unit = table.astype(np.float64) / np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2)

        rows = own.execute(
            "SELECT source, target, weight FROM hypercube.relation ORDER BY source, rank"
        ).fetchall()
        assert len(rows) == 1000
        expected = np.argsort(-cosines, axis=1, kind="stable")[:, :5]
        assert [target for _, target, _ in rows] == expected.ravel().tolist()
        assert np.allclose(
            [weight for _, _, weight in rows], np.take_along_axis(cosines, expected, 1).ravel(), atol=1e-6
        )

    @pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
    def test_other_float_types_are_used(self, own, sources, dtype):
        report = ingest(own, write_model(sources / "m", vectors(100), dtype=dtype))

        assert report["relations"] == 1600 and report["projected"] == 100

    @pytest.mark.parametrize("scale", [1e300, 1e-300])
    def test_double_precision_keeps_its_directions_at_any_scale(self, own, sources, scale):
        table = vectors(60).astype(np.float64)
        ingest(own, write_model(sources / "plain", table, dtype="F64"))
        report = ingest(own, write_model(sources / "scaled", table * scale, dtype="F64"))

        assert report["usable"] == 60 and report["notes"] == []
        edges = (
            "SELECT source, target FROM hypercube.relation_overview WHERE model = %s ORDER BY source_id, rank"
        )
        assert own.execute(edges, ("scaled",)).fetchall() == own.execute(edges, ("plain",)).fetchall()
        top = "SELECT label FROM hypercube.most_similar(ARRAY['waaa'], k => 20, model => %s)"
        assert own.execute(top, ("scaled",)).fetchall() == own.execute(top, ("plain",)).fetchall()

    def test_a_table_of_nothing_is_no_embedding(self, own, sources):
        report = ingest(
            own, write_model(sources / "m", np.zeros((1 << 29, 0), np.float32), pieces=["[UNK]", "a"])
        )

        assert (report["tokens"], report["relations"]) == (2, 0)
        assert any("no token embedding was found" in note for note in report["notes"])

    def test_an_integer_embedding_without_a_scale_is_used_as_it_is(self, own, sources):
        """One scale for the whole would not change a cosine."""
        table = np.rint(10 * vectors(100))
        ingest(own, write_model(sources / "whole", table, dtype="I8"))
        ingest(own, write_model(sources / "plain", table))

        edges = (
            "SELECT source, target FROM hypercube.relation_overview WHERE model = %s ORDER BY source_id, rank"
        )
        assert own.execute(edges, ("whole",)).fetchall() == own.execute(edges, ("plain",)).fetchall()
        assert one(own, "SELECT count(*) FROM hypercube.tensor WHERE scaling IS NOT NULL") == 0

    def test_a_model_without_a_usable_embedding_says_so(self, own, sources):
        table = vectors(100)
        table[:] = np.nan
        report = ingest(own, write_model(sources / "m", table))

        assert report["relations"] == report["projected"] == 0
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no usable") as refusal:
            own.execute("SELECT * FROM hypercube.semantic_neighbors('waaa')")
        assert "model_report" in refusal.value.diag.message_hint

    def test_more_than_one_percent_of_nan_keeps_an_embedding_out(self, own, sources):
        table = vectors(100)
        table.ravel()[:17] = np.nan
        report = ingest(own, write_model(sources / "m", table))

        assert report["relations"] == report["projected"] == 0
        assert any("17 NaN and 0 infinite of 1600 values, more than 1 %" in note for note in report["notes"])
        row = own.execute(
            "SELECT nan_count, stored, skipped FROM hypercube.tensor WHERE name LIKE 'embeddings%'"
        ).fetchone()
        assert row[:2] == (17, True) and "more than 1 %" in row[2]

    def test_up_to_one_percent_of_nan_counts_as_zero_but_is_stored(self, own, sources):
        table = vectors(100)
        table[3, 3], table[4, 4] = np.nan, np.inf
        report = ingest(own, write_model(sources / "m", table))

        assert report["relations"] == 1600 and report["projected"] == 100
        assert any("1 NaN and 1 infinite values" in note for note in report["notes"])
        stored = one(
            own, "SELECT c.data FROM hypercube.tensor AS t"
            " JOIN hypercube.tensor_chunk AS p ON p.tensor_digest = t.digest"
            " JOIN hypercube.chunk AS c ON c.digest = p.chunk_digest"
            " WHERE t.name = 'embeddings.word_embeddings.weight'"
        )  # fmt: skip
        assert stored == table.tobytes()
        weights = own.execute("SELECT bool_and(weight BETWEEN -1 AND 1) FROM hypercube.relation").fetchone()
        assert weights == (True,)

    def test_fewer_than_six_usable_tokens_are_related_but_not_projected(self, own, sources):
        report = ingest(own, write_model(sources / "m", vectors(5)))

        assert report["relations"] == 5 * 4 and report["projected"] == 0
        assert any("not projected: 5 usable tokens" in note for note in report["notes"])
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no neighbour on a map"):
            own.execute("SELECT * FROM hypercube.spatial_neighbors('waaa')")

    def test_six_usable_tokens_are_projected(self, own, sources):
        assert ingest(own, write_model(sources / "m", vectors(6)))["projected"] == 6

    def test_tokens_with_a_zero_vector_have_no_relations(self, own, sources):
        table = vectors(50)
        table[7] = 0
        report = ingest(own, write_model(sources / "m", table), neighbors=4)

        assert (report["usable"], report["relations"], report["projected"]) == (49, 49 * 4, 49)
        assert one(own, "SELECT count(*) FROM hypercube.relation WHERE 7 IN (source, target)") == 0
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="is zero and has no direction"):
            own.execute("SELECT * FROM hypercube.semantic_neighbors('waag')")

    def test_rows_beyond_the_vocabulary_are_unused(self, own, sources):
        report = ingest(own, write_model(sources / "m", vectors(60), pieces=["[UNK]", *words(49)]))

        assert (report["tokens"], report["usable"]) == (60, 50)
        assert one(own, "SELECT count(*) FROM hypercube.token WHERE kind = 'unused' AND label IS NULL") == 10
        assert one(own, "SELECT count(*) FROM hypercube.relation WHERE greatest(source, target) >= 50") == 0
        assert one(own, "SELECT max(token_id) FROM hypercube.most_similar(ARRAY['waaa'], k => 1000)") == 49

    def test_a_graph_in_parts_is_joined_and_says_so(self, own, sources):
        random = np.random.default_rng(5)
        parts = [np.eye(16)[part] * 10 + random.normal(scale=0.1, size=(40, 16)) for part in range(4)]
        report = ingest(
            own, write_model(sources / "m", np.concatenate(parts).astype(np.float32)), neighbors=8
        )

        assert report["components"] == 4
        points = np.array(own.execute("SELECT x, y, z, w FROM hypercube.map ORDER BY token_id").fetchall())
        for start in range(0, 160, 40):
            assert (points[start : start + 40].std(axis=0) > 1e-6).any()

    def test_a_model_without_a_vocabulary_is_stored_without_relations(self, own, sources):
        from safetensors.numpy import save_file

        path = sources / "vision.safetensors"
        save_file({"patch_embed.proj.weight": np.ones((8, 3, 4, 4), np.float32)}, path)
        os.chmod(path, 0o644)
        report = ingest(own, str(path))

        assert (report["model"], report["tensors"], report["relations"]) == ("vision", 1, 0)
        assert any("no token embedding was found" in note for note in report["notes"])

    def test_shards_are_read_as_one_model(self, own, sources):
        from safetensors.numpy import save_file

        folder = write_model(sources / "m", vectors(80))
        more = {"pooler.dense.weight": np.eye(16, dtype=np.float32)}
        save_file(more, sources / "m" / "more.safetensors")
        os.chmod(sources / "m" / "more.safetensors", 0o644)
        placed = {
            "embeddings.word_embeddings.weight": "model.safetensors",
            "encoder.layer.0.attention.self.query.weight": "model.safetensors",
            "pooler.dense.weight": "more.safetensors",
        }
        index = sources / "m" / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": placed | {"pooler.dense.weight": "gone.safetensors"}}))
        with pytest.raises(psycopg.errors.DataCorrupted, match="does not fit its shards"):
            ingest(own, folder)
        index.write_text(json.dumps({"weight_map": placed}))

        assert ingest(own, folder)["tensors"] == 3

    def test_several_files_without_an_index_are_one_model(self, own, sources):
        from safetensors.numpy import save_file

        folder = write_model(sources / "m", vectors(80))
        save_file({"pooler.dense.weight": np.eye(16, dtype=np.float32)}, sources / "m" / "more.safetensors")
        os.chmod(sources / "m" / "more.safetensors", 0o644)

        assert ingest(own, folder)["tensors"] == 3
        files = own.execute("SELECT DISTINCT file FROM hypercube.tensor ORDER BY file").fetchall()
        assert files == [("model.safetensors",), ("more.safetensors",)]

    def test_an_index_is_checked_even_where_one_shard_is_left(self, own, sources):
        folder = write_model(sources / "m", vectors(80))
        index = sources / "m" / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "model.safetensors"}}))

        with pytest.raises(psycopg.errors.DataCorrupted) as refusal:
            ingest(own, folder)
        assert refusal.value.diag.message_detail == "Shard 1.safetensors is missing."
        # One file that is named is a model of its own.
        assert ingest(own, f"{folder}/model.safetensors")["tensors"] == 2

    def test_a_hub_cache_of_links_is_followed_inside_the_allowed_folder(self, own, sources):
        made = write_model(sources / "models--org--tiny" / "blobs", vectors(80))
        snapshot_folder = sources / "models--org--tiny" / "snapshots" / "0123abc"
        snapshot_folder.mkdir(parents=True)
        for name in os.listdir(made):
            (snapshot_folder / name).symlink_to(f"../../blobs/{name}")

        assert ingest(own, str(snapshot_folder))["model"] == "tiny"
        own.execute("SELECT hypercube.drop_model('tiny')")
        report = ingest(own, f"{snapshot_folder}/model.safetensors")
        assert (report["model"], report["relations"]) == ("tiny", 80 * 16)

    def test_equal_bytes_are_stored_once(self, own, sources):
        table = vectors(100)
        first = ingest(own, write_model(sources / "first", table))
        second = ingest(own, write_model(sources / "second", table))

        assert first["chunks"] == 2 and first["compositions"] == 100
        assert second["chunks"] == second["compositions"] == 0
        assert one(own, "SELECT count(DISTINCT root) FROM hypercube.model") == 1

    def test_odd_metadata_is_kept(self, own, sources):
        from safetensors.numpy import save_file

        folder = write_model(
            sources / "m", vectors(30), config={"odd": "\0 \\u0000 \ud800", "deep": {"a": [1e300]}}
        )
        save_file(
            {"embeddings.word_embeddings.weight": vectors(30)},
            sources / "m" / "model.safetensors",
            metadata={"note": "a\0b'; DROP TABLE x; --"},
        )
        os.chmod(sources / "m" / "model.safetensors", 0o644)
        ingest(own, folder)

        config, metadata = own.execute("SELECT config, metadata FROM hypercube.model").fetchone()
        assert config["odd"] == "\ufffd \\u0000 \ufffd"
        assert metadata["model.safetensors"]["note"] == "a\ufffdb'; DROP TABLE x; --"

    def test_vocabularies_in_vocab_txt_are_read(self, own, sources):
        write_model(sources / "m", vectors(30), tokenizer_json=False)
        path = sources / "m" / "vocab.txt"
        path.write_text("\n".join(["[UNK]", *words(29)]) + "\n")
        os.chmod(path, 0o644)

        assert ingest(own, str(sources / "m"))["usable"] == 30
