"""Documents and sentences by meaning: exact, one product with the vectors of all sentences."""

from collections import OrderedDict

from blake3 import blake3

from hypercube import boundary, embeddings, mapped, meaning, ranking, sequences
from hypercube.errors import CorruptFile, InvalidArgument, StepMissing

SCOPES = ("sentence", "document")
_DIGEST = 32
_ROWS_A_BLOCK = 4096
# Sentences that stand where the caller may not read, or as near as the last.
_SPARE = 16
_QUERY_LIMIT = 10_000
_ids = OrderedDict()


def search(query, k, name, scope):
    """Return rows of hypercube.passage for the sentences or documents nearest to a text."""
    import numpy as np

    if scope not in SCOPES:
        raise InvalidArgument(f'scope "{scope}" is not known', hint="Use 'sentence' or 'document'.")
    if query is None or not query.strip():
        raise InvalidArgument("the query is empty", hint="Give a sentence, or a few words.")
    if len(query) > _QUERY_LIMIT:
        raise InvalidArgument(
            f"the query has {len(query)} characters", hint=f"Ask with at most {_QUERY_LIMIT} characters."
        )
    model, method = meaning.find_model(name)
    ranking.check_k(k, model)
    state = sequences.state(model["id"])
    if state["vectors"] is None:
        raise StepMissing(
            f'there are no sentences with vectors of model "{model["name"]}"',
            hint="Store texts with SELECT hypercube.ingest_text(...); for those that are stored already,"
            " SELECT hypercube.read_documents() and SELECT hypercube.embed_documents().",
        )
    if not state["complete"]:
        boundary.notice("some sentences have no vector yet and are not found: hypercube.embed_documents()")
    vector = meaning.embed_text(model, method, query).astype(np.float64)
    rows = _documents if scope == "document" else _sentences
    return rows(model, method, state, vector, k)


def _load(model, method, state):
    """Return the ids of the sentences of a model, one after the other, and their vectors."""
    key = (model["id"], model["created_at"], model["caller"])
    # Of the latest state only: there may be millions.
    if key not in _ids or _ids[key][0] != state:
        ids = sequences.vector_ids(model["id"])
        # By what was read: not everybody may read everything.
        mapped.remember(_ids, key, (state, ids, embeddings.vectors_name(model, blake3(ids).digest())))
    _, ids, name = _ids[key]
    count = len(ids) // _DIGEST
    if not count:
        return ids, None
    path = mapped.path(name)
    size = meaning.dimension(model, method)
    return ids, mapped.rows(path, count, size, lambda: _blocks(model, ids, size))


def _blocks(model, ids, size):
    """Yield the vectors of sentences in blocks of rows, in the order of their ids."""
    import numpy as np

    for first in range(0, len(ids), _ROWS_A_BLOCK * _DIGEST):
        boundary.tick()
        last = min(len(ids), first + _ROWS_A_BLOCK * _DIGEST) - _DIGEST
        data = sequences.vectors(model["id"], ids[first : first + _DIGEST], ids[last : last + _DIGEST])
        rows = (last - first) // _DIGEST + 1
        block = np.frombuffer(data, "<f4") if len(data) == 4 * rows * size else np.full(1, np.nan)
        if not np.isfinite(block).all():
            raise CorruptFile(
                f'a vector of the sentences of model "{model["name"]}" is damaged',
                hint="DELETE FROM hypercube.sentence_vector what SELECT * FROM hypercube.health() counts,"
                " then SELECT hypercube.embed_documents(), or restore it from a backup.",
            )
        yield block.reshape(-1, size)


def _sentences(model, method, state, vector, k):
    import numpy as np

    from hypercube import neighbors, scoring

    ids, unit = _load(model, method, state["vectors"])
    if unit is None:
        return []
    scores = scoring.products(unit, vector.astype(np.float32), step=boundary.tick)
    count = k + _SPARE
    while True:
        best, values = neighbors.top_k(
            scores, min(count, len(unit)), lambda rows: scoring.cosines(unit, rows, vector), ()
        )
        chosen = [ids[row * _DIGEST : (row + 1) * _DIGEST] for row in best.tolist()]
        found = sequences.passages(model["id"], chosen, values.tolist(), k)
        # Not every sentence is for the caller; and what is as near as the last comes by its document.
        if count >= len(unit) or (len(found) == k and values[-1] < np.float32(found[-1]["score"])):
            return [
                {**row, "rank": rank, "highlighted": None, "exact": state["complete"]}
                for rank, row in enumerate(found, start=1)
            ]
        count *= 4


def _documents(model, method, state, vector, k):
    """Rank documents by the cosine with the mean of the vectors of their sentences."""
    import numpy as np

    ids, unit = _load(model, method, state["vectors"])
    if unit is None:
        return []
    known = np.frombuffer(ids, f"S{_DIGEST}")
    scored = []
    for name, sentences in sequences.documents(model["id"]):
        boundary.tick()
        wanted = np.frombuffer(sentences, f"S{_DIGEST}")
        rows = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        # Some may have no vector yet.
        rows = rows[known[rows] == wanted]
        mean = _mean(unit, rows)
        length = float(np.linalg.norm(mean))
        if length > 0.0:
            scored.append((-float(np.float32(min(1.0, max(-1.0, mean @ vector / length)))), name))
    labels = sequences.beginnings(model["id"], [name for _, name in sorted(scored)[:k]])
    return [
        {
            "rank": rank, "score": -negative, "document": name, "sentence": None, "start": 0,
            "text": labels[name], "highlighted": None, "exact": state["complete"],
        }
        for rank, (negative, name) in enumerate(sorted(scored)[:k], start=1)
    ]  # fmt: skip


def _mean(unit, rows):
    """Return the mean of rows of a matrix, float64; a document may have very many."""
    import numpy as np

    total = np.zeros(unit.shape[1])
    for first in range(0, len(rows), _ROWS_A_BLOCK):
        boundary.tick()
        total += unit[rows[first : first + _ROWS_A_BLOCK]].sum(axis=0, dtype=np.float64)
    return total / max(1, len(rows))
