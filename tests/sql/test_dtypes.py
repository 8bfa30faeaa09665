"""The same embedding in every dtype gives the same answers; what is decoded and what is only stored."""

import json
import os

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rows import MODELS, ingest, one
from small_models import vectors, write_model

NAME = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def table():
    return load_file(MODELS / "all-MiniLM-L6-v2" / "model.safetensors")[NAME]


def write_raw(path, tensors):
    """Write a safetensors file from a dict of name to (dtype, shape, bytes); for dtypes numpy has not."""
    header, place = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + len(data)]}
        place += len(data)
    content = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.writelines(data for _, _, data in tensors.values())
    os.chmod(path, 0o644)


def in_dtype(table, dtype):
    """Return the tensors of an embedding in a dtype: with a scale where its range asks for one."""
    if dtype == "I8":
        largest = np.abs(table).max(axis=1)
        quantised = np.rint(table / largest[:, None] * 127).astype(np.int8)
        return {
            NAME: ("I8", table.shape, quantised.tobytes()),
            NAME + "_scale": ("F32", (len(table), 1), (largest / 127).astype(np.float32).tobytes()),
        }
    kinds = {"F8_E4M3": (ml_dtypes.float8_e4m3fn, 448), "F8_E5M2": (ml_dtypes.float8_e5m2, 57344)}
    if dtype in kinds:
        kind, most = kinds[dtype]
        largest = np.abs(table).max(axis=1)
        quantised = (table / largest[:, None] * most).astype(kind)
        return {
            NAME: (dtype, table.shape, quantised.tobytes()),
            NAME + "_scale_inv": ("F32", (len(table),), (largest / most).astype(np.float32).tobytes()),
        }
    kind = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}[dtype]
    return {NAME: (dtype, table.shape, table.astype(kind).tobytes())}


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F8_E4M3", "F8_E5M2", "I8"])
def test_minilm_answers_the_same_in_every_dtype(own, sources, table, dtype):
    folder = sources / "m"
    folder.mkdir()
    for name in ("tokenizer.json", "config.json"):
        (folder / name).write_bytes((MODELS / "all-MiniLM-L6-v2" / name).read_bytes())
    write_raw(folder / "model.safetensors", in_dtype(table, dtype))
    report = ingest(own, str(folder))

    assert report["relations"] == 30_522 * 16 and report["projected"] == 30_522
    whale = own.execute("SELECT label FROM hypercube.semantic_neighbors('whale', 5)").fetchall()
    assert [label for (label,) in whale] == ["whales", "whaling", "dolphin", "shark", "elephant"]
    assert one(own, "SELECT label FROM hypercube.analogy('man', 'king', 'woman', 1)") == "queen"
    assert one(own, "SELECT label FROM hypercube.analogy('france', 'paris', 'germany', 1)") == "berlin"
    # The vector of a word is the scaled one.
    found = np.array(one(own, "SELECT hypercube.embedding('whale')"))
    original = table[one(own, "SELECT hypercube.token_id('whale')")]
    assert found @ original / np.linalg.norm(found) / np.linalg.norm(original) > 0.998
    rule = one(own, "SELECT scaling FROM hypercube.tensor WHERE name = %s", NAME)
    assert (rule is not None) == (dtype in ("I8", "F8_E4M3", "F8_E5M2"))
    if rule:
        assert rule.startswith("each row times " + NAME)
        assert np.allclose(found, original, atol=0.07 * np.abs(original).max())


@pytest.mark.parametrize(("broken", "used"), [(0.02, False), (0.005, True)])
def test_the_limit_of_nan_holds_for_fp8(own, sources, broken, used):
    table = vectors(400, 32)
    data = bytearray(table.astype(ml_dtypes.float8_e4m3fn).tobytes())
    places = np.random.default_rng(1).permutation(len(data))[: int(broken * len(data))]
    for place in places:
        data[place] = 0x7F
    write_model(sources / "m", table)
    write_raw(sources / "m" / "model.safetensors", {NAME: ("F8_E4M3", table.shape, bytes(data))})
    report = ingest(own, str(sources / "m"))

    assert (report["relations"] > 0) == used
    assert one(own, "SELECT nan_count FROM hypercube.tensor") == len(places)
    stored = one(
        own, "SELECT c.data FROM hypercube.tensor_chunk AS p"
        " JOIN hypercube.chunk AS c ON c.digest = p.chunk_digest"
    )  # fmt: skip
    assert stored == bytes(data)
    assert own.execute("SELECT bool_and(ok) FROM hypercube.verify_model('m')").fetchone() == (True,)


def test_every_dtype_of_the_format_is_stored_and_verified(own, sources):
    from hypercube import weights

    data = bytes(range(48))
    tensors = {f"t.{dtype}": (dtype, (48 * 8 // bits,), data) for dtype, bits in weights.BITS.items()}
    write_raw(sources / "all.safetensors", tensors)
    report = ingest(own, str(sources / "all.safetensors"))

    assert report["tensors"] == 22
    decoded = own.execute(
        "SELECT name FROM hypercube.tensor WHERE zero_count IS NULL ORDER BY name"
    ).fetchall()
    assert [name for (name,) in decoded] == ["t.C64", "t.F4", "t.F6_E2M3", "t.F6_E3M2"]
    assert own.execute("SELECT bool_and(ok), count(*) FROM hypercube.verify_model('all')").fetchone() == (
        True,
        24,
    )


def test_a_scale_that_is_not_decoded_keeps_the_embedding_out(own, sources):
    table = vectors(64, 16)
    write_model(sources / "m", table)
    write_raw(
        sources / "m" / "model.safetensors",
        {
            NAME: ("I8", table.shape, (table * 20).astype(np.int8).tobytes()),
            NAME + "_scale": ("F4", (64,), bytes(32)),
        },
    )
    report = ingest(own, str(sources / "m"))

    assert report["relations"] == 0
    assert any("not decoded" in note for note in report["notes"])


def test_a_tokenizer_under_another_name_is_read_and_kept(own, sources):
    folder = write_model(sources / "m", vectors(50))
    os.rename(sources / "m" / "tokenizer.json", sources / "m" / "odd_name.json")
    cursor = own.execute("SELECT * FROM hypercube.ingest(%s, tokenizer => 'odd_name.json')", (folder,))
    assert cursor.fetchone()[7] == 50

    assert one(own, "SELECT tokenizer FROM hypercube.model") == "odd_name.json"
    # Several pieces: the tokenizer is found again.
    assert len(own.execute("SELECT * FROM hypercube.semantic_neighbors('waaa waab', 3)").fetchall()) == 3


def test_a_vocabulary_of_a_static_model_with_tied_weights_is_found_in_its_head(own, sources):
    folder = write_model(sources / "m", vectors(50), config={"tie_word_embeddings": True})
    table = vectors(50)
    save_file(
        {"lm_head.weight": table, "model.norm.weight": np.ones(16, np.float32)}, f"{folder}/model.safetensors"
    )
    os.chmod(f"{folder}/model.safetensors", 0o644)
    report = ingest(own, folder)

    assert report["relations"] == 50 * 16
    assert one(own, "SELECT embedding FROM hypercube.model") == "lm_head.weight"
