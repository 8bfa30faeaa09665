"""Many questions in one call: one product of matrices instead of one scan each."""

import math
import struct
from typing import NamedTuple

from hypercube import boundary, embeddings, lexicon, limits, ranking, words
from hypercube.errors import InvalidArgument
from hypercube.queries import check_method, length_hint

# One thread of BLAS a session; a server has others to serve.
_THREADS = 1
_FLOAT4 = 700
# Questions whose vectors are held at a time.
_QUESTIONS = 2048
# Bytes of the scores that are held at a time: more would be a little faster.
_HELD = 40 << 20


class Batch(NamedTuple):
    """Rows of an answer as columns, for unnest: `question` counts from 1."""

    model: str
    model_id: int
    question: list
    rank: list
    token_id: list
    score: list


def _flat(model, found, scores):
    """Return a Batch from arrays (m, k) of token ids and scores; -inf is no answer."""
    import numpy as np

    question, place = np.nonzero(scores > -np.inf)
    return Batch(
        model["name"],
        model["id"],
        (question + 1).tolist(),
        (place + 1).tolist(),
        found[question, place].tolist(),
        scores[question, place].tolist(),
    )


def _finish(model, ask, search):
    """Return the Batch of ``search(count)``, which gives token ids and scores of the `count` best."""
    import numpy as np

    found, scores = search(ask.k)
    if ask.minimum_score is not None:
        scores[scores < np.float32(ask.minimum_score)] = -np.inf
    return _flat(model, found, scores)


def _check_questions(questions):
    if questions is None or not questions:
        raise InvalidArgument(
            "there is no question", hint="Give an array of triples: ARRAY[['man', 'king', 'woman'], ...]."
        )
    for question in questions:
        if not isinstance(question, list) or len(question) != 3:
            raise InvalidArgument(
                "a question is not three words",
                hint="Give an array of triples: ARRAY[['man', 'king', 'woman'], ...].",
            )
    words.check_words([word for question in questions for word in question])
    for number, (a, *others) in enumerate(questions, start=1):
        if a in others:
            raise InvalidArgument(
                f'question {number} asks what is to "{others[1]}" as "{others[0]}" is to "{a}"',
                hint="A word that is added and taken away says nothing; leave such questions out.",
            )


class Questions(NamedTuple):
    """Analogies as numbers: `triples`, int64 (m, 3), are places in lists of words and of what spells them.

    `answerable` says which questions know all three of their words.
    """

    held: object
    words: list
    spelled: list
    triples: object
    answerable: object

    @classmethod
    def of_words(cls, model, asked, skip_unknown):
        """Make them from lists of three words."""
        import numpy as np

        known = list(dict.fromkeys(word for question in asked for word in question))
        place = {word: number for number, word in enumerate(known)}
        spelled = words.spell(model, known) if skip_unknown else words.find_words(model, known)
        words.say_pieces(model, known, spelled)
        held = embeddings.load_matrix(model)
        for number in words.without_direction(spelled, held.unit) if skip_unknown else ():
            spelled[number] = None
        triples = np.array([[place[word] for word in question] for question in asked], np.int64)
        there = np.array([ids is not None for ids in spelled], bool)
        return cls(held, known, spelled, triples, there[triples].all(axis=1))

    @classmethod
    def of_tokens(cls, held, token_ids):
        """Make them from token ids, int64 (m, 3)."""
        import numpy as np

        used, place = np.unique(token_ids, return_inverse=True)
        names = [f"token {token_id}" for token_id in used.tolist()]
        spelled = [[token_id] for token_id in used.tolist()]
        return cls(held, names, spelled, place.reshape(-1, 3), np.ones(len(token_ids), bool))

    def part(self, model, rows):
        """Return the words of some questions as vectors, the questions as rows of them, what they exclude.

        Returns
        -------
        vectors : float64 ndarray of shape (u, d)
        triples : int64 ndarray of shape (len(rows), 3)
        excluded : int64 ndarray of shape (len(rows), e)
            Token ids, -1 where there are fewer.
        """
        import numpy as np

        used, place = np.unique(self.triples[rows], return_inverse=True)
        spelled = [self.spelled[number] for number in used.tolist()]
        names = [self.words[number] for number in used.tolist()]
        vectors = words.unit_vectors(model, names, spelled, self.held.unit)
        triples = place.reshape(-1, 3)
        lists = [sorted({one for number in row for one in spelled[number]}) for row in triples.tolist()]
        excluded = np.full((len(lists), max(map(len, lists))), -1, np.int64)
        for row, ids in enumerate(lists):
            excluded[row, : len(ids)] = ids
        return vectors, triples, excluded


