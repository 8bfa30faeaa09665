"""What the values of a tensor look like: counts and moments, piece by piece."""

import math


class Summary:
    """Counts of NaN, Inf and zero, and the range and moments of the finite values.

    Pieces are added in any number; the moments are merged as in Chan, Golub
    and LeVeque (1983), so a long tensor loses no precision.
    """

    def __init__(self):
        self.count = 0
        self.nan = 0
        self.inf = 0
        self.zero = 0
        self.minimum = None
        self.maximum = None
        self._finite = 0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, values):
        """Take in a flat array of any real dtype."""
        import numpy as np

        if values.size == 0:
            return
        values = values.astype(np.float64)
        self.count += values.size
        self.zero += values.size - int(np.count_nonzero(values))
        finite = np.isfinite(values)
        if not finite.all():
            nan = int(np.isnan(values).sum())
            self.nan += nan
            self.inf += values.size - int(finite.sum()) - nan
            values = values[finite]
            if values.size == 0:
                return
        low, high = float(values.min()), float(values.max())
        self.minimum = low if self.minimum is None else min(self.minimum, low)
        self.maximum = high if self.maximum is None else max(self.maximum, high)
        with np.errstate(over="ignore", invalid="ignore"):
            self._merge(values.size, float(values.mean()), float(values.var()) * values.size)

    def _merge(self, count, mean, squares):
        total = self._finite + count
        apart = mean - self._mean
        self._squares += squares + apart * apart * self._finite * count / total
        self._mean += apart * count / total
        self._finite = total

    @property
    def mean(self):
        """Mean of the finite values; None without any, or where it overflows."""
        return self._mean if self._finite and math.isfinite(self._mean) else None

    @property
    def deviation(self):
        """Standard deviation of the finite values; None as for the mean."""
        if not self._finite or not math.isfinite(self._squares):
            return None
        return math.sqrt(self._squares / self._finite)

    @property
    def broken_share(self):
        """Share of the values that are NaN or Inf."""
        return (self.nan + self.inf) / self.count if self.count else 0.0
