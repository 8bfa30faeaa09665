"""The main job: from the files of a model to its rows, in one transaction.

Everything that can be refused is refused before the first row is written;
whatever fails later takes the whole transaction with it.
"""

import contextlib
import json
import re
from collections import Counter

from hypercube import (
    boundary,
    bulk,
    catalog,
    classify,
    embeddings,
    expectations,
    graph,
    holders,
    limits,
    scales,
    sources,
    vocabulary,
)
from hypercube.errors import InvalidArgument, NameTaken, PostconditionFailed
from hypercube.plan import clean, read_plan
from hypercube.progress import Progress
from hypercube.store import store_bytes

_BROKEN_LIMIT = 0.01
_RANK_LIMIT = 32767
_STORES = ("all", "embeddings", "none")


@limits.one_ingest
def ingest(source, name, neighbors, store, tokenizer):
    """Store the model at `source`; return the row of hypercube.ingest_report.

    Parameters
    ----------
    source : str
        A folder, or one safetensors file, inside an allowed folder.
    name : str or None
        None takes the name of the folder, or of the file if one was named.
    neighbors : int
        How many relations each usable token gets, 1 to 256.
    store : str
        Whose bytes are kept: "all", "embeddings" (the token embedding and its
        scale) or "none".
    tokenizer : str or None
        The file of the vocabulary, where it is not tokenizer.json or vocab.txt.
    """
    _check(neighbors, store)
    owner = boundary.caller()
    allowed = catalog.allowed_sources()
    found = sources.find(source, allowed)
    name = sources.checked_name(name if name is not None else found.name)
    _reserve(name)
    # Who had to wait reads from what is for him now.
    allowed = catalog.allowed_sources()
    with contextlib.ExitStack() as opened:
        files = [
            opened.enter_context(sources.OpenFile(found.folder, shard, allowed)) for shard in found.weights
        ]
        small = sources.read_small_files(found, allowed, tokenizer)
        plan = read_plan(name, owner, neighbors, store, files, small, tokenizer, found.whole)
        return _run(plan, files)


def _check(neighbors, store):
    if neighbors is None or not 1 <= neighbors <= 256:
        raise InvalidArgument(f"neighbors is out of range: {neighbors}", hint="Store 1 to 256 neighbours.")
    if store not in _STORES:
        raise InvalidArgument(f'store cannot be "{store}"', hint="Use 'all', 'embeddings' or 'none'.")


def _reserve(name):
    catalog.lock_writers()
    if catalog.model_exists(name):
        raise NameTaken(name)
    limits.require("models", turn=True)


@limits.one_ingest
def ingest_upload(name, neighbors, store, tokenizer):
    """Store the model whose files were uploaded under a name, and remove the uploads."""
    from hypercube import parcels, uploads

    _check(neighbors, store)
    owner = boundary.caller()
    name = sources.checked_name(name)
    _reserve(name)
    files, small = boundary.read_as_owner(lambda: uploads.open_files(name, tokenizer))
    plan = boundary.read_as_owner(
        lambda: read_plan(name, owner, neighbors, store, files, small, tokenizer, True)
    )
    # The parts go, so they are not counted beside the tensors.
    freed = boundary.read_as_owner(lambda: parcels.size(name, owner))
    report = _run(plan, files, freed)
    boundary.as_owner(lambda: parcels.drop(name))
    return report


def _stage_costs(plan):
    """Return the expected seconds of each stage on one core; only their ratios matter."""
    size = sum(tensor.bytes for tensor in plan.tensors)
    rows, columns = plan.embedding.shape if plan.embedding is not None else (0, 0)
    return {
        "store": 0.1 + size / 200e6,
        "vocabulary": 0.1 + len(plan.pieces) / 10e3,
        "relations": 0.1 + rows * rows * columns / 60e9 + rows * plan.neighbors / 300e3,
        "projection": 0.1 + rows / 6e3,
        "checks": 0.1 + rows / 60e3,
    }


def _run(plan, files, freed=0):
    """Store a model from its open weight files and its plan; return the report.

    The name is reserved and the lock of writers held by whoever calls, who also frees `freed` stored
    bytes of the caller.  What is new is new to the caller: whether somebody else holds the same bytes
    or words is not told.
    """
    _, held = _held(plan)
    coming = sum(tensor.bytes for tensor in plan.tensors if tensor.name in held)
    coming += sum(map(len, plan.files.values())) + sum(len(header.content) for _, header in plan.headers)
    limits.require("stored_bytes", coming - freed, turn=True)
    others = [model["id"] for model in catalog.models()]
    spelled = _spelled(plan)
    compositions = len(spelled.ids) - graph.count_stored(spelled.ids)
    return boundary.as_owner(lambda: _store(plan, files, spelled, others, compositions))


