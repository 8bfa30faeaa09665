"""Where a model may be read from: allowed folders, and the files of a model.

Every function here runs as the server's user, so a path is used only after its
symbolic links were resolved and the result was found inside an allowed folder,
and a file is checked again once it is open, when nobody can exchange it.
"""

import os
import re
import stat
from typing import NamedTuple

from hypercube.errors import CorruptFile, InvalidArgument, NotAllowed, SourceMissing, TooMany

# Vocabularies of a quarter of a million tokens have 34 MB; everything else is small.
_FILE_LIMIT = 4 << 20
_FILE_LIMITS = {
    "tokenizer.json": 48 << 20,
    "vocab.txt": 16 << 20,
    "merges.txt": 16 << 20,
    "model.safetensors.index.json": 16 << 20,
}
_WEIGHTS_LIMIT = 10_000

# The header of a weight file is kept beside the small files, under its name with this at the end.
HEADER_SUFFIX = ".header"

_PATH = re.compile(r"[\w-][\w.-]{0,200}(/[\w-][\w.-]{0,200}){0,2}", re.ASCII)

# What is kept byte for byte beside the weights, when it is there.
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "merges.txt",
    "1_Pooling/config.json",
    "README.md",
    "LICENSE",
)


class Source(NamedTuple):
    """The files of one model: a folder and the names of its weight files.

    `whole` says that the folder was named, not one file in it.
    """

    folder: str
    weights: tuple[str, ...]
    whole: bool

    @property
    def name(self):
        """What to call the model where nobody said it."""
        stem = self.weights[0].removesuffix(".safetensors")
        if not self.whole and stem != "model":
            return stem
        # A hub's cache names the folder by a revision, and the model two levels above.
        repository = os.path.basename(os.path.dirname(os.path.dirname(self.folder)))
        if repository.startswith("models--"):
            return repository.rsplit("--", 1)[-1]
        return os.path.basename(self.folder)


def folder_to_allow(path):
    """Return the folder that `path` names, with symbolic links resolved."""
    if path is None or "\0" in path or not os.path.isabs(path):
        raise InvalidArgument(
            "the folder must be an absolute path",
            hint="Give the path from the root of the server, for example /srv/models.",
        )
    resolved = os.path.realpath(path)
    if not os.path.isdir(resolved):
        raise SourceMissing(
            f'folder "{path}" does not exist on the server',
            hint="Create it on the server's machine, readable by the server's user.",
        )
    return resolved


def resolve(path):
    """Return a path with symbolic links resolved, whether or not it exists."""
    return os.path.realpath(path) if "\0" not in path else path


