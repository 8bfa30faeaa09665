"""The order of points along a Hilbert curve through the cube [-1, 1]^4.

Owns the curve and its bytes.  It does not know what a point stands for.
"""

import numpy as np

from hypercube.errors import InvalidArgument

_AXES = 4
_BITS = 32
_CELLS = 2.0**_BITS

# Moves the bits of a 16-bit number four places apart: shift left, keep these.
_SPREAD = (
    (24, 0x000000FF000000FF),
    (12, 0x000F000F000F000F),
    (6, 0x0303030303030303),
    (3, 0x1111111111111111),
)


def hilbert_index(points):
    """Return where points lie along the Hilbert curve.

    Parameters
    ----------
    points : ndarray of shape (n, 4)
        Coordinates are clipped to [-1, 1] and cut into 2^32 cells of equal width,
        each closed below; 1 itself belongs to the last.

    Returns
    -------
    list of bytes
        16 bytes a point, big-endian, so the order of the bytes is that of the
        curve; points of one cell have equal bytes.

    Raises
    ------
    InvalidArgument
        If a coordinate is not finite.

    Notes
    -----
    Points that are close on the curve are close in space.  Skilling, "Programming
    the Hilbert curve" (AIP Conference Proceedings 707, 2004), for all points at
    once.
    """
    points = np.asarray(points, np.float64).reshape(-1, _AXES)
    if not np.isfinite(points).all():
        raise InvalidArgument("coordinates must be finite")
    cells = np.floor((np.clip(points, -1.0, 1.0) + 1.0) * (_CELLS / 2.0))
    high, low = _along(np.minimum(cells, _CELLS - 1.0).astype(np.uint32), _BITS)
    data = np.column_stack((high, low)).astype(">u8").tobytes()
    return [data[start : start + 16] for start in range(0, len(data), 16)]


def hilbert_point(indices):
    """Return the centres of the cells at some places along the Hilbert curve.

    Parameters
    ----------
    indices : sequence of bytes
        As `hilbert_index` returns them.

    Returns
    -------
    float64 ndarray of shape (n, 4)

    Raises
    ------
    InvalidArgument
        If an index has not 16 bytes.
    """
    if any(len(index) != 16 for index in indices):
        raise InvalidArgument("a Hilbert index must have 16 bytes")
    halves = np.frombuffer(b"".join(indices), ">u8").reshape(-1, 2).astype(np.uint64)
    cells = _across(halves[:, 0], halves[:, 1], _BITS)
    return (cells + 0.5) / (_CELLS / 2.0) - 1.0


def _along(cells, bits):
    """Return the upper and lower 64 bits of the index of cells of a grid of 2^bits a side."""
    axes = [column.copy() for column in cells.astype(np.uint32).T]
    for bit in range(bits - 1, 0, -1):
        for axis in axes:
            _turn(axes[0], axis, bit)
    for i in range(1, _AXES):
        axes[i] ^= axes[i - 1]
    flip = np.zeros_like(axes[0])
    for bit in range(bits - 1, 0, -1):
        flip ^= _set(axes[-1], bit) & np.uint32((1 << bit) - 1)
    for axis in axes:
        axis ^= flip
    return _interleaved(axes, 16), _interleaved(axes, 0)


def _across(high, low, bits):
    """Return the cells at the indices given by their upper and lower 64 bits."""
    axes = _separated(high, low)
    flip = axes[-1] >> np.uint32(1)
    for i in range(_AXES - 1, 0, -1):
        axes[i] ^= axes[i - 1]
    axes[0] ^= flip
    for bit in range(1, bits):
        for axis in reversed(axes):
            _turn(axes[0], axis, bit)
    return np.column_stack(axes)


def _turn(first, axis, bit):
    """Undo one turn of the curve, in place; doing it again restores.

    Where the bit of `axis` is set, the lower bits of `first` are inverted;
    elsewhere they are exchanged with those of `axis`.
    """
    below = np.uint32((1 << bit) - 1)
    inverted = _set(axis, bit)
    exchanged = (first ^ axis) & below & ~inverted
    first ^= exchanged | (inverted & below)
    if axis is not first:
        axis ^= exchanged


def _set(axis, bit):
    """Return all ones where the bit is set and zero elsewhere."""
    return np.uint32(0) - (axis >> np.uint32(bit) & np.uint32(1))


def _interleaved(axes, shift):
    """Interleave 16 bits of every axis, from `shift` on, the first axis foremost."""
    index = np.zeros(axes[0].shape, np.uint64)
    for place, axis in enumerate(axes):
        bits = (axis >> np.uint32(shift) & np.uint32(0xFFFF)).astype(np.uint64)
        for distance, kept in _SPREAD:
            bits = (bits | bits << np.uint64(distance)) & np.uint64(kept)
        index |= bits << np.uint64(_AXES - 1 - place)
    return index


def _separated(high, low):
    """Undo `_interleaved` for both halves."""
    axes = []
    for place in range(_AXES):
        axis = np.zeros(high.shape, np.uint32)
        for half, shift in ((high, 16), (low, 0)):
            bits = half >> np.uint64(_AXES - 1 - place) & np.uint64(_SPREAD[-1][1])
            kept = [mask for _, mask in _SPREAD[-2::-1]] + [0xFFFF]
            for (distance, _), mask in zip(_SPREAD[::-1], kept, strict=True):
                bits = (bits | bits >> np.uint64(distance)) & np.uint64(mask)
            axis |= bits.astype(np.uint32) << np.uint32(shift)
        axes.append(axis)
    return axes
