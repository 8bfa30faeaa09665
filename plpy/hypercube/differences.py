"""How two models differ: by digest where that tells it, by value where it does not."""

import math

from hypercube import boundary, catalog, weights

_BATCH = 8


class _Values:
    """The values of a stored tensor as float64, in runs of any length."""

    def __init__(self, tensor):
        self._tensor = tensor
        self._next = 0
        self._held = []
        self._count = 0

    def take(self, count):
        """Return the next values, `count` of them or as many as there are left."""
        import numpy as np

        while self._count < count:
            found = catalog.read_chunks(self._tensor["digest"], self._next, self._next + _BATCH - 1)
            if not found:
                break
            self._next += _BATCH
            for data in found:
                values = weights.decode(data, self._tensor["dtype"]).astype(np.float64)
                self._held.append(values)
                self._count += values.size
        whole = np.concatenate(self._held) if self._held else np.empty(0)
        self._held, self._count = [whole[count:]], max(0, whole.size - count)
        return whole[:count]


def model_diff(a, b):
    """Compare two models tensor by tensor; return rows of hypercube.tensor_difference."""
    left, right = catalog.find_model(a), catalog.find_model(b)
    before = {tensor["name"]: tensor for tensor in catalog.tensors(left["id"])}
    after = {tensor["name"]: tensor for tensor in catalog.tensors(right["id"])}
    return [
        (name, *_difference(before.get(name), after.get(name)))
        for name in sorted(before.keys() | after.keys())
    ]


def _difference(before, after):
    """Return (change, changed share, relative L2, cosine); None where a figure means nothing."""
    if before is None:
        return "added", None, None, None
    if after is None:
        return "removed", None, None, None
    if before["digest"] == after["digest"]:
        return "equal", 0.0, 0.0, None
    if before["shape"] != after["shape"]:
        return "reshaped", None, None, None
    change = "changed" if before["dtype"] == after["dtype"] else "converted"
    comparable = all(one["stored"] and weights.can_decode(one["dtype"]) for one in (before, after))
    if not comparable or before["elements"] == 0:
        return change, None, None, None
    return change, *_figures(before, after)


def _figures(before, after):
    """Return share of changed values, relative L2 and cosine; NaN and Inf count as 0 in the last two."""
    import numpy as np

    left, right = _Values(before), _Values(after)
    changed, difference, left_square, right_square, product = 0, 0.0, 0.0, 0.0, 0.0
    total = before["elements"]
    for start in range(0, total, weights.PIECE):
        boundary.tick()
        a, b = left.take(weights.PIECE), right.take(weights.PIECE)
        if a.size != b.size or a.size != min(weights.PIECE, total - start):
            return None, None, None
        changed += int(np.count_nonzero((a != b) & ~(np.isnan(a) & np.isnan(b))))
        a[~np.isfinite(a)] = 0.0
        b[~np.isfinite(b)] = 0.0
        difference += float(np.square(b - a).sum())
        left_square += float(a @ a)
        right_square += float(b @ b)
        product += float(a @ b)
    length = math.sqrt(left_square) * math.sqrt(right_square)
    return (
        changed / total,
        math.sqrt(difference / left_square) if left_square else None,
        max(-1.0, min(1.0, product / length)) if length else None,
    )
