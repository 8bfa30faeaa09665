"""Questions that a model is asked again: made when it is stored, and compared with what it answers now.

What is expected is computed by ``reference`` from the same vectors and points, not by what answers
questions; of a text, what the tokenizer and the encoder say when the model is stored.
"""

from hypercube import (
    boundary,
    catalog,
    embeddings,
    expected,
    lexicon,
    mapped,
    meaning,
    ranking,
    spelling,
    tokens,
    words,
)
from hypercube.errors import ClientGone, HypercubeError

# Answers to a question; one more than are compared in any case.
K = 6
_CHOSEN = 24
_WORDS = 5
# Weights of the words of a question; the words of an analogy are no answer.
_SCANS = {"nearest": (1.0, 1.0), "analogy": (-1.0, 1.0, 1.0)}
_DIGESTS = ("tensors", "tokens", "relations", "points", "files")
# An encoder is not read into memory for one sentence where it is larger.
_ENCODER_LIMIT = 256 << 20


def make(model, unit=None):
    """Return the expectations of a model, dicts of the columns of hypercube.expectation.

    Parameters
    ----------
    model : dict
        What catalog.find_model returns.
    unit : float32 ndarray or None
        Its unit vectors, where they are known already.
    """
    found = [_digest(kind, digest) for kind, digest in expected.fingerprints(model["id"]).items()]
    ids, labels = _words(model["id"])
    if model["embedding"] is not None and ids and (unit is not None or model["stored"]):
        if unit is None:
            unit = embeddings.load_matrix(model).unit
        hidden = lexicon.unusable_tokens(model["id"])
        found += _neighbors(model, unit, hidden, ids, labels)
        if model["stored"]:
            found += _scans(unit, hidden, ids, labels)
    found += _map(model["name"], ids, labels)
    return found + _text(model, labels)


def _words(model_id):
    """Return ids and labels of some words that are found by their labels."""
    ids, labels = expected.chosen_words(model_id, _CHOSEN)
    same = lexicon.find_tokens(model_id, labels) if labels else []
    known = [place for place, token_id in enumerate(same) if token_id == ids[place]][:_WORDS]
    return [ids[place] for place in known], [labels[place] for place in known]


def _one(kind, ordinal, question, inputs, answers, scores):
    return {
        "kind": kind, "ordinal": ordinal, "question": question, "inputs": inputs, "answers": answers,
        "scores": scores, "digest": None,
    }  # fmt: skip


def _digest(kind, digest):
    return {**_one(kind, 1, None, None, None, None), "digest": digest}


def _neighbors(model, unit, hidden, ids, labels):
    from hypercube import reference

    if not model["neighbors"]:
        return []
    k = min(K, model["neighbors"])
    return [
        _one("neighbors", place + 1, [label], [token_id], *reference.nearest(
            unit, unit[token_id].astype("f8"), k, excluded=[token_id], ineligible=hidden, step=boundary.tick
        ))
        for place, (token_id, label) in enumerate(zip(ids[:4], labels[:4], strict=True))
    ]  # fmt: skip


def _scans(unit, hidden, ids, labels):
    from hypercube import reference

    found = []
    for kind, weights in _SCANS.items():
        count = len(weights)
        for place in range(2):
            inputs, asked = ids[place : place + count], labels[place : place + count]
            vector = _vector(unit, inputs, weights) if len(inputs) == count else None
            if vector is not None:
                answers = reference.nearest(
                    unit, vector, K, excluded=_excluded(kind, inputs), ineligible=hidden, step=boundary.tick
                )
                found.append(_one(kind, place + 1, asked, inputs, *answers))
    return found


def _vector(unit, inputs, weights):
    """Return the weighted sum of rows, of length 1; None where nothing is left of it."""
    import numpy as np

    total = np.array(weights) @ unit[inputs].astype(np.float64)
    length = np.linalg.norm(total)
    return total / length if length > 1e-3 else None


def _excluded(kind, inputs):
    return inputs if kind == "analogy" else ()


def _map(name, ids, labels):
    import numpy as np

    from hypercube import reference

    token_ids, points = expected.points(name)
    token_ids = np.frombuffer(token_ids, ">i4").tolist()
    points = np.frombuffer(points, ">f8").reshape(-1, 4)
    found = []
    for token_id, label in zip(ids[:2], labels[:2], strict=True):
        if token_id in token_ids:
            places, distances = reference.nearest_points(points, token_ids.index(token_id), K)
            answers = [token_ids[place] for place in places]
            found.append(_one("map", len(found) + 1, [label], [token_id], answers, distances))
    return found


def _text(model, labels):
    """Return what is expected of a text: its tokens, and its vector where the model is an encoder."""
    if model["tokenizer"] is None or not labels:
        return []
    text = " ".join(labels)
    found = [_one("tokenize", 1, [text], None, _cut(model, text), None)]
    described = meaning.describe(model)
    if not isinstance(described, str) and 4 * described.size <= _ENCODER_LIMIT:
        [vector] = meaning.embed_texts(model, "encoder", [text], in_memory=True)
        if vector.any():
            found.append(_one("embed", 1, [text], None, None, vector.tolist()))
    return found


