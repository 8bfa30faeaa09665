"""Questions that need the whole embedding: scans, analogies, vectors of words."""

import functools

from hypercube import boundary, catalog, matrix, scales, vocabulary, weights
from hypercube.errors import CorruptFile, InvalidArgument, StepMissing, UnknownToken

_BATCH = 16
# Longer than any token and most sentences; cutting it into tokens cannot be interrupted.
_WORD_LIMIT = 1000
_METHODS = ("3cosadd", "3cosmul")
_SAID_LIMIT = 1000
_said = set()


def check_k(k):
    """Refuse a k outside 1 to 1000."""
    if k is None or not 1 <= k <= 1000:
        raise InvalidArgument(
            f"k is out of range: {'null' if k is None else k}", hint="Ask for 1 to 1000 rows."
        )


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


def find_model(name):
    """Return the row of a model that has a usable embedding."""
    model = catalog.find_model(name)
    if model["embedding"] is not None and not model["stored"]:
        raise StepMissing(
            f'model "{model["name"]}" was stored without its bytes',
            hint="Only stored neighbours and the map answer; ingest it again with store => 'embeddings'.",
        )
    if model["embedding"] is None:
        raise StepMissing(
            f'model "{model["name"]}" has no usable token embedding',
            hint="SELECT notes FROM hypercube.model_report('...') says why.",
        )
    return model


def load_matrix(model):
    """Return the Matrix of a model, built from its chunks at the first question of a session."""
    import numpy as np

    from hypercube import neighbors

    key = (model["digest"], model["id"], model["created_at"])
    found = matrix.lookup(key)
    if found is not None:
        return found
    n, d = model["vocabulary_size"], model["dimension"]
    matrix.require_room(n, d, matrix_limit())
    flat = np.empty(n * d, weights.working_type(model["dtype"]))
    count = catalog.chunk_count(model["digest"])
    filled = 0
    for first in range(0, count, _BATCH):
        boundary.tick()
        for data in catalog.read_chunks(model["digest"], first, first + _BATCH - 1):
            values = weights.decode(data, model["dtype"])
            if filled + values.size > flat.size:
                raise _damaged(model)
            flat[filled : filled + values.size] = values
            filled += values.size
    if filled != flat.size:
        raise _damaged(model)
    table = flat.reshape(n, d)
    scale = _scale(model)
    if scale is not None:
        scales.multiply(table, _scale_values(model, scale), scale)
    unit, _ = neighbors.unit_rows(table, out=table if table.dtype == np.float32 else None, step=boundary.tick)
    unit.flags.writeable = False
    found = matrix.Matrix(unit, np.array(catalog.unusable_tokens(model["id"]), np.intp))
    matrix.keep(key, found)
    return found


def _scale(model):
    """Return the scales.Scale of a quantised embedding, or None."""
    if model["scaling"] is None:
        return None
    names = scales.candidates(model["embedding"])
    shapes = {tensor["name"]: tensor["shape"] for tensor in catalog.tensors(model["id"], names)}
    return scales.find(model["embedding"], (model["vocabulary_size"], model["dimension"]), shapes)


