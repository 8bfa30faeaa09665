"""How often functions were called, how long they took and what they failed with, summed over all sessions.

A session counts in a file of its own that it has mapped: no lock is taken, no transaction rolls a count back,
and a standby can count too.  Files belong to no session in particular: a new one goes on in the file of one
that has ended, so that there are as many as there were sessions at once, and no count is lost.

A file is a header of one record and records of 192 bytes: a key of 64 bytes, `function` or
`function/SQLSTATE`, and 16 doubles.  Of a function these are the seconds and how many calls fell into
each bucket; of a failure how often it happened.
"""

import bisect
import errno
import fcntl
import mmap
import os
import re
import stat
from contextlib import suppress

# Programs that copy a cluster leave out what begins so.
FOLDER = "pgsql_tmp_hypercube_calls"
# Upper bounds of the buckets in seconds; the last has none.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
SIZE = 64 << 10
# What is counted where a file has no record left.
OTHER = "other"

_MAGIC = b"hccalls1"
_KEY, _VALUES = 64, 16
_RECORD = _KEY + 8 * _VALUES
_DOUBLES = _RECORD // 8
# Records for what has one, and for OTHER and what it failed with.
_SPARE = 16
_ROOM = SIZE // _RECORD - 1 - _SPARE
_KEYS = re.compile(r"[a-z_][a-z0-9_]*(/[0-9A-Z]{5})?")


class Counters:
    """The file that this process counts in, locked until it ends.

    Parameters
    ----------
    folder : str
        Is made where it is missing, for the user of this process alone.
    first : int
        Which file to try first, modulo how many there are: so that not all begin at the same.

    Raises
    ------
    OSError
        No file could be made, or what has its name is no file.
    """

    def __init__(self, folder, first=0):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._descriptor = _take(folder, first)
        try:
            # Its space is taken now: a full disk must not end the process at a write to the mapping.
            os.posix_fallocate(self._descriptor, 0, SIZE)
            self._map = mmap.mmap(self._descriptor, SIZE)
        except BaseException:
            os.close(self._descriptor)
            raise
        if self._map[: len(_MAGIC)] != _MAGIC:
            self._map[:] = bytes(SIZE)
            self._map[: len(_MAGIC)] = _MAGIC
        self._doubles = memoryview(self._map).cast("d")
        self._places = {}
        for number in range(1, 1 + self._count()):
            self._places[_key(self._map[number * _RECORD : number * _RECORD + _KEY])] = self._values(number)

    def close(self):
        """Leave the file to another process."""
        self._doubles.release()
        self._map.close()
        # The lock belongs to the open file, of which a child process may have a copy.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def add(self, function, seconds):
        """Count a call."""
        doubles = self._doubles
        place = self._places.get(function) or self._new(function)
        doubles[place] += seconds
        doubles[place + 1 + bisect.bisect_left(BOUNDS, seconds)] += 1.0

    def fail(self, function, sqlstate):
        """Count what a call failed with, besides the call."""
        key = f"{function}/{sqlstate}"
        self._doubles[self._places.get(key) or self._new(key)] += 1.0

    @staticmethod
    def _values(number):
        return number * _DOUBLES + _KEY // 8

    def _count(self):
        return min(int.from_bytes(self._map[8:12], "little"), _ROOM + _SPARE - 1)

    def _new(self, key):
        """Return the place of the values of a key that has none yet; where there is no room, of OTHER."""
        function, _, sqlstate = key.partition("/")
        number = self._count() + 1
        room = _ROOM + _SPARE if function == OTHER else _ROOM
        if not _KEYS.fullmatch(key) or len(key) > _KEY or number >= room:
            other = f"{OTHER}/{sqlstate}" if sqlstate else OTHER
            if key == other:
                # More codes than there are records to spare: the last record is never read.
                return self._values(_ROOM + _SPARE)
            return self._places.get(other) or self._new(other)
        start = number * _RECORD
        self._map[start : start + _RECORD] = key.encode().ljust(_KEY, b"\0") + bytes(8 * _VALUES)
        # Whoever reads meanwhile believes the count.
        self._map[8:12] = number.to_bytes(4, "little")
        self._places[key] = self._values(number)
        return self._places[key]


def _take(folder, first):
    """Return the descriptor of a file that no other process has, locked."""
    numbers = sorted(int(name) for name in os.listdir(folder) if name.isascii() and name.isdigit())
    turn = first % len(numbers) if numbers else 0
    new = 0
    for number in (*numbers[turn:], *numbers[:turn]):
        descriptor = _lock(folder, number)
        if descriptor is not None:
            return descriptor
    while True:
        if new not in numbers:
            descriptor = _lock(folder, new)
            if descriptor is not None:
                return descriptor
        new += 1


def _lock(folder, number):
    # Not blocking, and no symbolic link: nothing that was put in its place is waited for or written to.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(os.path.join(folder, str(number)), flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(number))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _key(data):
    return data.rstrip(b"\0").decode("ascii", "replace")


def total(folder):
    """Return what all sessions counted, also those that have ended.

    Returns
    -------
    calls : dict of str to (float, list of int)
        Of each function the seconds, and how many calls fell into each bucket.
    failures : dict of (str, str) to int
        Of each function and SQLSTATE how often it failed so.

    Notes
    -----
    A file that is none of ours is left out, and of a file that was torn what cannot be.  Files are read, not
    mapped.  A call that is being counted may be in one of its two numbers and not yet in the other.
    """
    calls, failures = {}, {}
    for name in _names(folder):
        for key, values in _records(os.path.join(folder, name)):
            function, _, sqlstate = key.partition("/")
            if sqlstate:
                failures[function, sqlstate] = failures.get((function, sqlstate), 0) + int(values[0])
            else:
                seconds, buckets = calls.get(function, (0.0, [0] * (len(BOUNDS) + 1)))
                added = [old + int(new) for old, new in zip(buckets, values[1:], strict=True)]
                calls[function] = seconds + values[0], added
    return calls, failures


def _names(folder):
    # A folder that cannot be read holds nothing for anybody; who could not count in it says so.
    with suppress(OSError):
        return [name for name in os.listdir(folder) if name.isascii() and name.isdigit()]
    return []


def _records(path):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        data = os.pread(descriptor, SIZE, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    if len(data) != SIZE or data[: len(_MAGIC)] != _MAGIC:
        return
    count = min(int.from_bytes(data[8:12], "little"), _ROOM + _SPARE - 1)
    for start in range(_RECORD, (count + 1) * _RECORD, _RECORD):
        key = _key(data[start : start + _KEY])
        values = memoryview(data)[start + _KEY : start + _RECORD].cast("d").tolist()
        # Neither NaN nor infinite, and no fewer than none.
        if _KEYS.fullmatch(key) and all(0.0 <= value < 2.0**53 for value in values):
            yield key, values
