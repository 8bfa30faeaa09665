"""From scores to the rows of an answer: which tokens qualify, how many, in which order."""

from collections import OrderedDict
from typing import NamedTuple

from hypercube import boundary, hnsw, lexicon
from hypercube.errors import InvalidArgument, TooMany, who_raises

_DEFAULT_K = 1000
_DEFAULT_BATCH = 500_000
_KEPT_MASKS = 8
# Variants of a word in a vocabulary: capitals, continuations, markers; asked for beyond k at first.
SPARE = 16
_masks = OrderedDict()


class Ask(NamedTuple):
    """How many answers are wanted, and which tokens may be one."""

    k: int
    label_like: str | None = None
    kinds: list | None = None
    letters_only: bool = False
    exclude_variants: bool = False
    minimum_score: float | None = None
    approximate: bool = False


def check_k(k, model):
    """Refuse a k below 1, or above the setting hypercube.max_k or the limit of the caller."""
    if k is None or k < 1:
        raise InvalidArgument(
            f"k is out of range: {'null' if k is None else k}", hint="Ask for at least 1 row."
        )
    limit = boundary.count("hypercube.max_k", model["max_k"], _DEFAULT_K)
    if k > limit:
        raise TooMany(
            f"{k} rows were asked for, at most {limit} are allowed",
            hint=f"SET hypercube.max_k = '{k}' allows them for the session.",
        )
    check_limit("k", k, model)


def check_limit(what, rows, model):
    """Refuse more rows than the limit of the caller, which no setting of a session raises."""
    limit = model[f"limit_{what}"]
    if limit is not None and rows > limit:
        role = model["caller"]
        raise TooMany(
            f'{rows} rows were asked for, at most {limit} are allowed to role "{role}"',
            hint=who_raises(role, what),
        )


def check_ask(ask, model, pattern="label_like"):
    """Refuse a k or a filter that means nothing; `pattern` is what the user calls the one of labels."""
    check_k(ask.k, model)
    for name in ("letters_only", "exclude_variants", "approximate"):
        if getattr(ask, name) is None:
            raise InvalidArgument(f"{name} must not be null", hint="Give true or false.")
    like = ask.label_like or ""
    if (len(like) - len(like.rstrip("\\"))) % 2:
        raise InvalidArgument(
            f"{pattern} ends with an escape character", hint="Double the backslash, or leave it out."
        )
    if ask.kinds is not None and not all(isinstance(kind, str) for kind in ask.kinds if kind is not None):
        raise InvalidArgument("kinds is an array in an array", hint="For example kinds => '{word}'.")
    if ask.kinds is not None and None in ask.kinds:
        raise InvalidArgument("kinds must not hold a null", hint="For example kinds => '{word}'.")
    if ask.minimum_score is not None and ask.minimum_score != ask.minimum_score:
        raise InvalidArgument("minimum_score must not be NaN", hint="Give a number, for example 0.5.")


def check_batch(rows, model):
    """Refuse an answer of more rows than the setting hypercube.max_batch, or the limit of the caller."""
    limit = boundary.count("hypercube.max_batch", model["max_batch"], _DEFAULT_BATCH)
    if rows > limit:
        raise TooMany(
            f"{rows} rows were asked for in one batch, at most {limit} are allowed",
            hint=f"Ask in parts, or SET hypercube.max_batch = '{rows}' for the session.",
        )
    check_limit("batch", rows, model)


def mask(model, ask, ineligible):
    """Return which tokens may be an answer, bool (n,), or None where all may.

    Computed once a session for each filter: the tokens of a model never change.
    """
    import numpy as np

    if ask.label_like is None and ask.kinds is None and not ask.letters_only and not len(ineligible):
        return None
    kinds = None if ask.kinds is None else tuple(sorted(set(ask.kinds)))
    key = (model["id"], model["created_at"], ask.label_like, kinds, ask.letters_only)
    if key not in _masks:
        kept = np.zeros(model["vocabulary_size"], bool)
        if ask.label_like is None and kinds is None and not ask.letters_only:
            kept[:] = True
            kept[ineligible] = False
        else:
            ids, labels = lexicon.qualifying(model["id"], ask.label_like, ask.kinds)
            ids = np.frombuffer(ids, ">i4")
            if ask.letters_only:
                ids = ids[np.fromiter((label.isalpha() for label in labels), bool, len(ids))]
            kept[ids] = True
        _masks[key] = kept
        while len(_masks) > _KEPT_MASKS:
            _masks.popitem(last=False)
    _masks.move_to_end(key)
    return _masks[key]


