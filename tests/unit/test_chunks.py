"""Digests: golden bytes, and what they do and do not depend on."""

from blake3 import blake3

from hypercube.chunks import TensorDigest, chunk_digest, merkle_root


def tensor_digest(dtype, shape, *parts):
    whole = TensorDigest(dtype, shape)
    for part in parts:
        whole.add(part)
    return whole.digest()


def test_a_chunk_is_named_by_the_published_digest_of_its_bytes():
    # Test vector of the BLAKE3 reference implementation: the empty input.
    assert chunk_digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_a_tensor_is_named_by_dtype_shape_and_bytes():
    assert tensor_digest("F32", (2, 1), b"12345678") == blake3(b"F32[2, 1]\n12345678").digest()
    assert tensor_digest("F32", (2, 1), b"1234", b"5678") == tensor_digest("F32", (2, 1), b"12345678")
    names = {
        tensor_digest("F32", (2, 1), b"12345678"),
        tensor_digest("I32", (2, 1), b"12345678"),
        tensor_digest("F32", (1, 2), b"12345678"),
        tensor_digest("F32", (2, 1), b"12345679"),
    }
    assert len(names) == 4


def test_the_root_depends_on_names_and_digests_not_on_their_order():
    one, two = chunk_digest(b"1"), chunk_digest(b"2")

    assert merkle_root({"a": one, "b": two}) == merkle_root({"b": two, "a": one})
    assert merkle_root({"a": one, "b": two}) != merkle_root({"a": two, "b": one})
    # Where one name ends and the next begins is part of it.
    assert merkle_root({"a": one}) != merkle_root({"a" + one.decode("latin-1"): one})
    assert len(merkle_root({})) == 32
