"""What was ingested, read back: every digest recomputed, every file written again."""

from hypercube import audit, boundary, catalog, chunks, doors, expected, rights, sources, targets, weights
from hypercube.errors import CorruptFile, StepMissing
from hypercube.progress import Progress

_BATCH = 16
# Of what is damaged, so many are named in the audit.
_SHOWN = 100


def _pieces(tensor, step):
    """Yield the chunks of a tensor as (ordinal, data); data is None where the chunk is missing or differs."""
    count = -(-tensor["bytes"] // weights.PIECE)
    for first in range(0, count, _BATCH):
        step()
        last = min(first + _BATCH, count) - 1
        found = {row["ordinal"]: row for row in catalog.read_pieces(tensor["digest"], first, last)}
        for ordinal in range(first, last + 1):
            row = found.get(ordinal)
            sound = row is not None and row["data"] is not None
            sound = sound and chunks.chunk_digest(row["data"]) == row["chunk_digest"]
            yield ordinal, row["data"] if sound else None


def _span(ordinal, tensor):
    begin = ordinal * weights.PIECE
    return f"bytes {begin} to {min(begin + weights.PIECE, tensor['bytes'])}"


def verify_model(name):
    """Recompute every digest of a model; return (kind, name, ok, detail) rows.

    `ok` is None for tensors whose bytes are not stored.
    """
    model = catalog.find_model(name)
    tensors = catalog.tensors(model["id"])
    progress = Progress("verify", model["name"], {"bytes": 1.0})
    report = progress.stage("bytes")
    total, done = sum(tensor["bytes"] for tensor in tensors) or 1, 0
    found, known = [], {}
    for tensor in tensors:
        if tensor["digest"] not in known:
            known[tensor["digest"]] = _verdict(tensor, lambda done=done: report(done / total))
        done += tensor["bytes"]
        found.append(("tensor", tensor["name"], *known[tensor["digest"]]))
    for path, (content, digest) in catalog.files(model["id"]).items():
        same = chunks.chunk_digest(content) == digest
        found.append(
            ("file", path, same, "digest recomputed" if same else "its bytes differ from its digest")
        )
    root = chunks.merkle_root({tensor["name"]: tensor["digest"] for tensor in tensors})
    detail = "root recomputed"
    if root != model["root"]:
        detail = "the tensors are not those of the root"
    elif boundary.read_as_owner(lambda: expected.has_its_files(model["id"])) is False:
        detail = "small files were added, or are missing"
    found.append(("model", model["name"], detail == "root recomputed", detail))
    progress.end()
    wrong = [name for _, name, ok, _ in found if ok is False]
    audit.record("verify", "model", model["name"], {"checked": len(found), "wrong": wrong[:_SHOWN]})
    return found


def _verdict(tensor, step):
    if not tensor["stored"]:
        return None, "its bytes are not stored"
    whole = chunks.TensorDigest(tensor["dtype"], tensor["shape"])
    for ordinal, data in _pieces(tensor, step):
        if data is None:
            return False, f"{_span(ordinal, tensor)} are missing or differ from their digest"
        whole.add(data)
    if whole.digest() != tensor["digest"]:
        return False, "every chunk is sound, but together they are not this tensor"
    return True, "digest recomputed"


def export_model(name, directory):
    """Write the files of a model as they were; return (path, bytes, sha256) rows.

    Every chunk is checked on its way; files appear under their names only when
    all of them are complete.
    """
    model = catalog.find_model(name)
    rights.require_owner(model)
    tensors = catalog.tensors(model["id"])
    missing = [tensor["name"] for tensor in tensors if not tensor["stored"]]
    if missing:
        raise StepMissing(
            f'model "{model["name"]}" was stored without its bytes',
            detail=f'For example tensor "{missing[0]}".',
            hint="Ingest it again with store => 'all'.",
        )
    files = {path: content for path, (content, _) in catalog.files(model["id"]).items()}
    progress = Progress("export", model["name"], {"files": 1.0})
    report = progress.stage("files")
    total, done = sum(tensor["bytes"] for tensor in tensors) or 1, 0
    with targets.Folder(directory, catalog.allowed_targets()) as folder:
        doors.announce("export_model", {"model": model["name"], "directory": folder.path})
        for path, content in files.items():
            if not path.endswith(sources.HEADER_SUFFIX):
                folder.write(path, [content])
                continue
            shard = path.removesuffix(sources.HEADER_SUFFIX)
            held = sorted(
                (tensor for tensor in tensors if tensor["file"] == shard), key=lambda one: one["byte_offset"]
            )

            folder.write(shard, _shard(content, held, lambda: report(done / total)))  # noqa: B023 - used at once
            done += sum(tensor["bytes"] for tensor in held)
        written = folder.commit()
    progress.end()
    audit.record(
        "export",
        "model",
        model["name"],
        {"files": len(written), "bytes": sum(size for _, size, _ in written)},
    )
    return written


def _shard(header, tensors, step):
    """Yield the bytes of a weight file, every chunk checked."""
    yield len(header).to_bytes(8, "little") + header
    for tensor in tensors:
        for ordinal, data in _pieces(tensor, step):
            if data is None:
                raise CorruptFile(
                    f'tensor "{tensor["name"]}" is damaged: {_span(ordinal, tensor)}',
                    hint="SELECT * FROM hypercube.verify_model('...') WHERE NOT ok lists all damage.",
                )
            yield data
