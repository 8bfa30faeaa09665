"""One function for each PL/Python function of the extension.

They are the only names that SQL calls.  What they need is imported inside, so
that a cheap question does not pay for the packages of an expensive one.
"""

from hypercube.boundary import entry


@entry
def allow_source(path):
    """Allow a folder of the server to be read."""
    from hypercube import models

    return models.allow_source(path)


@entry
def disallow_source(path):
    """Take back allow_source."""
    from hypercube import models

    return models.disallow_source(path)


@entry
def ingest(source, name, neighbors):
    """Store the model found at a path of the server."""
    from hypercube import ingest as job

    return [job.ingest(source, name, neighbors)]


@entry
def drop_model(model):
    """Remove a model."""
    from hypercube import models

    return [models.drop_model(model)]


@entry
def scan_neighbors(query, token_id, k, model):
    """Answer semantic_neighbors where the stored graph does not reach."""
    from hypercube import queries

    return queries.scan_neighbors(query, token_id, k, model)


@entry
def nearest(vector, k, model):
    """Rank tokens by their cosine with a vector."""
    from hypercube import queries

    return queries.nearest(vector, k, model)


@entry
def most_similar(positive, negative, k, model):
    """Rank tokens by their cosine with a sum of words."""
    from hypercube import queries

    return queries.most_similar(positive, negative, k, model)


@entry
def analogy(a, b, c, k, model, method):
    """Rank the answers to a is to b as c is to what."""
    from hypercube import queries

    return queries.analogy(a, b, c, k, model, method)


@entry
def similarity(a, b, model):
    """Compute the cosine of two words."""
    from hypercube import queries

    return queries.similarity(a, b, model)


@entry
def embedding(query, model):
    """Return the vector of a word."""
    from hypercube import queries

    return queries.embedding(query, model)


@entry
def environment_health():
    """Check the Python side of the server."""
    from hypercube import health

    return health.environment()


@entry
def bytes_health():
    """Recompute digests of stored bytes, a sample of each model."""
    from hypercube import health

    return health.stored_bytes()
