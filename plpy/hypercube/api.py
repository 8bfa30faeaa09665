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
def allow_target(path):
    """Allow a folder of the server to be written to."""
    from hypercube import models

    return models.allow_target(path)


@entry
def disallow_target(path):
    """Take back allow_target."""
    from hypercube import models

    return models.disallow_target(path)


@entry
def ingest(source, name, neighbors, store, tokenizer):
    """Store the model found at a path of the server."""
    from hypercube import ingest as job

    return [job.ingest(source, name, neighbors, store, tokenizer)]


@entry
def ingest_upload(name, neighbors, store, tokenizer):
    """Store the model whose files were uploaded."""
    from hypercube import ingest as job

    return [job.ingest_upload(name, neighbors, store, tokenizer)]


@entry
def upload_begin(name, path):
    """Begin the upload of a file."""
    from hypercube import uploads

    return uploads.begin(name, path)


@entry
def upload_part(upload_id, ordinal, data):
    """Store a part of a file."""
    from hypercube import uploads

    uploads.part(upload_id, ordinal, data)


@entry
def upload_finish(upload_id, digest):
    """Check that a file is whole."""
    from hypercube import uploads

    return uploads.finish(upload_id, digest)


@entry
def upload_cancel(name):
    """Remove the uploads of a model."""
    from hypercube import uploads

    return uploads.cancel(name)


@entry
def verify_model(model):
    """Recompute every digest of a model."""
    from hypercube import archive

    return archive.verify_model(model)


@entry
def export_model(model, directory):
    """Write the files of a model as they were."""
    from hypercube import archive

    return archive.export_model(model, directory)


@entry
def model_diff(a, b):
    """Compare two models tensor by tensor."""
    from hypercube import differences

    return differences.model_diff(a, b)


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
