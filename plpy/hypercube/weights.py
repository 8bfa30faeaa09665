"""The safetensors format: headers checked to the last byte, values decoded.

Headers are parsed and checked here, since duplicate names and the size of the
header need it, and then opened once more by the safetensors library, which
must agree.  Nothing is ever mapped: a mapped file that shrinks kills a server.
"""

import json
import math
import os
from typing import NamedTuple

from hypercube.errors import CorruptFile, NotSupported, TooMany

PIECE = 1024 * 1024
_HEADER_LIMIT = 16 * 1024 * 1024
# In bytes; an index entry has room for about 2,700.
_NAME_LIMIT = 1000
_DIMENSIONS_LIMIT = 64
_HINT = "Fetch the file again, and compare its digest with the publisher's."

# Bits of one value.
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip

_NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2",
    "I32": "<i4", "U32": "<u4", "F32": "<f4", "F64": "<f8", "I64": "<i8", "U64": "<u8",
}  # fmt: skip

_ML_DTYPES = {
    "BF16": "bfloat16",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


class Tensor(NamedTuple):
    """One entry of a header; `offset` counts from the first byte of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    bytes: int


class Header(NamedTuple):
    """A checked header: its bytes as they are in the file, and what they say."""

    content: bytes
    metadata: dict[str, str]
    tensors: tuple[Tensor, ...]


def _corrupt(file, what):
    return CorruptFile(f'file "{file.path}" is not valid safetensors: {what}', hint=_HINT)


def _silent(fraction):
    pass


def _no_duplicates(pairs):
    entries = dict(pairs)
    if len(entries) != len(pairs):
        seen = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the name {twice[:100]!r} occurs twice")
    return entries


def _no_constant(text):
    raise ValueError(f"{text} is not JSON")


def read_header(file, *, step=_silent):
    """Return the Header of an open safetensors file.

    ``step(0.0)`` is called for every object of the header.

    Raises
    ------
    CorruptFile
        Whatever the header says that is not so, or not allowed by the format.
    TooMany
        The header is longer than 16 MiB.
    """
    if file.size < 8:
        raise _corrupt(file, f"it has {file.size} bytes, fewer than the length of a header takes")
    length = int.from_bytes(file.read(0, 8), "little")
    if length > file.size - 8:
        raise _corrupt(file, f"its header would have {length} bytes, the file has {file.size}")
    if length > _HEADER_LIMIT:
        raise TooMany(
            f'the header of file "{file.path}" has {length} bytes, at most {_HEADER_LIMIT} are read',
            hint="Split the model into several safetensors files.",
        )
    content = file.read(8, length)

    def entries(pairs):
        step(0.0)
        return _no_duplicates(pairs)

    if not content.startswith(b"{"):
        raise _corrupt(file, "its header does not begin with {")
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=entries, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _corrupt(file, "its header is not UTF-8") from None
    except RecursionError:
        raise _corrupt(file, "its header is nested too deeply") from None
    except ValueError as problem:
        raise _corrupt(file, f"its header is not JSON that the format allows ({problem})") from None
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _corrupt(file, "__metadata__ is not a map of text to text")
    tensors = tuple(_tensor(file, name, entry, 8 + length) for name, entry in parsed.items())
    _require_whole(file, tensors, 8 + length)
    _require_library_agrees(file, content, tensors)
    return Header(content, metadata, tensors)


def _is_count(value):
    # bool is an int to Python, and 1.0 equals 1: neither is a count in a header.
    return type(value) is int and 0 <= value < 2**63


def _tensor(file, name, entry, data_begin):
    shown = repr(name[:100])
    if len(name.encode(errors="replace")) > _NAME_LIMIT or not name.isprintable():
        raise _corrupt(file, f"the tensor name {shown} is too long or has control characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _corrupt(file, f"tensor {shown} needs dtype, shape and data_offsets and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise NotSupported(
            f'tensor {shown} of file "{file.path}" has the unknown dtype {str(dtype)[:40]!r}',
            hint="Known are " + ", ".join(BITS) + ".",
        )
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS_LIMIT or not all(map(_is_count, shape)):
        raise _corrupt(file, f"the shape of tensor {shown} is not a list of counts")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise _corrupt(file, f"the data_offsets of tensor {shown} are not two counts")
    begin, end = offsets
    if begin > end or end > file.size - data_begin:
        raise _corrupt(file, f"tensor {shown} lies at bytes {begin} to {end} of {file.size - data_begin}")
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or bits // 8 != end - begin:
        raise _corrupt(file, f"tensor {shown} has {end - begin} bytes, its shape and dtype need {bits / 8:g}")
    return Tensor(name, dtype, tuple(shape), file.name, data_begin + begin, end - begin)


def _require_whole(file, tensors, data_begin):
    """Check that the tensors fill the file without gap or overlap."""
    reached = data_begin
    for tensor in sorted(tensors, key=lambda one: (one.offset, one.offset + one.bytes)):
        if tensor.offset != reached:
            kind = "overlaps another" if tensor.offset < reached else "leaves a gap before it"
            raise _corrupt(file, f"tensor {tensor.name[:100]!r} {kind}")
        reached += tensor.bytes
    if reached != file.size:
        raise _corrupt(file, f"{file.size - reached} bytes at its end belong to no tensor")


def _require_library_agrees(file, content, tensors):
    """Let the library read the header too, in an empty file of the same size: it needs a path."""
    from safetensors import SafetensorError, safe_open

    descriptor = os.memfd_create("safetensors header", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, len(content).to_bytes(8, "little"))
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
        os.ftruncate(descriptor, file.size)
        with safe_open(f"/proc/self/fd/{descriptor}", framework="numpy", backend="pread") as opened:
            names = set(opened.keys())
    except SafetensorError as problem:
        raise _corrupt(file, str(problem)) from None
    finally:
        os.close(descriptor)
    if names != {tensor.name for tensor in tensors}:
        raise _corrupt(file, "two readers of its header disagree")


def require_index(index, tensors, shards):
    """Check model.safetensors.index.json against the shards, both ways.

    Parameters
    ----------
    index : bytes
        Content of the index file.
    tensors : iterable of Tensor
        Of all shards.
    shards : tuple of str
        Names of the weight files in the folder.
    """
    wrong = "model.safetensors.index.json does not fit its shards"
    hint = "Fetch the missing files; every shard that the index names belongs into the folder."
    try:
        placed = json.loads(index, object_pairs_hook=_no_duplicates)["weight_map"]
        if not all(isinstance(shard, str) for shard in placed.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorruptFile("model.safetensors.index.json has no map of tensors to files", hint=_HINT) from None
    missing = sorted(set(placed.values()) - set(shards))
    if missing:
        raise CorruptFile(wrong, detail=f"Shard {missing[0]} is missing.", hint=hint)
    extra = sorted(set(shards) - set(placed.values()))
    if extra:
        raise CorruptFile(
            wrong,
            detail=f"File {extra[0]} is in the folder, but not in the index.",
            hint="Move it out of the folder, or name one file instead of the folder.",
        )
    held = {tensor.name: tensor.file for tensor in tensors}
    different = sorted(held.items() ^ placed.items())
    if different:
        raise CorruptFile(wrong, detail=f"Tensor {different[0][0]} is not where the index says.", hint=hint)


def working_type(dtype):
    """Return the numpy type that holds every value of a dtype well enough to find its direction."""
    return "f8" if dtype == "F64" else "f4"


def can_decode(dtype):
    """Return whether values of a dtype can be turned into numbers here."""
    return dtype in _NUMPY or dtype in _ML_DTYPES


def decode(data, dtype):
    """Return the values of little-endian bytes as a flat array of their own type.

    Raises
    ------
    NotSupported
        F4, F6 and C64 are stored, but not decoded.
    """
    import numpy as np

    if dtype in _NUMPY:
        return np.frombuffer(data, _NUMPY[dtype])
    if dtype in _ML_DTYPES:
        import ml_dtypes

        return np.frombuffer(data, getattr(ml_dtypes, _ML_DTYPES[dtype]))
    raise NotSupported(
        f"dtype {dtype} is stored, but its values are not decoded",
        hint="Decoded are " + ", ".join([*_NUMPY, *_ML_DTYPES]) + ".",
    )
