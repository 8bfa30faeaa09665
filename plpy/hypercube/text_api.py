"""One function for each PL/Python function of the extension about texts.

As in ``api``, what they need is imported inside.
"""

from hypercube.calls import entry
from hypercube.doors import door, reading_door
from hypercube.limits import charge, question


@door
def seed_atoms():
    """Store all atoms."""
    from hypercube import substrate

    return substrate.seed_atoms()


@entry
def atom_map_version():
    """Return the version of the map of atoms."""
    from hypercube import atoms

    return atoms.MAP_VERSION


@entry
def hilbert_index(coordinates, is_point):
    """Return the place of a point along the Hilbert curve."""
    from hypercube import substrate

    return substrate.hilbert_index(coordinates, is_point)


@entry
def hilbert_point(index):
    """Return the point at a place along the Hilbert curve."""
    from hypercube import substrate

    return substrate.hilbert_point(index)


@entry
def hilbert_range(low, high, ranges):
    """Return the stretches of the Hilbert curve that cover a box."""
    from hypercube import substrate

    return substrate.hilbert_range(low, high, ranges)


@door
def compose(content):
    """Store a text as a composition."""
    from hypercube import substrate

    return substrate.compose(content)


@entry
def composition_id(content):
    """Return the id of a text."""
    from hypercube import substrate

    return substrate.composition_id(content)


@door
def drop_composition(composition):
    """Take back compose."""
    from hypercube import substrate

    return substrate.drop_composition(composition)


@entry
def composition_text(composition):
    """Return the text of a composition."""
    from hypercube import substrate

    return substrate.composition_text(composition)


@entry
def composition_bytes(composition):
    """Return the UTF-8 of a composition."""
    from hypercube import substrate

    return substrate.composition_bytes(composition)


@question
def orthographic_neighbors(query, k):
    """Rank the words spelled most like a text."""
    from hypercube import substrate

    return substrate.orthographic_neighbors(query, k)


@question
def tokenize(content, model, special_tokens):
    """Cut a text into tokens."""
    from hypercube import tokens

    return tokens.tokenize(content, model, special_tokens)


@question
def count_tokens(content, model, special_tokens):
    """Count the tokens of a text."""
    from hypercube import tokens

    return tokens.count_tokens(content, model, special_tokens)


@question
def detokenize(ids, model, skip_special_tokens):
    """Join tokens to a text."""
    from hypercube import tokens

    return tokens.detokenize(ids, model, skip_special_tokens)


@door
def ingest_text(name, content, metadata, model, language, replace, vectors):
    """Store a document."""
    from hypercube import documents

    return documents.ingest_texts([name], [content], [metadata], model, language, replace, vectors)


@door
def ingest_texts(names, contents, metadata, model, language, replace, vectors):
    """Store documents."""
    from hypercube import documents

    return documents.ingest_texts(names, contents, metadata, model, language, replace, vectors)


@door
def drop_document(name):
    """Remove a document."""
    from hypercube import documents

    return [documents.drop_document(name)]


@entry
def document_text(name):
    """Return the text of a document."""
    from hypercube import rebuilding

    return rebuilding.document_text(name)


@entry
def document_bytes(name):
    """Return the UTF-8 of a document."""
    from hypercube import rebuilding

    return rebuilding.document_bytes(name)


@door
def relate_sequences(model, window, minimum_count):
    """Make the relations of kind S."""
    from hypercube import documents

    return documents.relate_sequences(model, window, minimum_count)


@question
def embed(content, model, method):
    """Return the vector of a text."""
    from hypercube import meaning

    return meaning.embed(content, model, method)


@door
def embed_documents(model):
    """Compute the vectors of sentences."""
    from hypercube import documents

    return documents.embed_documents(model)


@question
def search(query, k, model, scope):
    """Rank sentences or documents by meaning."""
    from hypercube import search as job

    return job.search(query, k, model, scope)


@question
def search_if_possible(query, k, model):
    """Rank sentences by meaning, where any has a vector."""
    from hypercube import search as job

    return job.search_if_possible(query, k, model)


@entry
def document_is_whole(name):
    """Return whether a document can be rebuilt."""
    from hypercube import rebuilding

    return rebuilding.is_whole(name)


@reading_door
def verify_document(name):
    """Compute everything about a document again."""
    from hypercube import rebuilding

    charge()
    return rebuilding.verify_document(name)


@door
def read_documents(model, documents, vectors):
    """Let a model read documents."""
    from hypercube import assignments

    return assignments.read_documents(model, documents, vectors)
