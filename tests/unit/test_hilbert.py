"""The Hilbert curve: each cell once, each step to a neighbour, and the way back."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercube import hilbert
from hypercube.errors import InvalidArgument


def grid(bits):
    return np.array(list(itertools.product(range(1 << bits), repeat=4)), np.uint32)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_every_cell_is_visited_once_and_each_step_goes_to_a_neighbour(bits):
    cells = grid(bits)
    high, low = hilbert._along(cells, bits)
    assert not high.any()
    np.testing.assert_array_equal(np.sort(low), np.arange(len(cells)))

    path = cells[np.argsort(low)].astype(int)
    np.testing.assert_array_equal(path[0], [0, 0, 0, 0])
    np.testing.assert_array_equal(np.abs(np.diff(path, axis=0)).sum(axis=1), 1)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_way_back_is_exact_on_small_grids(bits):
    cells = grid(bits)
    np.testing.assert_array_equal(hilbert._across(*hilbert._along(cells, bits), bits), cells)


def scalar_index(cell, bits):
    """Skilling's transform for one cell, in plain integers."""
    x = [int(value) for value in cell]
    for q in (1 << bit for bit in range(bits - 1, 0, -1)):
        for i in range(4):
            if x[i] & q:
                x[0] ^= q - 1
            else:
                t = (x[0] ^ x[i]) & (q - 1)
                x[0] ^= t
                x[i] ^= t
    for i in range(1, 4):
        x[i] ^= x[i - 1]
    t = 0
    for q in (1 << bit for bit in range(bits - 1, 0, -1)):
        if x[3] & q:
            t ^= q - 1
    x = [value ^ t for value in x]
    index = 0
    for bit in range(bits - 1, -1, -1):
        for value in x:
            index = index << 1 | value >> bit & 1
    return index


@given(st.lists(st.tuples(*[st.floats(-1.5, 1.5)] * 4), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_bytes_are_those_of_the_scalar_algorithm(points):
    cells = [[min(int((min(max(x, -1.0), 1.0) + 1.0) * 2**31), 2**32 - 1) for x in point] for point in points]
    expected = [scalar_index(cell, 32).to_bytes(16, "big") for cell in cells]
    assert hilbert.hilbert_index(np.array(points)) == expected


def test_the_way_back_leads_to_the_centre_of_the_cell():
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 4))
    indices = hilbert.hilbert_index(points)
    centres = hilbert.hilbert_point(indices)

    assert np.abs(centres - points).max() <= 2.0**-32
    assert hilbert.hilbert_index(centres) == indices


def test_successive_indices_are_cells_that_touch():
    rng = np.random.default_rng(1)
    starts = [int.from_bytes(rng.bytes(16), "big") % (2**128 - 1) for _ in range(2000)]
    here = hilbert.hilbert_point([start.to_bytes(16, "big") for start in starts])
    there = hilbert.hilbert_point([(start + 1).to_bytes(16, "big") for start in starts])
    np.testing.assert_array_equal(np.abs(here - there).sum(axis=1), 2.0**-31)


def test_points_that_are_close_on_the_curve_are_close_in_space():
    points = np.random.default_rng(2).uniform(-1, 1, (4096, 4))
    order = np.argsort(np.array(hilbert.hilbert_index(points), dtype="S16"))
    along = np.linalg.norm(np.diff(points[order], axis=0), axis=1).mean()
    anyhow = np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    assert along < anyhow / 4


def test_corners_and_what_lies_beyond_are_clipped():
    inside = hilbert.hilbert_index(np.array([[-1.0] * 4, [1.0] * 4, [1.0, -1.0, 1.0, -1.0]]))
    beyond = hilbert.hilbert_index(np.array([[-7.0] * 4, [1e300] * 4, [1.5, -1.5, 2.0, -2.0]]))
    assert inside == beyond
    assert inside[0] == bytes(16)


def test_no_points_have_no_indices():
    assert hilbert.hilbert_index(np.empty((0, 4))) == []
    assert hilbert.hilbert_point([]).shape == (0, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_coordinate_that_is_not_finite_is_refused(value):
    with pytest.raises(InvalidArgument, match="finite"):
        hilbert.hilbert_index(np.array([[0.0, 0.0, value, 0.0]]))


def test_an_index_of_another_length_is_refused():
    with pytest.raises(InvalidArgument, match="16 bytes"):
        hilbert.hilbert_point([bytes(16), bytes(15)])


def test_thirty_thousand_points_take_well_under_half_a_second():
    points = np.random.default_rng(0).uniform(-1, 1, (30_000, 4))
    began = time.monotonic()
    hilbert.hilbert_index(points)
    assert time.monotonic() - began < 0.5
