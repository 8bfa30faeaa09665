"""Checks that only Python can make: its packages, the poll, digests of bytes."""

import importlib.metadata
import os

from hypercube import __version__, boundary, catalog, embeddings
from hypercube.chunks import chunk_digest

_PACKAGES = ("numpy", "scipy", "safetensors", "blake3", "ml_dtypes", "tokenizers")
_SAMPLE = 8


def environment():
    """Return (check, ok, detail) rows about the server's Python."""
    installed = catalog.extension_version()
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
            "version",
            installed == __version__,
            f"extension {installed}, package {__version__}",
        ),
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


def stored_bytes():
    """Return a (check, ok, detail) row for each model: digests of a sample recomputed."""
    found = []
    for model in catalog.models():
        wrong, count = [], 0
        for row in catalog.sample_chunks(model["id"], _SAMPLE):
            boundary.tick()
            count += 1
            if row["data"] is None or chunk_digest(row["data"]) != row["digest"]:
                wrong.append(row["digest"].hex())
        detail = f"digests of {count} chunks recomputed" if not wrong else "differ: " + ", ".join(wrong)
        found.append((f"bytes of {model['name']}", not wrong, detail))
    return found


def matrices():
    """Return a (check, ok, detail) row for each model that has an embedding: its matrix file is right."""
    found = []
    for model in catalog.embedded_models():
        boundary.tick()
        found.append((f"matrix of {model['name']}", *embeddings.check_file(model)))
    return found
