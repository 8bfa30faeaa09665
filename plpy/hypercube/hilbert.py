"""The order of points along a Hilbert curve through the cube [-1, 1]^4.

Owns the curve and its bytes.  It does not know what a point stands for.
"""

from functools import lru_cache

import numpy as np

from hypercube.errors import InvalidArgument

_AXES = 4
_BITS = 32
_CELLS = 2.0**_BITS
# Points at a time; what belongs to them stays in the cache.
_BLOCK = 1 << 14
# Cells of one size that the search for ranges cuts further: for each range, and at least and at most.
_CUT_EACH, _CUT_LEAST, _CUT_MOST = 8, 256, 1 << 13

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
        raise InvalidArgument("coordinates must be finite", hint="Neither NaN nor infinity.")
    index = np.empty((len(points), 2), ">u8")
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        index[block, 0], index[block, 1] = _along(_cells(points[block]).astype(np.uint32), _BITS)
    data = index.tobytes()
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
        raise InvalidArgument("a Hilbert index must have 16 bytes", hint="hypercube.hilbert_index(point).")
    halves = np.frombuffer(b"".join(indices), ">u8").reshape(-1, 2).astype(np.uint64)
    cells = _across(halves[:, 0], halves[:, 1], _BITS)
    return (cells + 0.5) / (_CELLS / 2.0) - 1.0


def hilbert_ranges(low, high, limit):
    """Return the parts of the Hilbert curve that a box lies in.

    Parameters
    ----------
    low, high : array-like of shape (4,)
        The corners of the box, both of them in it; clipped to [-1, 1] as points are.
    limit : int
        How many ranges there may be, at least 1.

    Returns
    -------
    list of (bytes, bytes)
        First and last index of each range, in order, with a gap between any two.  Every cell that
        the box touches is in one of them.

    Raises
    ------
    InvalidArgument
        If a coordinate is not finite, `low` is above `high` in an axis, or `limit` is below 1.

    Notes
    -----
    A cell of a coarser grid is a range of the index.  Those that the box cuts are cut
    into 16, size by size, until there are many more than `limit`; then the smallest
    gaps are closed.  No other choice among the gaps between those cells is tighter.
    """
    corners = np.array([low, high], np.float64).reshape(2, _AXES)
    if not np.isfinite(corners).all():
        raise InvalidArgument("coordinates must be finite", hint="Neither NaN nor infinity.")
    if (corners[0] > corners[1]).any():
        raise InvalidArgument("the low corner of a box cannot be above the high one")
    if limit < 1:
        raise InvalidArgument(f"at least one range is needed, not {limit}")
    low, high = _cells(corners).astype(np.int64)
    most = min(max(_CUT_LEAST, _CUT_EACH * limit), _CUT_MOST)
    return _joined(*_touched(low, high, most), limit)


def cube_path(bits):
    """Return the cells of a cube with 2^bits a side along a Hilbert curve through its three axes.

    Returns
    -------
    int64 ndarray of shape (8^bits, 3)
        From the corner (0, 0, 0) to the one at the other end of the first axis; every step goes
        to a neighbour.
    """
    cells = np.indices((1 << bits,) * 3).reshape(3, -1)
    axes = list(cells.astype(np.uint32))
    _straighten(axes, bits)
    index = np.zeros(len(axes[0]), np.int64)
    for bit in range(bits - 1, -1, -1):
        for axis in axes:
            index = index << 1 | (axis >> np.uint32(bit) & np.uint32(1))
    return cells.T[np.argsort(index)]


def _cells(points):
    """Return the cells of points as whole float64 numbers."""
    cells = np.floor((np.clip(points, -1.0, 1.0) + 1.0) * (_CELLS / 2.0))
    return np.minimum(cells, _CELLS - 1.0)