def _held(plan):
    """Return the names of the tensors that are read, and of those whose bytes are kept."""
    used = {one.name for one in (plan.embedding, plan.scale) if one is not None}
    held = {"all": {tensor.name for tensor in plan.tensors}, "embeddings": used, "none": set()}
    return used, held[plan.store]


def _store(plan, files, spelled, others, compositions):
    progress = Progress("ingest", plan.name, _stage_costs(plan))

    used, held = _held(plan)
    stored = store_bytes(plan.tensors, files, used, held, progress.stage("store"))
    for file in files:
        file.require_unchanged()
    skipped = _reason_to_skip(plan, stored)
    if skipped is not None:
        plan.notes.append(f'embedding "{plan.embedding.name}" is not used: {skipped}')
    unit, usable = _directions(plan, stored, skipped)
    kept = min(plan.neighbors, max(0, int(usable.sum()) - 1))
    model_id = _store_model(plan, stored, skipped, kept)
    _store_vocabulary(plan, model_id, spelled, usable, progress.stage("vocabulary"))

    _store_merges(plan, model_id)

    from hypercube.geometry import store_geometry

    geometry = store_geometry(plan, model_id, unit, usable, kept, progress)

    progress.stage("checks")(0.0)
    model = catalog.find_model(plan.name)
    if unit is not None and plan.embedding.name in held:
        embeddings.keep_matrix(model, unit)
    bulk.analyze()
    broken = catalog.broken_postconditions(model_id) + expectations.keep(model, unit)
    if broken:
        raise PostconditionFailed(
            f'the ingest of "{plan.name}" is incomplete',
            detail="; ".join(broken),
            hint="Please report this defect.",
        )
    progress.end()
    report = {
        "model": plan.name,
        "tensors": len(plan.tensors),
        "classified": sum(1 for role in plan.roles.values() if role != "other"),
        "chunks": catalog.chunks_of_one(model_id, others)["chunks"],
        "bytes": sum(tensor.bytes for tensor in plan.tensors),
        "tokens": plan.vocabulary_size,
        "usable": int(usable.sum()),
        "compositions": compositions,
        "relations": geometry.relations,
        "projected": geometry.projected,
        "components": geometry.components,
        "residual": geometry.residual,
        "neighbor_preservation": geometry.neighbor_preservation,
        "seconds": json.dumps(progress.seconds),
        "notes": plan.notes,
    }
    bulk.store_report(model_id, {**report, "seconds": progress.seconds})
    return report


def _reason_to_skip(plan, stored):
    if plan.embedding is None:
        return None
    for tensor in filter(None, (plan.embedding, plan.scale)):
        if tensor.name not in stored.summaries:
            return f"dtype of {tensor.name} is stored, but its values are not decoded"
    summary = stored.summaries[plan.embedding.name]
    if summary.broken_share > _BROKEN_LIMIT:
        return f"{summary.nan} NaN and {summary.inf} infinite of {summary.count} values, more than 1 %"
    if summary.nan or summary.inf:
        plan.notes.append(
            f'{summary.nan} NaN and {summary.inf} infinite values of "{plan.embedding.name}" count as 0'
        )
    return None


def _directions(plan, stored, skipped):
    """Return the unit vectors of the embedding (or None), and which tokens are usable."""
    import numpy as np

    named = np.zeros(plan.vocabulary_size, bool)
    if plan.embedding is None or skipped is not None:
        return None, named
    from hypercube import neighbors

    named[list(plan.pieces)] = True
    table = stored.values[plan.embedding.name].reshape(plan.embedding.shape)
    if plan.scale is not None:
        scales.multiply(table, stored.values[plan.scale.name], plan.scale)
        plan.notes.append(f'"{plan.embedding.name}" was scaled: {plan.scale.rule}')
    out = table if table.dtype == np.float32 else None
    unit, with_direction = neighbors.unit_rows(table, out=out, step=boundary.tick)
    usable = named & with_direction
    unnamed, zero = int((~named).sum()), int((named & ~with_direction).sum())
    if unnamed:
        plan.notes.append(f"{unnamed} rows of the embedding have no token and are unused")
    if zero:
        plan.notes.append(f"{zero} tokens have a zero vector and no relations")
    return unit, usable


