"""Documents: stored as compositions of sentences, read by a model, found again, dropped.

One call is one transaction: whatever fails takes the whole call with it.
"""

import time
from collections import Counter

from blake3 import blake3

from hypercube import boundary, catalog, compositions, graph, meaning, reading, texts
from hypercube.errors import (
    CorruptFile,
    InvalidArgument,
    NameTaken,
    TooMany,
    UnknownDocument,
    Unrepresentable,
)
from hypercube.substrate import as_text

_NAME_LIMIT = 200
_METADATA_LIMIT = 1 << 20
_DOCUMENTS_LIMIT = 10_000
_SENTENCES_A_STATEMENT = 2_000
# What a small sentence encoder manages on one core; only for the first guess of the time left.
_EMBEDDED_A_SECOND = 150
# So many characters are worth lines about progress.
_LONG = 500_000


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
    steps = _Steps(names, contents, vectors)
    found, made = compositions.compose(contents, step=steps("compose"))
    # What others write has to wait from here on; they may have taken a name meanwhile.
    catalog.lock_writers()
    chosen = _model(model)
    old = _replaced(names, replace)
    step = steps("store")
    sentences, times = _sentences(contents, made)
    seen = _stored(list(sentences))
    graph.store(found, step)
    gone = _take_out(old)
    owners = {document["name"]: document["owner"] for document in old}
    for name, content, text, told in zip(names, contents, made, metadata, strict=True):
        step(0.9)
        _store(name, content, text, told, language, chosen, owners.get(name, role))
    for some in graph.in_parts(list(sentences)):
        step(0.95)
        texts.store_searchable(some, language)
    lengths = {}
    if chosen is not None:
        lengths = reading.read(chosen, sentences, times, steps("tokens"))
        step = steps("vectors")
        if vectors and meaning.is_possible(chosen):
            reading.embed(chosen, sentences, step)
        else:
            reading.leave_out(chosen, sentences)
    _sweep(gone)
    if sum(map(len, contents)) > _LONG:
        texts.tidy()
        texts.analyze()
    steps.end()
    seconds = time.monotonic() - began
    return [
        _report(name, content, text, seen, lengths, seconds)
        for name, content, text in zip(names, contents, made, strict=True)
    ]


class _Steps:
    """The stages of an ingest: lines about progress where it is long, else a look at the stop sign."""

    def __init__(self, names, contents, vectors):
        self._progress = None
        if sum(map(len, contents)) > _LONG:
            subject = names[0] if len(names) == 1 else f"{len(names)} documents"
            costs = {"compose": 1.0, "store": 4.0, "tokens": 3.0, "vectors": 60.0 if vectors else 0.0}
            self._progress = boundary.Progress("ingest", subject, costs)

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
    old = texts.documents(names)
    for document in old:
        if not replace:
            raise NameTaken(document["name"], document=True)
        catalog.require_owner(document, "document")
    return old


def _model(name):
    """Return the row of the model that reads the documents, or None where none is loaded."""
    if name is None and not catalog.models():
        return None
    return catalog.find_model(name)


def _sentences(contents, made):
    """Return the text of each different sentence by its id, and how often it stands in the documents."""
    sentences, times = {}, Counter()
    for content, text in zip(contents, made, strict=True):
        for one, start, end in _places(content, text):
            if one not in sentences:
                sentences[one] = content[start:end]
            times[one] += 1
    return sentences, times


def _places(content, text):
    """Return the id of each sentence of a text, where it begins and where it ends."""
    ends = [*text.starts, len(content)][1:]
    return zip(text.sentences, text.starts, ends if text.sentences else (), strict=True)


def _stored(ids):
    """Return those of the sentences that a document has already."""
    return {one for some in graph.in_parts(ids) for one in texts.in_documents(some)}


def _store(name, content, text, metadata, language, model, owner):
    """Insert the rows of a document."""
    encoded = content.encode()
    document_id = texts.store_document(
        {
            "name": name,
            "composition_id": text.root,
            "digest": blake3(encoded).digest(),
            "bytes": len(encoded),
            "characters": len(content),
            "sentences": len(text.sentences),
            "language": language,
            "model_id": None if model is None else model["id"],
            "metadata": metadata,
            "owner": owner,
        },
        content.replace("\0", " "),
    )
    for first in range(0, len(text.sentences), _SENTENCES_A_STATEMENT):
        boundary.tick()
        part = slice(first, first + _SENTENCES_A_STATEMENT)
        texts.store_sentences(document_id, first + 1, text.sentences[part], text.starts[part])


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
    catalog.require_owner(found[0], "document")
    gone = _take_out(found)
    compositions_gone, vectors = _sweep(gone)
    return {
        "document": name,
        "sentences": len(gone.sentences),
        "compositions": compositions_gone,
        "vectors": vectors,
    }


