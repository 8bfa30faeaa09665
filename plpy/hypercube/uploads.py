"""Models that come through the connection: files in parts, checked as a whole."""

import bisect
import itertools

from blake3 import blake3

from hypercube import boundary, catalog, limits, parcels, rights, sources
from hypercube.errors import (
    CorruptFile,
    InvalidArgument,
    NameTaken,
    SourceMissing,
    StepMissing,
    TooMany,
    UnknownUpload,
)

PART_LIMIT = 16 << 20
_PARTS_LIMIT = 1_000_000
_FILES_LIMIT = 1_000


def begin(name, path):
    """Begin the upload of one file of a model; return its id. An upload begun before goes on."""
    sources.checked_name(name)
    if not sources.is_path(path):
        raise InvalidArgument(
            f'"{path}" is no path of a file inside a model',
            hint="Letters, digits, dots and dashes, at most two folders: 'model.safetensors'.",
        )
    role = boundary.caller()
    if catalog.model_exists(name):
        raise NameTaken(name)
    return boundary.as_owner(lambda: _begin(name, path, role))


def _begin(name, path, role):
    parcels.expire()
    owner = parcels.owner(name)
    if owner is not None and not rights.is_member(role, owner):
        raise NameTaken(name)
    if parcels.count(name) >= _FILES_LIMIT:
        raise TooMany(f'the upload of "{name}" has {_FILES_LIMIT} files, which is the most')
    return parcels.begin(name, path, role)


def cancel(name):
    """Remove the uploads of a model; return how many files there were."""
    if name is None:
        raise InvalidArgument("the model must be named", hint="SELECT name FROM hypercube.upload.")
    # Those that the caller sees: of others it is not told that there are any.
    count = parcels.count(name)
    if count:
        boundary.as_owner(lambda: parcels.drop(name))
    return count


def _own(upload_id):
    """Return the caller's upload of an id, locked."""
    found = parcels.find(upload_id) if upload_id is not None else None
    if found is None or not rights.is_member(boundary.caller(), found["owner"]):
        raise UnknownUpload(upload_id)
    return found


def part(upload_id, ordinal, data):
    """Store one part of a file; parts come in any order, and again."""
    if ordinal is None or not 0 <= ordinal < _PARTS_LIMIT:
        raise InvalidArgument(f"the ordinal of a part is out of range: {ordinal}", hint="Count parts from 0.")
    if not data or len(data) > PART_LIMIT:
        raise InvalidArgument(
            f"a part has 1 to {PART_LIMIT} bytes, not {len(data or b'')}", hint="Send 4 MiB at a time."
        )
    boundary.as_owner(lambda: _part(upload_id, ordinal, data))


def _part(upload_id, ordinal, data):
    found = _own(upload_id)
    if found["digest"] is not None:
        raise InvalidArgument(f'file "{found["path"]}" is finished', hint="Begin it again to replace it.")
    limits.require_part(found["owner"], upload_id, ordinal, len(data))
    parcels.store_part(upload_id, ordinal, data)


def finish(upload_id, digest):
    """Check that a file is whole; return how many bytes it has."""
    return boundary.as_owner(lambda: _finish(upload_id, digest))


def _finish(upload_id, digest):
    found = _own(upload_id)
    parts = parcels.parts(upload_id)
    if [row["ordinal"] for row in parts] != list(range(len(parts))):
        missing = next(place for place, row in enumerate(parts) if row["ordinal"] != place)
        raise SourceMissing(
            f'part {missing} of file "{found["path"]}" is missing', hint="Send it, then finish again."
        )
    whole = blake3()
    for row in parts:
        boundary.tick()
        whole.update(parcels.read_part(upload_id, row["ordinal"], 0, row["size"]))
    if digest is None or whole.digest() != digest:
        raise CorruptFile(
            f'file "{found["path"]}" is not the one that was announced',
            detail=f"Its BLAKE3 digest is {whole.hexdigest()}.",
            hint="Send the parts that differ again, then finish again.",
        )
    size = sum(row["size"] for row in parts)
    parcels.finish(upload_id, size, digest)
    return size


class UploadedFile:
    """A finished upload that is read by position, like sources.OpenFile."""

    def __init__(self, row):
        self.name = row["path"]
        self.path = row["path"]
        self.size = row["size"]
        self._id = row["id"]
        parts = parcels.parts(self._id)
        self._begins = [0, *itertools.accumulate(part["size"] for part in parts)]

    def read(self, offset, length):
        """Return exactly `length` bytes from `offset`."""
        found = []
        while length:
            ordinal = bisect.bisect_right(self._begins, offset) - 1
            inside = offset - self._begins[ordinal]
            taken = min(length, self._begins[ordinal + 1] - offset) if ordinal + 1 < len(self._begins) else 0
            if taken <= 0:
                raise CorruptFile(
                    f'file "{self.path}" ended while it was read', detail=f"Nothing follows byte {offset}."
                )
            found.append(parcels.read_part(self._id, ordinal, inside, taken))
            offset += taken
            length -= taken
        return found[0] if len(found) == 1 else b"".join(found)

    def require_unchanged(self):
        """Nobody but its owner can change it, and not while models are written."""


def open_files(name, tokenizer):
    """Return the weight files and the small files of the caller's upload, as ingest needs them."""
    role = boundary.caller()
    rows = [row for row in parcels.files(name) if rights.is_member(role, row["owner"])]
    if not rows:
        raise SourceMissing(
            f'nothing was uploaded for "{name}"', hint="Begin with hypercube.upload_begin(name, path)."
        )
    unfinished = [row["path"] for row in rows if row["digest"] is None]
    if unfinished:
        raise StepMissing(
            f'the upload of file "{unfinished[0]}" is not finished',
            hint="Call hypercube.upload_finish(id, digest).",
        )
    opened = {row["path"]: UploadedFile(row) for row in rows}
    weights = [file for path, file in opened.items() if path.endswith(".safetensors")]
    if not weights:
        raise SourceMissing(f'no .safetensors file was uploaded for "{name}"', hint="Upload the weights too.")
    small = {}
    for path, file in opened.items():
        if path in sources.SMALL_FILES or path == tokenizer:
            sources.require_small(file, path if path != tokenizer else "tokenizer.json")
            small[path] = file.read(0, file.size)
    if tokenizer is not None and tokenizer not in small:
        raise SourceMissing(
            f'file "{tokenizer}" was not uploaded', hint="Name one of the files of the upload."
        )
    return weights, small
