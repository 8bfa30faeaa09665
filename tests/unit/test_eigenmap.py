"""Eigenvectors against closed forms and dense algebra."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix, diags

from hypercube import eigenmap
from hypercube.errors import InvalidArgument, NotConverged


def path(n):
    return diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1]).tocsr()


def random_graph(n, seed):
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, n)) < 8.0 / n, rng.random((n, n)), 0.0)
    dense = np.triu(dense, 1) + np.diag(np.full(n - 1, 0.2), 1)
    return csr_matrix(dense + dense.T)


@pytest.mark.parametrize("n", [40, 700])
def test_eigenvectors_of_a_path_are_cosines(n):
    vectors, eigenvalues, residual, _ = eigenmap.eigenmap(path(n), 4, 1e-5)
    place = np.arange(n)

    assert residual < 1e-5
    for k in range(4):
        angle = np.pi * (k + 1) / (n - 1)
        assert eigenvalues[k] == pytest.approx(1.0 - np.cos(angle), abs=1e-8)
        wave = np.cos(angle * place)
        found = vectors[:, k] / np.abs(vectors[:, k]).max()
        assert abs(found @ wave) / np.linalg.norm(found) / np.linalg.norm(wave) > 1.0 - 1e-6


@pytest.mark.parametrize("n", [6, 50, 500, 501, 900])
def test_eigenpairs_are_those_of_dense_algebra(n):
    graph = random_graph(n, seed=n)
    vectors, eigenvalues, _, _ = eigenmap.eigenmap(graph, 4, 1e-5)

    degree = np.asarray(graph.sum(axis=1)).ravel()
    laplacian = np.eye(n) - graph.toarray() / np.sqrt(np.outer(degree, degree))
    values, columns = np.linalg.eigh(laplacian)
    np.testing.assert_allclose(eigenvalues, values[1:5], atol=1e-9)
    expected = columns[:, 1:5] / np.sqrt(degree)[:, None]
    overlap = np.abs((vectors * degree[:, None]).T @ expected)
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-4)


@pytest.mark.parametrize("copies", [2, 3])
def test_an_eigenvalue_that_occurs_several_times_is_found_as_often(copies):
    ring = np.roll(np.eye(300), 1, axis=0)
    part = ring + ring.T
    n = copies * 300
    graph = csr_matrix(np.kron(np.eye(copies), part) + 0.01 * np.kron(1 - np.eye(copies), np.eye(300)))
    _, eigenvalues, residual, _ = eigenmap.eigenmap(graph, 4, 1e-5)

    degree = np.asarray(graph.sum(axis=1)).ravel()
    expected = np.linalg.eigvalsh(np.eye(n) - graph.toarray() / np.sqrt(np.outer(degree, degree)))
    np.testing.assert_allclose(eigenvalues, expected[1:5], atol=1e-8)
    assert residual < 1e-5


def test_a_disconnected_graph_is_refused():
    with pytest.raises(InvalidArgument, match="disconnected"):
        eigenmap.eigenmap(csr_matrix(np.kron(np.eye(2), np.ones((5, 5)) - np.eye(5))), 4, 1e-5)


def test_fewer_than_six_points_are_refused():
    with pytest.raises(InvalidArgument, match="cannot map 5 points"):
        eigenmap.eigenmap(path(5), 4, 1e-5)


def test_a_residual_above_the_tolerance_is_refused():
    with pytest.raises(NotConverged, match="did not converge"):
        eigenmap.eigenmap(random_graph(600, seed=1), 4, 1e-30)
