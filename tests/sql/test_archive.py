"""What was ingested comes back byte for byte, and damage is named exactly."""

import hashlib
import json
import os
import stat

import numpy as np
import psycopg
import pytest
from safetensors.numpy import save_file

from chapters import role
from rows import MODELS, ingest, one
from servers import server_user
from small_models import vectors, write_model


@pytest.fixture
def target(own, sources):
    """A folder that the server may write to."""
    folder = sources / "exports"
    folder.mkdir()
    os.chown(folder, server_user().pw_uid, -1)
    own.execute("SELECT hypercube.allow_target(%s)", (str(folder),))
    return folder


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sharded(folder):
    """Write a model of three shards with an index."""
    write_model(folder, vectors(80))
    parts = {
        "model-00001-of-00003.safetensors": {"embeddings.word_embeddings.weight": vectors(80)},
        "model-00002-of-00003.safetensors": {
            "a.weight": np.ones((600, 1000), np.float32),
            "b": np.zeros(3, np.int8),
        },
        "model-00003-of-00003.safetensors": {"c.weight": np.arange(5, dtype=np.float64)},
    }
    (folder / "model.safetensors").unlink()
    for name, tensors in parts.items():
        save_file(tensors, folder / name, metadata={"format": "pt"})
    placed = {tensor: name for name, tensors in parts.items() for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    for path in folder.iterdir():
        os.chmod(path, 0o644)
    return folder


class TestExport:
    def test_three_shards_come_back_with_equal_digests(self, own, sources, target):
        folder = sharded(sources / "m")
        ingest(own, str(folder))
        rows = own.execute("SELECT * FROM hypercube.export_model('m', %s)", (f"{target}/m",)).fetchall()

        assert {os.path.basename(path): (size, digest) for path, size, digest in rows} == {
            path.name: (path.stat().st_size, sha256(path)) for path in folder.iterdir()
        }
        for path, _, digest in rows:
            with open(path, "rb") as file:
                assert hashlib.sha256(file.read()).hexdigest() == digest
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    def test_the_real_model_comes_back_with_all_its_files(self, server, loaded, own, target):
        with server.connect(dbname="loaded", autocommit=True) as db:
            db.execute("SELECT hypercube.allow_target(%s)", (str(target),))
            rows = db.execute(
                "SELECT * FROM hypercube.export_model('minilm', %s)", (f"{target}/minilm",)
            ).fetchall()
            db.execute("SELECT hypercube.disallow_target(%s)", (str(target),))
        original = MODELS / "all-MiniLM-L6-v2"
        found = {os.path.relpath(path, f"{target}/minilm"): digest for path, _, digest in rows}
        assert {"model.safetensors", "tokenizer.json", "1_Pooling/config.json"} <= found.keys()
        assert found == {name: sha256(original / name) for name in found}

    def test_nothing_is_overwritten_and_nothing_is_left_half_done(self, own, sources, target):
        ingest(own, write_model(sources / "m", vectors(50)))
        (target / "m").mkdir()
        os.chown(target / "m", server_user().pw_uid, -1)
        (target / "m" / "tokenizer.json").write_text("precious")
        with pytest.raises(psycopg.errors.DuplicateFile, match="exists already"):
            own.execute("SELECT hypercube.export_model('m', %s)", (f"{target}/m",))

        assert [path.name for path in (target / "m").iterdir()] == ["tokenizer.json"]
        assert (target / "m" / "tokenizer.json").read_text() == "precious"

    def test_damage_is_refused_and_leaves_no_file(self, own, sources, target):
        ingest(own, write_model(sources / "m", vectors(50)))
        own.execute("UPDATE hypercube.chunk SET data = set_byte(data, 5, 255 - get_byte(data, 5))")
        with pytest.raises(psycopg.errors.DataCorrupted, match="is damaged") as refusal:
            own.execute("SELECT hypercube.export_model('m', %s)", (f"{target}/m",))

        assert "verify_model" in refusal.value.diag.message_hint
        assert list(target.iterdir()) == []

    @pytest.mark.parametrize("directory", ["/tmp", "{0}/../elsewhere", "{0}/link/m", "relative", None])
    def test_only_allowed_folders_are_written(self, own, sources, target, directory):
        ingest(own, write_model(sources / "m", vectors(50)))
        (target / "link").symlink_to("/tmp")
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue)):
            own.execute("SELECT hypercube.export_model('m', %s)", (directory and directory.format(target),))

    def test_a_folder_that_cannot_be_written_is_said(self, own, sources, target):
        ingest(own, write_model(sources / "m", vectors(50)))
        (target / "closed").mkdir(mode=0o555)
        with pytest.raises(psycopg.errors.IoError, match="could not be written") as refusal:
            own.execute("SELECT hypercube.export_model('m', %s)", (f"{target}/closed",))
        assert "writable" in refusal.value.diag.message_hint

    def test_who_may_read_files_may_not_yet_write_them(self, own):
        with role(own, "only_reads", "hypercube_ingest, pg_read_server_files"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="written to"):
                own.execute("SELECT hypercube.allow_target('/tmp')")

    def test_a_folder_is_for_the_members_of_its_role_and_a_model_for_its_owner(self, own, sources, target):
        ingest(own, write_model(sources / "m", vectors(50)))
        own.execute("SELECT hypercube.grant_model('m', 'public')")
        with role(own, "guest"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not own model"):
                own.execute("SELECT hypercube.export_model('m', %s)", (f"{target}/m",))
            ingest(own, str(sources / "m"), "his")
            own.execute("SELECT hypercube.export_model('his', %s)", (f"{target}/his",))
            own.execute("RESET ROLE")
            own.execute("SELECT hypercube.disallow_target(%s)", (str(target),))
            own.execute("SELECT hypercube.allow_target(%s, 'hypercube_admin')", (str(target),))
            own.execute("SET ROLE guest")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not inside a folder"):
                own.execute("SELECT hypercube.export_model('his', %s)", (f"{target}/again",))
        assert sorted(path.name for path in target.iterdir()) == ["his"]


class TestVerify:
    def test_the_real_models_are_sound(self, db, loaded):
        for name in loaded:
            rows = db.execute("SELECT kind, name, ok FROM hypercube.verify_model(%s)", (name,)).fetchall()
            assert all(ok for *_, ok in rows)
            assert len([row for row in rows if row[0] == "tensor"]) == loaded[name]["tensors"]

    @pytest.mark.parametrize(
        ("damage", "kind", "name"),
        [
            ("UPDATE hypercube.chunk SET data = set_byte(data, 7, 255 - get_byte(data, 7)) WHERE size = 3200",
             "tensor", "embeddings.word_embeddings.weight"),
            ("DELETE FROM hypercube.chunk WHERE size = 3200", "tensor", "embeddings.word_embeddings.weight"),
            ("DELETE FROM hypercube.tensor_chunk AS p USING hypercube.tensor AS t"
             " WHERE t.digest = p.tensor_digest AND t.bytes = 3200",
             "tensor", "embeddings.word_embeddings.weight"),
            ("UPDATE hypercube.model_file SET content = content || '\\x20' WHERE path = 'config.json'",
             "file", "config.json"),
            ("UPDATE hypercube.model SET root = decode(repeat('00', 32), 'hex')", "model", "m"),
            ("DELETE FROM hypercube.tensor WHERE name LIKE 'encoder%'", "model", "m"),
            ("DELETE FROM hypercube.model_file WHERE path = 'config.json'", "model", "m"),
        ],
    )  # fmt: skip
    def test_exactly_what_differs_is_named(self, own, sources, damage, kind, name):
        ingest(own, write_model(sources / "m", vectors(50)))
        own.execute(damage)

        rows = own.execute(
            "SELECT kind, name FROM hypercube.verify_model('m') WHERE ok IS NOT TRUE"
        ).fetchall()
        assert rows == [(kind, name)]


class TestStore:
    def test_what_is_not_stored_is_known_but_not_kept(self, own, sources):
        source = write_model(sources / "m", vectors(50))
        for store, kept in (("all", 2), ("embeddings", 1), ("none", 0)):
            own.execute("SELECT hypercube.ingest(%s, %s, store => %s)", (source, store, store))
            assert one(
                own, "SELECT count(*) FROM hypercube.tensor_overview WHERE stored AND model = %s", store
            ) == kept  # fmt: skip
        assert one(own, "SELECT count(DISTINCT root) FROM hypercube.model") == 1
        own.execute("SELECT hypercube.drop_model('all')")
        assert one(own, "SELECT count(*) FROM hypercube.chunk") == 1
        own.execute("SELECT hypercube.drop_model('embeddings')")
        assert one(own, "SELECT count(*) FROM hypercube.chunk") == 0

        assert len(own.execute("SELECT * FROM hypercube.semantic_neighbors('waaa', 5)").fetchall()) == 5
        for question in ("similarity('waaa', 'waab')", "most_similar(ARRAY['waaa'])"):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="without its bytes"):
                own.execute(f"SELECT hypercube.{question}")
        assert all(row[1] for row in own.execute("SELECT * FROM hypercube.health()").fetchall())
        assert own.execute(
            "SELECT count(*) FROM hypercube.verify_model('none') WHERE ok IS NULL"
        ).fetchone() == (2,)

    def test_another_store_is_refused(self, own, sources):
        source = write_model(sources / "m", vectors(50))
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="store cannot be"):
            own.execute("SELECT hypercube.ingest(%s, store => 'some')", (source,))

    def test_a_fine_tune_adds_only_what_is_new(self, own, sources):
        table = vectors(40_000, 32)
        ingest(own, write_model(sources / "base", table))
        table[39_999] += 1
        report = ingest(own, write_model(sources / "tuned", table))

        # 5 MB of embedding in five chunks, of which the last differs.
        assert report["chunks"] == 1
        row = own.execute(
            "SELECT bytes, stored_bytes, shared_bytes FROM hypercube.model_overview WHERE model = 'tuned'"
        ).fetchone()
        # Shared is told by tensors: the other one is equal, this one has chunks in common.
        assert row == (table.nbytes + 4096, table.nbytes + 4096, 4096)


