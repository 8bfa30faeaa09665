"""The meaning of whole texts to a model: its own sentence encoder, or a mean of its token vectors."""

import functools
import json
from collections import OrderedDict

from hypercube import architecture, boundary, catalog, embeddings, lexicon, mapped, spelling, tokens, weights
from hypercube.errors import InvalidArgument, StepMissing

METHODS = ("encoder", "sif")
_TEXTS_A_STEP = 64
_CHUNKS = 16
_FILES = ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
_encoders = OrderedDict()


def find_model(name, method=None):
    """Return the row of a model, and the method that its texts are embedded with.

    Raises
    ------
    InvalidArgument
        There is no such method.
    StepMissing
        The model has not what the method needs.
    """
    model = catalog.find_model(name)
    if method is not None and method not in METHODS:
        raise InvalidArgument(f'method "{method}" is not known', hint="Use 'encoder' or 'sif'.")
    if method != "sif":
        reason = _architecture(model)
        if not isinstance(reason, str):
            return model, "encoder"
        if method == "encoder":
            raise StepMissing(
                f'model "{model["name"]}" is not a sentence encoder: {reason}',
                hint="Use method => 'sif', which needs the token embedding alone.",
            )
    return embeddings.find_model(model["name"]), "sif"


def is_possible(model):
    """Return whether texts can be embedded with a model at all."""
    return not isinstance(_architecture(model), str) or (model["embedding"] is not None and model["stored"])


def dimension(model, method):
    """Return the numbers of a vector."""
    return _architecture(model).dimension if method == "encoder" else model["dimension"]


def embed(text, name, method):
    """Return the vector of a text, a list of float of length 1."""
    if text is None:
        raise InvalidArgument("the text must not be null", hint="Give a sentence.")
    return embed_text(*find_model(name, method), text).tolist()


def embed_text(model, method, text):
    """Return the vector of one text, float32 (dimension,), of length 1.

    Raises
    ------
    InvalidArgument
        Nothing of it has a vector.
    """
    tokens.require_short(text)
    [vector] = embed_texts(model, method, [text])
    if not vector.any():
        raise InvalidArgument(
            f'no token of the text has a vector in model "{model["name"]}"', hint="Give a text with words."
        )
    return vector


def embed_texts(model, method, texts, step=boundary.tick, *, in_memory=False):
    """Return the vectors of texts, float32 (len(texts), dimension), of length 1, or 0 where nothing has one.

    ``step(fraction)`` is called a few times a second.  With `in_memory` the weights of an encoder are read
    for this once, and no file of them is made.
    """
    if method == "encoder":
        return _encode(model, texts, step, in_memory)
    return _sif(model, texts, step)


def _architecture(model):
    """Return the architecture.Architecture of a model, or the reason why it is no encoder."""
    return _architecture_of(model["id"], model["created_at"])


@functools.lru_cache(maxsize=8)
def _architecture_of(model_id, created_at):
    files = catalog.files_named(model_id, list(_FILES))
    parsed = []
    for path in _FILES:
        try:
            parsed.append(json.loads(files[path]) if path in files else None)
        except (ValueError, RecursionError):
            return f"{path} is not JSON"
    found = catalog.tensors(model_id)
    described = architecture.read(*parsed, {one["name"]: (one["dtype"], one["shape"]) for one in found})
    if isinstance(described, str):
        return described
    lacking = [one["name"] for one in found if not one["stored"] and one["name"] in described.names]
    return f'the bytes of tensor "{lacking[0]}" are not stored' if lacking else described


def describe(model):
    """Return the architecture.Architecture of a model, or the reason why it is no encoder."""
    return _architecture(model)


def path(model):
    """Return the path of the file with the weights of a model that is an encoder."""
    return mapped.path(_file(model, _architecture(model))[0])


def _file(model, described):
    """Return the name of that file, and the digests of the tensors that it is made of."""
    from blake3 import blake3

    digests = {one["name"]: one["digest"] for one in catalog.tensors(model["id"], list(described.names))}
    order = [digests[name] for name in described.names]
    return embeddings.encoder_name(model, blake3(b"".join(order)).digest()), order


def _encoder(model, in_memory):
    """Return the encoder.Encoder of a model over its mapped weights, or over weights of its own."""
    import numpy as np

    from hypercube.encoder import Encoder

    described = _architecture(model)
    if in_memory:
        order = _file(model, described)[1]
        return Encoder(described, np.concatenate(list(_weights(model, described, order)), axis=None))
    # Who may not read the bytes does not use what another role made of them.
    key = (model["id"], model["created_at"], model["caller"])
    if key not in _encoders:
        name, order = _file(model, described)
        if [len(data) for data in catalog.read_slices(order[0], [0], [0], [1])] != [1]:
            raise embeddings.damaged(model)
        mapped.remember(_encoders, key, (name, order))
    name, order = _encoders[key]
    flat = mapped.rows(mapped.path(name), described.size, 1, lambda: _weights(model, described, order))
    return Encoder(described, flat.reshape(-1))