def _touched(low, high, most):
    """Return ranges that cover a box of cells, in no order, as upper and lower 64 bits of both their ends.

    Each is a cell of some size that lies in the box, or one of the smallest looked at that it cuts; no
    size has more than 16 times `most` of those.
    """
    orders, states = _orientations()
    bits_of = orders[:, :, None] >> np.arange(_AXES - 1, -1, -1) & 1
    corner, state = np.zeros((1, _AXES), np.int64), np.zeros(1, np.int64)
    index = np.zeros((1, 2), np.uint64)
    found = []
    for bit in range(_BITS, -1, -1):
        if bit < _BITS:
            corner = (corner[:, None] + (bits_of[state] << bit)).reshape(-1, _AXES)
            state = states[state].reshape(-1)
            # The upper half of the index holds the digits of the upper 16 bits.
            digits = np.arange(16, dtype=np.uint64) << np.uint64(bit % 16 * 4)
            index = np.repeat(index, 16, axis=0)
            index[:, int(bit < 16)] |= np.tile(digits, len(index) // 16)
        end = corner + ((1 << bit) - 1)
        touched = ((corner <= high) & (end >= low)).all(axis=1)
        inside = ((corner >= low) & (end <= high)).all(axis=1)
        cut = touched & ~inside
        enough = np.count_nonzero(cut) > most
        chosen = touched if enough else inside
        rest = (1 << 4 * bit) - 1
        last = index[chosen] | np.array([rest >> 64, rest & (1 << 64) - 1], np.uint64)
        found.append(np.hstack((index[chosen], last)))
        if enough or not cut.any():
            break
        corner, state, index = corner[cut], state[cut], index[cut]
    return np.concatenate(found).T


def _joined(high, low, last_high, last_low, limit):
    """Return ranges as pairs of bytes, in order; what is adjacent, and the smallest gaps, are closed."""
    order = np.lexsort((low, high))
    high, low, last_high, last_low = (part[order] for part in (high, low, last_high, last_low))
    # In units of the index; how many places lie between, which is exact enough to choose by.
    gaps = (high[1:] - last_high[:-1]) * 2.0**64 + (low[1:].astype(np.float64) - last_low[:-1])
    adjacent = (last_low[:-1] + np.uint64(1) == low[1:]) & (
        last_high[:-1] + (last_low[:-1] == np.uint64(2**64 - 1)) == high[1:]
    )
    kept = np.flatnonzero(~adjacent)
    kept = np.sort(kept[np.argsort(-gaps[kept], kind="stable")[: limit - 1]])
    begins, ends = np.append(0, kept + 1), np.append(kept, len(high) - 1)
    first = np.column_stack((high[begins], low[begins])).astype(">u8").tobytes()
    last = np.column_stack((last_high[ends], last_low[ends])).astype(">u8").tobytes()
    return [(first[at : at + 16], last[at : at + 16]) for at in range(0, len(first), 16)]


@lru_cache(maxsize=1)
def _orientations():
    """Return the order of the 16 parts of a cell for each way in which the curve passes, and their ways.

    Returns
    -------
    orders : int64 ndarray of shape (ways, 16)
        Parts along the curve, as numbers with a bit for each axis, the first axis foremost.
    states : int64 ndarray of shape (ways, 16)
        The ways of those parts; the whole cube is passed in way 0.
    """
    cells = np.indices((4,) * _AXES).reshape(_AXES, -1).T
    path = cells[np.argsort(_along(cells, 2)[1])].reshape(16, 16, _AXES)
    weights = 1 << np.arange(_AXES - 1, -1, -1)
    root = (path[:, 0] >> 1) @ weights
    # How each part's own path comes out of the root's: a map of its parts to their places.
    turns = np.empty((16, 16), np.int64)
    turns[:, root] = (path & 1) @ weights
    ways, number, states = [tuple(range(16))], {tuple(range(16)): 0}, []
    while len(states) < len(ways):
        parts = [tuple(np.array(ways[len(states)])[turn].tolist()) for turn in turns]
        for part in parts:
            if number.setdefault(part, len(ways)) == len(ways):
                ways.append(part)
        states.append([number[part] for part in parts])
    return np.array(ways)[:, root], np.array(states)


def _along(cells, bits):
    """Return the upper and lower 64 bits of the index of cells of a grid of 2^bits a side."""
    axes = [column.copy() for column in cells.astype(np.uint32).T]
    _straighten(axes, bits)
    return _interleaved(axes, 16), _interleaved(axes, 0)


def _straighten(axes, bits):
    """Turn coordinates into the bits of the index, in place, for any number of axes."""
    for bit in range(bits - 1, 0, -1):
        for axis in axes:
            _turn(axes[0], axis, bit)
    for i in range(1, len(axes)):
        axes[i] ^= axes[i - 1]
    flip = np.zeros_like(axes[0])
    for bit in range(bits - 1, 0, -1):
        flip ^= _set(axes[-1], bit) & np.uint32((1 << bit) - 1)
    for axis in axes:
        axis ^= flip


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
