"""Calls that failed, in a file of the data directory: what a transaction wrote about them would go with it.

One line of JSON each, with the BLAKE3 of the line before, appended under a lock.  Sessions that write
the audit take the lines in from where the last one stopped; when all are in committed rows, the file is
emptied.  Beside it a second file of fixed size counts what found no room, and keeps the digest of the
last line that was there before.
"""

import fcntl
import json
import os
import stat
import time
import uuid
from contextlib import contextmanager
from typing import NamedTuple

from blake3 import blake3

# Backups leave out what begins with pgsql_tmp; this is not to be left out.
FOLDER = "hypercube_audit"
FILE_LIMIT = 16 << 20
LINE_LIMIT = 16 << 10
_LOCK_SECONDS = 1.0
_WAIT_SECONDS = 0.01
_NO_DIGEST = bytes(32)


class Taken(NamedTuple):
    """What was read: `lines` as dicts, from which file, up to where, and how much there is.

    `generation` is the id of the first line since the file was emptied last, and the digest of the last
    that was read: on a standby a copy of the file went on with other lines.  `end` is the offset behind the
    lines, `undescribed` how many attempts found no room since the file was made.
    """

    lines: list
    generation: str | None
    end: int
    size: int
    undescribed: int


def pending(parent, name):
    """Return whether there is anything to take in; costs a look at the size of a file."""
    try:
        return os.lstat(os.path.join(parent, FOLDER, name + ".jsonl")).st_size > 0
    except OSError:
        return False


def append(parent, name, attempt, *, limit=FILE_LIMIT):
    """Write down an attempt, a dict of what JSON can hold; or count it where the file is full.

    Raises
    ------
    OSError
        It could not be written: no right, no room, no regular file, or a lock that is not given back.
    """
    folder = os.path.join(parent, FOLDER)
    with _folder(folder) as inside, _locked(inside, name, os.O_RDWR | os.O_APPEND | os.O_CREAT) as lines:
        size = os.fstat(lines).st_size
        with _open(inside, name + ".state", os.O_RDWR | os.O_CREAT) as state:
            count, last = _state(state)
            tail = _last_line(lines, size) if size else b""
            # A machine that stopped may have cut off the last line: what follows is another one.
            mended = b"\n" if tail and not tail.endswith(b"\n") else b""
            before = blake3(tail + mended).digest() if tail else last
            told = {"id": str(uuid.uuid4()), **attempt, "before": before.hex()}
            line = mended + json.dumps(told, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
            if size + len(line) > limit or len(line) > LINE_LIMIT:
                os.pwrite(state, (count + 1).to_bytes(8, "big") + last, 0)
            elif os.write(lines, line) != len(line):
                os.ftruncate(lines, size)
                raise OSError(28, os.strerror(28))


def read(parent, name, generation, offset, most):
    """Return the Taken lines behind an offset of a generation, from the first where it is another one.

    A line that cannot be read is None; one whose digest of the line before is not that of the line before
    has a true "broken".
    """
    folder = os.path.join(parent, FOLDER)
    with _folder(folder) as inside, _locked(inside, name, os.O_RDONLY) as lines:
        size = os.fstat(lines).st_size
        with _open(inside, name + ".state", os.O_RDONLY | os.O_CREAT) as state:
            undescribed, before = _state(state)
        content = os.pread(lines, size, 0)
    rows = content.splitlines(keepends=True)
    found = (_parsed(rows[0]) or {}).get("id") if rows else None
    start = offset if offset <= size and generation == _generation(found, content[:offset]) else 0
    taken, end, place = [], start, 0
    for row in rows:
        line = _parsed(row)
        if place >= start:
            if len(taken) == most:
                break
            if line is not None and line.get("before") != before.hex():
                line["broken"] = True
            taken.append(line)
            end = place + len(row)
        before = blake3(row).digest()
        place += len(row)
    generation = _generation(found, content[:end]) if rows else None
    return Taken(taken, generation, end, size, undescribed)


def empty(parent, name, generation, size):
    """Empty the file if it is still of that generation and size; return whether it was."""
    folder = os.path.join(parent, FOLDER)
    with _folder(folder) as inside, _locked(inside, name, os.O_RDWR) as lines:
        if os.fstat(lines).st_size != size:
            return False
        first = _parsed(os.pread(lines, LINE_LIMIT, 0).split(b"\n", 1)[0]) or {}
        if str(first.get("id")) != (generation or "").partition(" ")[0]:
            return False
        with _open(inside, name + ".state", os.O_RDWR | os.O_CREAT) as state:
            count, _ = _state(state)
            last = blake3(_last_line(lines, size)).digest()
            os.pwrite(state, count.to_bytes(8, "big") + last, 0)
        os.ftruncate(lines, 0)
    return True


def _parsed(line):
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _generation(first, content):
    """Return what tells a file that begins with the line of an id and goes on like this from all others."""
    return f"{first} {blake3(_end_of(content)).hexdigest()}"


def _last_line(descriptor, size):
    return _end_of(os.pread(descriptor, LINE_LIMIT + 1, max(0, size - LINE_LIMIT - 1)))


def _end_of(content):
    return content[content.rfind(b"\n", 0, -1) + 1 :]


def _state(descriptor):
    """Return how many attempts found no room, and the digest of the last line before the file was emptied."""
    found = os.pread(descriptor, 40, 0)
    if len(found) < 40:
        return 0, _NO_DIGEST
    return int.from_bytes(found[:8], "big"), found[8:]


@contextmanager
def _folder(path):
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _open(folder, name, flags):
    # Not blocking: a pipe with the name of the file would wait for somebody at its other end.
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(22, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder, name, flags):
    """Open the file of lines and hold its lock, which the kernel takes back from a process that dies."""
    with _open(folder, name + ".jsonl", flags) as descriptor:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(_WAIT_SECONDS)
        yield descriptor
