"""The map against closed forms and dense algebra, and what must not change it."""

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.sparse import diags
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from hypercube import eigenmap, neighbors, spectral


def path(n):
    return diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1]).tocsr()


def cycle(n):
    ring = path(n).tolil()
    ring[0, n - 1] = ring[n - 1, 0] = 1.0
    return ring.tocsr()


def clusters(sizes, *, noise=0.6, d=64, seed=5):
    rng = np.random.default_rng(seed)
    rows = []
    for size in sizes:
        centre = rng.standard_normal(d)
        rows.append(centre / np.linalg.norm(centre) + noise * rng.standard_normal((size, d)) / d**0.5)
    return neighbors.unit_rows(np.concatenate(rows))[0]


def curved(n, d=32, seed=0):
    """Points on a smooth surface, which has a map worth having."""
    rng = np.random.default_rng(seed)
    flat = rng.random((n, 2)) * 3.0
    waves = np.sin(flat @ rng.standard_normal((2, d)) + rng.random(d) * 6.0)
    return neighbors.unit_rows(waves)[0]


def graph_of(unit, k=16):
    found, scores = neighbors.nearest_graph(unit, k)
    graph, components = spectral.join_components(spectral.similarity_graph(found, scores), unit)
    return graph, components, found


def test_edges_are_the_union_of_both_directions():
    found = np.array([[1], [2], [1], [0]])
    scores = np.array([[0.5], [0.9], [0.8], [-0.3]], np.float32)
    graph = spectral.similarity_graph(found, scores).toarray()

    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 0.5**3
    expected[1, 2] = expected[2, 1] = np.float32(0.9).astype(float) ** 3
    expected[0, 3] = expected[3, 0] = 0.1**3
    np.testing.assert_allclose(graph, expected, rtol=1e-6)


@pytest.mark.parametrize("n", [40, 700])
def test_a_cycle_is_drawn_as_circles(n):
    projection = spectral.project(cycle(n))
    np.testing.assert_allclose(
        projection.eigenvalues, 1.0 - np.cos(2 * np.pi / n * np.array([1, 1, 2, 2])), atol=1e-8
    )
    for plane in (projection.points[:, :2], projection.points[:, 2:]):
        radius = np.linalg.norm(plane, axis=1)
        np.testing.assert_allclose(radius, radius[0], rtol=1e-4)


def test_points_fill_the_cube_and_nothing_is_beyond():
    graph, _, _ = graph_of(curved(800))
    points = spectral.project(graph).points
    assert points.shape == (800, 4) and points.dtype == np.float64
    assert np.isfinite(points).all() and np.abs(points).max() == 1.0


def test_directions_from_the_origin_are_those_of_the_eigenvectors():
    graph, _, _ = graph_of(curved(800))
    vectors, *_ = eigenmap.eigenmap(graph, 4, 1e-5)
    points = spectral.project(graph).points
    turned = vectors * np.sign((vectors * points).sum(axis=0))
    cosine = (turned * points).sum(axis=1) / np.linalg.norm(turned, axis=1) / np.linalg.norm(points, axis=1)

    np.testing.assert_allclose(cosine, 1.0, atol=1e-12)
    near_to_far = np.argsort(np.linalg.norm(vectors, axis=1))
    assert (np.diff(np.linalg.norm(points, axis=1)[near_to_far]) >= -1e-12).all()


def test_the_largest_entry_of_every_column_is_positive():
    for graph in (path(100), cycle(700), graph_of(curved(900))[0]):
        points = spectral.project(graph).points
        for column in points.T:
            largest = np.flatnonzero(np.abs(column) >= np.abs(column).max() * (1 - 1e-6))
            assert column[largest[0]] > 0.0


@pytest.mark.parametrize("n", [300, 900])
def test_the_strength_of_all_edges_together_does_not_matter(n):
    graph, _, _ = graph_of(curved(n))
    np.testing.assert_allclose(
        spectral.project(graph * 1e6).points, spectral.project(graph).points, atol=1e-5
    )


