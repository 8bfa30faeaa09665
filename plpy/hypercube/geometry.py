"""Relations and the map of a model, from its unit vectors to rows."""

import time
from typing import NamedTuple

from hypercube import bulk
from hypercube.errors import NotConverged

_ROWS_A_STATEMENT = 50_000
# Four non-zero eigenvalues need at least five points.
_FEWEST_POINTS = 6


class Geometry(NamedTuple):
    """The counts of a report; None where nothing was projected."""

    relations: int = 0
    projected: int = 0
    components: int | None = None
    residual: float | None = None
    neighbor_preservation: float | None = None


def store_geometry(plan, model_id, unit, usable, kept, progress):
    """Compute and insert the relations of kind E, the projection and its metadata.

    Parameters
    ----------
    plan : ingest.Plan
        Its notes are added to.
    unit : float32 ndarray of shape (n, d) or None
    usable : bool ndarray of shape (n,)
        Rows that take part.
    kept : int
        Neighbours of each usable row.
    """
    import numpy as np

    from hypercube import neighbors

    step = progress.stage("relations")
    if kept == 0:
        progress.stage("projection")
        return Geometry()
    token_ids = np.flatnonzero(usable).astype(np.int32)
    if len(token_ids) < len(usable):
        unit = unit[token_ids]
    found, scores = neighbors.nearest_graph(unit, kept, step=lambda fraction: step(0.8 * fraction))
    relations = _store_relations(model_id, token_ids, found, scores, step)

    step = progress.stage("projection")
    if len(token_ids) < _FEWEST_POINTS:
        plan.notes.append(
            f"not projected: {len(token_ids)} usable tokens, four coordinates need at least {_FEWEST_POINTS}"
        )
        return Geometry(relations)
    try:
        return _store_map(plan, model_id, unit, token_ids, found, scores, relations, step)
    except NotConverged as refusal:
        plan.notes.append(f"not projected: {refusal}")
        return Geometry(relations)


def _store_relations(model_id, token_ids, found, scores, step):
    import numpy as np

    n, kept = found.shape
    rows = max(1, _ROWS_A_STATEMENT // kept)
    ranks = np.tile(np.arange(1, kept + 1, dtype=np.int16), rows)
    relations = 0
    for start in range(0, n, rows):
        step(0.8 + 0.2 * start / n)
        part = slice(start, start + rows)
        targets = token_ids[found[part]].reshape(-1)
        relations += bulk.store_embedding_relations(
            model_id,
            np.repeat(token_ids[part], kept),
            targets,
            ranks[: targets.size],
            scores[part].reshape(-1),
        )
    return relations


def _store_map(plan, model_id, unit, token_ids, found, scores, relations, step):
    from hypercube import hilbert, spectral

    began = time.monotonic()
    graph = spectral.similarity_graph(found, scores)
    step(0.05)
    graph, components = spectral.join_components(
        graph, unit, step=lambda fraction: step(0.05 + 0.15 * fraction)
    )
    projection = spectral.project(graph, step=lambda fraction: step(0.2 + 0.4 * fraction))
    quality = spectral.measure_quality(
        projection.points, unit, found, step=lambda fraction: step(0.6 + 0.2 * fraction)
    )
    seconds = time.monotonic() - began

    hilberts = hilbert.hilbert_index(projection.points)
    projected = 0
    for start in range(0, len(token_ids), _ROWS_A_STATEMENT // 10):
        step(0.8 + 0.2 * start / len(token_ids))
        part = slice(start, start + _ROWS_A_STATEMENT // 10)
        projected += bulk.store_projection(model_id, token_ids[part], projection.points[part], hilberts[part])
    bulk.store_projection_metadata(model_id, {
        "tensor_name": plan.embedding.name,
        "method": "laplacian eigenmaps",
        "points": projected,
        "components": components,
        "converged": True,
        "residual": projection.residual,
        "eigenvalues": projection.eigenvalues.tolist(),
        "trustworthiness": quality.trustworthiness,
        "neighbor_preservation": quality.neighbor_preservation,
        "variance_explained": quality.variance_explained,
        "quality_score": quality.score,
        "parameters": {"neighbors": int(found.shape[1]), "dimensions": 4, **spectral.PARAMETERS},
        "seconds": round(seconds, 3),
    })  # fmt: skip
    return Geometry(relations, projected, components, projection.residual, quality.neighbor_preservation)
