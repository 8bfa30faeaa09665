"""One pass over the bytes of a model: digests, counts, chunks, the embedding."""

import math
from typing import NamedTuple

from hypercube import bulk, chunks, weights
from hypercube.summary import Summary


class Stored(NamedTuple):
    """What one pass found.

    `digests` and `summaries` are by tensor name (no summary where the dtype is
    not decoded); `embedding` is an ndarray of the shape of the tensor, float64 for F64, else float32.
    """

    digests: dict
    summaries: dict
    new_chunks: int
    embedding: object

    def columns(self, tensor):
        """Return the columns of hypercube.tensor that a pass decides."""
        summary = self.summaries.get(tensor.name)
        return {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "elements": math.prod(tensor.shape),
            "file": tensor.file,
            "byte_offset": tensor.offset,
            "bytes": tensor.bytes,
            "digest": self.digests[tensor.name].hex(),
            "nan_count": summary and summary.nan,
            "inf_count": summary and summary.inf,
            "zero_count": summary and summary.zero,
            "minimum": summary and summary.minimum,
            "maximum": summary and summary.maximum,
            "mean": summary and summary.mean,
            "deviation": summary and summary.deviation,
        }


def store_bytes(tensors, files, embedding, step):
    """Read every tensor once, in pieces of 1 MiB, and store what is new.

    Parameters
    ----------
    tensors : list of weights.Tensor
    files : list of sources.OpenFile
    embedding : weights.Tensor or None
        Its values are returned, when they can be used.
    step : callable
        ``step(fraction)``, called once a piece.
    """
    import numpy as np

    opened = {file.name: file for file in files}
    total = sum(tensor.bytes for tensor in tensors) or 1
    wanted = embedding is not None and embedding.dtype in weights.EMBEDDING_DTYPES
    values_wanted = np.empty(embedding.shape, weights.working_type(embedding.dtype)) if wanted else None
    digests, summaries, new_chunks, done = {}, {}, 0, 0

    # In the order of the bytes, so that a disk reads ahead.
    for tensor in sorted(tensors, key=lambda one: (one.file, one.offset)):
        whole = chunks.TensorDigest(tensor.dtype, tensor.shape)
        summary = Summary() if weights.can_decode(tensor.dtype) else None
        sink = values_wanted.reshape(-1) if wanted and tensor.name == embedding.name else None
        pieces, filled = [], 0
        for begin in range(0, tensor.bytes, weights.PIECE):
            step(done / total)
            data = opened[tensor.file].read(tensor.offset + begin, min(weights.PIECE, tensor.bytes - begin))
            done += len(data)
            whole.add(data)
            pieces.append(chunks.chunk_digest(data))
            new_chunks += bulk.store_chunk(pieces[-1], data)
            if summary is not None:
                values = weights.decode(data, tensor.dtype)
                summary.add(values)
                if sink is not None:
                    sink[filled : filled + values.size] = values
                    filled += values.size
        digests[tensor.name] = whole.digest()
        if summary is not None:
            summaries[tensor.name] = summary
        bulk.store_tensor_chunks(digests[tensor.name], pieces)
    return Stored(digests, summaries, new_chunks, values_wanted)
