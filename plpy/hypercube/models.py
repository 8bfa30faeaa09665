"""Models as a whole: which folders they come from, and how they go."""

from hypercube import boundary, bulk, catalog, embeddings, graph, hnsw, sequences, sources
from hypercube.errors import InvalidArgument, NotAllowed

_TOKENS_A_STATEMENT = 5_000


def _require_member(of, does):
    role = boundary.caller()
    if not catalog.is_member(role, of):
        raise NotAllowed(
            f'role "{role}" may not decide which folders of the server are {does}',
            hint=f"A superuser can call it, or GRANT {of}.",
        )
    return role


def allow_source(path):
    """Allow a folder to be read and return it with symbolic links resolved."""
    role = _require_member("pg_read_server_files", "read")
    folder = sources.folder_to_allow(path)
    catalog.add_allowed_source(folder, role)
    return folder


def disallow_source(path):
    """Return whether the folder was allowed; it no longer is."""
    _require_member("pg_read_server_files", "read")
    if path is None:
        raise InvalidArgument(
            "the folder must not be null", hint="SELECT path FROM hypercube.allowed_source."
        )
    return bool(catalog.remove_allowed_source(path) or catalog.remove_allowed_source(sources.resolve(path)))


def allow_target(path):
    """Allow a folder to be written to and return it with symbolic links resolved."""
    role = _require_member("pg_write_server_files", "written to")
    folder = sources.folder_to_allow(path)
    catalog.add_allowed_target(folder, role)
    return folder


def disallow_target(path):
    """Return whether the folder was allowed; it no longer is."""
    _require_member("pg_write_server_files", "written to")
    if path is None:
        raise InvalidArgument(
            "the folder must not be null", hint="SELECT path FROM hypercube.allowed_target."
        )
    return bool(catalog.remove_allowed_target(path) or catalog.remove_allowed_target(sources.resolve(path)))


def drop_model(name):
    """Remove a model for its owner; return the row of hypercube.drop_report."""
    if name is None:
        raise InvalidArgument("the model must be named", hint="SELECT name FROM hypercube.model.")
    catalog.require_owner(catalog.find_model(name))
    catalog.lock_writers()
    return _drop(catalog.find_model(name))


def _drop(model):
    relations, tokens = 0, set()
    for first in range(0, model["vocabulary_size"], _TOKENS_A_STATEMENT):
        boundary.tick()
        count, dropped = bulk.drop_rows(model["id"], first, first + _TOKENS_A_STATEMENT)
        relations += count
        tokens.update(dropped)
    hnsw.drop(model["id"])
    catalog.drop_recall(model["id"])
    sequences.drop_model(model["id"])
    digests = bulk.drop_model(model["id"])
    chunks, size = 0, 0
    for digest in dict.fromkeys(digests):
        boundary.tick()
        gone = bulk.drop_tensor_bytes(digest)
        chunks += gone["chunks"]
        size += gone["bytes"]
    compositions = graph.sweep(tokens)
    bulk.analyze()
    # If this is rolled back, the next question makes the file again.
    embeddings.sweep()
    return {
        "model": model["name"],
        "tensors": len(digests),
        "relations": relations,
        "compositions": compositions,
        "chunks": chunks,
        "bytes": size,
    }