@pytest.mark.parametrize("n", [300, 900])
def test_the_order_of_the_vertices_does_not_matter(n):
    graph, _, _ = graph_of(curved(n))
    order = np.random.default_rng(1).permutation(n)
    moved = spectral.project(graph[order][:, order]).points
    points = spectral.project(graph).points[order]
    signs = np.sign((moved * points).sum(axis=0))
    np.testing.assert_allclose(moved * signs, points, atol=1e-5)


_BITS = """
import hashlib
import numpy as np
from hypercube import neighbors, spectral
unit, _ = neighbors.unit_rows(np.random.default_rng(3).standard_normal((900, 20)))
found, scores = neighbors.nearest_graph(unit, 10)
graph, _ = spectral.join_components(spectral.similarity_graph(found, scores), unit)
projection = spectral.project(graph)
quality = spectral.measure_quality(projection.points, unit, found)
print(hashlib.sha256(projection.points.tobytes() + repr(quality).encode()).hexdigest())
"""


def test_equal_input_gives_equal_bits_in_every_process():
    digests = [
        subprocess.run(
            [sys.executable, "-c", _BITS],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": place},
        ).stdout
        for place in [str(spectral.__file__).rsplit("/", 2)[0]] * 2
    ]
    assert digests[0] == digests[1]


def test_the_same_graph_gives_the_same_bits_again():
    graph, _, _ = graph_of(curved(1200))
    np.testing.assert_array_equal(spectral.project(graph).points, spectral.project(graph).points)


@pytest.mark.parametrize(
    "sizes",
    [(700, 700), (800, 400, 200, 100, 50), (30,) * 50, (1500,) + (20,) * 10, (40, 40), (1, 600)],
    ids=["two", "five", "fifty", "one and ten", "two small", "one and a loner"],
)
def test_a_map_shows_the_inside_of_every_component(sizes):
    unit = clusters(sizes)
    label = np.repeat(np.arange(len(sizes)), sizes)
    graph, components, _ = graph_of(unit)
    points = spectral.project(graph).points

    assert connected_components(graph, directed=False)[0] == 1
    # A loner is nobody's neighbour, but it has neighbours itself.
    assert components == (1 if 1 in sizes else len(sizes))
    total = points.var(axis=0).sum()
    inside = [points[label == i].var(axis=0).sum() for i in range(len(sizes)) if sizes[i] > 1]
    assert np.average(inside, weights=[size for size in sizes if size > 1]) > 0.01 * total
    assert min(inside) > 1e-4 * total
    for i in range(len(sizes)):
        assert len(np.unique(points[label == i], axis=0)) == sizes[i]


def test_a_connected_graph_is_left_alone():
    unit = curved(300)
    found, scores = neighbors.nearest_graph(unit, 16)
    graph = spectral.similarity_graph(found, scores)
    joined, components = spectral.join_components(graph, unit)
    assert joined is graph and components == 1


def test_bridges_hold_the_best_edge_between_two_components():
    unit = clusters((60, 40))
    graph, components, _ = graph_of(unit)
    scores = unit[60:].astype(float) @ unit[:60].T.astype(float)
    best = np.unravel_index(np.argmax(scores), scores.shape)

    assert components == 2
    assert graph[60 + best[0], best[1]] > 0.0
    bridges = graph[60:, :60].toarray()
    assert (np.count_nonzero(bridges, axis=1) >= 4).all()
    assert (graph != graph.T).nnz == 0 and graph.diagonal().max() == 0.0


def test_threads_do_not_change_how_components_are_joined():
    unit = clusters((30,) * 20)
    found, scores = neighbors.nearest_graph(unit, 16)
    graph = spectral.similarity_graph(found, scores)
    one, _ = spectral.join_components(graph, unit, threads=1)
    other, _ = spectral.join_components(graph, unit, threads=4)
    assert (one != other).nnz == 0


