"""Questions about one word or a few, answered from the whole embedding."""

from hypercube import boundary, embeddings, lexicon, ranking, words
from hypercube.errors import InvalidArgument, NotSupported

METHODS = ("3cosadd", "3cosmul")
# Scores in float32 are nearer to the true ones than this.
_NEAR = 1e-5
_REFINED = 4096


def scan_neighbors(query, token_id, name, ask):
    """Answer semantic_neighbors where the stored graph does not reach."""
    words.check_words([query])
    model = embeddings.find_model(name, None if token_id is not None else [query])
    if token_id is not None and not 0 <= token_id < model["vocabulary_size"]:
        raise InvalidArgument(f"token id {token_id} is out of range", hint="Give the id of a token.")
    ranking.check_ask(ask, model)
    spelled = words.find_words(model, [query]) if token_id is None else [[token_id]]
    words.say_pieces(model, [query], spelled)
    held = embeddings.load_matrix(model)
    [vector] = words.unit_vectors(model, [query], spelled, held.unit)
    return ranking.nearest(model, held, vector, ask, excluded=spelled[0], variants=_variants(ask, [query]))


def _variants(ask, inputs):
    return {ranking.variant(word) for word in inputs} if ask.exclude_variants else frozenset()


def nearest(vector, name, ask):
    """Answer nearest: the rows with the greatest cosine with a vector."""
    import numpy as np

    from hypercube import neighbors

    model = embeddings.find_model(name)
    ranking.check_ask(ask, model)
    if vector is None or any(value is None for value in vector):
        raise InvalidArgument("the vector must not be null, nor hold a null", hint=length_hint(model))
    array = np.array(vector, np.float64)
    if array.shape != (model["dimension"],):
        raise InvalidArgument(
            f"the vector has {'x'.join(map(str, array.shape))} numbers,"
            f' those of model "{model["name"]}" have {model["dimension"]}',
            hint=length_hint(model),
        )
    if not np.isfinite(array).all() or not array.any():
        raise InvalidArgument(
            "the vector is zero, or holds NaN or infinity",
            hint="A direction needs finite numbers, one not 0.",
        )
    # As the rows of the matrix are made, so that the vector of a word is its row.
    unit, _ = neighbors.unit_rows(array[None])
    return ranking.nearest(model, embeddings.load_matrix(model), unit[0].astype(np.float64), ask)


def length_hint(model):
    """Return the hint for a vector that is none."""
    return f"Give {model['dimension']} numbers, for example hypercube.embedding('whale')."


class _Inputs:
    """The words of a question: their unit vectors, and the tokens that spell them."""

    def __init__(self, model, asked):
        words.check_words(asked)
        self.words = asked
        self.spelled = words.find_words(model, asked)
        words.say_pieces(model, asked, self.spelled)
        self.held = embeddings.load_matrix(model)
        self.vectors = words.unit_vectors(model, asked, self.spelled, self.held.unit)

    @property
    def token_ids(self):
        return sorted({token_id for ids in self.spelled for token_id in ids})


def check_method(method):
    """Return a method in lower case.

    Raises
    ------
    InvalidArgument
        It is neither 3cosadd nor 3cosmul.
    """
    if method is None or method.lower() not in METHODS:
        raise InvalidArgument(
            "the method must not be null" if method is None else f'unknown method "{method}"',
            hint="Use '3cosadd' or '3cosmul'.",
        )
    return method.lower()


def _check_sides(positive, negative):
    if positive is None or negative is None or not (positive or negative):
        raise InvalidArgument(
            "most_similar needs at least one word",
            hint="For example most_similar(ARRAY['king', 'woman'], ARRAY['man']).",
        )
    words.check_words([*positive, *negative])
    both = [word for word in dict.fromkeys(positive) if word in set(negative)]
    if both:
        named = ", ".join(f'"{word}"' for word in both)
        raise InvalidArgument(
            f"{named} {'is' if len(both) == 1 else 'are'} both positive and negative",
            hint="A word that is added and taken away says nothing; leave it out of one side.",
        )


def _weights(weights, sides, name):
    import numpy as np

    if weights is None:
        return np.ones(len(sides))
    if any(weight is None for weight in weights) or np.shape(weights) != (len(sides),):
        raise InvalidArgument(
            f"{name} needs one number for each word: {len(sides)}", hint="For example ARRAY[1, 0.5]."
        )
    values = np.array(weights, np.float64)
    if not np.isfinite(values).all():
        raise InvalidArgument(f"{name} holds NaN or infinity", hint="Give finite numbers.")
    return values


