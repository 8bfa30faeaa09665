"""The header reader against hand-made bytes: what is sound, and each way to be wrong."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from hypercube import sources, weights
from hypercube.errors import CorruptFile, HypercubeError, NotSupported, TooMany


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def file_bytes(header, data=b"\0" * 8):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content + data


@pytest.fixture
def read(tmp_path):
    def reading(content):
        (tmp_path / "one.safetensors").write_bytes(content)
        folder = os.path.realpath(tmp_path)
        with sources.OpenFile(folder, "one.safetensors", [folder]) as file:
            return weights.read_header(file)

    return reading


def test_a_file_written_by_the_library_is_read_with_its_offsets(read, tmp_path):
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4, dtype=np.int8)
    save_file({"b": first, "a": second}, tmp_path / "made.safetensors", metadata={"format": "pt"})
    content = (tmp_path / "made.safetensors").read_bytes()

    header = read(content)

    assert header.metadata == {"format": "pt"}
    found = {tensor.name: tensor for tensor in header.tensors}
    assert found["b"].shape == (2, 3) and found["b"].dtype == "F32"
    for name, array in (("b", first), ("a", second)):
        tensor = found[name]
        data = content[tensor.offset : tensor.offset + tensor.bytes]
        assert weights.decode(data, tensor.dtype).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "fewer than the length"),
        (b"\1\2\3", "fewer than the length"),
        (b"\xff" * 8, "its header would have"),
        ((100).to_bytes(8, "little") + b"{}", "its header would have 100"),
        (file_bytes(b"", b""), "does not begin with"),
        (file_bytes(b"[]", b""), "does not begin with"),
        (file_bytes(b"{\xff}", b""), "not UTF-8"),
        (file_bytes(b"{not json}", b""), "not JSON"),
        (file_bytes(b'{"a":' * 100_000, b""), "nested too deeply"),
        (file_bytes(b'{"a": NaN}', b""), "NaN is not JSON"),
        (
            file_bytes(
                json.dumps({"a": entry()})[:-1].encode() + b"," + json.dumps({"a": entry()})[1:].encode()
            ),
            "occurs twice",
        ),
        (file_bytes({"__metadata__": {"a": 1}}, b""), "map of text to text"),
        (file_bytes({"a": 7}), "needs dtype, shape and data_offsets"),
        (file_bytes({"a": entry() | {"more": 1}}), "and nothing else"),
        (file_bytes({"a": entry(shape=(-2,))}), "not a list of counts"),
        (file_bytes({"a": entry(shape=(2.0,))}), "not a list of counts"),
        (file_bytes({"a": entry(shape=(True, 2))}), "not a list of counts"),
        (file_bytes({"a": entry(shape=(2**63, 2**63))}), "not a list of counts"),
        (file_bytes({"a": entry(shape=(2**62, 2**62))}), "its shape and dtype need"),
        (file_bytes({"a": entry(offsets=(8, 0))}), "lies at bytes 8 to 0"),
        (file_bytes({"a": entry(offsets=(0, 16))}), "lies at bytes 0 to 16"),
        (file_bytes({"a": entry(offsets=(0, 8, 9))}), "not two counts"),
        (file_bytes({"a": entry(shape=(3,))}), "its shape and dtype need 12"),
        (file_bytes({"a": entry("F4", (3,), (0, 8))}), "its shape and dtype need 1.5"),
        (file_bytes({"a": entry(), "b": entry()}), "overlaps another"),
        (file_bytes({"a": entry(offsets=(8, 16))}, b"\0" * 16), "leaves a gap before it"),
        (file_bytes({"a": entry()}, b"\0" * 9), "1 bytes at its end"),
        (file_bytes({"a\nb": entry()}), "control characters"),
        (file_bytes({"a" * 10_000: entry()}), "too long"),
    ],
)
def test_a_header_that_lies_is_refused(read, content, problem):
    with pytest.raises(CorruptFile, match="is not valid safetensors") as refusal:
        read(content)

    assert problem in str(refusal.value)
    assert refusal.value.hint


def test_an_unknown_dtype_is_not_supported_and_the_known_ones_are_named(read):
    with pytest.raises(NotSupported, match="unknown dtype 'F128'") as refusal:
        read(file_bytes({"a": entry("F128")}))

    assert "BF16" in refusal.value.hint


def test_a_header_that_is_too_long_is_refused_before_it_is_read(read, tmp_path):
    path = tmp_path / "one.safetensors"
    read(file_bytes({"a": entry()}))
    with open(path, "wb") as file:
        file.write((50 << 20).to_bytes(8, "little"))
        file.truncate(60 << 20)

    with (
        pytest.raises(TooMany, match="at most 16777216"),
        sources.OpenFile(os.path.realpath(tmp_path), path.name, [os.path.realpath(tmp_path)]) as opened,
    ):
        weights.read_header(opened)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_damaged_headers_are_refused_and_nothing_else_is_raised(tmp_path_factory, noise, place):
    content = bytearray(file_bytes({"a": entry(), "__metadata__": {"x": "y"}}))
    content[place % len(content) : place % len(content) + len(noise)] = noise
    folder = tmp_path_factory.getbasetemp()
    (folder / "fuzz.safetensors").write_bytes(content)
    with sources.OpenFile(os.path.realpath(folder), "fuzz.safetensors", [os.path.realpath(folder)]) as file:
        try:
            header = weights.read_header(file)
        except HypercubeError:
            return
    assert sum(tensor.bytes for tensor in header.tensors) <= len(content)


def test_bf16_and_fp8_are_decoded_by_their_definition():
    # Sign, exponent, mantissa: 1.5 in bfloat16 is 0x3FC0, in E4M3 0x3C, in E5M2 0x3E.
    assert weights.decode(b"\xc0\x3f", "BF16").astype(np.float32).tolist() == [1.5]
    assert weights.decode(b"\x3c", "F8_E4M3").astype(np.float32).tolist() == [1.5]
    assert weights.decode(b"\x3e", "F8_E5M2").astype(np.float32).tolist() == [1.5]
    assert np.isnan(weights.decode(b"\x7f", "F8_E4M3").astype(np.float32)).all()
    assert weights.decode(b"\x7f", "F8_E8M0").astype(np.float32).tolist() == [1.0]


def test_every_dtype_of_the_format_has_a_size_and_those_without_a_decoder_say_so():
    assert len(weights.BITS) == 22
    refused = {dtype for dtype in weights.BITS if not weights.can_decode(dtype)}
    assert refused == {"F4", "F6_E2M3", "F6_E3M2", "C64"}
    for dtype in refused:
        with pytest.raises(NotSupported, match="not decoded"):
            weights.decode(b"\0" * 24, dtype)


class TestIndex:
    tensors = (
        weights.Tensor("a", "F32", (2,), "1.safetensors", 8, 8),
        weights.Tensor("b", "F32", (2,), "2.safetensors", 8, 8),
    )
    shards = ("1.safetensors", "2.safetensors")

    def test_a_fitting_index_is_accepted(self):
        weights.require_index(
            b'{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}', self.tensors, self.shards
        )

    @pytest.mark.parametrize(
        ("placed", "problem"),
        [
            ({"a": "1.safetensors", "b": "3.safetensors"}, "Shard 3.safetensors is missing"),
            ({"a": "1.safetensors"}, "2.safetensors is in the folder, but not in the index"),
            ({"a": "2.safetensors", "b": "1.safetensors"}, "Tensor a is not where"),
            ({"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}, "Tensor c is not where"),
        ],
    )
    def test_an_index_that_does_not_fit_is_refused(self, placed, problem):
        with pytest.raises(CorruptFile, match="does not fit its shards") as refusal:
            weights.require_index(json.dumps({"weight_map": placed}).encode(), self.tensors, self.shards)

        assert problem in refusal.value.detail

    @pytest.mark.parametrize(
        "index", [b"", b"[]", b'{"weight_map": [1]}', b'{"weight_map": {"a": 1}}', b"[" * 100_000]
    )
    def test_an_index_that_is_no_map_is_refused(self, index):
        with pytest.raises(CorruptFile, match="no map of tensors"):
            weights.require_index(index, self.tensors, self.shards)