def _licence(plan):
    card = plan.files.get("README.md", b"")[:4096].decode("utf-8", "replace")
    found = re.search(r"^license:\s*(\S{1,60})\s*$", card, re.MULTILINE)
    return found.group(1).strip("\"'") if found else None


def _store_model(plan, stored, skipped, kept):
    from hypercube.chunks import chunk_digest, merkle_root

    used = plan.embedding if skipped is None else None
    architecture = plan.config.get("model_type")
    model_id = catalog.create_model({
        "name": plan.name,
        "architecture": architecture if isinstance(architecture, str) else None,
        "dimension": used.shape[1] if used is not None else None,
        "vocabulary_size": plan.vocabulary_size,
        "embedding": used.name if used is not None else None,
        "tokenizer": plan.tokenizer,
        "neighbors": kept,
        "root": merkle_root(stored.digests),
        "config": json.dumps(plan.config) if plan.config else None,
        "metadata": json.dumps(clean({file: header.metadata for file, header in plan.headers})),
        "licence": _licence(plan),
        "owner": plan.owner,
    })  # fmt: skip
    kept_files = dict(plan.files)
    kept_files.update({file + sources.HEADER_SUFFIX: header.content for file, header in plan.headers})
    bulk.store_files(
        model_id, {path: (content, chunk_digest(content)) for path, content in kept_files.items()}
    )
    bulk.store_tensors(model_id, [
        {
            **stored.columns(tensor),
            "role": plan.roles[tensor.name],
            "layer": classify.layer_of(tensor.name),
            **_use(plan, tensor, skipped),
        }
        for tensor in plan.tensors
    ])  # fmt: skip
    return model_id


def _use(plan, tensor, skipped):
    """Return why a tensor was not used, and how it was scaled, where either means anything."""
    if plan.embedding is None or tensor.name != plan.embedding.name:
        return {"skipped": None, "scaling": None}
    return {
        "skipped": skipped,
        "scaling": plan.scale.rule if plan.scale is not None and skipped is None else None,
    }


def _spelled(plan):
    """Return the compositions of the pieces of a vocabulary."""
    from hypercube import compositions

    pieces = (piece.text for _, piece in sorted(plan.pieces.items()))
    return compositions.spell(pieces, step=boundary.tick)


def _store_vocabulary(plan, model_id, spelled, usable, step):
    """Insert atoms, compositions and tokens."""
    graph.store(spelled, lambda fraction: step(0.5 * fraction))
    graph.hold(
        [holders.create_holder(model_id=model_id)],
        [[*spelled.ids, *graph.digests_of(spelled.atoms)]],
        lambda fraction: step(0.5 + 0.3 * fraction),
    )
    id_of = dict(zip(spelled.labels, spelled.ids, strict=True))
    for part, share in graph.parts(plan.vocabulary_size, 20_000):
        step(0.8 + 0.2 * share)
        ids = range(plan.vocabulary_size)[part]
        found = [plan.pieces.get(token_id) for token_id in ids]
        bulk.store_tokens(
            model_id,
            list(ids),
            [piece.kind if piece else "unused" for piece in found],
            usable[part].tolist(),
            [piece.piece if piece else None for piece in found],
            [piece.label if piece else None for piece in found],
            [id_of[piece.text] if piece else None for piece in found],
        )


def _store_merges(plan, model_id):
    """Insert the merges of the tokenizer as relations of kind M, the earliest with weight 1."""
    pairs = vocabulary.merges(vocabulary.files_of(plan.files, plan.tokenizer))
    ranks, met = [], Counter()
    for left, _ in pairs:
        met[left] += 1
        ranks.append(min(met[left], _RANK_LIMIT))
    for part, _ in graph.parts(len(pairs), 20_000):
        boundary.tick()
        sources, targets = zip(*pairs[part], strict=True)
        weights = [1.0 - place / len(pairs) for place in range(part.start, part.stop)]
        bulk.store_merges(model_id, list(sources), list(targets), ranks[part], weights)
    if pairs:
        plan.notes.append(f"{len(pairs)} merges of the tokenizer are relations of kind M")
