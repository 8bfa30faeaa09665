"""Checks of health(): the server's Python, and of each model its rows, answers, bytes and matrix."""

import importlib.metadata
import os

from hypercube import __version__, boundary, catalog, embeddings, expectations, expected, lexicon
from hypercube.chunks import chunk_digest
from hypercube.errors import InvalidArgument

_PACKAGES = ("numpy", "scipy", "safetensors", "blake3", "ml_dtypes", "tokenizers")
_SAMPLE = 8
_FEW = 3
_WHOLE = "{vocabulary_size} tokens, {neighbors} neighbours each, as ingest left them"


def version():
    """Return a (check, ok, detail) row about the two halves of the extension."""
    installed = catalog.extension_version()
    return "version", installed == __version__, f"extension {installed}, package {__version__}"


def environment():
    """Return (check, ok, detail) rows about the server's Python."""
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    folders = catalog.allowed_sources()
    gone = [folder for folder in folders if not os.path.isdir(folder)]
    return [
        (
            "python packages",
            not missing,
            ", ".join(versions) if not missing else "missing: " + ", ".join(missing),
        ),
        (
            "cancel",
            boundary.cancel_is_immediate(),
            "seen through the server's own flag"
            if boundary.cancel_is_immediate()
            else "asked for every 0.1 s",
        ),
        (
            "sources",
            not gone,
            ("missing: " + ", ".join(gone)) if gone else f"allowed folders: {len(folders)}",
        ),
    ]


def model(name, part):
    """Return the (ok, detail) rows of one part of a model: none where there is nothing to check."""
    if part not in _PARTS:
        raise InvalidArgument(
            f'no check is called "{part}"', hint="SELECT * FROM hypercube.health() asks all."
        )
    found = catalog.find_model(name)
    return [row for row in [_PARTS[part](found)] if row is not None]


def _rows(found):
    changed = expectations.changed_rows(found["id"])
    if changed == []:
        return True, _WHOLE.format(**found)
    # It reads every row about the model, and each one's policy would ask again whether the caller sees it.
    broken = boundary.read_as_owner(lambda: catalog.broken_postconditions(found["id"]))
    if changed:
        broken.append(f"{', '.join(changed)} are not as they were stored")
    return not broken, "; ".join(broken) or _WHOLE.format(**found)


def _answers(found, quick=False):
    asked, left, wrong = expectations.ask(found, quick=quick)
    if wrong:
        return False, "; ".join(wrong[:_FEW]) + (f"; and {len(wrong) - _FEW} more" if wrong[_FEW:] else "")
    if asked:
        told = "1 question" if asked == 1 else f"{asked} questions"
        return True, f"{told} answered as expected" + (f"; {left}" if left and not quick else "")
    return _plausible(found)


def _plausible(found):
    """Say whether a word has stored neighbours: of models that nothing is expected of."""
    word = expected.any_word(found["id"]) if found["neighbors"] else None
    if word is None:
        return True, "nothing is expected of it"
    ids, scores = expected.stored_neighbors(found["id"], word["token_id"], _FEW)
    labels = ", ".join(lexicon.labels(found["id"], ids)) or "nothing"
    return (
        len(ids) == min(_FEW, found["neighbors"]) and all(-1 <= score <= 1 for score in scores),
        f"{word['label']}: {labels}; nothing is expected of it: SELECT * FROM hypercube.maintain()",
    )


def _bytes(found):
    files = catalog.files(found["id"])
    wrong = [f"file {path}" for path, (content, digest) in files.items() if chunk_digest(content) != digest]
    count = 0
    for row in catalog.sample_chunks(found["id"], _SAMPLE):
        boundary.tick()
        count += 1
        if row["data"] is None or chunk_digest(row["data"]) != row["digest"]:
            wrong.append(row["digest"].hex())
    told = f"digests of {count} chunks and {len(files)} files recomputed"
    return not wrong, told if not wrong else "differ: " + ", ".join(wrong)


def _matrix(found):
    if found["embedding"] is None or not found["stored"]:
        return None
    return embeddings.check_file(found)


_PARTS = {
    "rows": _rows,
    "answer": _answers,
    "quick": lambda found: _answers(found, quick=True),
    "bytes": _bytes,
    "matrix": _matrix,
}
