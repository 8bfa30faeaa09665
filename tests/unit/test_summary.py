"""Counts and moments against numpy over the whole, however it was cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercube import weights
from hypercube.summary import Reading, Summary


@given(
    arrays(
        np.float32, st.integers(0, 300), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
    ),
    st.integers(1, 50),
)
def test_any_cut_gives_the_figures_of_the_whole(values, size):
    summary = Summary()
    for start in range(0, len(values), size):
        summary.add(values[start : start + size])

    whole = values.astype(np.float64)
    finite = whole[np.isfinite(whole)]
    assert summary.count == values.size
    assert summary.nan == np.isnan(whole).sum()
    assert summary.inf == np.isinf(whole).sum()
    assert summary.zero == (whole == 0).sum()
    if finite.size == 0:
        assert (summary.minimum, summary.maximum, summary.mean, summary.deviation) == (None,) * 4
        return
    assert (summary.minimum, summary.maximum) == (finite.min(), finite.max())
    assert summary.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-9 * np.abs(finite).max())
    assert summary.deviation == pytest.approx(finite.std(), rel=1e-6, abs=1e-6 * np.abs(finite).max())


def test_a_large_offset_costs_no_precision():
    summary = Summary()
    for _ in range(100):
        summary.add(np.array([1e8 - 1, 1e8 + 1]))

    assert summary.mean == 1e8
    assert summary.deviation == 1.0


def test_moments_that_overflow_are_unknown_not_infinite():
    summary = Summary()
    summary.add(np.array([1e308, -1e308]))

    assert summary.deviation is None
    assert summary.maximum == 1e308


def test_the_share_of_broken_values_counts_nan_and_infinity():
    summary = Summary()
    summary.add(np.array([np.nan, np.inf, 1, 2], np.float32))

    assert summary.broken_share == 0.5


def test_integers_and_booleans_are_counted():
    summary = Summary()
    summary.add(np.array([0, 1, 2], np.int64))
    summary.add(np.array([True, False]))

    assert (summary.zero, summary.maximum) == (2, 2)


@pytest.mark.parametrize(
    "dtype", ["BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F16", "BF16", "I16", "U16", "F32"]
)
@pytest.mark.parametrize("elements", [1001, 300_001])
def test_counting_codes_gives_the_figures_of_the_values(dtype, elements):
    data = np.random.default_rng(4).integers(
        0, 2 if dtype == "BOOL" else 256, elements * weights.BITS[dtype] // 8
    )
    data = data.astype(np.uint8).tobytes()
    reading = Reading(dtype, elements)
    for start in range(0, len(data), 100_000):
        reading.add(data[start : start + 100_000])
    found, whole = reading.summary(), Summary()
    with np.errstate(invalid="ignore"):
        whole.add_weighted(weights.decode(data, dtype).astype(np.float64), None)

    assert (found.count, found.nan, found.inf, found.zero) == (whole.count, whole.nan, whole.inf, whole.zero)
    assert (found.minimum, found.maximum) == (whole.minimum, whole.maximum)
    assert found.mean == pytest.approx(whole.mean, rel=1e-9)
    assert found.deviation == pytest.approx(whole.deviation, rel=1e-9)
