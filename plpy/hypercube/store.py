"""One pass over the bytes of a model: digests, counts, chunks, the embedding."""

import math
from typing import NamedTuple

from hypercube import bulk, chunks, weights
from hypercube.summary import Reading

# Digests of this pass that need not be sent again; a hundred thousand take 10 MB.
_KNOWN_LIMIT = 100_000


class Stored(NamedTuple):
    """What one pass found, by tensor name.

    `summaries` lacks tensors whose dtype is not decoded; `values` holds those that
    were asked for, as flat arrays, float64 for F64, else float32; `kept` those whose
    bytes are stored.
    """

    digests: dict
    summaries: dict
    values: dict
    kept: set

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
            "stored": tensor.name in self.kept,
            "nan_count": summary and summary.nan,
            "inf_count": summary and summary.inf,
            "zero_count": summary and summary.zero,
            "minimum": summary and summary.minimum,
            "maximum": summary and summary.maximum,
            "mean": summary and summary.mean,
            "deviation": summary and summary.deviation,
        }


def store_bytes(tensors, files, wanted, kept, step):
    """Read every tensor once, in pieces of 1 MiB, and store what is new.

    Parameters
    ----------
    tensors : list of weights.Tensor
    files : list of sources.OpenFile
    wanted : set of str
        Names of tensors whose values are returned.
    kept : set of str
        Names of tensors whose bytes are stored.
    step : callable
        ``step(fraction)``, called once a piece.
    """
    import numpy as np

    opened = {file.name: file for file in files}
    total = sum(tensor.bytes for tensor in tensors) or 1
    found = Stored({}, {}, {}, kept)
    done, known = 0, set()

    # In the order of the bytes, so that a disk reads ahead.
    for tensor in sorted(tensors, key=lambda one: (one.file, one.offset)):
        whole = chunks.TensorDigest(tensor.dtype, tensor.shape)
        elements = math.prod(tensor.shape)
        reading = Reading(tensor.dtype, elements) if weights.can_decode(tensor.dtype) else None
        sink = None
        if tensor.name in wanted and reading is not None:
            sink = np.empty(elements, weights.working_type(tensor.dtype))
            found.values[tensor.name] = sink
        pieces, filled = [], 0
        for begin in range(0, tensor.bytes, weights.PIECE):
            step(done / total)
            data = opened[tensor.file].read(tensor.offset + begin, min(weights.PIECE, tensor.bytes - begin))
            done += len(data)
            whole.add(data)
            if tensor.name in kept:
                digest = chunks.chunk_digest(data)
                pieces.append(digest)
                if digest not in known:
                    bulk.store_chunk(digest, data)
                    if len(known) == _KNOWN_LIMIT:
                        known.clear()
                    known.add(digest)
            if reading is not None:
                reading.add(data)
            if sink is not None:
                values = weights.decode(data, tensor.dtype)
                with np.errstate(invalid="ignore"):
                    sink[filled : filled + values.size] = values
                filled += values.size
        found.digests[tensor.name] = whole.digest()
        if reading is not None:
            found.summaries[tensor.name] = reading.summary()
        bulk.store_tensor_chunks(found.digests[tensor.name], pieces)
    return found
