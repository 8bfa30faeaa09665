"""Documents: stored as compositions of sentences, read by a model, found again, dropped.

One call is one transaction: whatever fails takes the whole call with it.
"""

import time
from collections import Counter
from typing import NamedTuple

from blake3 import blake3

from hypercube import (
    audit,
    boundary,
    catalog,
    compositions,
    graph,
    holders,
    limits,
    meaning,
    reading,
    rights,
    sequences,
    texts,
)
from hypercube.errors import InvalidArgument, NameTaken, TooMany, UnknownDocument
from hypercube.progress import Progress
from hypercube.substrate import as_text

_NAME_LIMIT = 200
_METADATA_LIMIT = 1 << 20
_DOCUMENTS_LIMIT = 10_000
_SENTENCES_A_STATEMENT = 2_000
_CHARACTERS_A_STATEMENT = 500_000
# What a small sentence encoder manages on one core; only for the first guess of the time left.
_EMBEDDED_A_SECOND = 150
# So many characters are worth lines about progress.
_LONG = 500_000


@limits.one_ingest
def ingest_texts(names, contents, metadata, model, language, replace, vectors):
    """Store documents; return rows of hypercube.text_report in their order.

    Parameters
    ----------
    names : list of str
    contents : list of str or bytes
        The texts, bytes in UTF-8.
    metadata : list of str or None
        JSON objects, None for a document without; None for no list.
    model : str or None
        Whose tokens and vectors the sentences get; None takes the session's, the only one or none.
    language : str or None
        A text search configuration.
    replace : bool
        Whether a document of the same name goes.
    vectors : bool
        Whether the meaning of the sentences is computed at once.
    """
    began = time.monotonic()
    role = boundary.caller()
    contents, metadata = _checked(names, contents, metadata, replace, vectors)
    language = texts.language(language)
    _model(model)
    _replaced(names, replace)
    limits.require_texts(names, contents, metadata)
    steps = _Steps(names, contents, vectors)
    found, made = compositions.compose(contents, step=steps("compose"))
    # What others write has to wait from here on; they may have taken a name meanwhile.
    catalog.lock_writers()
    chosen = _model(model)
    old = _replaced(names, replace)
    limits.require_texts(names, contents, metadata, turn=True)
    sentences = _sentences(contents, made)
    # Those of others are not told: what is new is new to the caller.
    seen = _stored(list(sentences))
    batch = _Batch(names, contents, made, metadata, language, role)
    lengths = boundary.as_owner(lambda: _write(batch, found, sentences, chosen, old, vectors, steps))
    steps.end()
    seconds = time.monotonic() - began
    return [
        _report(name, content, text, seen, lengths, seconds)
        for name, content, text in zip(names, contents, made, strict=True)
    ]


class _Batch(NamedTuple):
    """Documents that are stored together: lists of one length, and what is the same for all."""

    names: list
    contents: list
    made: list
    metadata: list
    language: str
    role: str


def _write(batch, found, sentences, chosen, old, vectors, steps):
    """Write the rows of documents; return how many tokens each sentence has."""
    step = steps("store")
    graph.store(found, step)
    gone = _take_out(old)
    owners = {document["name"]: document["owner"] for document in old}
    ids = _store(batch, owners, chosen, step)
    graph.hold(holders.create_holders(ids), compositions.below(found, [text.root for text in batch.made]))
    places = [(one, text.sentences) for one, text in zip(ids, batch.made, strict=True)]
    for some in graph.in_parts(list(sentences)):
        step(0.95)
        texts.store_searchable(some, batch.language)
    lengths = {}
    if chosen is not None:
        lengths = reading.read(chosen, sentences, places, steps("tokens"))
        if vectors and meaning.is_possible(chosen):
            reading.embed(chosen, [one for one, _ in places], sentences, steps("vectors"))
        # Also where no vector came: somebody else's sentences may be the same.
        rights.settle_readers([chosen["id"]])
    _sweep(gone)
    if sum(map(len, batch.contents)) > _LONG:
        texts.tidy()
        texts.analyze()
    return lengths


class _Steps:
    """The stages of an ingest: lines about progress where it is long, else a look at the stop sign."""

    def __init__(self, names, contents, vectors):
        self._progress = None
        if sum(map(len, contents)) > _LONG:
            subject = names[0] if len(names) == 1 else f"{len(names)} documents"
            costs = {"compose": 1.0, "store": 4.0, "tokens": 3.0, "vectors": 60.0 if vectors else 0.0}
            self._progress = Progress("ingest", subject, costs)

    def __call__(self, stage):
        return boundary.tick if self._progress is None else self._progress.stage(stage)

    def end(self):
        if self._progress is not None:
            self._progress.end()