class _Gone:
    """What documents leave behind: their sentences, one entry for each place, and their roots."""

    def __init__(self):
        self.sentences = []
        self.roots = []
        self.models = {}


def _take_out(documents):
    """Remove the rows of documents and take their counts back; return what may have no use any more."""
    gone = _Gone()
    if not documents:
        return gone
    gone.roots = [document["composition_id"] for document in documents]
    left = texts.drop_documents([document["id"] for document in documents])
    gone.sentences = [one for _, one in left]
    for model_id in sorted({model_id for model_id, _ in left if model_id is not None}):
        model = catalog.find_model(catalog.model_name(model_id))
        reading.take_back(model, Counter(one for other, one in left if other == model_id))
        gone.models[model_id] = model
    return gone


def _sweep(gone):
    """Remove what nothing holds any more; return how many compositions and vectors went."""
    if not gone.roots:
        return 0, 0
    vectors = []
    for some in graph.in_parts(sorted(set(gone.sentences))):
        boundary.tick()
        vectors += texts.drop_sentences(some)
    for model in gone.models.values():
        reading.forget(model["id"], [one for model_id, one in vectors if model_id == model["id"]])
    return graph.sweep([*gone.roots, *gone.sentences]), len(vectors)


def document_text(name):
    """Return the text of a document, bit for bit, refused where it has a null character."""
    text = _read(name)
    if "\0" in text:
        raise Unrepresentable(
            f'document "{name}" holds the null character',
            hint="Read it with hypercube.document_bytes(...), which returns its UTF-8.",
        )
    return text


def document_bytes(name):
    """Return the UTF-8 of a document, bit for bit."""
    return _read(name).encode()


def _read(name):
    text = graph.read(_find(name)["composition_id"])
    if text is None:
        raise CorruptFile(f'document "{name}" has lost what it is made of', hint=graph.DAMAGED)
    return text


def _find(name):
    if name is None:
        raise InvalidArgument("the document must be named", hint="SELECT name FROM hypercube.document.")
    found = texts.documents([name])
    if not found:
        raise UnknownDocument(name)
    return found[0]


def is_whole(name):
    """Return whether a document has the text that its digest tells, read quickly."""
    found = _find(name)
    try:
        text = graph.read(found["composition_id"])
    except CorruptFile:
        return False
    return text is not None and blake3(text.encode()).digest() == found["digest"]


def verify_document(name):
    """Rebuild a document from its atoms; every id on the way, the digest and the sentences must be right.

    Raises
    ------
    CorruptFile
        Naming what is damaged.
    """
    found = _find(name)
    if blake3(graph.verify(found["composition_id"]).encode()).digest() != found["digest"]:
        raise CorruptFile(f'document "{name}" has not the digest that it was stored with', hint=graph.DAMAGED)
    placed, right = texts.placed_sentences(found["id"])
    [root] = texts.compositions([found["composition_id"]])
    # A text of one sentence is that sentence.
    if not right or placed not in (root["id"], root["children"]):
        raise CorruptFile(f'document "{name}" has not its sentences in their places', hint=graph.DAMAGED)
    return True


def relate_sequences(name, window, minimum_count):
    """Make the relations of kind S of a model for its owner; return how many there are."""
    catalog.require_owner(catalog.find_model(name))
    catalog.lock_writers()
    return reading.relate(catalog.find_model(name), window, minimum_count)


def embed_documents(name):
    """Compute the vectors of all sentences in documents of a model that have none; return how many."""
    model = catalog.find_model(name)
    meaning.find_model(model["name"])
    catalog.lock_writers()
    model = catalog.find_model(model["name"])
    seconds = reading.left_to_embed(model) / _EMBEDDED_A_SECOND
    progress = boundary.Progress("embed", model["name"], {"vectors": seconds})
    count = reading.embed(model, None, progress.stage("vectors"))
    progress.end()
    return count
