"""What the values of a tensor look like: counts and moments, piece by piece."""

import math

from hypercube import weights

# Below it a table of all codes costs more than the values themselves.
_FEWEST_CODED = 1 << 16


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
        with np.errstate(over="ignore", invalid="ignore"):
            exact = values.astype(np.float64)
            total = float(exact.sum())
            if not math.isfinite(total):
                self.add_weighted(exact, None)
                return
            self.count += exact.size
            self.zero += exact.size - int(np.count_nonzero(exact))
            self._widen(float(exact.min()), float(exact.max()))
            mean = total / exact.size
            exact -= mean
            self._merge(exact.size, mean, float(exact @ exact))

    def add_weighted(self, values, counts):
        """Take in float64 values that occur so many times each; None stands for once each."""
        import numpy as np

        counts = np.ones(values.size, np.int64) if counts is None else counts
        self.count += int(counts.sum())
        self.zero += int(counts[values == 0].sum())
        self.nan += int(counts[np.isnan(values)].sum())
        self.inf += int(counts[np.isinf(values)].sum())
        there = np.isfinite(values) & (counts > 0)
        values, counts = values[there], counts[there]
        if values.size == 0:
            return
        self._widen(float(values.min()), float(values.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            total = int(counts.sum())
            mean = float(values @ counts) / total
            apart = values - mean
            self._merge(total, mean, float((apart * apart) @ counts))

    def _widen(self, low, high):
        self.minimum = low if self.minimum is None else min(self.minimum, low)
        self.maximum = high if self.maximum is None else max(self.maximum, high)

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


class Reading:
    """Takes the bytes of a tensor in pieces and makes its Summary.

    A dtype of one or two bytes has few codes: those are counted, and looked at
    once at the end.
    """

    def __init__(self, dtype, elements):
        import numpy as np

        self._dtype = dtype
        self._summary = Summary()
        self._width = weights.BITS[dtype] // 8
        coded = self._width <= 2 and elements >= _FEWEST_CODED
        self._codes = np.zeros(1 << weights.BITS[dtype], np.int64) if coded else None

    def add(self, data):
        """Take in the next bytes, whole values."""
        import numpy as np

        if self._codes is None:
            self._summary.add(weights.decode(data, self._dtype))
            return
        # Pairs of one-byte values are counted together: half as many to count.
        kind = np.uint16 if len(data) % 2 == 0 else np.uint8
        counted = np.bincount(np.frombuffer(data, kind), minlength=256 if kind is np.uint8 else 65536)
        if self._width == 1 and kind is np.uint16:
            pairs = counted.reshape(256, 256)
            counted = pairs.sum(axis=0) + pairs.sum(axis=1)
        self._codes += counted

    def summary(self):
        """Return the Summary of all that was taken in."""
        import numpy as np

        if self._codes is not None:
            codes = np.arange(self._codes.size).astype("u1" if self._width == 1 else "<u2").tobytes()
            with np.errstate(invalid="ignore"):
                values = weights.decode(codes, self._dtype).astype(np.float64)
            self._summary.add_weighted(values, self._codes)
            self._codes = None
        return self._summary
