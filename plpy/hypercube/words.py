"""Words of a question: which tokens they are, and what vector stands for them."""

from hypercube import boundary, embeddings, lexicon, spelling, tokens
from hypercube.errors import InvalidArgument, UnknownToken

# Longer than any token and most sentences; cutting it into tokens cannot be interrupted.
_WORD_LIMIT = 1000
_SAID_LIMIT = 1000
_STEP_WORDS = 256
_said = set()


def check_words(words):
    """Refuse what is no word: NULL, an array in an array, a text of more than 1,000 characters."""
    if any(word is None for word in words):
        raise InvalidArgument("a word must not be null", hint="Give a word, for example 'whale'.")
    if not all(isinstance(word, str) for word in words):
        raise InvalidArgument("the words are not a list of text", hint="For example ARRAY['king', 'woman'].")
    longest = max(map(len, words), default=0)
    if longest > _WORD_LIMIT:
        raise InvalidArgument(
            f"a word has {longest} characters", hint=f"Ask for words of at most {_WORD_LIMIT} characters."
        )


def single(model, words):
    """Return the token id of each word that is one token, None for the others."""
    found = []
    for start in range(0, len(words), _STEP_WORDS):
        boundary.tick()
        found += lexicon.find_tokens(model["id"], words[start : start + _STEP_WORDS])
    return found


def spell(model, words):
    """Return the token ids that spell each word: one, or several pieces; None for what cannot be spelled.

    Their token ids are in `model` where it was found together with them.
    """
    found = model["token_ids"] if words and model["asked"] == words else single(model, words)
    spelled = [None if token_id is None else [token_id] for token_id in found]
    missing = [place for place, ids in enumerate(spelled) if ids is None]
    if missing:
        tokenizer, unknown = tokens.find(model)
        for place in missing:
            boundary.tick()
            ids = spelling.spell(tokenizer, words[place])
            if ids and unknown not in ids and max(ids) < model["vocabulary_size"]:
                spelled[place] = ids
    return spelled


def without_direction(spelled, unit):
    """Return the places of words of one token whose vector in the matrix is zero."""
    import numpy as np

    places = [place for place, ids in enumerate(spelled) if ids is not None and len(ids) == 1]
    if not places:
        return []
    zero = ~unit[[spelled[place][0] for place in places]].any(axis=1)
    return [places[number] for number in np.flatnonzero(zero)]


def find_words(model, words):
    """Return the token ids that spell each word.

    Raises
    ------
    UnknownToken
        Naming all words that cannot be spelled.
    """
    spelled = spell(model, words)
    unspelled = [word for word, ids in zip(words, spelled, strict=True) if ids is None]
    if unspelled:
        raise UnknownToken(list(dict.fromkeys(unspelled)), model["name"])
    return spelled


def mean_vectors(model, spelled):
    """Return the mean of the model's own vectors of each word's tokens, float64, NaN and Inf as 0."""
    import numpy as np

    vectors = []
    for start in range(0, len(spelled), _STEP_WORDS):
        boundary.tick()
        part = spelled[start : start + _STEP_WORDS]
        rows = embeddings.read_rows(model, [token_id for ids in part for token_id in ids])
        rows[~np.isfinite(rows)] = 0.0
        ends = np.cumsum([len(ids) for ids in part])
        vectors += [pieces.mean(axis=0) for pieces in np.split(rows, ends[:-1])]
    return vectors


def unit_vectors(model, words, spelled, unit=None):
    """Return the vectors of words divided by their lengths, float64 (len(words), dimension).

    That of a word of one token is the row of the matrix, also where `unit`, the matrix, is not
    given and the row is computed: so a score does not depend on the question that it answers.

    Raises
    ------
    InvalidArgument
        Naming the words whose vectors are zero.
    """
    import numpy as np

    from hypercube import neighbors

    if unit is not None and all(len(ids) == 1 for ids in spelled):
        vectors = unit[[ids[0] for ids in spelled]].astype(np.float64)
        if vectors.any(axis=1).all():
            return vectors
    vectors = np.zeros((len(words), model["dimension"]))
    single = [place for place, ids in enumerate(spelled) if len(ids) == 1]
    if single:
        ids = [spelled[place][0] for place in single]
        if unit is None:
            vectors[single] = neighbors.unit_rows(embeddings.read_rows(model, ids))[0]
        else:
            vectors[single] = unit[ids]
    several = [place for place, ids in enumerate(spelled) if len(ids) > 1]
    if several:
        means = np.array(mean_vectors(model, [spelled[place] for place in several]))
        # First by the peak: squares of very large or small numbers leave the range.
        peak = np.abs(means).max(axis=1, keepdims=True)
        means /= np.where(peak > 0.0, peak, 1.0)
        vectors[several] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), peak == 0.0)
    empty = np.flatnonzero(~vectors.any(axis=1))
    if len(empty):
        named = ", ".join(dict.fromkeys(f'"{words[place]}"' for place in empty[:20]))
        raise InvalidArgument(
            f'the vector of {named} in model "{model["name"]}" is zero and has no direction',
            hint="Ask for another word.",
        )
    return vectors


def say_pieces(model, words, spelled):
    """Say which words are several tokens, once a session: they may stand in every row of a join."""
    several = {}
    for word, ids in zip(words, spelled, strict=True):
        said = (model["id"], model["created_at"], word)
        if ids is not None and len(ids) > 1 and said not in _said:
            if len(_said) == _SAID_LIMIT:
                _said.clear()
            _said.add(said)
            several[word] = ids
    if len(several) > 3:
        boundary.notice(f"{len(several)} words are several tokens each; the means of their vectors are used")
        return
    for word, ids in several.items():
        pieces = " + ".join(lexicon.labels(model["id"], ids))
        boundary.notice(f'"{word}" is {len(ids)} tokens ({pieces}); the mean of their vectors is used')
