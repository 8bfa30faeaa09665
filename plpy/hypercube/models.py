"""Models as a whole: which folders they come from, and how they go."""

from hypercube import (
    audit,
    boundary,
    bulk,
    catalog,
    embeddings,
    graph,
    hnsw,
    holders,
    rights,
    sequences,
    sources,
)
from hypercube.errors import InvalidArgument, NotAllowed

_TOKENS_A_STATEMENT = 5_000


def _require_member(of, does):
    role = boundary.caller()
    if not rights.is_member(role, of):
        raise NotAllowed(
            f'role "{role}" may not decide which folders of the server are {does}',
            hint=f"A superuser can call it, or GRANT {of}.",
        )
    return role


def allow_source(path, role):
    """Let the members of a role read a folder; return it with symbolic links resolved."""
    caller = _require_member("pg_read_server_files", "read")
    rights.require_role(role)
    folder = sources.folder_to_allow(path)
    boundary.as_owner(lambda: catalog.add_allowed_source(folder, role, caller))
    return folder


def disallow_source(path, role):
    """Return whether the folder was allowed; it no longer is."""
    _require_member("pg_read_server_files", "read")
    if path is None:
        raise InvalidArgument(
            "the folder must not be null", hint="SELECT path FROM hypercube.allowed_source."
        )
    paths = [path, sources.resolve(path)]
    return bool(boundary.as_owner(lambda: catalog.remove_allowed_source(paths, role)))


def allow_target(path, role):
    """Let the members of a role write to a folder; return it with symbolic links resolved."""
    caller = _require_member("pg_write_server_files", "written to")
    rights.require_role(role)
    folder = sources.folder_to_allow(path)
    boundary.as_owner(lambda: catalog.add_allowed_target(folder, role, caller))
    return folder


def disallow_target(path, role):
    """Return whether the folder was allowed; it no longer is."""
    _require_member("pg_write_server_files", "written to")
    if path is None:
        raise InvalidArgument(
            "the folder must not be null", hint="SELECT path FROM hypercube.allowed_target."
        )
    paths = [path, sources.resolve(path)]
    return bool(boundary.as_owner(lambda: catalog.remove_allowed_target(paths, role)))


def drop_model(name):
    """Remove a model for its owner; return the row of hypercube.drop_report.

    What it counts as gone is what the caller no longer sees: whether somebody else holds the same
    bytes or words, and they stay, is not told.
    """
    if name is None:
        raise InvalidArgument("the model must be named", hint="SELECT name FROM hypercube.model.")
    rights.require_owner(catalog.find_model(name))
    catalog.lock_writers()
    # Whoever waited for the lock may find another model of that name, or one that is no longer his.
    model = catalog.find_model(name)
    rights.require_owner(model)
    hnsw.require_unread(model)
    others = [other["id"] for other in catalog.models() if other["id"] != model["id"]]
    report, held = boundary.as_owner(lambda: _drop(model, others))
    return {**report, "compositions": len(held) - graph.count_stored(held)}


def _drop(model, others):
    """Remove the rows of a model; return the report, and what was spelled by its vocabulary."""
    relations = 0
    freed = catalog.chunks_of_one(model["id"], others)
    for first in range(0, model["vocabulary_size"], _TOKENS_A_STATEMENT):
        boundary.tick()
        relations += bulk.drop_rows(model["id"], first, first + _TOKENS_A_STATEMENT)
    hnsw.drop(model["id"])
    catalog.drop_recall(model["id"])
    sequences.drop_model(model["id"])
    held = graph.release(holders.holder_of_model(model["id"]))
    # Only now: whoever decides about a model waits for as little as can be.
    rights.hold_model(model)
    digests = bulk.drop_model(model["id"])
    for digest in dict.fromkeys(digests):
        boundary.tick()
        bulk.drop_tensor_bytes(digest)
    bulk.analyze()
    # If this is rolled back, the next question makes the file again.
    embeddings.sweep()
    report = {
        "model": model["name"],
        "tensors": len(digests),
        "relations": relations,
        "chunks": freed["chunks"],
        "bytes": freed["bytes"],
    }
    return report, held


def refresh_consensus():
    """Compute relation_consensus anew; return its rows."""
    count = boundary.as_owner(bulk.refresh_consensus)
    audit.record("refresh_consensus", "relation_consensus", "hypercube.relation_consensus", {"rows": count})
    return count
