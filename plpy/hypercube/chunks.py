"""Names of bytes: the BLAKE3 digests of chunks, tensors and models."""

from blake3 import blake3


def chunk_digest(data):
    """Return the 32-byte digest that names a piece of bytes."""
    return blake3(data).digest()


class TensorDigest:
    """The digest of a tensor, taken piece by piece.

    Two tensors have the same digest exactly when they have the same dtype,
    the same shape and the same bytes.
    """

    def __init__(self, dtype, shape):
        self._hash = blake3(f"{dtype}{list(shape)}\n".encode())

    def add(self, data):
        """Take in the next bytes."""
        self._hash.update(data)

    def digest(self):
        """Return the 32 bytes."""
        return self._hash.digest()


def merkle_root(digests):
    """Return the digest of a model from a dict of tensor name to digest.

    Equal names and digests give an equal root, in whatever order or files the
    tensors came.
    """
    root = blake3(b"hypercube model 1\n")
    for name in sorted(digests):
        spelled = name.encode()
        root.update(len(spelled).to_bytes(4, "big") + spelled + digests[name])
    return root.digest()