def _scale_values(model, scale):
    """Return the values of a scale's tensor, float32."""
    import numpy as np

    [tensor] = catalog.tensors(model["id"], [scale.name])
    data = b"".join(catalog.read_chunks(tensor["digest"], 0, tensor["bytes"] // weights.PIECE))
    if len(data) != tensor["bytes"]:
        raise _damaged(model)
    return weights.decode(data, tensor["dtype"]).astype(np.float32)


def _damaged(model):
    return CorruptFile(
        f'the stored embedding of model "{model["name"]}" is incomplete',
        hint="SELECT * FROM hypercube.health() lists what is damaged; restore it from a backup.",
    )


def matrix_limit():
    """Return the setting hypercube.matrix_limit in bytes."""
    text = boundary.rows("SELECT current_setting('hypercube.matrix_limit', true) AS value")[0]["value"]
    if not text:
        return 4096 << 20
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidArgument(
            f'hypercube.matrix_limit is not a number of MiB: "{text}"',
            hint="SET hypercube.matrix_limit = '4096' is the default.",
        )
    return int(text) << 20


@functools.lru_cache(maxsize=4)
def _tokenizer(digests, model_id, path):
    # Keyed by content; the model's id only says where to read it, and cannot make an entry out of date.
    files = {path: content for path, (content, _) in catalog.files(model_id).items()}
    files = vocabulary.files_of(files, path)
    tokenizer = vocabulary.load(files)
    return tokenizer, vocabulary.unknown_id(files, tokenizer)


def find_words(model, words):
    """Return the token ids that spell each word: one, or several pieces.

    Raises
    ------
    UnknownToken
        Naming all words that cannot be spelled.
    """
    found = [None if token_id is None else [token_id] for token_id in catalog.find_tokens(model["id"], words)]
    missing = [place for place, ids in enumerate(found) if ids is None]
    if missing:
        tokenizer, unknown = _tokenizer(
            catalog.vocabulary_digests(model["id"]), model["id"], model["tokenizer"]
        )
        for place in missing:
            ids = vocabulary.spell(tokenizer, words[place])
            if ids and unknown not in ids and max(ids) < model["vocabulary_size"]:
                found[place] = ids
    unspelled = [word for word, ids in zip(words, found, strict=True) if ids is None]
    if unspelled:
        raise UnknownToken(unspelled, model["name"])
    return found


def read_rows(model, token_ids):
    """Return rows of the embedding as the model holds them: float64 (len(token_ids), dimension)."""
    import numpy as np

    size = model["dimension"] * weights.BITS[model["dtype"]] // 8
    parts = []
    for token_id in token_ids:
        begin, end = token_id * size, (token_id + 1) * size
        while begin < end:
            ordinal, inside = divmod(begin, weights.PIECE)
            length = min(end - begin, weights.PIECE - inside)
            parts.append((ordinal, inside, length))
            begin += length
    data = b"".join(catalog.read_slices(model["digest"], *map(list, zip(*parts, strict=True))))
    if len(data) != size * len(token_ids):
        raise _damaged(model)
    values = weights.decode(data, model["dtype"]).astype(np.float64)
    rows = values.reshape(len(token_ids), model["dimension"])
    scale = _scale(model)
    if scale is not None:
        scales.multiply_rows(rows, token_ids, _scale_values(model, scale), scale)
    return rows


def word_vectors(model, spelled):
    """Return one float64 vector a word: the mean of its pieces, NaN and Inf as 0."""
    import numpy as np

    rows = read_rows(model, [token_id for ids in spelled for token_id in ids])
    rows[~np.isfinite(rows)] = 0.0
    ends = np.cumsum([len(ids) for ids in spelled])
    return [part.mean(axis=0) for part in np.split(rows, ends[:-1])]


def unit_vectors(model, words, spelled):
    """Return the vectors of words divided by their lengths, float64."""
    import numpy as np

    vectors = word_vectors(model, spelled)
    for place, vector in enumerate(vectors):
        peak = np.abs(vector).max()
        if peak == 0.0:
            raise InvalidArgument(
                f'the vector of "{words[place]}" in model "{model["name"]}" is zero and has no direction',
                hint="Ask for another word.",
            )
        # First by the peak: squares of very large or small numbers leave the range.
        vectors[place] = vector / peak / np.linalg.norm(vector / peak)
    return vectors


def _say_pieces(model, word, token_ids):
    """Say that a word is several tokens, once a session: it may stand in every row of a join."""
    said = (model["id"], model["created_at"], word)
    if len(token_ids) > 1 and said not in _said:
        if len(_said) == _SAID_LIMIT:
            _said.clear()
        _said.add(said)
        spelled = " + ".join(catalog.labels(model["id"], token_ids))
        boundary.notice(f'"{word}" is {len(token_ids)} tokens ({spelled}); the mean of their vectors is used')


def _ranked(model, scores, k, excluded):
    """Return the k best tokens of a float32 score vector as rows of hypercube.answer."""
    from hypercube import neighbors

    ids, best = neighbors.top_k(scores, k, excluded)
    ids, best = ids.tolist(), best.tolist()
    return [
        (rank, label, score, model["name"], token_id, True)
        for rank, (label, score, token_id) in enumerate(
            zip(catalog.labels(model["id"], ids), best, ids, strict=True), start=1
        )
    ]


def _cosines(held, vector):
    """Return the float32 cosine of every row with a vector; rows without a direction get -inf."""
    import numpy as np

    scores = held.unit @ (vector / np.linalg.norm(vector)).astype(np.float32)
    np.clip(scores, -1.0, 1.0, out=scores)
    scores[held.ineligible] = -np.inf
    return scores


def scan_neighbors(query, token_id, k, name):
    """Answer semantic_neighbors where the stored graph does not reach."""
    check_k(k)
    check_words([query])
    model = find_model(name)
    [ids] = find_words(model, [query]) if token_id is None else [[token_id]]
    _say_pieces(model, query, ids)
    [vector] = unit_vectors(model, [query], [ids])
    return _ranked(model, _cosines(load_matrix(model), vector), k, ids)


def nearest(vector, k, name):
    """Answer nearest: the rows with the greatest cosine with a vector."""
    import numpy as np

    check_k(k)
    model = find_model(name)
    if vector is None or any(value is None for value in vector):
        raise InvalidArgument("the vector must not be null, nor hold a null", hint=_length_hint(model))
    array = np.array(vector, np.float64)
    if array.shape != (model["dimension"],):
        raise InvalidArgument(
            f"the vector has {'x'.join(map(str, array.shape))} numbers,"
            f' those of model "{model["name"]}" have {model["dimension"]}',
            hint=_length_hint(model),
        )
    if not np.isfinite(array).all() or not array.any():
        raise InvalidArgument(
            "the vector is zero, or holds NaN or infinity",
            hint="A direction needs finite numbers, one not 0.",
        )
    return _ranked(model, _cosines(load_matrix(model), array), k, ())


def _length_hint(model):
    return f"Give {model['dimension']} numbers, for example hypercube.embedding('whale')."


def _inputs(model, words):
    """Return the unit vectors of words, and the token ids that spell them."""
    check_words(words)
    spelled = find_words(model, words)
    for word, ids in zip(words, spelled, strict=True):
        _say_pieces(model, word, ids)
    return unit_vectors(model, words, spelled), sorted({token_id for ids in spelled for token_id in ids})


def most_similar(positive, negative, k, name):
    """Answer most_similar: nearest to the sum of some unit vectors minus that of others."""
    check_k(k)
    if positive is None or negative is None or not (positive or negative):
        raise InvalidArgument(
            "most_similar needs at least one word",
            hint="For example most_similar(ARRAY['king', 'woman'], ARRAY['man']).",
        )
    model = find_model(name)
    vectors, excluded = _inputs(model, [*positive, *negative])
    total = sum(vectors[: len(positive)]) - sum(vectors[len(positive) :])
    # Words that cancel out leave rounding, not a direction.
    if not abs(total).max() > 1e-9:
        raise InvalidArgument(
            "the words cancel out, nothing is left to compare with", hint="Leave one of them out."
        )
    return _ranked(model, _cosines(load_matrix(model), total), k, excluded)


def analogy(a, b, c, k, name, method):
    """Answer analogy: a is to b as c is to what.

    Notes
    -----
    3CosAdd: Mikolov, Yih and Zweig (2013).  3CosMul: Levy and Goldberg (2014),
    with cosines moved to 0 to 1 and 1e-6 in the denominator.
    """
    import numpy as np

    check_k(k)
    check_words([a, b, c])
    if method is None or method.lower() not in _METHODS:
        raise InvalidArgument(f'unknown method "{method}"', hint="Use '3cosadd' or '3cosmul'.")
    if method.lower() == "3cosadd":
        return most_similar([b, c], [a], k, name)
    model = find_model(name)
    vectors, excluded = _inputs(model, [a, b, c])
    held = load_matrix(model)
    from_a, from_b, from_c = ((1.0 + held.unit @ vector.astype(np.float32)) / 2.0 for vector in vectors)
    scores = from_b * from_c / (from_a + np.float32(1e-6))
    scores[held.ineligible] = -np.inf
    return _ranked(model, scores, k, excluded)


def similarity(a, b, name):
    """Answer similarity: the cosine of two words."""
    check_words([a, b])
    model = find_model(name)
    (left, right), _ = _inputs(model, [a, b])
    return float(min(1.0, max(-1.0, left @ right)))


def embedding(query, name):
    """Answer embedding: the vector of a word as the model holds it."""
    check_words([query])
    model = find_model(name)
    [ids] = find_words(model, [query])
    _say_pieces(model, query, ids)
    if len(ids) == 1:
        return read_rows(model, ids)[0].tolist()
    return word_vectors(model, [ids])[0].tolist()