def most_similar(positive, negative, weights, method, name, ask):
    """Answer most_similar: nearest to the sum of some unit vectors minus that of others.

    `weights` are those of the positive and of the negative words, or None.

    Notes
    -----
    3CosAdd: Mikolov, Yih and Zweig (2013).  3CosMul: Levy and Goldberg (2014),
    with cosines moved to 0 to 1 and 1e-6 in the denominator.
    """
    import numpy as np

    method = check_method(method)
    _check_sides(positive, negative)
    if method == "3cosmul" and weights != (None, None):
        raise InvalidArgument("3cosmul takes no weights", hint="Use method => '3cosadd'.")
    added = _weights(weights[0], positive, "positive_weights")
    taken = _weights(weights[1], negative, "negative_weights")
    model = embeddings.find_model(name, [*positive, *negative])
    ranking.check_ask(ask, model)
    inputs = _Inputs(model, [*positive, *negative])
    variants = _variants(ask, inputs.words)
    if method == "3cosmul":
        if ask.approximate:
            raise InvalidArgument(
                "3cosmul has no index", hint="Use method => '3cosadd', or leave approximate out."
            )
        return _multiply(model, inputs, len(positive), ask, variants)
    weighed = np.concatenate([added, -taken])
    # Only their proportions count, and those of any numbers stay in the range.
    total = weighed / (np.abs(weighed).max() or 1.0) @ inputs.vectors
    # Words that cancel out leave rounding, not a direction.
    if not np.abs(total).max() > 1e-9:
        raise InvalidArgument(
            "the words cancel out, nothing is left to compare with", hint="Leave one of them out."
        )
    return ranking.nearest(
        model, inputs.held, total / np.linalg.norm(total), ask, excluded=inputs.token_ids, variants=variants
    )


def _multiply(model, inputs, positive, ask, variants):
    import numpy as np

    from hypercube import scoring

    unit, directions = inputs.held.unit, inputs.vectors.T

    def refine(ids):
        near = np.clip(unit[ids].astype(np.float64) @ directions, -1.0, 1.0)
        return scoring.quotient(near[:, :positive], near[:, positive:]).astype(np.float32)

    near = scoring.products(unit, np.ascontiguousarray(directions, np.float32), step=boundary.tick)
    scores = scoring.quotient(near[:, :positive], near[:, positive:])
    eligible = ranking.mask(model, ask, inputs.held.ineligible)
    found = ranking.best(model, scores, refine, ask, eligible, excluded=inputs.token_ids, variants=variants)
    return ranking.answers(model, found, True)


def analogy(a, b, c, method, name, ask):
    """Answer analogy: a is to b as c is to what."""
    words.check_words([a, b, c])
    return most_similar([b, c], [a], (None, None), method, name, ask)


def midpoint(a, b, name, ask):
    """Answer midpoint: nearest to the middle between the unit vectors of two words."""
    return most_similar([a, b], [], (None, None), "3cosadd", name, ask)


def similarity(a, b, name):
    """Answer similarity: the cosine of two words."""
    words.check_words([a, b])
    model = embeddings.find_model(name, [a, b])
    spelled = words.find_words(model, [a, b])
    words.say_pieces(model, [a, b], spelled)
    left, right = words.unit_vectors(model, [a, b], spelled)
    return float(min(1.0, max(-1.0, left @ right)))


def _listed(asked, name, what):
    """Return the model and the token ids of a list of words."""
    if not asked:
        raise InvalidArgument(f"{what} needs at least one word", hint="For example ARRAY['king', 'woman'].")
    words.check_words(asked)
    model = embeddings.find_model(name, asked)
    spelled = words.find_words(model, asked)
    words.say_pieces(model, asked, spelled)
    return model, spelled


def _unit_words(asked, name, what):
    model, spelled = _listed(asked, name, what)
    return words.unit_vectors(model, asked, spelled)


def centroid(asked, name):
    """Answer centroid: the mean of the unit vectors of words."""
    return _unit_words(asked, name, "a centroid").mean(axis=0).tolist()


def set_similarity(a, b, name):
    """Answer similarity of two lists of words: the cosine of the means of their vectors."""
    import numpy as np

    left, right = (np.mean(words.mean_vectors(*_listed(asked, name, "a list")), axis=0) for asked in (a, b))
    # First by the peak: squares of very large or small numbers leave the range.
    left, right = (side / (np.abs(side).max() or 1.0) for side in (left, right))
    lengths = np.linalg.norm(left) * np.linalg.norm(right)
    if not lengths > 0.0:
        raise InvalidArgument("the words of a list cancel out, it has no direction", hint="Leave one out.")
    return float(np.clip(left @ right / lengths, -1.0, 1.0))


