"""What a model reads in documents: the tokens of sentences, and which of them follow each other."""

from collections import Counter

from hypercube import boundary, graph, meaning, rights, sequences, spelling, texts, tokens
from hypercube.errors import InvalidArgument

_ENCODED_A_STEP = 64
_SENTENCES_A_STATEMENT = 5_000
_PAIRS_A_STATEMENT = 50_000
_SENTENCES_COUNTED = 20_000
_PAIRS_COUNTED = 1_000_000
_EMBEDDED_A_STATEMENT = 1_000


def read(model, sentences, places, step):
    """Store sentences in the tokens of a model and count their pairs; return how many tokens each has.

    Parameters
    ----------
    model : dict
        A row of hypercube.model.
    sentences : dict of bytes to str
        The text of each different sentence, by its id.
    places : list of (int, list of bytes)
        New documents of the model, each with the ids of its sentences, one for each place.
    """
    tokenizer, unknown = tokens.find(model)
    ids = list(sentences)
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
    return _count(model["id"], places, unknown, lambda fraction: step(0.6 + 0.4 * fraction))


def take_back(document):
    """Take the counts of a document back, and the relations that are too rare without it."""
    model_id = document["model_id"]
    pairs = sequences.drop_counts(document["id"])
    state = sequences.state(model_id)
    if model_id is None or not document["related"] or state["minimum_count"] is None:
        return
    sequences.set_state(model_id, {**state, "relations_current": False})
    for first in range(0, len(pairs), _PAIRS_A_STATEMENT):
        boundary.tick()
        sources, targets = zip(*pairs[first : first + _PAIRS_A_STATEMENT], strict=True)
        sequences.drop_rare_relations(model_id, list(sources), list(targets), state["minimum_count"])


def _count(model_id, places, unknown, step):
    """Store how often tokens follow each other in documents; return how many tokens each sentence has."""
    from hypercube import bigrams

    window = sequences.state(model_id)["sequence_window"]
    known, counted = {}, _Counts(model_id)
    groups = list(_groups(places))
    for number, group in enumerate(groups):
        step(number / len(groups))
        wanted = list(dict.fromkeys(one for _, some in group for one in some))
        found = {row["id"]: row["token_ids"] for row in sequences.tokens(model_id, wanted)}
        known.update((one, len(held)) for one, held in found.items())
        for document_id, some in group:
            times = Counter(one for one in some if one in found)
            sentences = [(found[one], n) for one, n in times.items()]
            for part in _of_bounded_size(sentences, _PAIRS_COUNTED // window):
                step(number / len(groups))
                flat = [token_id for held, _ in part for token_id in held]
                pairs = bigrams.count_pairs(
                    flat, [len(held) for held, _ in part], [n for _, n in part],
                    window=window, size=max(flat, default=0) + 1, excluded=unknown,
                )  # fmt: skip
                counted.add(document_id, *pairs)
    counted.store()
    return known


class _Counts:
    """Counts of pairs on their way to the table, many documents a statement."""

    def __init__(self, model_id):
        self._model_id = model_id
        self._columns = [], [], [], []

    def add(self, document_id, sources, targets, counts):
        """Take what was counted in a part of a document."""
        for first in range(0, len(counts), _PAIRS_A_STATEMENT):
            part = slice(first, first + _PAIRS_A_STATEMENT)
            some = sources[part].tolist(), targets[part].tolist(), counts[part].tolist()
            # A statement cannot add twice to one count.
            again = self._columns[0] and self._columns[0][-1] == document_id
            if again or len(self._columns[0]) + len(some[0]) > _PAIRS_A_STATEMENT:
                self.store()
            self._columns[0].extend([document_id] * len(some[0]))
            for column, values in zip(self._columns[1:], some, strict=True):
                column.extend(values)

    def store(self):
        """Write what was taken."""
        boundary.tick()
        if self._columns[0]:
            sequences.add_counts(self._model_id, *self._columns)
        self._columns = [], [], [], []


def _groups(places):
    """Cut documents into lists of (document, sentences) that have about as many sentences each."""
    group, held = [], 0
    for document_id, ids in places:
        for some in graph.in_parts(ids, _SENTENCES_COUNTED):
            group.append((document_id, some))
            held += len(some)
            if held >= _SENTENCES_COUNTED:
                yield group
                group, held = [], 0
    if group:
        yield group


def _of_bounded_size(found, limit):
    """Cut (token ids, times) into lists that have about as many tokens, each at least one sentence."""
    some, held = [], 0
    for one in found:
        some.append(one)
        held += len(one[0])
        if held >= limit:
            yield some
            some, held = [], 0
    if some:
        yield some


def embed(model, documents, sentences, step=boundary.tick):
    """Compute the vectors of those sentences (texts by their ids) of documents that have none."""
    model, method = meaning.find_model(model["name"])
    missing = sequences.without_vectors(model["id"], list(sentences))
    for first in range(0, len(missing), _EMBEDDED_A_STATEMENT):
        some = missing[first : first + _EMBEDDED_A_STATEMENT]

        def inner(fraction, first=first, some=some):
            step((first + fraction * len(some)) / len(missing))

        vectors = meaning.embed_texts(model, method, [sentences[one] for one in some], inner)
        sequences.store_vectors(model["id"], some, [row.tobytes() for row in vectors.astype("<f4")])
    if missing:
        state = sequences.state(model["id"])
        sequences.set_state(model["id"], {**state, "vectors": _marked(state["vectors"], missing, 1)})
    texts.set_embedded(documents)
    rights.settle_readers([model["id"]])


def texts_of(ids):
    """Return the texts of stored sentences by their ids, also where a label cannot tell them."""
    found = {}
    for some in graph.in_parts(ids):
        boundary.tick()
        found.update(sequences.texts_of(some))
    for one, label in found.items():
        if "\N{SYMBOL FOR NULL}" in label:
            found[one] = graph.read(one)
    return found


def forget(model_id, gone):
    """Let the file of vectors follow sentences whose vectors went."""
    if gone:
        state = sequences.state(model_id)
        sequences.set_state(model_id, {**state, "vectors": _marked(state["vectors"], gone, -1)})


def _marked(mark, ids, sign):
    """Return the mark of a set of sentences after some came or went.

    The sum of their ids: equal sets have equal marks, in whatever order they came to be.
    """
    total = int.from_bytes(mark or b"", "big") + sign * sum(int.from_bytes(one, "big") for one in ids)
    return (total % (1 << 256)).to_bytes(32, "big")


def relate(model, documents, window, minimum_count, step=boundary.tick):
    """Make the relations of kind S of a model anew, from some of its documents; return how many there are.

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
        every = texts.documents_of_model(model["id"])
        for document_id in every:
            step()
            sequences.drop_counts(document_id)
        places = [(document_id, texts.sentences_of(document_id)) for document_id in every]
        _count(model["id"], places, tokens.find(model)[1], step)
    sequences.drop_relations(model["id"])
    sequences.set_related(model["id"], [] if minimum_count is None else documents)
    return 0 if minimum_count is None else sequences.store_relations(model["id"], minimum_count)
