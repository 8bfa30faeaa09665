"""Which model reads which documents: changed after they were stored."""

from hypercube import boundary, catalog, graph, meaning, reading, rights, texts
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
    boundary.as_owner(lambda: _assign(model, chosen, vectors))
    return len(chosen)


def _assign(model, chosen, vectors):
    before = sorted({document["model_id"] for document in chosen if document["model_id"] is not None})
    places = []
    for document in chosen:
        boundary.tick()
        if document["model_id"] is not None:
            reading.take_back(document)
        places.append((document["id"], texts.sentences_of(document["id"])))
    texts.set_model([document["id"] for document in chosen], model["id"])
    rights.settle_readers([model["id"], *before])
    different = sorted({one for _, ids in places for one in ids})
    for some in graph.in_parts(different):
        boundary.tick()
        gone = texts.drop_sentences(some)
        for model_id in before:
            reading.forget(model_id, [row["composition_id"] for row in gone if row["model_id"] == model_id])
    sentences = reading.texts_of(different)
    reading.read(model, sentences, places, boundary.tick)
    if vectors and meaning.is_possible(model):
        reading.embed(model, [document["id"] for document in chosen], sentences)


def _chosen(names, model):
    """Return the documents that are named, or that no model reads, but those that this one reads already."""
    if names is None:
        role, owned = boundary.caller(), {}
        found = texts.documents_without_model()
        for document in found:
            owner = document["owner"]
            if owner not in owned:
                owned[owner] = rights.is_member(role, owner)
        return [document for document in found if owned[document["owner"]]]
    if any(not isinstance(one, str) for one in names):
        raise InvalidArgument("the names are not a list of text", hint="For example ARRAY['a', 'b'].")
    found = texts.documents(list(dict.fromkeys(names)))
    known = {document["name"] for document in found}
    for one in names:
        if one not in known:
            raise UnknownDocument(one)
    for document in found:
        rights.require_owner(document, "document")
    return [document for document in found if document["model_id"] != model["id"]]