def variant(label):
    """Return what the surface variants of a label have in common: neither case nor a marker."""
    return label.strip(" ▁Ġ").removeprefix("##").strip(" ▁Ġ").casefold() or label


def best(model, scores, refine, ask, eligible, *, excluded, variants=frozenset()):
    """Return the token ids, labels and scores of the best tokens.

    Parameters
    ----------
    scores : float32 ndarray of shape (n,)
        Written to.
    refine : callable
        As for `neighbors.top_k`.
    eligible : bool ndarray of shape (n,) or None
        As `mask` returns it.
    excluded : sequence of int
        Token ids that are no answer.
    variants : set of str
        What `variant` returns for labels that are no answer.
    """
    import numpy as np

    from hypercube import neighbors

    if eligible is not None:
        np.copyto(scores, -np.inf, where=~eligible)

    def search(count):
        ids, values = neighbors.top_k(scores, count, refine, excluded)
        if ask.minimum_score is not None:
            kept = values >= np.float32(ask.minimum_score)
            ids, values = ids[kept], values[kept]
        return ids.tolist(), values.tolist()

    return _without_variants(model, search, ask.k, variants)


def _without_variants(model, search, k, variants):
    """Ask ``search(count)`` for more until k of them are no variants, or there are no more."""
    count = k + SPARE if variants else k
    while True:
        ids, values = search(count)
        labels = lexicon.labels(model["id"], ids)
        found = [
            row
            for row in zip(ids, labels, values, strict=True)
            if not variants or variant(row[1]) not in variants
        ]
        if not variants or len(found) >= k or len(ids) < count:
            return found[:k]
        count *= 2


def answers(model, found, exact):
    """Return rows of hypercube.answer from what `best` returns."""
    return [
        (rank, label, score, model["name"], token_id, exact)
        for rank, (token_id, label, score) in enumerate(found, start=1)
    ]


def nearest(model, held, vector, ask, *, excluded=(), variants=frozenset()):
    """Return the rows of hypercube.answer for the cosine with a vector of length 1."""
    import numpy as np

    from hypercube import scoring

    eligible = mask(model, ask, held.ineligible)

    def refine(ids):
        return scoring.cosines(held.unit, ids, vector)

    if ask.approximate:
        found = _approximate(model, vector, refine, ask, eligible, set(excluded), variants)
        if found is not None:
            return answers(model, found, False)
    scores = scoring.products(held.unit, vector.astype(np.float32), step=boundary.tick)
    found = best(model, scores, refine, ask, eligible, excluded=excluded, variants=variants)
    return answers(model, found, True)


def _approximate(model, vector, refine, ask, eligible, excluded, variants):
    """Return what the index finds; None where it cannot reach k rows that qualify."""
    import numpy as np

    index = hnsw.require_index(model)
    least = -np.inf if ask.minimum_score is None else float(np.float32(ask.minimum_score))
    count = ask.k + len(excluded) + (SPARE if variants else 0)
    while True:
        near = hnsw.search(index, vector, min(count, hnsw.REACH))
        scored = sorted(zip((-refine(near)).tolist(), near, strict=True))
        above = [(token_id, -negative) for negative, token_id in scored if -negative >= least]
        kept = [row for row in above if row[0] not in excluded and (eligible is None or eligible[row[0]])]

        def search(wanted, kept=kept):
            return [row[0] for row in kept[:wanted]], [row[1] for row in kept[:wanted]]

        found = _without_variants(model, search, ask.k, variants)
        if len(found) == ask.k or len(above) < len(near):
            return found
        if count >= hnsw.REACH or len(near) < count:
            return None
        count *= 4