def _weights(model, described, digests):
    """Yield the values of the tensors of an encoder, float32."""
    import numpy as np

    dtypes = {one["name"]: one["dtype"] for one in catalog.tensors(model["id"], list(described.names))}
    for name, digest in zip(described.names, digests, strict=True):
        for first in range(0, catalog.chunk_count(digest), _CHUNKS):
            boundary.tick()
            for piece in catalog.read_chunks(digest, first, first + _CHUNKS - 1):
                yield np.ascontiguousarray(weights.decode(piece, dtypes[name]).astype(np.float32))


def _encode(model, texts, step, in_memory=False):
    import numpy as np

    described = _architecture(model)
    tokenizer, _ = tokens.find(model)
    room = max(0, described.longest - tokenizer.num_special_tokens_to_add(False))
    ids = []
    for first in range(0, len(texts), _TEXTS_A_STEP):
        step(0.1 * first / len(texts))
        some = texts[first : first + _TEXTS_A_STEP]
        if described.lower_case:
            some = [text.lower() for text in some]
        for encoding in spelling.encode(tokenizer, some):
            # Of what is too long the beginning counts, with what the model adds at both ends.
            encoding.truncate(room)
            ids.append(spelling.complete(tokenizer, encoding)[: described.longest])
    # A tokenizer may make nothing of an empty text, and a vocabulary may outgrow its embedding.
    ids = [[one for one in text if one < described.vocabulary] for text in ids]
    filled = [place for place, text in enumerate(ids) if text]
    vectors = np.zeros((len(texts), described.dimension), np.float32)
    if filled:
        found = _encoder(model, in_memory).encode(
            [ids[place] for place in filled], step=lambda fraction: step(0.1 + 0.9 * fraction)
        )
        vectors[filled] = found if described.normalised else _unit(found)
    return vectors


# Arora, Liang and Ma, "A simple but tough-to-beat baseline for sentence embeddings" (ICLR 2017).
_SMOOTHING = 1e-3


def _sif(model, texts, step):
    """Return the means of the vectors of tokens, weighted by smooth inverse frequency."""
    import numpy as np

    tokenizer, unknown = tokens.find(model)
    rare = _rarity(model["id"], model["created_at"])
    rows, ids = [], []
    for first in range(0, len(texts), _TEXTS_A_STEP):
        step(0.3 * first / len(texts))
        for encoding in spelling.encode(tokenizer, texts[first : first + _TEXTS_A_STEP]):
            known = [one for one in encoding.ids if one < len(rare) and one != unknown and rare[one] > 0.0]
            rows.append(len(known))
            ids += known
    vectors = np.zeros((len(texts), model["dimension"]), np.float32)
    if not ids:
        return vectors
    used, place = np.unique(np.array(ids), return_inverse=True)
    table = np.concatenate([
        embeddings.read_rows(model, used[first : first + _TEXTS_A_STEP * 16].tolist())
        for first in _stepping(len(used), _TEXTS_A_STEP * 16, step)
    ])  # fmt: skip
    table[~np.isfinite(table)] = 0.0
    table *= rare[used][:, None]
    begins = np.concatenate(([0], np.cumsum(rows)))
    for number in range(len(texts)):
        if number % _TEXTS_A_STEP == 0:
            step(0.6 + 0.4 * number / len(texts))
        # Counted, not gathered: a text may repeat a few tokens a million times.
        here, times = np.unique(place[begins[number] : begins[number + 1]], return_counts=True)
        if rows[number]:
            vectors[number] = _unit((times @ table[here] / rows[number])[None])[0]
    return vectors


def _stepping(count, size, step):
    for first in range(0, count, size):
        step(0.3 + 0.3 * first / count)
        yield first


def _unit(rows):
    import numpy as np

    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(lengths > 0.0, lengths, 1.0)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _rarity(model_id, created_at):
    """Return the weight of each token, float64 (n,); 0 for what is no text.

    Vocabularies are made by frequency and do not tell it: a token is taken to be as frequent as Zipf's
    law says of its place among those of more than one character, a single character as the first of them.
    """
    import numpy as np

    size, ids, single = lexicon.vocabulary_order(model_id)
    rank = np.cumsum(~single) + 1.0
    rank[single] = 1.0
    frequency = 1.0 / (rank * (np.log(max(len(ids), 1)) + 0.5772156649015329))
    rare = np.zeros(size)
    rare[ids] = _SMOOTHING / (_SMOOTHING + frequency)
    return rare
