"""A map: four coordinates for every vertex of a nearest-neighbour graph.

Owns the graph, its joining, the coordinates and the measures of how good the
map is.  It does not know what a vertex stands for.
"""

from typing import NamedTuple

import numpy as np

from hypercube import eigenmap, tiles
from hypercube import neighbors as near

# An edge weighs cos^3: with plain cosines the far neighbours blur the map, with
# higher powers a few tight families take whole axes for themselves.
_SHARPNESS = 3
# A cosine below it counts as it, so that no edge is without weight.
_LEAST_COSINE = 0.1
_BRIDGES = 4

# What a map was made with, for its record.
PARAMETERS = {"weight": "cosine^3", "bridges": _BRIDGES, "radius": "log(1 + r / median r)"}

_JUDGED_NEIGHBORS = 15
_JUDGED_POINTS = 2000
_BLOCK_ROWS = 1024
# Scores and products of a tile: what takes well under a quarter of a second.
_TILE_SCORES = 4 << 20
_TILE_PRODUCTS = 2 << 30


class Projection(NamedTuple):
    """Where `project` places the vertices, and how well the eigensolver did."""

    points: np.ndarray
    eigenvalues: np.ndarray
    residual: float
    products: int


class Quality(NamedTuple):
    """What `measure_quality` finds; every share is between 0 and 1."""

    neighbor_preservation: float
    trustworthiness: float
    variance_explained: float
    score: float


def _silent(fraction):
    pass


def similarity_graph(neighbors, scores):
    """Turn nearest neighbours into a weighted graph.

    Parameters
    ----------
    neighbors : int ndarray of shape (n, k)
    scores : ndarray of shape (n, k)
        Cosines.

    Returns
    -------
    csr_matrix of shape (n, n), float64
        Symmetric, zero diagonal.  There is an edge where one vertex is a
        neighbour of the other; it weighs ``max(cosine, 0.1) ** 3``, and where the
        two directions differ by rounding, the larger counts.
    """
    from scipy.sparse import csr_matrix

    n, k = neighbors.shape
    bounds = np.arange(n + 1, dtype=np.int64) * k
    directed = csr_matrix((_weights(scores).ravel(), neighbors.ravel(), bounds), shape=(n, n))
    return directed.maximum(directed.T).tocsr()


def join_components(graph, unit, *, threads=None, step=_silent):
    """Connect the components of a graph, so that a map shows them and not only which is which.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Made by `similarity_graph`.
    unit : float32 ndarray of shape (n, d)
        The unit vectors behind the graph.
    threads : int, optional
        Does not change the result.
    step : callable
        ``step(fraction)``, called about every 50 ms.

    Returns
    -------
    graph : csr_matrix of shape (n, n)
        Connected; the same object if it was connected already.
    components : int
        How many components there were.

    Notes
    -----
    Every vertex outside the largest component (the first of equally large ones)
    is tied to the four vertices of other components that are nearest to it, which
    holds the best edge between the components; this is repeated until one
    component is left.  Such an edge weighs what its cosine says, but no less than
    the edges of its vertex weigh on average.  A single or a faint bridge would
    make the leading eigenvectors indicators of the components: all their vertices
    would fall into one point.
    """
    from scipy.sparse.csgraph import connected_components

    components, component = connected_components(graph, directed=False)
    left, part = components, 1.0
    while left > 1:
        begun, part = 1.0 - part, part / 2.0
        rows = np.flatnonzero(component != np.argmax(np.bincount(component)))
        found, scores = near.nearest_outside(
            unit,
            rows,
            component,
            _BRIDGES,
            threads=threads,
            step=lambda fraction, begun=begun, part=part: step(begun + part * fraction),
        )
        graph = graph.maximum(_bridges(graph, rows, found, scores)).tocsr()
        left, component = connected_components(graph, directed=False)
    step(1.0)
    return graph, components


def project(graph, *, dimensions=4, tolerance=1e-5, step=_silent):
    """Place every vertex of a connected graph in a low-dimensional space.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Symmetric and non-negative; an entry is the strength of an edge.
    dimensions : int, default=4
        How many coordinates to return, fewer than ``n - 1``.
    tolerance : float, default=1e-5
        Largest residual norm accepted for an eigenpair.
    step : callable
        ``step(fraction)``, called at every product with the graph.

    Returns
    -------
    Projection
        ``points`` is an ndarray of shape (n, dimensions), float64, in order of
        increasing eigenvalue, within [-1, 1]; ``eigenvalues`` are those of the
        normalised Laplacian; ``residual`` is the largest residual norm;
        ``products`` counts the products with the graph.

    Raises
    ------
    InvalidArgument
        If there are fewer than six vertices, or some vertex cannot be reached
        from another.
    NotConverged
        If a residual stays above `tolerance`.

    Notes
    -----
    Laplacian eigenmaps (Belkin and Niyogi, 2003) with the random-walk
    normalisation: eigenvectors of D^-1 W but the constant one.  On real graphs
    small tight families hold the far ends of the axes and everything else lies
    close to the origin, so the distance r from the origin is compressed to
    log(1 + r / median r): directions stay, order along a ray stays, and the k
    nearest neighbours are kept slightly better.  One factor then scales all
    coordinates so that the largest magnitude is 1.  An eigenvector is determined
    only up to its sign: each column is turned so that its largest entry in
    magnitude, the first of several, is positive.  Equal graphs give equal points.
    """
    vectors, eigenvalues, residual, products = eigenmap.eigenmap(graph, dimensions, tolerance, step=step)
    points = _turned(_spread(vectors))
    return Projection(points / np.abs(points).max(), eigenvalues, residual, products)


