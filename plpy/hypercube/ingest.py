"""The main job: from the files of a model to its rows, in one transaction.

Everything that can be refused is refused before the first row is written;
whatever fails later takes the whole transaction with it.
"""

import contextlib
import json
import re
from typing import NamedTuple

from hypercube import apart, boundary, bulk, catalog, classify, matrix, queries, sources, vocabulary, weights
from hypercube.errors import CorruptFile, InvalidArgument, NameTaken, PostconditionFailed, TooMany
from hypercube.store import store_bytes

_BROKEN_LIMIT = 0.01
_CONFIG_LIMIT = 4 << 20


class Plan(NamedTuple):
    """What was read and decided before anything is written."""

    name: str
    owner: str
    neighbors: int
    config: dict
    files: dict
    headers: list
    tensors: list
    roles: dict
    pieces: dict
    embedding: object
    vocabulary_size: int
    notes: list


def ingest(source, name, neighbors):
    """Store the model at `source`; return the row of hypercube.ingest_report.

    Parameters
    ----------
    source : str
        A folder, or one safetensors file, inside an allowed folder.
    name : str or None
        None takes the name of the folder, or of the file if one was named.
    neighbors : int
        How many relations each usable token gets, 1 to 256.
    """
    if neighbors is None or not 1 <= neighbors <= 256:
        raise InvalidArgument(f"neighbors is out of range: {neighbors}", hint="Store 1 to 256 neighbours.")
    owner = boundary.caller()
    allowed = catalog.allowed_sources()
    found = sources.find(source, allowed)
    name = _checked_name(name if name is not None else found.name)
    catalog.lock_writers()
    if catalog.model_exists(name):
        raise NameTaken(name)
    with contextlib.ExitStack() as opened:
        files = [
            opened.enter_context(sources.OpenFile(found.folder, shard, allowed)) for shard in found.weights
        ]
        plan = _plan(found, files, name, owner, neighbors, allowed)
        return _run(plan, files)


def _checked_name(name):
    if not 1 <= len(name) <= 200 or not name.isprintable() or name != name.strip():
        raise InvalidArgument(
            "a model's name has 1 to 200 printable characters",
            hint="Give one: hypercube.ingest(source, name => '...').",
        )
    return name


def _plan(found, files, name, owner, neighbors, allowed):
    headers = [weights.read_header(file, step=boundary.tick) for file in files]
    tensors = [tensor for header in headers for tensor in header.tensors]
    seen = {}
    for tensor in tensors:
        if seen.setdefault(tensor.name, tensor.file) != tensor.file:
            raise CorruptFile(
                f'tensor "{tensor.name}" is in two files',
                detail=f"In {seen[tensor.name]} and {tensor.file}.",
                hint="If these are two models, name the file of one instead of the folder.",
            )
    small = sources.read_small_files(found, allowed)
    if "model.safetensors.index.json" in small and found.whole:
        weights.require_index(small["model.safetensors.index.json"], tensors, found.weights)
    config = _config(small)
    context = classify.Context.of([(tensor.name, tensor.shape) for tensor in tensors], config)
    roles = {}
    for tensor in tensors:
        boundary.tick()
        roles[tensor.name] = str(classify.classify(tensor.name, tensor.shape, context))

    notes = []
    tables = [
        tensor
        for tensor in tensors
        if roles[tensor.name] == "token_embedding" and len(tensor.shape) == 2 and tensor.bytes
    ]
    has_tokenizer = "tokenizer.json" in small or "vocab.txt" in small
    pieces = apart.read_vocabulary(small, step=boundary.tick) if tables or has_tokenizer else {}
    needed = max(pieces, default=-1) + 1
    embedding = _choose_embedding(tensors, roles, tables, needed, notes)
    rows = embedding.shape[0] if embedding is not None else needed
    if rows > vocabulary.ENTRIES_LIMIT:
        raise TooMany(f"the vocabulary has {rows} tokens, at most {vocabulary.ENTRIES_LIMIT} are read")
    if embedding is not None:
        matrix.require_room(*embedding.shape, queries.matrix_limit())
    return Plan(
        name=name,
        owner=owner,
        neighbors=neighbors,
        config=config,
        files=small,
        headers=list(zip(found.weights, headers, strict=True)),
        tensors=tensors,
        roles=roles,
        pieces=pieces,
        embedding=embedding,
        vocabulary_size=rows,
        notes=notes,
    )


def _config(small):
    if "config.json" not in small:
        return {}
    try:
        if len(small["config.json"]) > _CONFIG_LIMIT:
            raise ValueError(f"it is longer than {_CONFIG_LIMIT} bytes")
        config = json.loads(small["config.json"].decode("utf-8"), parse_constant=lambda text: None)
        if not isinstance(config, dict):
            raise ValueError("it is not an object")
        json.dumps(config, allow_nan=False)
        return _clean(config)
    except (ValueError, RecursionError) as problem:
        raise CorruptFile(
            "config.json is not a JSON object in UTF-8",
            detail=str(problem)[:300],
            hint="Fetch the file again.",
        ) from None


