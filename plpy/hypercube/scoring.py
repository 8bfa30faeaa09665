"""Scores of the rows of a matrix: cosines with vectors, and quotients of them.

Rows and vectors have length 1.  A scorer hands out the scores of a tile of questions
for a run of rows at a time, in float32: fast, and right to about seven digits, the last of
which depend on how a product was cut into pieces.  The few rows that matter are then
computed in float64 and rounded once, so that a score is the same whatever was asked.
"""

import numpy as np

# Read between two looks at the stop sign.
_SCAN_BYTES = 16 << 20
_FEW_ROWS = 256
# Stays in the cache while it is converted and multiplied.
_REFINED_BYTES = 1 << 20
# Cosines of words that are held, and rows that they are computed with at a time.
_HELD_BYTES = 40 << 20
_NEAR_ROWS = 4096
# Questions whose quotients are computed at a time, for the same reason.
_QUOTIENTS = 16
# Keeps a quotient finite; gensim and the authors of 3CosMul add the same.
_EPSILON = np.float32(1e-6)


def _silent(fraction):
    pass


def products(unit, vectors, *, step=_silent):
    """Multiply every row of a matrix with some vectors.

    Parameters
    ----------
    unit : float32 ndarray of shape (n, d)
    vectors : float32 ndarray of shape (d,) or (d, m)
    step : callable
        ``step(fraction)``, called about every 16 MiB of `unit`.

    Returns
    -------
    ndarray, float32 of shape (n,) or (n, m)
    """
    n, d = unit.shape
    if vectors.ndim == 1:
        found = np.empty(n, np.float32)
        rows = max(1, _SCAN_BYTES // (4 * d))
        for start in range(0, n, rows):
            step(start / n)
            np.matmul(unit[start : start + rows], vectors, out=found[start : start + rows])
        return found
    # A few vectors are multiplied in blocks that are small enough for a kernel of BLAS that
    # packs nothing: half of the time of one product with all rows.
    found = np.empty((vectors.shape[1], n), np.float32)
    left = np.ascontiguousarray(vectors.T)
    for start in range(0, n, _FEW_ROWS):
        if start % (64 * _FEW_ROWS) == 0:
            step(start / n)
        part = slice(start, start + _FEW_ROWS)
        np.matmul(left, unit[part].T, out=found[:, part])
    return found.T


def cosines(unit, ids, vector):
    """Return the cosines of some rows with a float64 vector of shape (d,): float32, from float64."""
    return np.clip(unit[ids].astype(np.float64) @ vector, -1.0, 1.0).astype(np.float32)


def quotient(positive, negative):
    """Return the scores of 3CosMul from cosines with words, (n, p) and (n, q), in their own type.

    Notes
    -----
    Levy and Goldberg (2014): the product of the ones over that of the others, cosines moved to 0 to 1.
    """
    above = ((positive + 1) / 2).prod(axis=1)
    return above / (((negative + 1) / 2).prod(axis=1) + _EPSILON)


class _Rows:
    """The rows of a matrix that may be an answer: all of them, or those in a list."""

    def __init__(self, unit, rows):
        self._unit = unit
        self._rows = rows
        self.shape = (len(unit) if rows is None else len(rows), unit.shape[1])

    def block(self, first, last):
        """Return rows first to last; a copy where they are in a list."""
        if self._rows is None:
            return self._unit[first:last]
        return self._unit.take(self._rows[first:last], axis=0)

    def cosines(self, columns, vectors):
        """Return the cosines of rows `columns`, (m, c), with v vectors for each of m questions, (m, v, d).

        They are float64 and computed so: (m, v, c).
        """
        unit = self._unit
        ids = columns if self._rows is None else self._rows[columns]
        found = np.empty((*vectors.shape[:2], columns.shape[1]))
        some = max(1, _REFINED_BYTES // (8 * columns.shape[1] * unit.shape[1]))
        for start in range(0, len(columns), some):
            part = slice(start, start + some)
            near = unit[ids[part]].astype(np.float64)
            np.matmul(vectors[part].astype(np.float64), near.transpose(0, 2, 1), out=found[part])
        return np.clip(found, -1.0, 1.0, out=found)


class Products:
    """Scores that are cosines of queries, (m, d), with the rows of a matrix, float32 (n, d).

    With `rows`, int (r,), only those rows of the matrix are there, and are numbered in that order.
    """

    def __init__(self, queries, unit, rows=None):
        self._rows = _Rows(unit, rows)
        self._queries = queries
        self.shape = (len(queries), *self._rows.shape)

    def tile(self, start, stop):
        """Return ``fill(first, last, out)`` for questions start to stop, which scores rows first to last."""
        # A copy: a matrix times its own transpose would go to SYRK, which
        # has crashed at this size.
        left = self._queries[start:stop].astype(np.float32)

        def fill(first, last, out):
            np.matmul(left, self._rows.block(first, last).T, out=out)

        return fill

    def refine(self, questions, columns):
        """Return the scores of rows `columns`, (m, c), for m questions: float32, from float64."""
        return self._rows.cosines(columns, self._queries[questions, None])[:, 0].astype(np.float32)


class Quotients:
    """Scores of 3CosMul for questions, int (m, 3), about words, (u, d).

    Words stand in several questions: each is multiplied once, for all of them where its
    cosines can be held, else for those of a tile.
    """

    def __init__(self, words, questions, unit, rows=None):
        self._rows = _Rows(unit, rows)
        self._words = words
        self._questions = questions
        self._near = None
        self.shape = (len(questions), *self._rows.shape)

    def prepare(self, step):
        """Compute the cosines of all words if they can be held; ``step(fraction)`` is called meanwhile."""
        words, n = len(self._words), self.shape[1]
        if 4 * words * n > _HELD_BYTES:
            return
        near = np.empty((words, n), np.float32)
        left = self._words.astype(np.float32)
        for first in range(0, n, _NEAR_ROWS):
            step(first / n)
            part = slice(first, first + _NEAR_ROWS)
            np.matmul(left, self._rows.block(first, first + _NEAR_ROWS).T, out=near[:, part])
            near[:, part] += 1
            near[:, part] /= 2
        self._near = near

    def tile(self, start, stop):
        """As for `Products`."""
        if self._near is None:
            used, place = np.unique(self._questions[start:stop], return_inverse=True)
            a, b, c = place.reshape(-1, 3).T
            left = self._words[used].astype(np.float32)
        else:
            a, b, c = self._questions[start:stop].T

        def fill(first, last, out):
            if self._near is None:
                near = left @ self._rows.block(first, last).T
                near += 1
                near /= 2
            else:
                near = self._near[:, first:last]
            for some in range(0, len(out), _QUOTIENTS):
                part = slice(some, some + _QUOTIENTS)
                below = near[a[part]]
                below += _EPSILON
                np.multiply(near[b[part]], near[c[part]], out=out[part])
                out[part] /= below

        return fill

    def refine(self, questions, columns):
        """As for `Products`."""
        near = self._rows.cosines(columns, self._words[self._questions[questions]])
        a, b, c = (near[:, side] for side in range(3))
        return ((b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + float(_EPSILON))).astype(np.float32)
