"""Neighbours against brute force in float64, and what must not change them."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercube import neighbors, scoring


def cloud(n, d, seed=0):
    unit, usable = neighbors.unit_rows(np.random.default_rng(seed).standard_normal((n, d)))
    assert usable.all()
    return unit


def lattice(n, seed=0):
    """Rows whose cosines are multiples of 1/4 in exact arithmetic: nothing but ties."""
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=4)), np.float32)
    return signs[np.random.default_rng(seed).integers(0, 16, n)]


def brute(scores, k):
    index = np.arange(scores.shape[1])
    return np.array([np.lexsort((index, -row))[:k] for row in scores])


def brute_graph(unit, k):
    scores = unit.astype(np.float64) @ unit.astype(np.float64).copy().T
    np.fill_diagonal(scores, -np.inf)
    order = brute(scores, min(k, len(unit) - 1))
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("n", [2, 3, 17, 63, 64, 65, 128, 1000, 2500])
@pytest.mark.parametrize("k", [1, 16])
def test_graph_is_that_of_brute_force(n, k):
    unit = cloud(n, 24, seed=n)
    found, scores = neighbors.nearest_graph(unit, k)
    expected, exact = brute_graph(unit, k)

    assert found.dtype == np.int32 and scores.dtype == np.float32
    assert found.shape == scores.shape == (n, min(k, n - 1))
    np.testing.assert_allclose(scores, exact, atol=2e-6)
    told = np.einsum("ijd,id->ij", unit[found].astype(np.float64), unit.astype(np.float64))
    np.testing.assert_allclose(scores, told, atol=2e-6)
    assert (found == expected).mean() > 0.999


@pytest.mark.parametrize("n", [5, 64, 65, 200, 1500, 5000])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_ties_go_to_the_lower_index(n, k):
    unit = lattice(n)
    found, scores = neighbors.nearest_graph(unit, k)
    expected, exact = brute_graph(unit, k)

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, exact)


def test_identical_rows_are_neighbours_in_index_order_but_never_their_own():
    unit = np.repeat(cloud(1, 8), 300, axis=0)
    found, scores = neighbors.nearest_graph(unit, 5)

    np.testing.assert_array_equal(found[0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(found[2], [0, 1, 3, 4, 5])
    assert scores.max() <= 1.0


def test_one_row_has_no_neighbours():
    found, scores = neighbors.nearest_graph(cloud(1, 8), 16)
    assert found.shape == scores.shape == (1, 0)


def test_no_rows_have_no_neighbours():
    found, _ = neighbors.nearest_graph(np.empty((0, 8), np.float32), 16)
    assert found.shape == (0, 0)


def test_more_neighbours_than_rows_are_all_the_others():
    found, _ = neighbors.nearest_graph(cloud(70, 8), 500)
    np.testing.assert_array_equal(np.sort(found, axis=1)[7], [i for i in range(70) if i != 7])


def test_threads_do_not_change_a_bit():
    unit = cloud(3000, 40)
    alone = neighbors.nearest_graph(unit, 12, threads=1)
    for threads in (2, 3, 8):
        several = neighbors.nearest_graph(unit, 12, threads=threads)
        for one, other in zip(alone, several, strict=True):
            np.testing.assert_array_equal(one, other)


def test_order_of_the_rows_does_not_matter():
    unit = cloud(1500, 40)
    order = np.random.default_rng(1).permutation(len(unit))
    found, scores = neighbors.nearest_graph(unit, 8)
    moved, moved_scores = neighbors.nearest_graph(unit[order], 8)

    np.testing.assert_allclose(moved_scores, scores[order], atol=1e-6)
    assert (order[moved] == found[order]).mean() > 0.999


def test_wide_columns_and_tall_tiles_meet_at_the_seams(monkeypatch):
    monkeypatch.setattr(neighbors, "_TILE_ROWS", 7)
    monkeypatch.setattr(neighbors, "_BLOCK", 128)
    unit = lattice(1000, seed=3)
    np.testing.assert_array_equal(neighbors.nearest_graph(unit, 9)[0], brute_graph(unit, 9)[0])


def test_queries_leave_out_what_is_excluded():
    unit = lattice(400)
    queries = lattice(30, seed=5)
    excluded = np.random.default_rng(2).integers(-1, 400, (30, 3))
    scores = queries.astype(np.float64) @ unit.T
    for row, taken in enumerate(excluded):
        scores[row, taken[taken >= 0]] = -np.inf

    found, _ = neighbors.nearest(queries, unit, 20, excluded=excluded)
    np.testing.assert_array_equal(found, brute(scores, 20))


def test_a_step_that_raises_ends_the_work_at_once():
    class Cancelled(Exception):
        pass

    unit = cloud(20_000, 384)
    calls = []

    def step(fraction):
        calls.append(fraction)
        if time.monotonic() > started + 0.2:
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        neighbors.nearest_graph(unit, 16, step=step)
    assert time.monotonic() - started < 0.9
    assert len(calls) >= 2


def test_step_is_called_often_and_ends_at_one():
    told = []
    neighbors.nearest_graph(
        cloud(6000, 64), 4, step=lambda fraction: told.append((time.monotonic(), fraction))
    )
    times, fractions = np.array(told).T

    assert np.diff(times, prepend=times[0]).max() < 0.5
    assert (np.diff(fractions) >= 0).all() and fractions[-1] == 1.0


def test_a_failing_tile_reaches_the_caller():
    with pytest.raises(ValueError):
        neighbors.nearest(cloud(10, 8), cloud(10, 9), 3)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_top_k_is_that_of_brute_force(data):
    n = data.draw(st.integers(1, 300))
    levels = data.draw(st.integers(1, 40))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-levels, levels + 1, n) / 8).astype(np.float32)
    scores[rng.random(n) < data.draw(st.sampled_from((0.0, 0.3, 1.0)))] = -np.inf
    excluded = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    k = data.draw(st.integers(0, n + 5))

    left = scores.copy()
    left[excluded] = -np.inf
    expected = brute(left[None], k)[0]
    expected = expected[left[expected] > -np.inf]
    indices, values = neighbors.top_k(scores, k, scores.__getitem__, excluded)

    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, scores[expected])


def test_top_k_takes_zeros_of_both_signs_for_equal():
    scores = np.zeros(200, np.float32)
    scores[::2] = -0.0
    np.testing.assert_array_equal(neighbors.top_k(scores, 5, scores.__getitem__)[0], [0, 1, 2, 3, 4])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_become_unit_length(dtype):
    rows = np.random.default_rng(0).standard_normal((50, 7)).astype(dtype)
    unit, usable = neighbors.unit_rows(rows)

    assert unit.dtype == np.float32 and usable.all()
    expected = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-6)


def test_rows_that_hold_nothing_are_not_usable():
    rows = np.array([[0, 0], [np.nan, 0], [np.inf, 3], [1e-45, 0], [3e38, 3e38]], np.float32)
    unit, usable = neighbors.unit_rows(rows)

    np.testing.assert_array_equal(usable, [False, False, True, True, True])
    np.testing.assert_allclose(unit, [[0, 0], [0, 0], [0, 1], [1, 0], [0.5**0.5] * 2], atol=1e-7)


def test_rows_can_be_divided_in_place():
    rows = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    expected, _ = neighbors.unit_rows(rows)
    unit, _ = neighbors.unit_rows(rows, out=rows)

    assert unit is rows
    np.testing.assert_array_equal(rows, expected)


def test_3cosmul_is_that_of_brute_force_whatever_the_tiles():
    unit = cloud(700, 24)
    random = np.random.default_rng(1)
    words, questions = cloud(40, 24, 1), random.integers(0, 40, (150, 3))
    excluded = random.integers(-1, 700, (150, 2))
    excluded[:, 1] = np.where(excluded[:, 1] == excluded[:, 0], -1, excluded[:, 1])
    near = (1 + words.astype(np.float64) @ unit.astype(np.float64).T) / 2
    scores = near[questions[:, 1]] * near[questions[:, 2]] / (near[questions[:, 0]] + 1e-6)
    for row, column in zip(*np.nonzero(excluded >= 0), strict=True):
        scores[row, excluded[row, column]] = -np.inf
    expected = brute(scores, 5)
    for held in (1, 100_000, 1 << 26):
        found, values = neighbors.nearest_by_quotient(words, questions, unit, 5, excluded=excluded, held=held)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(values, np.take_along_axis(scores, expected, axis=1), rtol=1e-6)


def test_a_score_is_the_same_whatever_it_was_computed_with():
    """One pair, four ways: the graph, a search in tiles of one row, in other tiles, and one vector."""
    unit = cloud(3000, 48)
    graph, scores = neighbors.nearest_graph(unit, 9)
    for held in (1, 100_000, 1 << 26):
        found, values = neighbors.nearest(unit[:300], unit, 9, excluded=np.arange(300)[:, None], held=held)
        np.testing.assert_array_equal(found, graph[:300])
        np.testing.assert_array_equal(values, scores[:300])
    for row in range(20):
        vector = unit[row].astype(np.float64)
        rough = scoring.products(unit, unit[row])
        found, values = neighbors.top_k(rough, 9, lambda ids, v=vector: scoring.cosines(unit, ids, v), [row])
        np.testing.assert_array_equal(found, graph[row])
        np.testing.assert_array_equal(values, scores[row])


def test_what_is_not_eligible_is_no_answer():
    unit, eligible = cloud(300, 8), np.zeros(300, bool)
    eligible[[3, 70, 200]] = True
    found, scores = neighbors.nearest(unit[:10], unit, 5, eligible=eligible)

    assert found.shape == (10, 3) and (np.sort(found, axis=1) == [3, 70, 200]).all()
    assert (scores > -np.inf).all()
    found, scores = neighbors.nearest(
        unit[:2], unit, 5, eligible=eligible, excluded=np.array([[70, 5], [-1, 9]])
    )
    assert set(found[0, :2]) == {3, 200} and scores[0, 2] == -np.inf
    assert set(found[1]) == {3, 70, 200}
    assert neighbors.nearest(unit[:2], unit, 5, eligible=np.zeros(300, bool))[0].shape == (2, 0)


def test_close_scores_are_put_in_their_true_order():
    """A hundred rows that float32 hardly tells apart, in an order that only float64 sees."""
    n, d = 100, 900
    random = np.random.default_rng(0)
    vector = random.normal(size=d)
    vector /= np.linalg.norm(vector)
    sides = random.normal(size=(n, d))
    sides -= (sides @ vector)[:, None] * vector
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    near = 0.5 + 3e-8 * random.permutation(n)
    unit = (near[:, None] * vector + np.sqrt(1 - near**2)[:, None] * sides).astype(np.float32)
    exact = (unit.astype(np.float64) @ vector).astype(np.float32)
    rough = unit @ vector.astype(np.float32)
    expected = np.lexsort((np.arange(n), -exact))[:5]
    assert (np.lexsort((np.arange(n), -rough))[:5] != expected).any(), "float32 would have done"

    found, values = neighbors.nearest(vector[None], unit, 5)
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(values[0], exact[expected])


@pytest.mark.parametrize("eps", [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3])
def test_thousands_of_rows_that_are_nearly_the_same(eps):
    """Ranked as float64 says, rounded once, ties by index; by the graph, in tiles and for one vector."""
    random = np.random.default_rng(3)
    rows = np.concatenate(
        [random.normal(size=(50, 64)), random.normal(size=64) + eps * random.normal(size=(1500, 64))]
    )
    unit, _ = neighbors.unit_rows(rows)
    exact = np.clip(unit.astype(np.float64) @ unit.astype(np.float64).copy().T, -1, 1).astype(np.float32)
    np.fill_diagonal(exact, -np.inf)
    expected = brute(exact, 16)
    graph, scores = neighbors.nearest_graph(unit, 16)

    np.testing.assert_array_equal(graph, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, expected, axis=1))
    for row in (0, 49, 50, 700, 1549):
        vector = unit[row].astype(np.float64)
        rough = scoring.products(unit, unit[row])
        found, _ = neighbors.top_k(rough, 16, lambda ids, v=vector: scoring.cosines(unit, ids, v), [row])
        np.testing.assert_array_equal(found, expected[row])


def test_products_can_be_stopped():
    def stop(fraction):
        raise KeyError

    with pytest.raises(KeyError):
        scoring.products(cloud(10, 4), np.ones(4, np.float32), step=stop)
