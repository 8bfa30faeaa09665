"""Exact nearest neighbours by cosine among the rows of a matrix.

Owns unit vectors, scores and who is near whom.  It does not know what a row
stands for.

Everything here rests on one observation: cut the scores into runs of 64
contiguous columns; the k runs with the best maxima hold the k best columns.
That stays true with ties when both are ordered by (score descending, index
ascending): each run before the one that holds column c has a column before c.
"""

import numpy as np

from hypercube import tiles

_GROUP = 64
# Columns multiplied at a time; maxima are taken while they are in the cache.
_BLOCK = 64 * _GROUP
# Scores a thread holds at a time, and the rows that are enough to keep BLAS busy.
_TILE_BYTES = 64 << 20
_TILE_ROWS = 512
# Products of one call of BLAS, between two looks at the stop sign (about 50 ms).
_BLOCK_PRODUCTS = 2 << 30
_SLICE_BYTES = 8 << 20


def _silent(fraction):
    pass


def unit_rows(matrix, *, out=None, step=_silent):
    """Divide every row of a matrix by its length.

    Parameters
    ----------
    matrix : ndarray of shape (n, d), any real dtype
        NaN and infinities count as 0.
    out : float32 ndarray of shape (n, d), optional
        Where the rows go; may be `matrix` itself.
    step : callable
        ``step(fraction)``, called between blocks of rows.

    Returns
    -------
    unit : float32 ndarray of shape (n, d)
    usable : bool ndarray of shape (n,)
        False where a row is zero, and stays zero.

    Notes
    -----
    Lengths are computed in float64, after division by the largest magnitude of
    the row, so nothing overflows or vanishes.
    """
    n, d = matrix.shape
    unit = np.empty((n, d), np.float32) if out is None else out
    usable = np.zeros(n, bool)
    rows = max(1, _SLICE_BYTES // (8 * max(1, d)))
    for start in range(0, n, rows):
        step(start / n)
        block = matrix[start : start + rows].astype(np.float64)
        block[~np.isfinite(block)] = 0.0
        peak = np.abs(block).max(axis=1, initial=0.0)
        found = peak > 0.0
        block /= np.where(found, peak, 1.0)[:, None]
        length = np.sqrt(np.einsum("ij,ij->i", block, block))
        block /= np.where(found, length, 1.0)[:, None]
        unit[start : start + rows] = block
        usable[start : start + rows] = found
    return unit, usable


def nearest_graph(unit, k, *, threads=None, step=_silent):
    """Find the k nearest other rows of every row.

    Parameters
    ----------
    unit : float32 ndarray of shape (n, d)
        Rows of length 1 (or 0, which are at cosine 0 to everything).
    k : int
        How many neighbours; ``k' = min(k, n - 1)`` are returned.
    threads : int, optional
        Does not change the result.
    step : callable
        ``step(fraction)``, called about every 50 ms; if it raises, the work ends
        within a few blocks and the exception leaves.

    Returns
    -------
    neighbors : int32 ndarray of shape (n, k')
        By score descending, equal scores by index ascending; never the row itself.
    scores : float32 ndarray of shape (n, k')
        Cosines, clipped to [-1, 1].

    Notes
    -----
    Exact: every pair is multiplied, in float32.  Equal input gives equal output,
    bit for bit on one kind of processor.
    """
    own = np.arange(len(unit)).reshape(-1, 1)
    return nearest(unit, unit, k, excluded=own, threads=threads, step=step)


def nearest(queries, unit, k, *, excluded=None, threads=None, step=_silent):
    """Find the k rows of `unit` nearest to every row of `queries`.

    Parameters
    ----------
    queries : float32 ndarray of shape (m, d)
        Of length 1, as the rows of `unit`.
    unit : float32 ndarray of shape (n, d)
    k : int
    excluded : int ndarray of shape (m, e), optional
        Rows of `unit` that are no answer to a query; -1 excludes nothing.
        ``k' = min(k, n - e)`` answers are returned.
    threads, step
        As for `nearest_graph`.

    Returns
    -------
    neighbors : int32 ndarray of shape (m, k')
    scores : float32 ndarray of shape (m, k')
        As for `nearest_graph`.
    """
    if excluded is None:
        excluded = np.empty((len(queries), 0), np.int64)

    def forget(score, rows, columns):
        taken = excluded[rows] - columns.start
        row, entry = np.nonzero((taken >= 0) & (taken < score.shape[1]))
        score[row, taken[row, entry]] = -np.inf

    kept = min(k, len(unit) - excluded.shape[1])
    return _search(queries, unit, kept, forget, threads, step)


def nearest_outside(unit, rows, component, k, *, threads=None, step=_silent):
    """Find the k nearest rows of other components for some rows of a matrix.

    Parameters
    ----------
    unit : float32 ndarray of shape (n, d)
    rows : int ndarray of shape (m,)
        The rows that look for neighbours.
    component : int ndarray of shape (n,)
        Which component a row of `unit` belongs to.
    k : int
        ``k' = min(k, the fewest rows outside of a component)`` are returned.
    threads, step
        As for `nearest_graph`.

    Returns
    -------
    neighbors : int32 ndarray of shape (m, k')
    scores : float32 ndarray of shape (m, k')
        As for `nearest_graph`.
    """

    def forget(score, own, columns):
        score[component[rows[own], None] == component[None, columns]] = -np.inf

    largest = np.bincount(component)[component[rows]].max(initial=0)
    return _search(unit[rows], unit, min(k, len(unit) - largest), forget, threads, step)


def _search(queries, unit, k, forget, threads, step):
    """Search tile by tile; ``forget(score, rows, columns)`` sets to -inf what is no answer."""
    m, n, d = len(queries), *unit.shape
    k = max(0, k)
    neighbors = np.empty((m, k), np.int32)
    scores = np.empty((m, k), np.float32)
    if m == 0 or k == 0:
        return neighbors, scores

    groups = -(-n // _GROUP)
    rows = max(1, min(_TILE_ROWS, m, _TILE_BYTES // (4 * _GROUP * groups)))
    blocks = _column_blocks(n, rows * d)

    def prepare(stopping):
        held = np.full((rows, groups * _GROUP), -np.inf, np.float32)
        maxima = np.empty((rows, groups), np.float32)

        def work(tile):
            start, stop = tile
            # A copy: a matrix times its own transpose would go to SYRK, which
            # has crashed at this size.
            left = queries[start:stop].copy()
            score, best = held[: stop - start], maxima[: stop - start]
            for first, last in blocks:
                if stopping():
                    return
                np.matmul(left, unit[first:last].T, out=score[:, first:last])
                forget(score[:, first:last], slice(start, stop), slice(first, last))
                _group_maxima(score, best, first, last)
            columns, values = _finish(score, best, k)
            neighbors[start:stop] = columns
            np.clip(values, -1.0, 1.0, out=scores[start:stop])

        return work

    tiles.run(tiles.even_bounds(m, rows), prepare, threads=threads, step=step)
    return neighbors, scores


def top_k(scores, k, excluded=()):
    """Find the k best entries of one vector of scores.

    Parameters
    ----------
    scores : float32 ndarray of shape (n,)
        Without NaN; an entry of -inf is not eligible.
    k : int
    excluded : sequence of int
        Indices that are not eligible either.

    Returns
    -------
    indices : int64 ndarray
        By score descending, equal scores by index ascending; k of them, or as
        many as are eligible.
    scores : float32 ndarray
        The entries at these indices.
    """
    n = len(scores)
    groups = -(-n // _GROUP)
    padded = np.empty(groups * _GROUP, np.float32)
    padded[:n] = scores
    padded[n:] = -np.inf
    padded[np.asarray(excluded, np.intp)] = -np.inf
    if k <= 0 or n == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    grid = padded.reshape(1, -1)
    best = np.maximum.reduceat(padded, np.arange(0, padded.size, _GROUP)).reshape(1, -1)
    columns, values = _finish(grid, best, min(k, n))
    eligible = np.count_nonzero(values > -np.inf)
    return columns[0, :eligible], values[0, :eligible]


def _column_blocks(n, products_per_column):
    width = min(_BLOCK, max(_GROUP, _BLOCK_PRODUCTS // products_per_column // _GROUP * _GROUP))
    edges = [_GROUP * edge for edge, _ in tiles.even_bounds(-(-n // _GROUP), width // _GROUP)]
    return list(zip(edges, [*edges[1:], n], strict=True))


def _group_maxima(score, best, first, last):
    low, high = first // _GROUP, -(-last // _GROUP)
    starts = np.arange(0, (high - low) * _GROUP, _GROUP)
    np.maximum.reduceat(score[:, low * _GROUP : high * _GROUP], starts, axis=1, out=best[:, low:high])


def _finish(score, best, k):
    """Return the columns and values of the k best scores of every row, given the group maxima."""
    rows, groups = best.shape
    if k < groups:
        chosen = _smallest(_keys(best, np.arange(groups)), k)
        chosen.sort(axis=1)
    else:
        chosen = np.broadcast_to(np.arange(groups), (rows, groups))
    candidates = score.reshape(rows, groups, _GROUP)[np.arange(rows)[:, None], chosen]
    columns = chosen[:, :, None] * _GROUP + np.arange(_GROUP)
    keys = _keys(candidates, columns).reshape(rows, -1)
    columns = _smallest(keys, k, ordered=True)
    return columns, np.take_along_axis(score, columns, axis=1)


def _keys(values, index):
    """Make int64 keys whose order is by value descending, then by index ascending."""
    # Adding zero turns -0.0 into 0.0.  The bits of a float32, read as a signed
    # integer, are in its order when it is positive and reversed when negative.
    bits = (values + np.float32(0.0)).view(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    np.invert(bits, out=bits)
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= index
    return keys


def _smallest(keys, k, *, ordered=False):
    """Return the indices held by the k smallest keys of every row."""
    if k < keys.shape[1]:
        keys.partition(k - 1, axis=1)
    smallest = keys[:, :k]
    if ordered:
        smallest.sort(axis=1)
    return smallest & 0xFFFFFFFF
