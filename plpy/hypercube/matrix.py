"""The unit-length embedding of a model, and other rows of numbers, in a file that every session maps.

The file is named by what it is computed from, so it can never be out of date, and
holds float32 rows and nothing else.  It is made under another name and renamed when it
is whole; a session that finds it missing or of the wrong size makes it again.
"""

import errno
import fcntl
import mmap
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

from hypercube.errors import NotWritten, TooMuchMemory

# Programs that copy a cluster leave out what begins so.
FOLDER = "pgsql_tmp_hypercube"
_VERSIONS = {"unit": "unit1", "encoder": "encoder1", "texts": "texts1"}
_UNFINISHED = ".new"
# Files of one kind that are kept of a model: of its latest states, and of who may see what.
_NEWEST = 32
_WAIT_SECONDS = 0.02
# Written and brought to the disk at a time: a cancel waits for one of them.
_WRITE_BYTES = 8 << 20


class Matrix(NamedTuple):
    """`unit` is float32 of shape (n, dimension), `ineligible` the rows that no answer may hold."""

    unit: object
    ineligible: object


class Mapped(NamedTuple):
    """An open mapping, and which file it is of."""

    unit: object
    inode: tuple


def require_room(rows, columns, limit):
    """Refuse a matrix of more than `limit` bytes."""
    needed = rows * columns * 4
    if needed > limit:
        raise TooMuchMemory(
            f"the embedding matrix needs {-(-needed >> 20)} MiB, {limit >> 20} MiB are allowed",
            hint=f"Allow it for the session with SET hypercube.matrix_limit = '{-(-needed >> 20)}'.",
        )


def file_name(*digests, kind="unit"):
    """Return the name of the file of a kind that is computed from what has these digests."""
    return "-".join([_VERSIONS[kind], *(bytes(digest).hex() for digest in digests)])


def is_current(path, mapped):
    """Return whether a mapping is of the file that has the name now, at its full size."""
    try:
        return _inode(os.lstat(path)) == mapped.inode
    except OSError:
        return False


def open_mapped(path, rows, columns):
    """Return the Mapped matrix of a file, None where it is missing or of another size."""
    import numpy as np

    try:
        # Not blocking: a pipe with the name of the file would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        # A symbolic link is not followed: what is put in its place is a file.
        if problem.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise NotWritten(shown(os.path.split(path)), problem) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != rows * columns * 4:
            return None
        held = mmap.mmap(descriptor, found.st_size, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)
    unit = np.frombuffer(held, np.float32).reshape(rows, columns)
    return Mapped(unit, _inode(found))


def _inode(status):
    return status.st_dev, status.st_ino, status.st_size


def build(folder, name, size, blocks, *, step):
    """Write a file from blocks of rows, unless another session did so meanwhile.

    Parameters
    ----------
    folder, name : str
        Folders are made, for the server's user alone.
    size : int
        Bytes that the blocks have together; their space is taken before the first is computed.
    blocks : iterable of float32 ndarray
        Not read where the file is found whole.
    step : callable
        ``step(fraction)``, called while waiting and between blocks; may raise, and nothing is left then.

    Raises
    ------
    NotWritten
        The disk is full, or the folder cannot be written.
    """
    path = os.path.join(folder, name)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with _only_builder(folder, step):
            if os.path.lexists(path) and os.lstat(path).st_size == size:
                return
            _write(path, size, blocks, step)
    except OSError as problem:
        if problem.errno is None:
            raise
        raise NotWritten(shown((folder, name)), problem) from None


def shown(path):
    """Return the path of a file as it is told: from the data directory, whose place is nobody's business."""
    folder, name = path
    return os.path.join(FOLDER, os.path.basename(folder), name)


def _write(path, size, blocks, step):
    unfinished = path + _UNFINISHED
    descriptor = os.open(
        unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        os.posix_fallocate(descriptor, 0, size)
        written = 0
        for block in blocks:
            data = memoryview(block).cast("B")
            for start in range(0, len(data), _WRITE_BYTES):
                step(written / size)
                written += _write_all(descriptor, data[start : start + _WRITE_BYTES])
                # A crash of the machine must not leave a file of the right size with nothing in it.
                os.fdatasync(descriptor)
        if written != size:
            raise ValueError(f"{written} bytes for a file of {size}")
        os.rename(unfinished, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    finally:
        os.close(descriptor)
    _sync_folder(os.path.dirname(path))


def _write_all(descriptor, data):
    done = 0
    while done < len(data):
        done += os.write(descriptor, data[done:])
    return done


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _only_builder(folder, step):
    """Hold the folder's lock, which the kernel takes back from a process that dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                step(0.0)
                time.sleep(_WAIT_SECONDS)
        yield
    finally:
        os.close(descriptor)


def folder_problem(parent, folder):
    """Return in words why no file could be made in a folder below another, or None."""
    while folder != parent and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return f"{os.path.basename(folder)} is not a folder: remove it"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"the server may not write to its folder {os.path.basename(folder)}"
    return None


def sweep(folder, wanted, begun=(), *, step):
    """Remove the files of a folder but those that are wanted; return how many went.

    `wanted` are names, `begun` beginnings of names: the few made last of each stay.

    What a process that died left unfinished goes as well.  Sessions that still map a
    removed file keep what they map.  What cannot be removed stays: it is no reason not to answer.
    """
    removed = 0
    with suppress(OSError), _only_builder(folder, step):
        names = [name for name in os.listdir(folder) if name.startswith(tuple(_VERSIONS))]
        kept = set(wanted).union(*(_newest(folder, names, beginning) for beginning in begun))
        for name in names:
            if name not in kept:
                os.unlink(os.path.join(folder, name))
                removed += 1
    return removed


def _newest(folder, names, beginning):
    """Return the names of the few files made last of those that begin so."""
    those = [name for name in names if name.startswith(beginning) and not name.endswith(_UNFINISHED)]
    return sorted(those, key=lambda name: os.lstat(os.path.join(folder, name)).st_mtime_ns)[-_NEWEST:]


def sweep_databases(parent, existing):
    """Remove the folders of databases that are gone; `existing` are the numbers of the others."""
    import shutil

    with suppress(OSError):
        for name in os.listdir(parent):
            if name.isdigit() and int(name) not in existing:
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def sizes(folder):
    """Return the bytes of each file that sessions map, also of one that is being made."""
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith(tuple(_VERSIONS)):
                with suppress(FileNotFoundError):
                    found.append(os.lstat(os.path.join(folder, name)).st_size)
    return found