def centrality(asked, name):
    """Answer rank_by_centrality: (rank, word, score) by the cosine with the centroid of all of them."""
    import numpy as np

    vectors = _unit_words(asked, name, "a list")
    middle = vectors.mean(axis=0)
    length = np.linalg.norm(middle)
    if not length > 1e-9:
        raise InvalidArgument("the words cancel out, they have no middle", hint="Leave one of them out.")
    scores = vectors @ (middle / length)
    order = sorted(range(len(asked)), key=lambda place: (-scores[place], place))
    return [(rank, asked[place], float(scores[place])) for rank, place in enumerate(order, start=1)]


def odd_one_out(asked, name):
    """Answer odd_one_out: the word that is farthest from the centroid of all of them."""
    if asked is not None and len(asked) < 3:
        raise InvalidArgument(
            f"{len(asked)} words are too few to find an odd one", hint="Give at least three."
        )
    return centrality(asked, name)[-1][1]


def _closer(a, b, name):
    """Return the model, its Matrix, and ids and scores of what is nearer to a than b is, best first."""
    import numpy as np

    from hypercube import scoring

    words.check_words([a, b])
    model = embeddings.find_model(name, [a, b])
    inputs = _Inputs(model, [a, b])
    unit, vector = inputs.held.unit, inputs.vectors[0]
    scores = scoring.products(unit, vector.astype(np.float32), step=boundary.tick)
    bar = np.float32(np.clip(inputs.vectors[1] @ vector, -1.0, 1.0))
    ids = np.flatnonzero(scores > bar - _NEAR)
    hidden = np.union1d(
        inputs.held.ineligible, np.array([one for spelled in inputs.spelled for one in spelled])
    )
    ids = ids[~np.isin(ids, hidden)]
    exact = np.empty(len(ids), np.float32)
    for start in range(0, len(ids), _REFINED):
        boundary.tick()
        exact[start : start + _REFINED] = scoring.cosines(unit, ids[start : start + _REFINED], vector)
    # Equal scores count in the order of their token ids, which a word of several tokens has none of.
    after = inputs.spelled[1][0] if len(inputs.spelled[1]) == 1 else -1
    closer = (exact > bar) | ((exact == bar) & (ids < after))
    ids, exact = ids[closer], exact[closer]
    order = np.lexsort((ids, -exact))
    return model, inputs.held, ids[order], exact[order]


def rank_of(a, b, name):
    """Answer rank_of: the place of b among the neighbours of a, from 1."""
    return len(_closer(a, b, name)[2]) + 1


def closer_than(a, b, name, ask):
    """Answer closer_than: the tokens nearer to a than b is, best first, all of them where k is None."""
    import numpy as np

    model, held, ids, scores = _closer(a, b, name)
    ranking.check_ask(ask if ask.k is not None else ask._replace(k=1), model)
    eligible = ranking.mask(model, ask, held.ineligible)
    kept = np.ones(len(ids), bool) if eligible is None else eligible[ids]
    if ask.minimum_score is not None:
        kept &= scores >= np.float32(ask.minimum_score)
    ids, scores = ids[kept].tolist(), scores[kept].tolist()
    variants = _variants(ask, [a, b])
    if not variants:
        ids, scores = ids[: ask.k], scores[: ask.k]
    if ask.k is None:
        ranking.check_limit("k", len(ids), model)
    ranking.check_batch(len(ids), model)
    found = zip(ids, lexicon.labels(model["id"], ids), scores, strict=True)
    found = [row for row in found if not variants or ranking.variant(row[1]) not in variants]
    return ranking.answers(model, found[: ask.k], True)


def embedding(query, name):
    """Answer embedding: the vector of a word as the model holds it."""
    import numpy as np

    words.check_words([query])
    model = embeddings.find_model(name, [query])
    [ids] = words.find_words(model, [query])
    words.say_pieces(model, [query], [ids])
    vector = embeddings.read_rows(model, ids)[0] if len(ids) == 1 else words.mean_vectors(model, [ids])[0]
    with np.errstate(over="ignore", under="ignore"):
        single = vector.astype(np.float32)
    if np.isinf(single[np.isfinite(vector)]).any():
        raise NotSupported(
            f'the vector of "{query}" has numbers beyond the range of real',
            hint="Questions about it are answered: they compare directions.",
        )
    return single.tolist()