def measure_quality(points, unit, neighbors, *, threads=None, step=_silent):
    """Measure how much of the neighbourhoods of the vectors a map keeps.

    Parameters
    ----------
    points : float64 ndarray of shape (n, dimensions)
        The map.
    unit : float32 ndarray of shape (n, d)
        The unit vectors it is a map of.
    neighbors : int ndarray of shape (n, k)
        Their nearest neighbours by cosine, best first.
    threads : int, optional
        Does not change the result.
    step : callable
        ``step(fraction)``, called about every 50 ms.

    Returns
    -------
    Quality
        With k' = 15, or fewer where there are not 31 points or k is smaller:

        ``neighbor_preservation`` is the share of the k' nearest neighbours of all
        points that are among the k' nearest on the map.

        ``trustworthiness`` (Venna and Kaski, 2001) is 1 when the k' nearest on the
        map are the nearest in truth, and falls with their true ranks; taken over
        at most 2,000 evenly spaced points.  Equal cosines share the best rank.

        ``variance_explained`` is the share of the variance of the vectors that an
        affine function of the coordinates reproduces, by least squares.

        ``score`` is the mean of the first two.
    """
    from scipy.spatial import cKDTree

    n = len(points)
    k = max(1, min(_JUDGED_NEIGHBORS, neighbors.shape[1], (n - 1) // 2))
    tree = cKDTree(points)
    mapped = np.empty((n, k), np.int64)
    kept = np.zeros(n, np.int64)

    def look_up(stopping):
        def work(tile):
            own = np.arange(*tile)[:, None]
            _, found = tree.query(points[slice(*tile)], k + 1)
            mapped[slice(*tile)] = _without(found, own)
            pairs = mapped[slice(*tile), :, None] == neighbors[slice(*tile), None, :k]
            kept[slice(*tile)] = np.count_nonzero(pairs, axis=(1, 2))

        return work

    tiles.run(
        tiles.even_bounds(n, _BLOCK_ROWS),
        look_up,
        threads=threads,
        step=lambda fraction: step(0.4 * fraction),
    )
    preservation = kept.sum() / (n * k)
    trust = _trustworthiness(mapped, unit, threads, lambda fraction: step(0.4 + 0.5 * fraction))
    explained = _variance_explained(points, unit, lambda fraction: step(0.9 + 0.1 * fraction))
    step(1.0)
    return Quality(float(preservation), trust, explained, float(preservation + trust) / 2.0)


def _weights(scores):
    return np.maximum(scores, _LEAST_COSINE).astype(np.float64) ** _SHARPNESS


def _bridges(graph, rows, found, scores):
    from scipy.sparse import csr_matrix

    edges = np.diff(graph.indptr)[rows]
    usual = np.asarray(graph.sum(axis=1)).ravel()[rows] / np.maximum(edges, 1)
    weights = np.maximum(_weights(scores), usual[:, None])
    sources = np.repeat(rows, found.shape[1])
    directed = csr_matrix((weights.ravel(), (sources, found.ravel())), shape=graph.shape)
    return directed.maximum(directed.T)


def _spread(vectors):
    """Compress the distances from the origin logarithmically; directions stay."""
    radius = np.linalg.norm(vectors, axis=1)
    present = radius > radius.max() * 1e-12
    middle = np.median(radius[present])
    factor = np.log1p(radius / middle) / np.where(present, radius, np.inf)
    return vectors * factor[:, None]


def _turned(points):
    """Turn every column so that the first of its largest entries in magnitude is positive."""
    size = np.abs(points)
    # Entries that differ by rounding count as equal, or the sign would be left to the processor.
    first = np.argmax(size >= size.max(axis=0) * (1.0 - 1e-6), axis=0)
    return np.where(np.take_along_axis(points, first[None, :], axis=0) < 0.0, -points, points)


def _without(found, own):
    """Drop the point itself from its k + 1 nearest, or the last where it is crowded out."""
    dropped = found == own
    dropped[~dropped.any(axis=1), -1] = True
    return found[~dropped].reshape(len(found), -1)


def _trustworthiness(mapped, unit, threads, step):
    n, k = mapped.shape
    judged = np.unique(np.linspace(0, n - 1, min(n, _JUDGED_POINTS)).astype(np.int64))
    penalty = np.zeros(len(judged), np.int64)
    rows = max(1, min(64, _TILE_SCORES // n, _TILE_PRODUCTS // unit.size))

    def prepare(stopping):
        def work(tile):
            own = judged[slice(*tile)]
            scores = unit[own] @ unit.T
            scores[np.arange(len(own)), own] = -np.inf
            shown = np.take_along_axis(scores, mapped[own], axis=1)
            scores.sort(axis=1)
            for index, (ordered, values) in enumerate(zip(scores, shown, strict=True), tile[0]):
                rank = n + 1 - np.searchsorted(ordered, values, side="right")
                penalty[index] = np.maximum(rank - k, 0).sum()

        return work

    tiles.run(tiles.even_bounds(len(judged), rows), prepare, threads=threads, step=step)
    worst = len(judged) * k * (2 * n - 3 * k - 1)
    return float(1.0 - 2.0 * penalty.sum() / worst)


def _variance_explained(points, unit, step):
    n = len(points)
    centred = points - points.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    left = left[:, sizes > sizes.max() * 1e-10]
    mean = unit.mean(axis=0, dtype=np.float64)
    total, fitted = 0.0, np.zeros((left.shape[1], unit.shape[1]))
    for start, stop in tiles.even_bounds(n, _BLOCK_ROWS):
        step(start / n)
        block = unit[start:stop] - mean
        total += np.einsum("ij,ij->", block, block)
        fitted += left[start:stop].T @ block
    return float((fitted**2).sum() / total) if total > 0.0 else 1.0