@pytest.mark.parametrize("n", [6, 17, 200, 700])
@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_coinciding_vectors_give_finite_points(n, distinct):
    unit = np.tile(np.eye(8, dtype=np.float32)[:distinct], (n, 1))[:n]
    graph, _, found = graph_of(unit)
    projection = spectral.project(graph)
    quality = spectral.measure_quality(projection.points, unit, found)

    assert np.isfinite(projection.points).all() and np.abs(projection.points).max() == 1.0
    assert np.isfinite(quality).all()
    np.testing.assert_array_equal(projection.points, spectral.project(graph).points)


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("n", [400, 3000])
def test_a_step_that_raises_ends_every_part(n):
    def step(fraction):
        calls.append(fraction)
        if len(calls) > 1:
            raise Cancelled

    unit = clusters((n // 2, n // 2))
    found, scores = neighbors.nearest_graph(unit, 16)
    graph = spectral.similarity_graph(found, scores)
    joined, _ = spectral.join_components(graph, unit)
    points = spectral.project(joined).points
    for part in (
        lambda: spectral.join_components(graph, unit, step=step),
        lambda: spectral.project(joined, step=step),
        lambda: spectral.measure_quality(points, unit, found, step=step),
    ):
        calls = []
        began = time.monotonic()
        with pytest.raises(Cancelled):
            part()
        assert time.monotonic() - began < 1.0 and len(calls) == 2


def test_steps_never_go_back_and_end_at_one():
    unit = clusters((300, 200, 100))
    found, scores = neighbors.nearest_graph(unit, 16)
    graph = spectral.similarity_graph(found, scores)
    for part in (
        lambda step: spectral.join_components(graph, unit, step=step),
        lambda step: spectral.project(graph_of(unit)[0], step=step),
        lambda step: spectral.measure_quality(unit[:, :4].astype(float), unit, found, step=step),
    ):
        told = []
        part(told.append)
        assert (np.diff(told) >= 0.0).all() and told[0] >= 0.0 and told[-1] == 1.0


def brute_quality(points, unit, k):
    scores = unit.astype(float) @ unit.T.astype(float)
    np.fill_diagonal(scores, -np.inf)
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    n = len(points)
    rank = np.argsort(np.argsort(-scores, axis=1), axis=1) + 1
    shown = np.argsort(distances, axis=1)[:, :k]
    ranks = np.take_along_axis(rank, shown, axis=1)
    trust = 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * np.maximum(ranks - k, 0).sum()
    affine = np.c_[np.ones(n), points]
    left = unit - affine @ np.linalg.lstsq(affine, unit.astype(float), rcond=None)[0]
    explained = 1 - (left**2).sum() / ((unit - unit.mean(axis=0)) ** 2).sum()
    return (ranks <= k).mean(), trust, explained


@pytest.mark.parametrize(("n", "k"), [(6, 2), (20, 9), (400, 15), (1500, 15)])
def test_quality_is_that_of_brute_force(n, k):
    unit = curved(n)
    found, _ = neighbors.nearest_graph(unit, 16)
    points = np.random.default_rng(0).standard_normal((n, 4)) * 0.02 + unit[:, :4]
    quality = spectral.measure_quality(points, unit, found)

    np.testing.assert_allclose(quality[:3], brute_quality(points, unit, k), atol=1e-4)
    assert quality.score == pytest.approx((quality.neighbor_preservation + quality.trustworthiness) / 2)


def test_a_faithful_map_is_perfect():
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=4)))
    unit = neighbors.unit_rows(np.random.default_rng(0).standard_normal((500, 4)) + corners[3])[0]
    found, _ = neighbors.nearest_graph(unit, 16)
    quality = spectral.measure_quality(unit.astype(float), unit, found)
    np.testing.assert_allclose(quality, 1.0, atol=1e-3)


def test_threads_do_not_change_the_quality():
    unit = curved(3000)
    found, _ = neighbors.nearest_graph(unit, 16)
    points = unit[:, :4].astype(float)
    one = spectral.measure_quality(points, unit, found, threads=1)
    assert spectral.measure_quality(points, unit, found, threads=5) == one