def search_analogies(model, questions, method, eligible, k):
    """Return token ids and scores (m, k) of the answers; a question that cannot be answered has only -inf."""
    import numpy as np

    k = min(k, model["vocabulary_size"])
    found = np.zeros((len(questions.triples), k), np.int32)
    scores = np.full(found.shape, -np.inf, np.float32)
    chosen = np.flatnonzero(questions.answerable)
    for start in range(0, len(chosen), _QUESTIONS):
        boundary.tick()
        rows = chosen[start : start + _QUESTIONS]
        ids, values = _search_part(model, questions, rows, method, eligible, k)
        found[rows, : ids.shape[1]], scores[rows, : ids.shape[1]] = ids, values
    return found, scores


def _search_part(model, questions, rows, method, eligible, k):
    import numpy as np

    from hypercube import neighbors

    vectors, triples, excluded = questions.part(model, rows)
    unit, options = questions.held.unit, {"excluded": excluded, "eligible": eligible, "threads": _THREADS}
    options |= {"held": _HELD, "step": boundary.tick}
    if method == "3cosmul":
        return neighbors.nearest_by_quotient(vectors, triples, unit, k, **options)
    a, b, c = (vectors[triples[:, column]] for column in range(3))
    directions = b - a + c
    length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
    empty = length < 1e-9
    directions /= np.where(empty, 1.0, length)[:, None]
    ids, values = neighbors.nearest(directions, unit, k, **options)
    values[empty] = -np.inf
    return ids, values


def analogies(asked, method, skip_unknown, name, ask):
    """Answer analogies: a Batch for questions given as triples of words."""
    method = check_method(method)
    _check_questions(asked)
    if skip_unknown is None:
        raise InvalidArgument("skip_unknown must not be null", hint="Give true or false.")
    model = embeddings.find_model(name)
    ranking.check_ask(ask, model)
    ranking.check_batch(len(asked) * ask.k, model)
    limits.charge(len(asked))
    questions = Questions.of_words(model, asked, skip_unknown)
    eligible = ranking.mask(model, ask, questions.held.ineligible)
    if not ask.exclude_variants:
        return _finish(model, ask, lambda k: search_analogies(model, questions, method, eligible, k))
    variants = [{ranking.variant(word) for word in question} for question in asked]
    return _without_variants(
        model, ask, variants, lambda k: search_analogies(model, questions, method, eligible, k)
    )


def _without_variants(model, ask, variants, search):
    """Return a Batch in which no answer is a surface variant of its question's words."""
    import numpy as np

    n, count = model["vocabulary_size"], ask.k + ranking.SPARE
    while True:
        found, scores = search(count)
        if ask.minimum_score is not None:
            scores[scores < np.float32(ask.minimum_score)] = -np.inf
        boundary.tick()
        exhausted = (scores[:, -1:] == -np.inf).any(axis=1) | (found.shape[1] < count)
        ids = np.unique(found)
        labels = dict(zip(ids.tolist(), lexicon.labels(model["id"], ids.tolist()), strict=True))
        keys = {token_id: ranking.variant(label) for token_id, label in labels.items() if label is not None}
        for row, hidden in enumerate(variants):
            same = [keys.get(token_id) in hidden for token_id in found[row].tolist()]
            scores[row, same] = -np.inf
        order = np.argsort(scores == -np.inf, axis=1, kind="stable")
        found, scores = np.take_along_axis(found, order, axis=1), np.take_along_axis(scores, order, axis=1)
        # If a row is short although more is to be had, all are asked again for more.
        short = (scores[:, : ask.k] == -np.inf).any(axis=1) & ~exhausted
        if count >= n or not short.any():
            return _flat(model, found[:, : ask.k], scores[:, : ask.k])
        count = min(n, 4 * count)


def read_vectors(data, model):
    """Return float32 vectors (m, d) from their bytes: an array as PostgreSQL sends it, or bare float32.

    Parameters
    ----------
    data : bytes
        ``array_send(real[])``, or m x d little-endian float32.
    """
    import numpy as np

    d = model["dimension"]
    if data is None:
        raise InvalidArgument("the vectors must not be null", hint=length_hint(model))
    if len(data) % (4 * d) or not data:
        raise InvalidArgument(
            f'{len(data)} bytes are not vectors of model "{model["name"]}"',
            hint=f"Give {d} little-endian float32 numbers for each, {4 * d} bytes.",
        )
    return np.frombuffer(data, "<f4").reshape(-1, d)


