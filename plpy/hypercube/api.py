"""One function for each PL/Python function of the extension about models.

They are the only names that SQL calls.  What they need is imported inside, so
that a cheap question does not pay for the packages of an expensive one.
"""

from functools import partial

from hypercube.boundary import read_as_owner, require_same_version, run_waiting
from hypercube.calls import entry
from hypercube.doors import door, reading_door
from hypercube.doors import require_writable as _require_writable
from hypercube.limits import charge, question


# What health() calls is of any version: it has to tell where package and extension do not belong together.
@partial(entry, of_any_version=True)
def do_waiting():
    """Do what Python code of this package asked to be done with more rights."""
    run_waiting()


@entry
def require_writable():
    """Refuse where nothing can be written, for a function that is not Python."""
    _require_writable()


@door
def allow_source(path, role):
    """Allow a folder of the server to be read."""
    from hypercube import models

    return models.allow_source(path, role)


@door
def disallow_source(path, role):
    """Take back allow_source."""
    from hypercube import models

    return models.disallow_source(path, role)


@door
def allow_target(path, role):
    """Allow a folder of the server to be written to."""
    from hypercube import models

    return models.allow_target(path, role)


@door
def disallow_target(path, role):
    """Take back allow_target."""
    from hypercube import models

    return models.disallow_target(path, role)


@door
def ingest(source, name, neighbors, store, tokenizer):
    """Store the model found at a path of the server."""
    from hypercube import ingest as job

    return [job.ingest(source, name, neighbors, store, tokenizer)]


@door
def ingest_upload(name, neighbors, store, tokenizer):
    """Store the model whose files were uploaded."""
    from hypercube import ingest as job

    return [job.ingest_upload(name, neighbors, store, tokenizer)]


@door
def upload_begin(name, path):
    """Begin the upload of a file."""
    from hypercube import uploads

    return uploads.begin(name, path)


@door
def upload_part(upload_id, ordinal, data):
    """Store a part of a file."""
    from hypercube import uploads

    uploads.part(upload_id, ordinal, data)


@door
def upload_finish(upload_id, digest):
    """Check that a file is whole."""
    from hypercube import uploads

    return uploads.finish(upload_id, digest)


@door
def upload_cancel(name):
    """Remove the uploads of a model."""
    from hypercube import uploads

    return uploads.cancel(name)


@reading_door
def verify_model(model):
    """Recompute every digest of a model."""
    from hypercube import archive

    charge()
    return archive.verify_model(model)


@reading_door
def export_model(model, directory):
    """Write the files of a model as they were."""
    from hypercube import archive

    return archive.export_model(model, directory)


@question
def model_diff(a, b):
    """Compare two models tensor by tensor."""
    from hypercube import differences

    return differences.model_diff(a, b)


@door
def drop_model(model):
    """Remove a model."""
    from hypercube import models

    return [models.drop_model(model)]


@door
def refresh_consensus():
    """Compute anew what several models agree on."""
    from hypercube import models

    return models.refresh_consensus()


def _ask(*filters):
    from hypercube.ranking import Ask

    return Ask(*filters)


@question
def scan_neighbors(
    query, token_id, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate
):
    """Answer semantic_neighbors where the stored graph does not reach."""
    from hypercube import queries

    ask = _ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
    return queries.scan_neighbors(query, token_id, model, ask)


@question
def nearest(vector, k, model, label_like, kinds, letters_only, minimum_score, approximate):
    """Rank tokens by their cosine with a vector."""
    from hypercube import queries

    ask = _ask(k, label_like, kinds, letters_only, False, minimum_score, approximate)
    return queries.nearest(vector, model, ask)


@question
def most_similar(
    positive, negative, k, model, positive_weights, negative_weights, method, label_like, kinds, letters_only,
    exclude_variants, minimum_score, approximate,
):  # fmt: skip
    """Rank tokens by their cosine with a weighted sum of words."""
    from hypercube import queries

    ask = _ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
    return queries.most_similar(positive, negative, (positive_weights, negative_weights), method, model, ask)


@question
def analogy(
    a, b, c, k, model, method, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate
):
    """Rank the answers to a is to b as c is to what."""
    from hypercube import queries

    ask = _ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
    return queries.analogy(a, b, c, method, model, ask)


