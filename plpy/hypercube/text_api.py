"""One function for each PL/Python function of the extension about texts.

As in ``api``, what they need is imported inside.
"""

from hypercube.boundary import entry


@entry
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


@entry
def compose(content):
    """Store a text as a composition."""
    from hypercube import substrate

    return substrate.compose(content)


@entry
def composition_id(content):
    """Return the id of a text."""
    from hypercube import substrate

    return substrate.composition_id(content)


@entry
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


@entry
def orthographic_neighbors(query, k):
    """Rank the words spelled most like a text."""
    from hypercube import substrate

    return substrate.orthographic_neighbors(query, k)


@entry
def tokenize(content, model, special_tokens):
    """Cut a text into tokens."""
    from hypercube import tokens

    return tokens.tokenize(content, model, special_tokens)


@entry
def count_tokens(content, model, special_tokens):
    """Count the tokens of a text."""
    from hypercube import tokens

    return tokens.count_tokens(content, model, special_tokens)


@entry
def detokenize(ids, model, skip_special_tokens):
    """Join tokens to a text."""
    from hypercube import tokens

    return tokens.detokenize(ids, model, skip_special_tokens)


@entry
def ingest_text(name, content, metadata, model, language, replace, vectors):
    """Store a document."""
    from hypercube import documents

    return documents.ingest_texts([name], [content], [metadata], model, language, replace, vectors)


@entry
def ingest_texts(names, contents, metadata, model, language, replace, vectors):
    """Store documents."""
    from hypercube import documents

    return documents.ingest_texts(names, contents, metadata, model, language, replace, vectors)


@entry
def drop_document(name):
    """Remove a document."""
    from hypercube import documents

    return [documents.drop_document(name)]


@entry
def document_text(name):
    """Return the text of a document."""
    from hypercube import documents

    return documents.document_text(name)


@entry
def document_bytes(name):
    """Return the UTF-8 of a document."""
    from hypercube import documents

    return documents.document_bytes(name)


@entry
def relate_sequences(model, window, minimum_count):
    """Make the relations of kind S."""
    from hypercube import documents

    return documents.relate_sequences(model, window, minimum_count)


@entry
def embed(content, model, method):
    """Return the vector of a text."""
    from hypercube import meaning

    return meaning.embed(content, model, method)


@entry
def embed_documents(model):
    """Compute the vectors of sentences."""
    from hypercube import documents

    return documents.embed_documents(model)


@entry
def search(query, k, model, scope):
    """Rank sentences or documents by meaning."""
    from hypercube import search as job

    return job.search(query, k, model, scope)


@entry
def document_is_whole(name):
    """Return whether a document can be rebuilt."""
    from hypercube import documents

    return documents.is_whole(name)


@entry
def verify_document(name):
    """Compute everything about a document again."""
    from hypercube import documents

    return documents.verify_document(name)


@entry
def read_documents(model, documents, vectors):
    """Let a model read documents."""
    from hypercube import assignments

    return assignments.read_documents(model, documents, vectors)
