"""The Hilbert curve: each cell once, each step to a neighbour, and the way back."""

import itertools
import time
from bisect import bisect_right

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


def test_many_points_have_the_indices_that_each_has_alone():
    points = np.random.default_rng(3).uniform(-1, 1, (2 * hilbert._BLOCK + 1, 4))
    together = hilbert.hilbert_index(points)
    for place in (0, hilbert._BLOCK - 1, hilbert._BLOCK, 2 * hilbert._BLOCK):
        assert together[place] == hilbert.hilbert_index(points[place])[0]


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_path_through_a_cube_visits_each_cell_once_in_steps_to_neighbours(bits):
    path = hilbert.cube_path(bits)
    assert len(np.unique(path, axis=0)) == len(path) == 8**bits
    np.testing.assert_array_equal(np.abs(np.diff(path, axis=0)).sum(axis=1), 1)
    assert path[0].tolist() == [0, 0, 0] and path[-1].tolist() == [(1 << bits) - 1, 0, 0]


def numbers(ranges):
    return [tuple(int.from_bytes(end, "big") for end in ends) for ends in ranges]


def share(ranges):
    """What part of the whole curve is in some ranges."""
    return sum(last - first + 1 for first, last in numbers(ranges)) / 2**128


def holds(ranges, indices):
    firsts = [first for first, _ in ranges]
    places = [bisect_right(firsts, index) - 1 for index in indices]
    return all(at >= 0 and index <= ranges[at][1] for at, index in zip(places, indices, strict=True))


boxes = st.tuples(
    st.lists(st.floats(-1.2, 1.2), min_size=4, max_size=4),
    st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1e-9, 1e-5, 0.01]), min_size=4, max_size=4),
)


@given(boxes, st.integers(1, 100), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_every_point_of_a_box_is_in_one_of_its_ranges(box, limit, seed):
    low, high = np.array(box[0]), np.array(box[0]) + box[1]
    ranges = hilbert.hilbert_ranges(low, high, limit)

    assert 1 <= len(ranges) <= limit
    found = numbers(ranges)
    assert all(first <= last for first, last in found)
    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(found))
    inside = np.random.default_rng(seed).uniform(low, high, (200, 4))
    # The corners as well, where a range might end one cell too early.
    corners = np.where(list(itertools.product((False, True), repeat=4)), low, high)
    assert holds(ranges, hilbert.hilbert_index(np.concatenate((inside, corners))))


def test_with_room_enough_the_ranges_are_exactly_the_cells_of_the_box():
    """On a grid of 16 cells a side, against every cell of it."""
    cells = grid(4)
    place = hilbert._along(cells, 4)[1].astype(int)
    random = np.random.default_rng(4)
    for _ in range(20):
        first, last = np.sort(random.integers(0, 16, (2, 4)), axis=0)
        inside = np.sort(place[((cells >= first) & (cells <= last)).all(axis=1)])
        low, high = first / 8 - 1, (last + 1) / 8 - 1 - 2.0**-33
        ranges = hilbert.hilbert_ranges(low, high, 5000)
        runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
        assert numbers(ranges) == [(int(run[0]) << 112, (int(run[-1]) + 1 << 112) - 1) for run in runs]

        # With fewer, no choice of gaps is better than to keep the widest; not all of them were looked for.
        gaps = np.sort(np.diff(inside)[np.diff(inside) > 1] - 1)
        for limit in (1, 2, 7, 20):
            covered = inside[-1] - inside[0] + 1 - gaps[::-1][: limit - 1].sum()
            assert 1 <= share(hilbert.hilbert_ranges(low, high, limit)) * 2**16 / covered < 1.03


def test_more_ranges_are_tighter():
    random = np.random.default_rng(5)
    width = 0.2
    shares = []
    for _ in range(20):
        low = random.uniform(-0.9, 0.7, 4)
        found = [hilbert.hilbert_ranges(low, low + width, limit) for limit in (4, 16, 64, 256, 1024)]
        shares.append([share(ranges) / (width / 2) ** 4 for ranges in found])
    median = np.median(shares, axis=0)
    assert (np.diff(median) < 0).all()
    assert median[2] < 4.0 and median[3] < 2.5 and median[4] < 1.7


def test_a_point_is_one_cell():
    point = np.array([0.1, -0.2, 0.3, 1.0])
    index = hilbert.hilbert_index(point)[0]
    assert (
        hilbert.hilbert_ranges(point, point, 1)
        == hilbert.hilbert_ranges(point, point, 64)
        == [(index, index)]
    )


def test_two_cells_that_are_far_on_the_curve_are_two_ranges():
    low, high = np.array([-(2.0**-33), 0.3, 0.3, 0.3]), np.array([2.0**-33, 0.3, 0.3, 0.3])
    indices = sorted(hilbert.hilbert_index(np.array([low, high])))
    assert hilbert.hilbert_ranges(low, high, 2) == [(index, index) for index in indices]
    assert hilbert.hilbert_ranges(low, high, 1) == [tuple(indices)]


def test_the_whole_cube_is_one_range():
    whole = [(bytes(16), b"\xff" * 16)]
    assert hilbert.hilbert_ranges([-1] * 4, [1] * 4, 64) == whole
    assert hilbert.hilbert_ranges([-7] * 4, [1e300] * 4, 1) == whole


def test_a_box_beyond_the_cube_is_clipped_as_its_points_are():
    ranges = hilbert.hilbert_ranges([1.5, 0.1, -3, 0.2], [2.0, 0.1, -2, 0.2], 8)
    assert holds(ranges, hilbert.hilbert_index(np.array([[1.7, 0.1, -2.5, 0.2]])))
    assert len(ranges) == 1


@pytest.mark.parametrize(
    ("low", "high", "limit", "reason"),
    [
        ([0, 0, 0, np.nan], [1] * 4, 8, "finite"),
        ([0] * 4, [1, np.inf, 1, 1], 8, "finite"),
        ([0, 0, 0.1, 0], [1, 1, 0, 1], 8, "above"),
        ([0] * 4, [1] * 4, 0, "at least one range"),
        ([0] * 4, [1] * 4, -3, "at least one range"),
    ],
)
def test_what_is_no_box_is_refused(low, high, limit, reason):
    with pytest.raises(InvalidArgument, match=reason):
        hilbert.hilbert_ranges(low, high, limit)


@pytest.mark.parametrize("width", [2.0, 0.6, 1e-3, 1e-9])
def test_ranges_of_a_box_across_the_middle_take_milliseconds(width):
    """The middle of the cube is a corner of cells of every size, so all sizes are looked at."""
    hilbert.hilbert_ranges([0] * 4, [0] * 4, 1)
    began = time.monotonic()
    for _ in range(10):
        hilbert.hilbert_ranges([-width / 2] * 4, [width / 2.1] * 4, 64)
    assert (time.monotonic() - began) / 10 < 0.05
