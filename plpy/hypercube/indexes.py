"""The optional vector index of a model: made, removed, and measured against the exact answer."""

import time

from hypercube import audit, boundary, catalog, embeddings, hnsw, ranking, rights
from hypercube.errors import InvalidArgument, StepMissing, quoted

_SAMPLE_LIMIT = 10_000


def _owned(name):
    """Return a model for its owner."""
    if name is None:
        raise InvalidArgument("the model must be named", hint="SELECT name FROM hypercube.model.")
    rights.require_owner(catalog.find_model(name))
    return embeddings.find_model(name)


def _owned_and_locked(name):
    """Return a model for its owner, with the lock of writers: whoever waited for it is asked once more."""
    _owned(name)
    catalog.lock_writers()
    return _owned(name)


def _usable(model):
    """Return the Matrix of a model, and which of its rows may be an answer.

    Raises
    ------
    StepMissing
        There are fewer than two: nothing has a neighbour.
    """
    import numpy as np

    held = embeddings.load_matrix(model)
    usable = np.ones(len(held.unit), bool)
    usable[held.ineligible] = False
    if np.count_nonzero(usable) < 2:
        raise StepMissing(
            f'model "{model["name"]}" has fewer than two usable tokens',
            hint="SELECT notes FROM hypercube.model_report('...') says why.",
        )
    return held, usable


def create_vector_index(name, m, ef_construction):
    """Make the index of a model and return its bytes, the table included."""
    import numpy as np

    for what, value, least, most in (("m", m, 2, 100), ("ef_construction", ef_construction, 4, 1000)):
        if value is None or not least <= value <= most:
            raise InvalidArgument(
                f"{what} is out of range: {'null' if value is None else value}",
                hint=f"pgvector takes {least} to {most}.",
            )
    if ef_construction < 2 * m:
        raise InvalidArgument(
            f"ef_construction is less than twice m: {ef_construction}", hint=f"Give at least {2 * m}."
        )
    model = _owned_and_locked(name)
    hnsw.require_extension()
    if hnsw.exists(model["id"]):
        raise StepMissing(
            f'model "{name}" has a vector index already',
            hint=f"SELECT hypercube.drop_vector_index({quoted(name)}) removes it.",
        )
    held, usable = _usable(model)
    token_ids = np.flatnonzero(usable)
    size = boundary.as_owner(lambda: _create(model, held.unit, token_ids, m, ef_construction))
    audit.record("create_vector_index", "model", model["name"], {"m": m, "ef_construction": ef_construction})
    return size


def _create(model, unit, token_ids, m, ef_construction):
    hnsw.drop(model["id"])
    return hnsw.create(model, unit, token_ids, m, ef_construction)


def drop_vector_index(name):
    """Remove the index of a model; return whether there was one."""
    model = _owned_and_locked(name)
    hnsw.require_unread(model)
    dropped = boundary.as_owner(lambda: _drop(model["id"]))
    audit.record("drop_vector_index", "model", model["name"])
    return dropped


def _drop(model_id):
    catalog.drop_recall(model_id)
    return hnsw.drop(model_id)


def measure_recall(name, k, sample):
    """Compare the index with the exact answer for evenly spaced tokens, and keep the result.

    Returns
    -------
    tuple
        model, k, sample, mean, minimum, ef_search, milliseconds of one search.
    """
    import numpy as np

    from hypercube import neighbors, scoring

    if sample is None or not 1 <= sample <= _SAMPLE_LIMIT:
        raise InvalidArgument(
            f"sample is out of range: {'null' if sample is None else sample}",
            hint=f"Ask for 1 to {_SAMPLE_LIMIT} tokens.",
        )
    model = _owned(name)
    ranking.check_k(k, model)
    if k >= hnsw.REACH:
        raise InvalidArgument(
            f"k is out of range: {k}", hint=f"An index of pgvector returns fewer than {hnsw.REACH} rows."
        )
    held, eligible = _usable(model)
    usable = np.flatnonzero(eligible)
    tokens = usable[np.unique(np.linspace(0, len(usable) - 1, min(sample, len(usable))).astype(np.intp))]
    _, exact = neighbors.nearest(
        held.unit[tokens], held.unit, k,
        excluded=tokens[:, None], eligible=eligible, threads=1, step=boundary.tick,
    )  # fmt: skip
    # Looked up only now, with the rights of whoever asks: a search runs what is in pgvector's schema.
    index = hnsw.require_index(model)
    shares, seconds = [], []
    for row, token_id in enumerate(tokens.tolist()):
        boundary.tick()
        began = time.perf_counter()
        found = hnsw.search(index, held.unit[token_id], k + 1)
        seconds.append(time.perf_counter() - began)
        wanted = exact[row][exact[row] > -np.inf]
        scores = scoring.cosines(held.unit, found, held.unit[token_id].astype(np.float64))
        right = sum(
            1 for one, score in zip(found, scores, strict=True) if one != token_id and score >= wanted[-1]
        )
        shares.append(min(right, len(wanted)) / len(wanted))
    reach = max(hnsw.reach(), k + 1)
    mean, least = float(np.mean(shares)), float(min(shares))
    boundary.as_owner(lambda: catalog.store_recall(_owned(name)["id"], k, len(tokens), mean, least, reach))
    audit.record("measure_recall", "model", name, {"k": k, "mean": mean})
    return name, k, len(tokens), mean, least, reach, 1e3 * float(np.median(seconds))