def _cut(model, text):
    tokenizer, _ = tokens.find(model)
    [encoding] = spelling.encode(tokenizer, [text])
    return list(encoding.ids)


def changed_rows(model_id):
    """Return which kinds of rows are not those that were stored, None where nothing is known of them."""
    known = {one["kind"]: one["digest"] for one in expected.of_model(model_id) if one["kind"] in _DIGESTS}
    if not known:
        return None
    found = boundary.read_as_owner(lambda: expected.fingerprints(model_id))
    return [kind for kind in _DIGESTS if known.get(kind) != found[kind]]


def ask(model, *, quick=False):
    """Ask a model what is expected of it.

    Parameters
    ----------
    quick : bool
        Only what SQL answers from stored rows; no vector is read.

    Returns
    -------
    tuple
        How many questions were asked, what was not and why (in words or None), and what differed.
    """
    questions = [one for one in expected.of_model(model["id"]) if one["kind"] not in _DIGESTS]
    asked, left, wrong = 0, {}, []
    for one in questions:
        boundary.tick()
        reason = _reason_to_leave(model, one["kind"], quick)
        if reason is not None:
            left[reason] = left.get(reason, 0) + 1
            continue
        asked += 1
        problem = _difference(model, one)
        if problem is not None:
            wrong.append(f'{one["kind"]} of "{", ".join(one["question"])}": {problem}')
    return asked, "; ".join(f"{count} not asked: {reason}" for reason, count in left.items()) or None, wrong


def _reason_to_leave(model, kind, quick):
    if quick and kind not in ("neighbors", "map"):
        return "quick"
    if kind in _SCANS and 4 * model["vocabulary_size"] * model["dimension"] > mapped.limit():
        return "its matrix is larger than hypercube.matrix_limit"
    if kind == "embed":
        described = meaning.describe(model)
        if not isinstance(described, str) and 4 * described.size > mapped.limit():
            return "its encoder is larger than hypercube.matrix_limit"
    return None


def _difference(model, one):
    from hypercube import reference

    kind = one["kind"]
    answers = one["answers"] or [], one["scores"] or []
    try:
        found = _answer(model, one)
    except ClientGone:
        raise
    except HypercubeError as refusal:
        # Whatever it is refused with: it was answered when the model was stored.
        return str(refusal)
    if found is None:
        return "a word is another token"
    # Stored neighbours may be fewer than that; those behind the last of them can be as near as it.
    asked = min(K, model["neighbors"]) if kind == "neighbors" else K
    return reference.difference(kind, answers, found, asked)


def _answer(model, one):
    """Return ids and scores that a question has now, None where its words are other tokens."""
    kind, question = one["kind"], one["question"]
    if kind == "tokenize":
        return _cut(model, question[0]), []
    if kind == "embed":
        return [], meaning.embed_texts(model, "encoder", question)[0].tolist()
    if lexicon.find_tokens(model["id"], question) != one["inputs"]:
        return None
    k = len(one["answers"])
    if kind == "neighbors":
        return expected.stored_neighbors(model["id"], one["inputs"][0], k)
    if kind == "map":
        return expected.map_neighbors(model["id"], one["inputs"][0], k)
    return _scan(model, one, k)


def _scan(model, one, k):
    import numpy as np

    held = embeddings.load_matrix(model)
    vectors = words.unit_vectors(
        model, one["question"], [[token_id] for token_id in one["inputs"]], held.unit
    )
    total = np.array(_SCANS[one["kind"]]) @ vectors
    found = ranking.nearest(
        model, held, total / np.linalg.norm(total), ranking.Ask(k),
        excluded=_excluded(one["kind"], one["inputs"]),
    )  # fmt: skip
    return [row[4] for row in found], [row[2] for row in found]


def keep(model, unit=None):
    """Make and store the expectations of a model; return in words what its rows do not answer so already."""
    store(model, unit)
    return ask(model, quick=True)[2]


def store(model, unit=None):
    """Make and store the expectations of a model."""
    made = make(model, unit)
    boundary.as_owner(lambda: expected.store(model["id"], made))


def keep_missing():
    """Make the expectations of the models that have none.

    Returns
    -------
    tuple
        The names of the models, and a dict of what is wrong with some: that nothing could be computed, or
        that the rows of a model do not answer as its vectors say.
    """
    made, wrong = [], {}
    for name in expected.missing():
        boundary.tick()
        try:
            model = catalog.find_model(name)
            store(model)
            made.append(name)
            if differences := ask(model, quick=True)[2]:
                wrong[name] = "its rows answer otherwise: " + "; ".join(differences)
        except (boundary.Canceled, ClientGone):
            raise
        except (HypercubeError, MemoryError, boundary.StatementError) as problem:
            # A page that cannot be read, or what this model takes: that keeps no other from having some.
            what = "not asked" if name in made else "none made"
            wrong[name] = f"{what}: {str(problem) or type(problem).__name__}"
    return made, wrong
