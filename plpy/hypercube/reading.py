"""What a model reads in documents: the tokens of sentences, and which of them follow each other."""

from hypercube import boundary, graph, meaning, sequences, spelling, texts, tokens
from hypercube.errors import InvalidArgument

_ENCODED_A_STEP = 64
_SENTENCES_A_STATEMENT = 5_000
_PAIRS_A_STATEMENT = 50_000
_SENTENCES_COUNTED = 20_000
_PAIRS_COUNTED = 1_000_000
_EMBEDDED_A_STATEMENT = 1_000


def read(model, sentences, times, step):
    """Store sentences in the tokens of a model and count their pairs; return how many tokens each has.

    Parameters
    ----------
    model : dict
        A row of hypercube.model.
    sentences : dict of bytes to str
        The text of each different sentence, by its id.
    times : dict of bytes to int
        How often each stands in the new documents.
    """
    tokenizer, unknown = tokens.find(model)
    ids = list(times)
    for start in range(0, len(ids), _SENTENCES_A_STATEMENT):
        some = ids[start : start + _SENTENCES_A_STATEMENT]
        missing = sequences.without_tokens(model["id"], some)
        new = [one for one in some if one in missing]
        cut = []
        for first in range(0, len(new), _ENCODED_A_STEP):
            step(0.6 * (start + first) / len(ids))
            part = [sentences[one] for one in new[first : first + _ENCODED_A_STEP]]
            cut += [encoding.ids for encoding in spelling.encode(tokenizer, part)]
        sequences.store_tokens(model["id"], new, cut)
    return _count(model, times, unknown, lambda fraction: step(0.6 + 0.4 * fraction))


def take_back(model, times, step=boundary.tick):
    """Take the pairs of sentences back that went from documents of a model."""
    _, unknown = tokens.find(model)
    _count(model, times, unknown, step, sign=-1)


def _count(model, times, unknown, step, sign=1):
    """Add the pairs of stored sentences to the counts, or take them back; return how many tokens each has."""
    from hypercube import bigrams

    state = sequences.state(model["id"])
    window, minimum_count = state["sequence_window"], state["minimum_count"]
    if times and minimum_count is not None:
        sequences.set_state(model["id"], {**state, "relations_current": False})
    ids, known = list(times), {}
    for start in range(0, len(ids), _SENTENCES_COUNTED):
        step(start / len(ids))
        found = sequences.tokens(model["id"], ids[start : start + _SENTENCES_COUNTED])
        known.update((row["id"], len(row["token_ids"])) for row in found)
        for some in _of_bounded_size(found, _PAIRS_COUNTED // window):
            step(start / len(ids))
            lengths = [len(row["token_ids"]) for row in some]
            flat = [token_id for row in some for token_id in row["token_ids"]]
            sources, targets, counts = bigrams.count_pairs(
                flat, lengths, [times[row["id"]] for row in some],
                window=window, size=max(flat, default=0) + 1, excluded=unknown,
            )  # fmt: skip
            for first in range(0, len(counts), _PAIRS_A_STATEMENT):
                step(start / len(ids))
                part = slice(first, first + _PAIRS_A_STATEMENT)
                pairs = sources[part].tolist(), targets[part].tolist()
                sequences.add_counts(model["id"], *pairs, (sign * counts[part]).tolist())
                if sign < 0:
                    sequences.drop_uncounted(model["id"], *pairs)
                    if minimum_count is not None:
                        sequences.drop_rare_relations(model["id"], *pairs, minimum_count)
    return known


def _of_bounded_size(found, tokens):
    """Cut rows of sentences into lists that have about as many tokens, each at least one sentence."""
    some, held = [], 0
    for row in found:
        some.append(row)
        held += len(row["token_ids"])
        if held >= tokens:
            yield some
            some, held = [], 0
    if some:
        yield some


def embed(model, sentences=None, step=boundary.tick):
    """Compute the vectors of sentences that have none; return how many.

    `sentences` are the texts of new ones by their ids; without them all documents are looked through.
    """
    model, method = meaning.find_model(model["name"])
    missing = sequences.without_vectors(model["id"], None if sentences is None else list(sentences))
    state = sequences.state(model["id"])
    for first in range(0, len(missing), _EMBEDDED_A_STATEMENT):
        some = missing[first : first + _EMBEDDED_A_STATEMENT]
        told = texts_of(some) if sentences is None else sentences

        def inner(fraction, first=first, some=some):
            step((first + fraction * len(some)) / len(missing))

        vectors = meaning.embed_texts(model, method, [told[one] for one in some], inner)
        sequences.store_vectors(model["id"], some, [row.tobytes() for row in vectors.astype("<f4")])
    sequences.set_state(
        model["id"],
        {
            **state,
            "vectors": _marked(state["vectors"], missing, 1) if missing else state["vectors"],
            "complete": _is_complete(model["id"], state),
        },
    )
    return len(missing)


def texts_of(ids):
    """Return the texts of stored sentences by their ids, also where a label cannot tell them."""
    found = sequences.texts_of(ids)
    for one, label in found.items():
        if "\N{SYMBOL FOR NULL}" in label:
            found[one] = graph.read(one)
    return found


def left_to_embed(model):
    """Return how many sentences in documents of a model have no vector."""
    return len(sequences.without_vectors(model["id"], None))


def leave_out(model, sentences):
    """Say that sentences have come without vectors, if there are new ones among them."""
    state = sequences.state(model["id"])
    if state["complete"] and sequences.without_vectors(model["id"], list(sentences)):
        sequences.set_state(model["id"], {**state, "complete": False})


def forget(model_id, gone):
    """Let the file of vectors follow sentences whose vectors went."""
    state = sequences.state(model_id)
    mark = _marked(state["vectors"], gone, -1) if gone else state["vectors"]
    sequences.set_state(model_id, {**state, "vectors": mark, "complete": _is_complete(model_id, state)})


def _marked(mark, ids, sign):
    """Return the mark of a set of sentences after some came or went.

    The sum of their ids: equal sets have equal marks, in whatever order they came to be.
    """
    total = int.from_bytes(mark or b"", "big") + sign * sum(int.from_bytes(one, "big") for one in ids)
    return (total % (1 << 256)).to_bytes(32, "big")


def _is_complete(model_id, state):
    """Return whether all sentences have vectors; looked through only where some had none."""
    return state["complete"] or not sequences.without_vectors(model_id, None)


def relate(model, window, minimum_count, step=boundary.tick):
    """Make the relations of kind S of a model anew; return how many there are.

    Raises
    ------
    InvalidArgument
        `window` or `minimum_count` is out of range.
    """
    from hypercube import bigrams

    if window is None or not 1 <= window <= bigrams.WINDOW_LIMIT:
        raise InvalidArgument(
            f"window_size is out of range: {'null' if window is None else window}",
            hint=f"Ask for 1 (the next token) to {bigrams.WINDOW_LIMIT}.",
        )
    if minimum_count is not None and minimum_count < 1:
        raise InvalidArgument(
            f"minimum_count is out of range: {minimum_count}",
            hint="Ask for at least 1; null removes the relations.",
        )
    state = sequences.state(model["id"])
    wanted = {**state, "sequence_window": window, "minimum_count": minimum_count, "relations_current": True}
    sequences.set_state(model["id"], wanted)
    if window != state["sequence_window"]:
        sequences.drop_counts(model["id"])
        times = texts.times_in_documents(model["id"])
        _count(model, times, tokens.find(model)[1], step)
        sequences.set_state(model["id"], wanted)
    sequences.drop_relations(model["id"])
    return 0 if minimum_count is None else sequences.store_relations(model["id"], minimum_count)