@question
def midpoint(a, b, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate):
    """Rank tokens by their cosine with the middle between two words."""
    from hypercube import queries

    ask = _ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
    return queries.midpoint(a, b, model, ask)


@question
def similarity(a, b, model):
    """Compute the cosine of two words."""
    from hypercube import queries

    return queries.similarity(a, b, model)


@question
def set_similarity(a, b, model):
    """Compute the cosine of the mean vectors of two lists of words."""
    from hypercube import queries

    return queries.set_similarity(a, b, model)


@question
def centroid(words, model):
    """Return the mean of the unit vectors of words."""
    from hypercube import queries

    return queries.centroid(words, model)


@question
def rank_by_centrality(words, model):
    """Rank words by the cosine with their centroid."""
    from hypercube import queries

    return queries.centrality(words, model)


@question
def odd_one_out(words, model):
    """Return the word that is farthest from the centroid of all."""
    from hypercube import queries

    return queries.odd_one_out(words, model)


@question
def rank_of(a, b, model):
    """Return the place of one word among the neighbours of another."""
    from hypercube import queries

    return queries.rank_of(a, b, model)


@question
def closer_than(a, b, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score):
    """Rank the tokens nearer to one word than another is."""
    from hypercube import queries

    ask = _ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score)
    return queries.closer_than(a, b, model, ask)


@question
def embedding(query, model):
    """Return the vector of a word."""
    from hypercube import queries

    return queries.embedding(query, model)


@entry
def warm(model):
    """Map the matrix of a model."""
    from hypercube import embeddings

    return embeddings.warm(model)


@entry
def sweep_matrices():
    """Remove the matrix files of models that are gone."""
    from hypercube import embeddings

    return read_as_owner(embeddings.sweep)


@entry
def analogies(
    questions,
    k,
    model,
    method,
    skip_unknown,
    label_like,
    kinds,
    letters_only,
    exclude_variants,
    minimum_score,
):
    """Answer many analogies with one product."""
    from hypercube import batches

    ask = _ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score)
    return batches.analogies(questions, method, skip_unknown, model, ask)


@entry
def nearest_batch(vectors, is_array, k, model, label_like, kinds, letters_only, minimum_score):
    """Answer nearest for many vectors with one product."""
    from hypercube import batches

    ask = _ask(k, label_like, kinds, letters_only, False, minimum_score)
    return batches.nearest_batch(vectors, is_array, model, ask)


@entry
def neighbor_join(model_a, model_b, k, source_like, label_like, kinds, letters_only, minimum_score):
    """Find the tokens of one model nearest to those of another."""
    from hypercube import batches

    ask = _ask(k, label_like, kinds, letters_only, False, minimum_score)
    return batches.neighbor_join(model_a, model_b, source_like, ask)


@entry
def evaluate_analogies(questions, model, method, label_like, kinds, letters_only):
    """Count the right answers to a test of analogies."""
    from hypercube import evaluations

    return evaluations.evaluate_analogies(questions, method, model, _ask(1, label_like, kinds, letters_only))


@entry
def evaluate_similarity(pairs, model, in_pieces):
    """Correlate the cosines of pairs of words with what people said."""
    from hypercube import evaluations

    return [evaluations.evaluate_similarity(pairs, model, in_pieces)]


@door
def create_vector_index(model, m, ef_construction):
    """Make the HNSW index of a model."""
    from hypercube import indexes

    return indexes.create_vector_index(model, m, ef_construction)


@door
def drop_vector_index(model):
    """Remove the HNSW index of a model."""
    from hypercube import indexes

    return indexes.drop_vector_index(model)


@door
def measure_recall(model, k, sample):
    """Compare the HNSW index of a model with the exact answer."""
    from hypercube import indexes

    return [indexes.measure_recall(model, k, sample)]


@question
def map_svg(model, highlight, axes, neighbors, zoom, width, height):
    """Draw the map of a model."""
    from hypercube import pictures

    return pictures.map_svg(model, highlight, axes, neighbors, zoom, width, height)


def __getattr__(name):
    """Return what an extension of another version calls, and this package does not have: a refusal."""
    if name.startswith("_"):
        raise AttributeError(name)

    def missing(*args):
        require_same_version()
        raise AttributeError(name)

    missing.__name__ = name
    return entry(missing)
