"""Scores of the rows of a matrix: cosines with vectors, and quotients of them.

Rows and vectors have length 1.  A scorer hands out the scores of a tile of questions
for a run of rows at a time, in float32: fast, and right to about seven digits, the last of
which depend on how a product was cut into pieces.  The few rows that matter are then
computed in float64 and rounded once, so that a score is the same whatever was asked.
"""

import numpy as np

# Read between two looks at the stop sign.
_SCAN_BYTES = 16 << 20
# Stays in the cache while it is converted and multiplied.
_REFINED_BYTES = 1 << 20
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
    found = np.empty((n, *vectors.shape[1:]), np.float32)
    rows = max(1, _SCAN_BYTES // (4 * d))
    for start in range(0, n, rows):
        step(start / n)
        np.matmul(unit[start : start + rows], vectors, out=found[start : start + rows])
    return found


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


class Products:
    """Scores that are cosines of queries, float32 (m, d), with the rows of a matrix, float32 (n, d)."""

    def __init__(self, queries, unit):
        self.unit = unit
        self.shape = (len(queries), *unit.shape)
        self._queries = queries

    def tile(self, start, stop):
        """Return ``fill(first, last, out)`` for questions start to stop, which scores rows first to last."""
        # A copy: a matrix times its own transpose would go to SYRK, which
        # has crashed at this size.
        left = self._queries[start:stop].astype(np.float32)

        def fill(first, last, out):
            np.matmul(left, self.unit[first:last].T, out=out)

        return fill

    def refine(self, questions, columns):
        """Return the scores of rows `columns`, (m, c), for m questions: float32, from float64."""
        return _cosines(self.unit, columns, self._queries, questions)


class Quotients:
    """Scores of 3CosMul; a word that stands in several questions of a tile is multiplied once."""

    def __init__(self, words, questions, unit):
        self.unit = unit
        self.shape = (len(questions), *unit.shape)
        self._words = words
        self._questions = questions

    def tile(self, start, stop):
        """As for `Products`."""
        used, place = np.unique(self._questions[start:stop], return_inverse=True)
        a, b, c = place.reshape(-1, 3).T
        left = self._words[used].astype(np.float32)

        def fill(first, last, out):
            near = left @ self.unit[first:last].T
            near += 1
            near /= 2
            np.multiply(near[b], near[c], out=out)
            near += _EPSILON
            out /= near[a]

        return fill

    def refine(self, questions, columns):
        """As for `Products`."""
        a, b, c = (
            _cosines(self.unit, columns, self._words, self._questions[questions, side], np.float64)
            for side in range(3)
        )
        return ((b + 1) / 2 * ((c + 1) / 2) / ((a + 1) / 2 + float(_EPSILON))).astype(np.float32)


def _cosines(unit, columns, vectors, chosen, kind=np.float32):
    found = np.empty(columns.shape, kind)
    rows = max(1, _REFINED_BYTES // (8 * columns.shape[1] * unit.shape[1]))
    for start in range(0, len(columns), rows):
        part = slice(start, start + rows)
        near = unit[columns[part]].astype(np.float64)
        scores = np.matmul(near, vectors[chosen[part]].astype(np.float64)[:, :, None])[:, :, 0]
        found[part] = np.clip(scores, -1.0, 1.0)
    return found
