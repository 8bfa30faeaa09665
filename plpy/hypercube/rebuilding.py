"""Documents put together again: as text, as bytes, and as proof that nothing of them is damaged."""

from blake3 import blake3

from hypercube import audit, graph, texts
from hypercube.errors import CorruptFile, InvalidArgument, UnknownDocument, Unrepresentable


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
    audit.record("verify", "document", name)
    return True
