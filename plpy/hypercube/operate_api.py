"""One function for each PL/Python function of the extension about running it.

As in ``api``, what they need is imported inside.
"""

import functools

from hypercube.calls import entry
from hypercube.doors import door

# health() has to tell where package and extension do not belong together.
_of_any_version = functools.partial(entry, of_any_version=True)


@_of_any_version
def version_health():
    """Compare the versions of the two halves of the extension."""
    from hypercube import health

    return [health.version()]


@_of_any_version
def environment_health():
    """Check the Python side of the server."""
    from hypercube import health

    return health.environment()


@entry
def model_health(name, part):
    """Check one part of a model."""
    from hypercube import health

    return health.model(name, part)


@door
def maintain():
    """Do what has to be done from time to time."""
    from hypercube import maintenance

    return maintenance.maintain()


@entry
def explain_question(
    question, query, words, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score,
    approximate, scope,
):  # fmt: skip
    """Say which way a question goes."""
    from hypercube import explaining
    from hypercube.ranking import Ask

    ask = Ask(k, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
    return explaining.explain(question, query, words, model, ask, scope)


@entry
def metrics(part):
    """Return metrics as rows."""
    from hypercube import metrics as job

    return job.rows(part)


@entry
def metrics_text(part):
    """Return metrics as text."""
    from hypercube import metrics as job

    return job.text(part)


@door
def record_backup(label, kind, started_at, finished_at, bytes):
    """Write down a backup."""
    from hypercube import metrics as job

    job.record_backup(label, kind, started_at, finished_at, bytes)
