"""Leading eigenvectors of a graph, the same in every run.

Owns the eigenproblem.  It does not know what the vectors are for.
"""

import numpy as np

from hypercube.errors import InvalidArgument, NotConverged

_LEAST_POINTS = 6
_DENSE = 500
_BASIS = 40
_RESTARTS = 1000


def _silent(fraction):
    pass


def eigenmap(graph, dimensions, tolerance, *, step=_silent):
    """Find the leading eigenvectors of D^-1 W but the constant one.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        W: symmetric, non-negative, connected; D holds its row sums.
    dimensions : int
    tolerance : float
        Largest residual norm accepted.
    step : callable
        ``step(fraction)``, called at every product with the graph.

    Returns
    -------
    vectors : float64 ndarray of shape (n, dimensions)
        Orthonormal in the inner product weighted with D.
    eigenvalues : float64 ndarray of shape (dimensions,)
        Of the normalised Laplacian 1 - D^-1/2 W D^-1/2, increasing.
    residual : float
        Largest norm of an eigenpair's error, for the symmetric matrix.
    products : int
        How often the graph was multiplied.

    Raises
    ------
    InvalidArgument
        If there are too few vertices, or some cannot be reached from another.
    NotConverged
        If a residual stays above `tolerance`.

    Notes
    -----
    Implicitly restarted Lanczos (ARPACK) from fixed start vectors; dense for 500
    vertices and fewer.  Equal graphs give equal vectors.
    """
    from scipy.sparse.csgraph import connected_components

    n, least = graph.shape[0], max(_LEAST_POINTS, dimensions + 2)
    if n < least:
        raise InvalidArgument(f"cannot map {n} points", detail=f"At least {least} are needed.")
    components = connected_components(graph, directed=False, return_labels=False)
    if components != 1:
        raise InvalidArgument("cannot map a disconnected graph", detail=f"It has {components} components.")

    degree = np.asarray(graph.sum(axis=1)).ravel()
    trivial = np.sqrt(degree / degree.sum())
    inverse = 1.0 / np.sqrt(degree)
    normal = graph.multiply(inverse[:, None]).multiply(inverse[None, :]).tocsr()
    products = 0

    def apply(vector):
        nonlocal products
        step(products / (products + 200.0))
        products += 1
        # Twice: the known eigenvector goes to -1, behind everything that is wanted.
        return normal @ vector - (2.0 * (trivial @ vector)) * trivial

    solve = _solve_dense if n <= _DENSE else _solve_sparse
    eigenvalues, vectors = solve(normal, apply, trivial, dimensions, tolerance)
    errors = [np.linalg.norm(apply(v) - e * v) for e, v in zip(eigenvalues, vectors.T, strict=True)]
    residual = float(max(errors))
    if not residual <= tolerance:
        raise NotConverged(
            "could not compute the map: the eigensolver did not converge",
            detail=f"The residual is {residual:.1e}, {tolerance:.1e} is accepted.",
        )
    step(1.0)
    return vectors * inverse[:, None], 1.0 - eigenvalues, residual, products


def _solve_dense(normal, apply, trivial, dimensions, tolerance):
    apply(trivial)
    values, vectors = np.linalg.eigh(normal.toarray() - 2.0 * np.outer(trivial, trivial))
    return values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]


def _solve_sparse(normal, apply, trivial, dimensions, tolerance):
    """Find the leading eigenpairs, then make sure that none was missed.

    A Krylov space of one start vector holds one vector of each eigenspace, so an
    eigenvalue that occurs twice is found once.  The pairs that are known are
    taken out and another start looks for a better one, until there is none.
    """
    # Well below what is accepted: digits of the small entries are neighbourhoods too.
    fine = tolerance / 100.0
    values, vectors = _lanczos(apply, trivial[:, None], dimensions, fine)
    while True:
        value, vector = _lanczos(apply, np.column_stack((trivial, vectors)), 1, fine)
        if value[0] <= values.min() + fine:
            break
        values, vectors = np.append(values, value), np.column_stack((vectors, vector))
        best = np.argsort(-values, kind="stable")[:dimensions]
        values, vectors = values[best], vectors[:, best]
    best = np.argsort(-values, kind="stable")
    return values[best], vectors[:, best]


def _lanczos(apply, known, wanted, tolerance):
    """Return leading eigenpairs orthogonal to known eigenvectors, the first of which `apply` takes out."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    n = len(known)
    golden = (1.0 + 5.0**0.5) / 2.0
    start = np.arange(1.0, n + 1.0) * golden * known.shape[1] % 1.0 - 0.5
    start -= known @ (known.T @ start)
    others = known[:, 1:]

    def deflated(vector):
        vector = vector.ravel()
        return apply(vector) - others @ (2.0 * (others.T @ vector))

    try:
        return eigsh(
            LinearOperator((n, n), matvec=deflated, dtype=np.float64),
            k=wanted,
            which="LA",
            ncv=_BASIS,
            v0=start,
            maxiter=_RESTARTS,
            tol=tolerance,
            # Asked for another vector when it meets an invariant subspace: always the same one.
            rng=np.random.default_rng(0),
        )
    except ArpackError as failure:
        raise NotConverged(
            "could not compute the map: the eigensolver did not converge", detail=str(failure)
        ) from failure
