"""Exact nearest neighbours by cosine among the rows of a matrix.

Owns unit vectors, scores and who is near whom.  It does not know what a row
stands for.

Everything here rests on one observation: cut the scores into runs of 128
contiguous columns; the k runs with the best maxima hold the k best columns.
That stays true with ties when both are ordered by (score descending, index
ascending): each run before the one that holds column c has a column before c.
"""

import numpy as np

from hypercube import scoring, tiles

_GROUP = 128
# Columns multiplied at a time; maxima are taken while they are in the cache.
_BLOCK = 32 * _GROUP
# Scores a thread holds at a time, and the rows that are enough to keep BLAS busy.
_TILE_BYTES = 64 << 20
_TILE_ROWS = 512
# Columns looked at beyond the k best, because float32 may have put them in the wrong order.
_SPARE = 8
_REFINED = 4096
# Scores that differ by less may be in another order than their float32 products.
_DOUBT = np.float32(4e-6)
_LEAST = np.finfo(np.float32).min
_PLACES = np.arange(_GROUP)
_FEW = 4096
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
    Exact: every pair is multiplied, in float32; those that may be among the nearest once more in
    float64.  Equal input gives equal output, whatever the number of threads.
    """
    own = np.arange(len(unit)).reshape(-1, 1)
    return nearest(unit, unit, k, excluded=own, threads=threads, step=step)


def nearest(queries, unit, k, *, excluded=None, eligible=None, threads=None, held=_TILE_BYTES, step=_silent):
    """Find the k rows of `unit` nearest to every row of `queries`.

    Parameters
    ----------
    queries : float32 ndarray of shape (m, d)
        Of length 1, as the rows of `unit`.
    unit : float32 ndarray of shape (n, d)
    k : int
    excluded : int ndarray of shape (m, e), optional
        Different rows of `unit` that are no answer to a query; -1 excludes nothing.
        ``k' = min(k, n - the fewest exclusions of a query)`` answers are returned.
    eligible : bool ndarray of shape (n,), optional
        Rows of `unit` that may be an answer; the others are not multiplied.  Where a query has fewer
        than k' answers, the rest of its scores are -inf and their neighbors mean nothing.
    held : int
        Bytes of the scores that a thread holds at a time.
    threads, step
        As for `nearest_graph`.

    Returns
    -------
    neighbors : int32 ndarray of shape (m, k')
    scores : float32 ndarray of shape (m, k')
        As for `nearest_graph`.
    """
    chosen, kept, forget = _exclusion(len(queries), len(unit), k, excluded, eligible)
    scored = scoring.Products(queries, unit, chosen)
    return _numbered(chosen, *_search(scored, kept, forget, threads, step, held))


def nearest_by_quotient(
    words, questions, unit, k, *, excluded=None, eligible=None, threads=None, held=_TILE_BYTES, step=_silent
):
    """Find the k best rows of `unit` for analogies by 3CosMul.

    Parameters
    ----------
    words : float32 ndarray of shape (u, d)
        Of length 1, as the rows of `unit`.
    questions : int ndarray of shape (m, 3)
        Rows of `words`: a is to b as c is to what.
    unit, k, excluded, eligible, threads, held, step
        As for `nearest`.

    Returns
    -------
    neighbors : int32 ndarray of shape (m, k')
    scores : float32 ndarray of shape (m, k')
        cos'(b) cos'(c) / (cos'(a) + 1e-6) where cos' = (1 + cos) / 2; ordered as for `nearest`.

    Notes
    -----
    Levy and Goldberg (2014).
    """
    chosen, kept, forget = _exclusion(len(questions), len(unit), k, excluded, eligible)
    scored = scoring.Quotients(words, questions, unit, chosen)
    scored.prepare(step)
    return _numbered(chosen, *_search(scored, kept, forget, threads, step, held))


def _exclusion(m, n, k, excluded, eligible):
    """Return the rows that may be an answer (None for all), how many are wanted, and what forgets others.

    Rows that may be none for anybody are left out of the product; those of a query are forgotten after it.
    """
    chosen = None if eligible is None or eligible.all() else np.flatnonzero(eligible)
    if excluded is None:
        excluded = np.empty((m, 0), np.int64)
    if chosen is not None:
        place = np.full(n, -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        excluded = np.where(excluded >= 0, place[excluded], -1)
        n = len(chosen)

    def forget(score, rows, columns):
        taken = excluded[rows] - columns.start
        row, entry = np.nonzero((taken >= 0) & (taken < score.shape[1]))
        score[row, taken[row, entry]] = -np.inf

    fewest = (excluded >= 0).sum(axis=1).min(initial=excluded.shape[1])
    return chosen, min(k, n - fewest), forget


def _numbered(chosen, columns, scores):
    return (columns if chosen is None else chosen[columns].astype(np.int32)), scores


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
    scored = scoring.Products(unit[rows], unit)
    return _search(scored, min(k, len(unit) - largest), forget, threads, step)


def _search(scored, k, forget, threads, step, held=_TILE_BYTES):
    """Search tile by tile; ``forget(score, rows, columns)`` sets to -inf what is no answer."""
    m, n, d = scored.shape
    k = max(0, k)
    neighbors = np.empty((m, k), np.int32)
    scores = np.empty((m, k), np.float32)
    if m == 0 or k == 0:
        return neighbors, scores

    groups = -(-n // _GROUP)
    rows = max(1, min(_TILE_ROWS, m, held // (4 * _GROUP * groups)))
    blocks = _column_blocks(n, rows * d)

    def prepare(stopping):
        buffer = np.empty((rows, groups * _GROUP), np.float32)
        buffer[:, n:] = -np.inf
        maxima = np.empty((rows, groups), np.float32)

        def work(tile):
            start, stop = tile
            fill = scored.tile(start, stop)
            score, best = buffer[: stop - start], maxima[: stop - start]
            for first, last in blocks:
                if stopping():
                    return
                fill(first, last, score[:, first:last])
                forget(score[:, first:last], slice(start, stop), slice(first, last))
                _group_maxima(score, best, first, last)
            neighbors[start:stop], scores[start:stop] = _refined(scored, start, score, best, k, stopping)

        return work

    tiles.run(tiles.even_bounds(m, rows), prepare, threads=threads, step=step)
    return neighbors, scores


def top_k(scores, k, refine, excluded=()):
    """Find the k best entries of one vector of scores.

    Parameters
    ----------
    scores : float32 ndarray of shape (n,)
        Without NaN; an entry of -inf is not eligible.  Written to.
    k : int
    refine : callable
        ``refine(indices)`` returns the scores of some entries, float32, as they should be.
    excluded : sequence of int
        Indices that are not eligible either.

    Returns
    -------
    indices : int64 ndarray
        By refined score descending, equal scores by index ascending; k of them, or as
        many as are eligible.
    scores : float32 ndarray
        The refined scores of these entries.
    """
    # A scan has emptied the caches: few steps count for more than short ones.
    n, groups = len(scores), -(-len(scores) // _GROUP)
    for index in excluded:
        scores[index] = -np.inf
    k = min(k, n)
    if k <= 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    first = np.arange(0, n, _GROUP)
    columns = None
    if k < groups:
        # The k-th best maximum is at most the k-th best score, so no other group holds one that counts.
        best = np.maximum.reduceat(scores, first)
        near = first[best >= _nth(best, groups - k) - _DOUBT]
        columns = (near[:, None] + _PLACES).ravel()
        if near[-1] + _GROUP > n:
            columns = columns[columns < n]
        scores = scores[columns]
    bar = _nth(scores, len(scores) - k) - _DOUBT
    kept = (scores >= max(bar, _LEAST)).nonzero()[0]
    columns = kept if columns is None else columns[kept]
    values = np.empty(len(columns), np.float32)
    for start in range(0, len(columns), _REFINED):
        values[start : start + _REFINED] = refine(columns[start : start + _REFINED])
    order = np.lexsort((columns, -values))[:k]
    return columns[order], values[order]


def _nth(values, place):
    return (np.sort(values) if len(values) <= _FEW else np.partition(values, place))[place]


def _refined(scored, first, score, best, k, stopping):
    """Return the k best columns of every row of a tile, and their scores, by what `scored` refines.

    A few columns more than k are looked at; in rows where float32 cannot tell even these from the
    others, all that it cannot tell apart.
    """
    rows, n = len(score), scored.shape[1]
    count = min(n, k + _SPARE)
    columns, values = _finish(score, best, count)
    exact = scored.refine(np.arange(first, first + rows), columns)
    exact[values == -np.inf] = -np.inf
    columns, exact = _in_order(columns, exact, k)
    if count < n:
        last = np.where(values[:, -1] > -np.inf, values[:, -1], np.inf)
        for row in np.flatnonzero(np.abs(values[:, k - 1] - last) <= _DOUBT):
            if stopping():
                break

            def refine(ids, question=first + row):
                return scored.refine(np.array([question]), ids[None])[0]

            columns[row], exact[row] = top_k(score[row, :n], k, refine)
    return columns, exact


def _in_order(columns, scores, k):
    place = np.lexsort((columns, -scores), axis=1)[:, :k]
    return np.take_along_axis(columns, place, axis=1), np.take_along_axis(scores, place, axis=1)


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
