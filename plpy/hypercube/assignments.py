"""Which model reads which documents: changed after they were stored."""

from collections import Counter

from hypercube import boundary, catalog, graph, meaning, reading, texts
from hypercube.errors import InvalidArgument, UnknownDocument


def read_documents(name, names, vectors):
    """Let a model read documents of the caller; return how many.

    Parameters
    ----------
    name : str or None
        The model.
    names : list of str or None
        Which documents; None means those that no model reads.
    vectors : bool
        Whether the meaning of their sentences is computed at once.
    """
    if vectors is None:
        raise InvalidArgument("vectors must not be null", hint="Give true or false.")
    catalog.find_model(name)
    catalog.lock_writers()
    model = catalog.find_model(name)
    chosen = _chosen(names, model)
    if not chosen:
        return 0
    ids = [document["id"] for document in chosen]
    before = texts.sentences_of(ids)
    for model_id in sorted({one for one, _ in before if one is not None}):
        left = catalog.find_model(catalog.model_name(model_id))
        reading.take_back(left, Counter(one for other, one in before if other == model_id))
    texts.set_model(ids, model["id"])
    times = Counter(one for _, one in before)
    gone = []
    for some in graph.in_parts(sorted(times)):
        boundary.tick()
        gone += texts.drop_sentences(some)
    for model_id in sorted({one for one, _ in before if one is not None}):
        reading.forget(model_id, [one for other, one in gone if other == model_id])
    sentences = {}
    for some in graph.in_parts(list(times)):
        boundary.tick()
        sentences.update(reading.texts_of(some))
    reading.read(model, sentences, times, boundary.tick)
    if vectors and meaning.is_possible(model):
        reading.embed(model, sentences)
    else:
        reading.leave_out(model, sentences)
    return len(chosen)


def _chosen(names, model):
    """Return the documents that are named, or that no model reads, but those that this one reads already."""
    if names is None:
        role, owned = boundary.caller(), {}
        found = texts.documents_without_model()
        for document in found:
            owner = document["owner"]
            if owner not in owned:
                owned[owner] = catalog.is_member(role, owner)
        return [document for document in found if owned[document["owner"]]]
    if any(not isinstance(one, str) for one in names):
        raise InvalidArgument("the names are not a list of text", hint="For example ARRAY['a', 'b'].")
    found = texts.documents(list(dict.fromkeys(names)))
    known = {document["name"] for document in found}
    for one in names:
        if one not in known:
            raise UnknownDocument(one)
    for document in found:
        catalog.require_owner(document, "document")
    return [document for document in found if document["model_id"] != model["id"]]