def _checked(names, contents, metadata, replace, vectors):
    """Return the texts as str and the metadata as objects; refuse what is no document."""
    if not names or contents is None or len(names) != len(contents):
        raise InvalidArgument(
            f"the number of names ({len(names or [])}) is not that of texts ({len(contents or [])})",
            hint="Give one name for each.",
        )
    if len(names) > _DOCUMENTS_LIMIT:
        raise TooMany(
            f"{len(names)} documents were given, at most {_DOCUMENTS_LIMIT} are stored at once",
            hint="Store them in parts.",
        )
    if replace is None or vectors is None:
        raise InvalidArgument("replace and vectors must not be null", hint="Give true or false.")
    for name in names:
        if not isinstance(name, str) or not 1 <= len(name) <= _NAME_LIMIT:
            raise InvalidArgument(
                "the name of a document must have 1 to 200 characters",
                hint="For example 'Moby-Dick, chapter 1'.",
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidArgument(
            f'document "{twice[0]}" is given twice', hint="Give each document another name."
        )
    if metadata is None:
        metadata = [None] * len(names)
    if len(metadata) != len(names):
        raise InvalidArgument(
            f"the number of metadata ({len(metadata)}) is not that of documents ({len(names)})",
            hint="Give one for each, or null.",
        )
    if any(isinstance(one, list) for one in (*names, *contents, *metadata)):
        raise InvalidArgument("the arrays must have one dimension", hint="For example ARRAY['a', 'b'].")
    return [as_text(content) for content in contents], [_object(told) for told in metadata]


def _object(told):
    if told is None:
        return None
    if len(told) > _METADATA_LIMIT:
        raise TooMany(
            f"metadata have {len(told)} characters, at most {_METADATA_LIMIT} are stored",
            hint="Keep what is longer in a table of your own.",
        )
    # It is JSON: the server took it as such.
    if not told.startswith("{"):
        raise InvalidArgument(
            "metadata must be a JSON object", hint="For example jsonb_build_object('author', 'Melville')."
        )
    return told


def _replaced(names, replace):
    """Return the documents that have one of the names; refuse them where they are not to be replaced."""
    visible = {document["id"] for document in texts.documents(names)}
    old = boundary.read_as_owner(lambda: texts.documents(names))
    for document in old:
        if not replace or document["id"] not in visible:
            raise NameTaken(document["name"], document=True)
        rights.require_owner(document, "document")
    return old


def _model(name):
    """Return the row of the model that reads the documents, or None where none is loaded."""
    if name is None and not catalog.models():
        return None
    return catalog.find_model(name)


def _sentences(contents, made):
    """Return the text of each different sentence by its id."""
    return {
        one: content[start:end]
        for content, text in zip(contents, made, strict=True)
        for one, start, end in _places(content, text)
    }


def _places(content, text):
    """Return the id of each sentence of a text, where it begins and where it ends."""
    ends = [*text.starts, len(content)][1:]
    return zip(text.sentences, text.starts, ends if text.sentences else (), strict=True)


def _stored(ids):
    """Return those of the sentences that a document has already which the caller sees."""
    return {one for some in graph.in_parts(ids) for one in texts.in_documents(some)}


def _store(batch, owners, model, step):
    """Insert the rows of documents, many with one statement; return their ids."""
    ids, some, size = [], [], 0
    told = zip(batch.names, batch.contents, batch.made, batch.metadata, strict=True)
    for name, content, text, metadata in told:
        encoded = content.encode()
        some.append(
            {
                "name": name,
                "composition_id": text.root,
                "digest": blake3(encoded).digest(),
                "bytes": len(encoded),
                "characters": len(content),
                "sentences": len(text.sentences),
                "metadata": metadata,
                "owner": owners.get(name, batch.role),
                "content": content.replace("\0", " "),
            }
        )
        size += len(content)
        if size > _CHARACTERS_A_STATEMENT or len(ids) + len(some) == len(batch.names):
            step(0.9)
            ids += texts.store_documents(some, batch.language, None if model is None else model["id"])
            some, size = [], 0
    sentences = [
        (one, ordinal, sentence, start)
        for one, text in zip(ids, batch.made, strict=True)
        for ordinal, (sentence, start) in enumerate(zip(text.sentences, text.starts, strict=True), 1)
    ]
    for part in graph.in_parts(sentences, _SENTENCES_A_STATEMENT):
        step(0.9)
        texts.store_sentences(*map(list, zip(*part, strict=True)))
    return ids


def _report(name, content, text, seen, lengths, seconds):
    """Return a row of hypercube.text_report; `seen` grows by the sentences of the document."""
    shared = new = 0
    for one, start, end in _places(content, text):
        if one in seen:
            shared += end - start
        else:
            new += 1
            seen.add(one)
    return {
        "document": name,
        "bytes": len(content.encode()),
        "characters": len(content),
        "sentences": len(text.sentences),
        "new_sentences": new,
        "pieces": text.pieces,
        "tokens": sum(lengths.get(one, 0) for one in text.sentences),
        "shared": shared / len(content) if content else 0.0,
        "seconds": round(seconds, 3),
    }


def drop_document(name):
    """Remove a document for its owner; return the row of hypercube.text_drop_report."""
    if name is None:
        raise InvalidArgument("the document must be named", hint="SELECT name FROM hypercube.document.")
    catalog.lock_writers()
    found = texts.documents([name])
    if not found:
        raise UnknownDocument(name)
    rights.require_owner(found[0], "document")
    gone = boundary.as_owner(lambda: _sweep(_take_out(found)))
    embedded = gone.different if found[0]["embedded"] else []
    # What the caller no longer sees: whether others hold it, and it stays, is not told.
    return {
        "document": name,
        "sentences": gone.sentences,
        "compositions": len(gone.compositions) - graph.count_stored(gone.compositions),
        "vectors": len(embedded) - len(_embedded(found[0]["model_id"], embedded)),
    }


def _embedded(model_id, ids):
    """Return those of some sentences that stand in a document of a model which the caller sees."""
    return [one for some in graph.in_parts(ids) for one in texts.in_documents(some, model_id)]


class _Gone:
    """What documents leave behind."""

    def __init__(self):
        self.sentences = 0
        self.different = []
        self.holders = []
        self.models = []
        self.compositions = []


def _take_out(documents):
    """Remove the rows of documents and their counts; return what may have no use any more."""
    gone = _Gone()
    if not documents:
        return gone
    rights.hold_documents(documents)
    ids = [document["id"] for document in documents]
    gone.models = sorted({one["model_id"] for one in documents if one["model_id"] is not None})
    for document in documents:
        boundary.tick()
        reading.take_back(document)
    gone.holders = holders.holders_of_documents(ids)
    left = texts.drop_documents(ids)
    gone.sentences, gone.different = len(left), sorted(set(left))
    rights.settle_readers(gone.models)
    return gone


def _sweep(gone):
    """Remove what nothing holds any more; return `gone` with what was held."""
    for some in graph.in_parts(gone.different):
        boundary.tick()
        vectors = texts.drop_sentences(some)
        for model_id in gone.models:
            reading.forget(
                model_id, [row["composition_id"] for row in vectors if row["model_id"] == model_id]
            )
    for holder in gone.holders:
        gone.compositions += graph.release(holder)
    return gone


def relate_sequences(name, window, minimum_count):
    """Make the relations of kind S of a model for its owner; return how many there are."""
    rights.require_owner(catalog.find_model(name))
    catalog.lock_writers()
    model = catalog.find_model(name)
    rights.require_owner(model)
    # The relations are for all who see the model, so they are made from what its owner may show them:
    # whoever calls for him may see more.
    documents = texts.documents_for_owner(model["id"])
    count = boundary.as_owner(lambda: reading.relate(model, documents, window, minimum_count))
    audit.record(
        "relate_sequences", "model", model["name"], {"relations": count, "documents": len(documents)}
    )
    return count


def embed_documents(name):
    """Compute the vectors of all sentences in the caller's documents of a model that have none.

    Returns
    -------
    int
        How many.
    """
    model = catalog.find_model(name)
    meaning.find_model(model["name"])
    catalog.lock_writers()
    model = catalog.find_model(model["name"])
    # What others let compute of the same sentences is neither told nor computed again.
    documents, missing = (
        sequences.documents_without_vectors(model["id"]),
        sequences.sentence_ids(model["id"])[1],
    )
    progress = Progress("embed", model["name"], {"vectors": len(missing) / _EMBEDDED_A_SECOND})
    step = progress.stage("vectors")
    boundary.as_owner(lambda: reading.embed(model, documents, reading.texts_of(missing), step))
    progress.end()
    audit.record("embed_documents", "model", model["name"], {"sentences": len(missing)})
    return len(missing)
