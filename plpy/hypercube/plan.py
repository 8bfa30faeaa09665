"""What a model is, read and decided before anything is written.

Everything that can be refused about the files of a model is refused here.
"""

import json
from typing import NamedTuple

from hypercube import apart, boundary, classify, mapped, matrix, scales, vocabulary, weights
from hypercube.errors import CorruptFile, TooMany

_CONFIG_LIMIT = 4 << 20


class Plan(NamedTuple):
    """What was read and decided before anything is written."""

    name: str
    owner: str
    neighbors: int
    store: str
    config: dict
    files: dict
    tokenizer: str
    headers: list
    tensors: list
    roles: dict
    pieces: dict
    embedding: object
    scale: object
    vocabulary_size: int
    notes: list


def read_plan(name, owner, neighbors, store, files, small, tokenizer, whole):
    """Read headers, configuration and vocabulary, and decide what the relations come from."""
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
    shards = tuple(file.name for file in files)
    if "model.safetensors.index.json" in small and whole:
        weights.require_index(small["model.safetensors.index.json"], tensors, shards)
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
    tokenizer = tokenizer or next((path for path in ("tokenizer.json", "vocab.txt") if path in small), None)
    pieces = {}
    if tables or tokenizer:
        pieces = apart.read_vocabulary(vocabulary.files_of(small, tokenizer), step=boundary.tick)
    needed = max(pieces, default=-1) + 1
    embedding = _choose_embedding(tensors, roles, tables, needed, notes)
    rows = embedding.shape[0] if embedding is not None else needed
    if rows > vocabulary.ENTRIES_LIMIT:
        raise TooMany(f"the vocabulary has {rows} tokens, at most {vocabulary.ENTRIES_LIMIT} are read")
    scale = None
    if embedding is not None:
        matrix.require_room(*embedding.shape, mapped.limit())
        scale = scales.find(embedding.name, embedding.shape, {one.name: one.shape for one in tensors})
    return Plan(
        name=name,
        owner=owner,
        neighbors=neighbors,
        store=store,
        config=config,
        files=small,
        tokenizer=tokenizer,
        headers=list(zip(shards, headers, strict=True)),
        tensors=tensors,
        roles=roles,
        pieces=pieces,
        embedding=embedding,
        scale=scale,
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
        return clean(config)
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


def clean(value):
    """Return a JSON value that jsonb takes: without NUL and lone surrogates."""
    if isinstance(value, str):
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {clean(key): clean(entry) for key, entry in value.items()}
    return [clean(entry) for entry in value] if isinstance(value, list) else value
