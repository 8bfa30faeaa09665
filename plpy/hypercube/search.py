"""Documents and sentences by meaning: exact, one product with the vectors of all sentences."""

from collections import OrderedDict
from typing import NamedTuple

from blake3 import blake3

from hypercube import boundary, embeddings, mapped, meaning, ranking, sequences
from hypercube.errors import CorruptFile, InvalidArgument, StepMissing

SCOPES = ("sentence", "document")
_DIGEST = 32
_ROWS_A_BLOCK = 4096
# Sentences as near as the last come by their documents.
_SPARE = 16
_QUERY_LIMIT = 10_000
_known = OrderedDict()


def search(query, k, name, scope):
    """Return rows of hypercube.passage for the sentences or documents nearest to a text."""
    import numpy as np

    check_scope(scope)
    check_query(query)
    model, method = meaning.find_model(name)
    ranking.check_k(k, model)
    library = _load(model, method)
    if not library.ids:
        raise nothing_to_find(model)
    if not library.complete:
        boundary.notice("some sentences have no vector yet and are not found: hypercube.embed_documents()")
    vector = meaning.embed_text(model, method, query).astype(np.float64)
    rows = _documents if scope == "document" else _sentences
    return rows(model, library, vector, k)


def check_scope(scope):
    """Refuse a scope that there is none of."""
    if scope not in SCOPES:
        raise InvalidArgument(f'scope "{scope}" is not known', hint="Use 'sentence' or 'document'.")


def check_query(query, blank=None):
    """Refuse a query that is empty but for `blank` (white space), or longer than one is."""
    if query is None or not query.strip(blank):
        raise InvalidArgument("the query is empty", hint="Give a sentence, or a few words.")
    if len(query) > _QUERY_LIMIT:
        raise InvalidArgument(
            f"the query has {len(query)} characters", hint=f"Ask with at most {_QUERY_LIMIT} characters."
        )


def nothing_to_find(model):
    """Return the refusal of a search by meaning where no sentence has a vector."""
    return StepMissing(
        f'there are no sentences with vectors of model "{model["name"]}"',
        hint="Store texts with SELECT hypercube.ingest_text(...); for those that are stored already,"
        " SELECT hypercube.read_documents() and SELECT hypercube.embed_documents().",
    )


def search_if_possible(query, k, name):
    """Return what search returns for sentences; nothing where none has a vector."""
    model, method = meaning.find_model(name)
    if not _load(model, method).ids:
        boundary.notice(f'no sentence has a vector of model "{model["name"]}": found is what has the words')
        return []
    return search(query, k, name, "sentence")


class _Library(NamedTuple):
    """The sentences of a model that the caller sees and that have vectors.

    `ids` stand one after the other, sorted; `unit` has one row for each, None where there are none;
    `complete` says that no sentence which the caller sees is without a vector.
    """

    ids: bytes
    complete: bool
    unit: object


def library(model, method):
    """Return of what a search reads: path, sentences, bytes, and whether none is without a vector."""
    _, ids, complete, name = _look(model)
    count = len(ids) // _DIGEST
    return mapped.path(name), count, 4 * count * meaning.dimension(model, method), complete


def _load(model, method):
    _, ids, complete, name = _look(model)
    if not ids:
        return _Library(ids, complete, None)
    size = meaning.dimension(model, method)
    unit = mapped.rows(mapped.path(name), len(ids) // _DIGEST, size, lambda: _blocks(model, ids, size))
    return _Library(ids, complete, unit)


def _look(model):
    """Return the state of the sentences of a model, their ids, whether all have vectors, and their file."""
    # Of the latest state only: there may be millions.  Who is a member of what leaves no trace but this.
    key = (model["id"], model["created_at"], model["caller"])
    state = sequences.version(model["id"]), sequences.memberships()
    if key not in _known or _known[key][0] != state:
        seen, others = sequences.sentence_ids(model["id"])
        ids = boundary.read_as_owner(lambda: sequences.vector_ids(model["id"], seen))
        # By what was read: not everybody may read everything.
        name = embeddings.vectors_name(model, blake3(ids).digest())
        mapped.remember(_known, key, (state, ids, not others and len(ids) == len(seen) * _DIGEST, name))
    return _known[key]


def _blocks(model, ids, size):
    """Yield the vectors of sentences in blocks of rows, in the order of their ids."""
    import numpy as np

    for first in range(0, len(ids), _ROWS_A_BLOCK * _DIGEST):
        boundary.tick()
        last = min(len(ids), first + _ROWS_A_BLOCK * _DIGEST) - _DIGEST
        some = ids[first : last + _DIGEST]
        chosen = [some[start : start + _DIGEST] for start in range(0, len(some), _DIGEST)]
        data = boundary.read_as_owner(lambda chosen=chosen: sequences.vectors(model["id"], chosen))
        rows = len(chosen)
        block = np.frombuffer(data, "<f4") if len(data) == 4 * rows * size else np.full(1, np.nan)
        if not np.isfinite(block).all():
            raise CorruptFile(
                f'a vector of the sentences of model "{model["name"]}" is damaged',
                hint="DELETE FROM hypercube.sentence_vector what SELECT * FROM hypercube.health() counts,"
                " then SELECT hypercube.embed_documents(), or restore it from a backup.",
            )
        yield block.reshape(-1, size)


def _sentences(model, library, vector, k):
    import numpy as np

    from hypercube import neighbors, scoring

    ids, unit = library.ids, library.unit
    scores = scoring.products(unit, vector.astype(np.float32), step=boundary.tick)
    count = k + _SPARE
    while True:
        best, values = neighbors.top_k(
            scores, min(count, len(unit)), lambda rows: scoring.cosines(unit, rows, vector), ()
        )
        chosen = [ids[row * _DIGEST : (row + 1) * _DIGEST] for row in best.tolist()]
        found = sequences.passages(model["id"], chosen, values.tolist(), k)
        # What is as near as the last comes by its document.
        if count >= len(unit) or (len(found) == k and values[-1] < np.float32(found[-1]["score"])):
            return [
                {**row, "rank": rank, "highlighted": None, "exact": library.complete}
                for rank, row in enumerate(found, start=1)
            ]
        count *= 4


def _documents(model, library, vector, k):
    """Rank documents by the cosine with the mean of the vectors of their sentences."""
    import numpy as np

    ids, unit = library.ids, library.unit
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
            "text": labels[name], "highlighted": None, "exact": library.complete,
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