class TestDiff:
    def test_known_edits_are_found(self, own, sources):
        table = vectors(100)
        more = {
            "kept.weight": np.ones((4, 4), np.float32), "gone.weight": np.ones(3, np.float32),
            "grown.weight": np.ones((2, 2), np.float32), "halved.weight": np.full((8, 8), 0.5, np.float32),
        }  # fmt: skip
        ingest(own, write_model(sources / "a", table, tensors=more))
        tuned = table.copy()
        tuned[10:15] *= 2
        del more["gone.weight"]
        more |= {
            "new.weight": np.ones(5, np.float32), "grown.weight": np.ones((3, 2), np.float32),
            "halved.weight": np.full((8, 8), 0.5, np.float16),
        }  # fmt: skip
        ingest(own, write_model(sources / "b", tuned, tensors=more))
        rows = {
            row[0]: row[1:] for row in own.execute("SELECT * FROM hypercube.model_diff('a', 'b')").fetchall()
        }

        change, share, distance, cosine = rows.pop("embeddings.word_embeddings.weight")
        assert change == "changed" and share == 0.05
        exact, after = table.astype(np.float64), tuned.astype(np.float64)
        assert distance == pytest.approx(np.linalg.norm(after - exact) / np.linalg.norm(exact), rel=1e-12)
        assert cosine == pytest.approx((exact * after).sum() / np.linalg.norm(exact) / np.linalg.norm(after))
        assert rows == {
            "kept.weight": ("equal", 0.0, 0.0, None),
            "encoder.layer.0.attention.self.query.weight": ("equal", 0.0, 0.0, None),
            "gone.weight": ("removed", None, None, None),
            "new.weight": ("added", None, None, None),
            "grown.weight": ("reshaped", None, None, None),
            "halved.weight": ("converted", 0.0, 0.0, pytest.approx(1.0)),
        }

    def test_a_model_equals_itself(self, db):
        rows = db.execute("SELECT DISTINCT change FROM hypercube.model_diff('minilm', 'minilm')").fetchall()
        assert rows == [("equal",)]