def is_inside(path, folders):
    """Return whether a resolved path is one of some resolved folders, or lies below one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _require_inside(path, folders):
    if not is_inside(path, folders):
        raise NotAllowed(
            f'path "{path}" is not inside a folder that models may be read from',
            hint="A superuser or a member of pg_read_server_files can allow it: "
            "SELECT hypercube.allow_source('/folder').",
        )


def find(path, allowed):
    """Return the Source at `path`: a folder, or one safetensors file.

    Parameters
    ----------
    path : str
        Absolute path on the server.
    allowed : list of str
        Resolved folders; nothing outside of them is looked at.
    """
    if path is None or path == "" or "\0" in path or not os.path.isabs(path):
        raise InvalidArgument(
            "the source must be an absolute path on the server",
            hint="Give the folder of the model, for example /srv/models/all-MiniLM-L6-v2.",
        )
    resolved = os.path.realpath(path)
    # Before anything is said about what exists there.
    _require_inside(resolved, allowed)
    try:
        mode = os.stat(resolved).st_mode
        names = sorted(os.listdir(resolved)) if stat.S_ISDIR(mode) else None
    except PermissionError:
        raise SourceMissing(
            f'"{path}" cannot be read by the server',
            hint="Make it readable for the operating system user that the server runs as.",
        ) from None
    except OSError:
        raise SourceMissing(
            f'"{path}" does not exist on the server',
            hint="A folder with .safetensors files, tokenizer.json and config.json is expected.",
        ) from None
    if names is None:
        # The small files stand beside the name that was given: in a hub's cache it is a link to elsewhere.
        folder = os.path.realpath(os.path.dirname(path))
        _require_inside(folder, allowed)
        return Source(folder, (os.path.basename(path),), whole=False)
    weights = tuple(name for name in names if name.endswith(".safetensors"))
    if not all(name.isprintable() for name in weights):
        raise CorruptFile(
            f'folder "{path}" holds a .safetensors file whose name is not printable UTF-8', hint="Rename it."
        )
    if not weights:
        raise SourceMissing(
            f'folder "{path}" holds no .safetensors file',
            hint="A folder with .safetensors files, tokenizer.json and config.json is expected.",
        )
    if len(weights) > _WEIGHTS_LIMIT:
        raise TooMany(
            f"the folder holds {len(weights)} .safetensors files, at most {_WEIGHTS_LIMIT} are read"
        )
    return Source(resolved, weights, whole=True)


class OpenFile:
    """A regular file inside an allowed folder, read by position; a context manager."""

    def __init__(self, folder, name, allowed):
        self.name = name
        self.path = os.path.join(folder, name)
        try:
            # O_NONBLOCK: opening a FIFO must not wait for its writer.
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except PermissionError:
            raise SourceMissing(
                f'file "{self.path}" cannot be read by the server',
                hint="Make it readable for the operating system user that the server runs as.",
            ) from None
        except OSError:
            raise SourceMissing(f'file "{self.path}" does not exist on the server') from None
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CorruptFile(f'"{self.path}" is not a regular file')
            _require_inside(os.readlink(self.proc_path), allowed)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.size = status.st_size
        self._changed = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def proc_path(self):
        """A path that opens this very file, whatever its name leads to by now."""
        return f"/proc/self/fd/{self._descriptor}"

    def read(self, offset, length):
        """Return exactly `length` bytes from `offset`."""
        parts = []
        while length:
            part = os.pread(self._descriptor, length, offset)
            if not part:
                raise CorruptFile(
                    f'file "{self.path}" ended while it was read',
                    detail=f"Nothing follows byte {offset}.",
                    hint="Fetch the file again, and do not change it during the ingest.",
                )
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def require_unchanged(self):
        """Refuse when the file was written to since it was opened."""
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns, status.st_ctime_ns) != self._changed:
            raise CorruptFile(
                f'file "{self.path}" changed while it was read',
                hint="Ingest again when nothing writes to it.",
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)


def checked_name(name):
    """Refuse what cannot be the name of a model."""
    if name is None or not 1 <= len(name) <= 200 or not name.isprintable() or name != name.strip():
        raise InvalidArgument(
            "a model's name has 1 to 200 printable characters",
            hint="Give one: hypercube.ingest(source, name => '...').",
        )
    return name


def is_path(text):
    """Return whether a text is the path of a file inside a model: plain names, at most two folders.

    The name of a kept header is none: an export could not tell it from a header.
    """
    return text is not None and _PATH.fullmatch(text) is not None and not text.endswith(HEADER_SUFFIX)


def read_small_files(source, allowed, tokenizer=None):
    """Return the small files of a model as a dict of name to bytes.

    `tokenizer` names one more that has to be there, read as a tokenizer.json.
    """
    if tokenizer is not None and not is_path(tokenizer):
        raise InvalidArgument(
            f'"{tokenizer}" is no path of a file inside a model',
            hint="Name a file of the model's folder, for example tokenizer => 'my_tokenizer.json'.",
        )
    found = {}
    for name in dict.fromkeys([*SMALL_FILES, tokenizer] if tokenizer else SMALL_FILES):
        if name != tokenizer and not os.path.lexists(os.path.join(source.folder, name)):
            continue
        with OpenFile(source.folder, name, allowed) as file:
            require_small(file, name if name != tokenizer else "tokenizer.json")
            found[name] = file.read(0, file.size)
    return found


def require_small(file, name):
    """Refuse one of the small files that is not small."""
    limit = _FILE_LIMITS.get(name, _FILE_LIMIT)
    if file.size > limit:
        raise TooMany(
            f'file "{file.path}" has {file.size} bytes, at most {limit} are read',
            hint="Put a shorter one in its place, or take it out of the folder.",
        )