def read_array(data, model):
    """Return float32 vectors (m, d) from ``array_send`` of a real[] with one or two dimensions."""
    if data is None:
        raise InvalidArgument("the vectors must not be null", hint=length_hint(model))
    try:
        return _parse_array(data, model)
    except (struct.error, ValueError):
        # Whoever may ask can call what nearest_batch calls, with bytes of his own.
        raise InvalidArgument("the bytes are not those of an array", hint=length_hint(model)) from None


def _parse_array(data, model):
    import numpy as np

    dimensions, nulls, kind = struct.unpack_from(">iii", data)
    sides = [struct.unpack_from(">ii", data, 12 + 8 * side)[0] for side in range(dimensions)]
    if nulls:
        raise InvalidArgument("the vectors must not hold a null", hint=length_hint(model))
    if kind != _FLOAT4 or not sides or len(sides) > 2 or sides[-1] != model["dimension"]:
        shape = "x".join(map(str, sides)) or "0"
        raise InvalidArgument(
            f'the vectors have {shape} numbers, those of model "{model["name"]}" have {model["dimension"]}',
            hint=length_hint(model),
        )
    values = np.frombuffer(data, np.dtype([("length", ">i4"), ("value", ">f4")]), offset=12 + 8 * dimensions)
    return values["value"].astype(np.float32).reshape(math.prod(sides) // sides[-1], sides[-1])


def nearest_batch(data, is_array, name, ask):
    """Answer nearest_batch: a Batch for vectors."""
    import numpy as np

    from hypercube import neighbors

    model = embeddings.find_model(name)
    ranking.check_ask(ask, model)
    vectors = (read_array if is_array else read_vectors)(data, model)
    ranking.check_batch(len(vectors) * ask.k, model)
    limits.charge(len(vectors))
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1))
    if len(wrong):
        shown = ", ".join(map(str, (wrong[:20] + 1).tolist()))
        raise InvalidArgument(
            f"vector {shown} is zero, or holds NaN or infinity"
            if len(wrong) == 1
            else f"{len(wrong)} vectors are zero, or hold NaN or infinity: {shown}",
            hint="A direction needs finite numbers, one not 0.",
        )
    directions, _ = neighbors.unit_rows(vectors, step=boundary.tick)
    held = embeddings.load_matrix(model)
    eligible = ranking.mask(model, ask, held.ineligible)

    def search(k):
        return neighbors.nearest(
            directions,
            held.unit,
            k,
            eligible=eligible,
            threads=_THREADS,
            held=_HELD,
            step=boundary.tick,
        )

    return _finish(model, ask, search)


def neighbor_join(name_a, name_b, source_like, ask):
    """Answer neighbor_join: a Batch whose `question` holds token ids of one model, its answers another's."""
    import numpy as np

    from hypercube import neighbors

    if name_a is None or name_b is None:
        raise InvalidArgument("both models must be named", hint="SELECT name FROM hypercube.model.")
    sources, targets = embeddings.find_model(name_a), embeddings.find_model(name_b)
    ranking.check_ask(ask, targets)
    if sources["dimension"] != targets["dimension"]:
        raise InvalidArgument(
            f'model "{name_a}" has {sources["dimension"]} dimensions,'
            f' model "{name_b}" has {targets["dimension"]}',
            hint="Only vectors of one space can be compared; consensus_neighbors goes by labels.",
        )
    of_source = ask._replace(label_like=source_like)
    ranking.check_ask(of_source, sources, "source_like")
    left, right = embeddings.load_matrix(sources), embeddings.load_matrix(targets)
    asked = ranking.mask(sources, of_source, left.ineligible)
    asking = np.arange(len(left.unit)) if asked is None else np.flatnonzero(asked)
    ranking.check_batch(len(asking) * ask.k, targets)
    limits.charge(len(asking))
    eligible = ranking.mask(targets, ask, right.ineligible)
    found, scores = [], []
    for start in range(0, len(asking), _QUESTIONS):
        ids, values = neighbors.nearest(
            left.unit[asking[start : start + _QUESTIONS]], right.unit, ask.k,
            eligible=eligible, threads=_THREADS, held=_HELD, step=boundary.tick,
        )  # fmt: skip
        found.append(ids)
        scores.append(values)
    if not found:
        return _flat(targets, np.empty((0, 0), np.int32), np.empty((0, 0), np.float32))
    found, scores = np.concatenate(found), np.concatenate(scores)
    if ask.minimum_score is not None:
        scores[scores < np.float32(ask.minimum_score)] = -np.inf
    batch = _flat(targets, found, scores)
    return batch._replace(question=asking[np.array(batch.question, np.intp) - 1].tolist())
