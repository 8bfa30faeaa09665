"""Answers computed the plain way, to hold those of questions against.

Nothing here is shared with what answers questions: every row is looked at, in float64, and sorted.
What compares answers needs no numpy: it is imported by what computes them.
"""

_ROWS = 4096
# Score that may be off, and the least difference of two scores that tells an order.
TOLERANCES = {"map": (1e-5, 1e-6), "embed": (1e-4, 0.0)}
_TOLERANCE = (1e-4, 1e-5)


def _silent(fraction):
    pass


def nearest(unit, vector, k, *, excluded=(), ineligible=(), step=_silent):
    """Return the k rows with the greatest cosine with a vector.

    Parameters
    ----------
    unit : float32 ndarray of shape (n, d)
        Rows of length 1.
    vector : float64 ndarray of shape (d,), of length 1
    excluded, ineligible : sequences of int
        Rows that are no answer.
    step : callable
        ``step(fraction)``, called between blocks of rows.

    Returns
    -------
    tuple of list
        Row numbers, best first, equal scores by number; and their cosines.
    """
    import numpy as np

    n = len(unit)
    scores = np.empty(n)
    for start in range(0, n, _ROWS):
        step(start / n)
        scores[start : start + _ROWS] = (unit[start : start + _ROWS].astype(np.float64) * vector).sum(axis=1)
    return _first(scores, k, [*excluded, *ineligible])


def nearest_points(points, place, k):
    """Return the k other points nearest to that at a place: their places, and the distances.

    `points` is a float64 ndarray of shape (n, 4).
    """
    import numpy as np

    distances = np.sqrt(((points - points[place]) ** 2).sum(axis=1))
    places, scores = _first(-distances, k, [place])
    return places, [-score for score in scores]


def _first(scores, k, hidden):
    import numpy as np

    shown = np.ones(len(scores), bool)
    shown[np.array(hidden, np.intp)] = False
    rows = np.flatnonzero(shown)
    order = rows[np.lexsort((rows, -scores[rows]))[:k]]
    return order.tolist(), scores[order].tolist()


def difference(kind, expected, found, asked=None):
    """Return in words how answers differ from what is expected, None where they do not.

    Scores may be off by what another processor makes of them, and answers with nearly the same score
    may have changed places; the last of as many as were asked for may be others with its score.

    Parameters
    ----------
    kind : str
        Decides on the tolerances.
    expected, found : tuple of list
        Ids and scores.
    asked : int or None
        For how many; None where no answer is missing because of that.
    """
    tolerance, gap = TOLERANCES.get(kind, _TOLERANCE)
    ids, scores = expected
    if len(ids) != len(found[0]) or len(scores) != len(found[1]):
        return f"{len(found[0]) or len(found[1])} answers, expected {len(ids) or len(scores)}"
    for rank, (score, other) in enumerate(zip(scores, found[1], strict=True), start=1):
        # Not greater: a NaN differs from everything.
        if not abs(score - other) <= tolerance:
            return f"score {other:.6f} at rank {rank}, expected {score:.6f}"
    first = 0
    for last in range(1, len(ids) + 1):
        if scores and last < len(ids) and abs(scores[last] - scores[last - 1]) <= gap:
            continue
        cut = scores and last == len(ids) and asked is not None and len(ids) >= asked
        if not cut and sorted(ids[first:last]) != sorted(found[0][first:last]):
            return f"token {found[0][first]} at rank {first + 1}, expected {ids[first]}"
        first = last
    return None