def _choose_embedding(tensors, roles, tables, needed, notes):
    """Return the tensor that relations and projection come from, or None with a note.

    The table of tokens; a model whose weights are tied may hold only its output head.
    """
    if not tables and needed:
        tables = [
            tensor
            for tensor in tensors
            if roles[tensor.name] == "output_head" and len(tensor.shape) == 2 and tensor.shape[0] >= needed
        ]
    if not tables:
        notes.append("no token embedding was found: the model is stored without relations and projection")
        return None
    fitting = [tensor for tensor in tables if tensor.shape[0] >= needed]
    if not fitting:
        largest = max(tables, key=lambda tensor: tensor.shape[0])
        raise CorruptFile(
            f'the vocabulary has {needed} tokens, "{largest.name}" only {largest.shape[0]} rows',
            hint="The tokenizer belongs to another model; fetch the one published with these weights.",
        )
    return min(fitting, key=lambda tensor: (tensor.shape[0] - needed, len(tensor.name), tensor.name))


def _stage_costs(plan):
    """Return the expected seconds of each stage on one core; only their ratios matter."""
    size = sum(tensor.bytes for tensor in plan.tensors)
    rows, columns = plan.embedding.shape if plan.embedding is not None else (0, 0)
    return {
        "store": 0.1 + size / 60e6,
        "vocabulary": 0.1 + len(plan.pieces) / 10e3,
        "relations": 0.1 + rows * rows * columns / 60e9 + rows * plan.neighbors / 300e3,
        "projection": 0.1 + rows / 6e3,
        "checks": 0.1 + rows / 60e3,
    }


def _run(plan, files):
    progress = boundary.Progress("ingest", plan.name, _stage_costs(plan))

    stored = store_bytes(plan.tensors, files, plan.embedding, progress.stage("store"))
    for file in files:
        file.require_unchanged()
    skipped = _reason_to_skip(plan, stored)
    if skipped is not None:
        plan.notes.append(f'embedding "{plan.embedding.name}" is not used: {skipped}')
    unit, usable = _directions(plan, stored, skipped)
    kept = min(plan.neighbors, max(0, int(usable.sum()) - 1))
    model_id = _store_model(plan, stored, skipped, kept)
    compositions = _store_vocabulary(plan, model_id, usable, progress.stage("vocabulary"))

    from hypercube.geometry import store_geometry

    geometry = store_geometry(plan, model_id, unit, usable, kept, progress)

    progress.stage("checks")(0.0)
    bulk.analyze()
    broken = catalog.broken_postconditions(model_id)
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
        "chunks": stored.new_chunks,
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
    if plan.embedding.dtype not in weights.EMBEDDING_DTYPES:
        return f"dtype {plan.embedding.dtype} is stored, but not used for relations and projection"
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
    unit, with_direction = neighbors.unit_rows(stored.embedding, out=stored.embedding, step=boundary.tick)
    usable = named & with_direction
    unnamed, zero = int((~named).sum()), int((named & ~with_direction).sum())
    if unnamed:
        plan.notes.append(f"{unnamed} rows of the embedding have no token and are unused")
    if zero:
        plan.notes.append(f"{zero} tokens have a zero vector and no relations")
    return unit, usable


def _clean(value):
    """Return a JSON value that jsonb takes: without NUL and lone surrogates."""
    if isinstance(value, str):
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {_clean(key): _clean(entry) for key, entry in value.items()}
    return [_clean(entry) for entry in value] if isinstance(value, list) else value


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
        "neighbors": kept,
        "root": merkle_root(stored.digests),
        "config": json.dumps(plan.config) if plan.config else None,
        "metadata": json.dumps(_clean({file: header.metadata for file, header in plan.headers})),
        "licence": _licence(plan),
        "owner": plan.owner,
    })  # fmt: skip
    kept_files = dict(plan.files)
    kept_files.update({f"{file}.header": header.content for file, header in plan.headers})
    bulk.store_files(
        model_id, {path: (content, chunk_digest(content)) for path, content in kept_files.items()}
    )
    bulk.store_tensors(model_id, [
        {
            **stored.columns(tensor),
            "role": plan.roles[tensor.name],
            "layer": classify.layer_of(tensor.name),
            "skipped": skipped if plan.embedding is not None and tensor.name == plan.embedding.name else None,
        }
        for tensor in plan.tensors
    ])  # fmt: skip
    return model_id


def _store_vocabulary(plan, model_id, usable, step):
    """Insert atoms, compositions and tokens; return how many compositions were new."""
    from hypercube import atoms, compositions, hilbert

    texts = (piece.text for _, piece in sorted(plan.pieces.items()))
    spelled = compositions.spell(texts, step=lambda fraction: step(0.3 * fraction))
    new = 0
    if spelled.ids:
        points = atoms.atom_points(spelled.atoms)
        bulk.store_atoms(
            spelled.atoms,
            [atoms.atom_digest(one) for one in spelled.atoms],
            points,
            hilbert.hilbert_index(points),
        )
        hilberts = hilbert.hilbert_index(spelled.centroids)
        for part, share in _parts(len(spelled.ids), 0.4, 0.8, 10_000):
            step(share)
            children = spelled.children[part]
            new += bulk.store_compositions(
                spelled.ids[part],
                spelled.labels[part],
                list(map(len, children)),
                spelled.centroids[part],
                hilberts[part],
            )
            bulk.store_children(spelled.ids[part], children)
    id_of = dict(zip(spelled.labels, spelled.ids, strict=True))
    for part, share in _parts(plan.vocabulary_size, 0.8, 1.0, 20_000):
        step(share)
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
    return new


def _parts(count, begin, end, size):
    """Cut range(count) into slices, each with the share of the work done before it."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count)), begin + (end - begin) * start / count
