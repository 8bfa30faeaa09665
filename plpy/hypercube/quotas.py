"""Counters of roles that all sessions share: a bucket of questions, and slots of calls at a time.

They are files of the server's user, in which no transaction is rolled back and which a
standby can write too.  The kernel takes the locks back from a process that dies.
"""

import errno
import fcntl
import math
import os
import stat
import struct
import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

_RECORD = struct.Struct("<8sddd")
_MAGIC = b"hcrate1\n"
_WAIT_SECONDS = 0.001


class Bucket(NamedTuple):
    """Questions that are left, and when that was: by the clock of the wall, and by one that never jumps."""

    left: float
    wall: float
    steady: float


class Taken(NamedTuple):
    """Whether questions were taken, how many are left, and in how many seconds there are enough."""

    allowed: bool
    left: float
    seconds: float


def refill(bucket, capacity, wall, steady):
    """Return a Bucket as it is by now.

    It gains `capacity` a minute and never holds more.  The time that has passed is the
    shorter of what the two clocks say, so that setting the clock gives nothing away; the
    steady one begins again with the machine, and counts only while it goes on.
    """
    passed = wall - bucket.wall
    if steady >= bucket.steady:
        passed = min(passed, steady - bucket.steady)
    gained = capacity / 60.0 * max(0.0, passed)
    return Bucket(min(float(capacity), max(0.0, bucket.left) + gained), wall, steady)


def take(bucket, capacity, count):
    """Return the Bucket without `count` questions, and what came of it; all of them or none are taken."""
    if count <= bucket.left:
        return bucket._replace(left=bucket.left - count), Taken(True, bucket.left - count, 0.0)
    seconds = (count - bucket.left) * 60.0 / capacity if count <= capacity else math.inf
    return bucket, Taken(False, bucket.left, seconds)


def encode(bucket):
    """Return the 32 bytes of a Bucket."""
    return _RECORD.pack(_MAGIC, *bucket)


def decode(data):
    """Return the Bucket of 32 bytes, None where they are none: it begins full."""
    if len(data) != _RECORD.size:
        return None
    magic, *numbers = _RECORD.unpack(data)
    return Bucket(*numbers) if magic == _MAGIC and all(map(math.isfinite, numbers)) else None


def clocks():
    """Return the seconds of the wall's clock and of the steady one, which is the same for all processes."""
    return time.time(), time.monotonic()


def charge(folder, role, capacity, count, *, step, now=clocks):
    """Take questions out of the bucket of a role; return Taken.

    Parameters
    ----------
    folder : str
        Is made where it is missing, for the server's user alone.
    role : int
        Number of the role.
    capacity : int
        Questions a minute, and at once.
    count : int
        0 only looks.
    step : callable
        ``step()``, called while waiting; may raise.

    Raises
    ------
    OSError
        The file cannot be written, or what has its name is no file.
    """
    with _counter(folder, role, step) as descriptor:
        wall, steady = now()
        data = os.pread(descriptor, _RECORD.size + 1, 0)
        held = decode(data) or Bucket(float(capacity), wall, steady)
        bucket, taken = take(refill(held, capacity, wall, steady), capacity, count)
        # Also after a refusal: where the clock was set back, time goes on from here.
        os.pwrite(descriptor, encode(bucket), 0)
        if len(data) > _RECORD.size:
            os.ftruncate(descriptor, _RECORD.size)
        return taken


def take_slot(folder, role, most, *, step):
    """Return a slot of a role to `release`, None where `most` are held; and how many were held before."""
    with _counter(folder, role, step):
        free, held = _slots(folder, role, most)
    if free is not None and held >= most:
        release(free)
        free = None
    return free, held


def release(slot):
    """Give a slot back."""
    # The lock belongs to the open file, of which a child process may have a copy.
    fcntl.flock(slot, fcntl.LOCK_UN)
    os.close(slot)


def busy(folder, role, *, step):
    """Return how many slots of a role are held."""
    with _counter(folder, role, step):
        return _slots(folder, role, 0)[1]


def _slots(folder, role, most):
    """Return the first free slot below `most`, locked, or None; and how many are held."""
    beginning = f"slot-{role}-"
    numbers = [name[len(beginning) :] for name in os.listdir(folder) if name.startswith(beginning)]
    there = {int(number) for number in numbers if number.isdigit()}
    free, held = None, 0
    try:
        # One more than there are is enough: no more can be held.
        for number in sorted(there | set(range(min(most, len(there) + 1)))):
            slot = _lock(folder, f"{beginning}{number}")
            if slot is None:
                held += 1
            elif free is None and number < most:
                free = slot
            else:
                release(slot)
    except BaseException:
        if free is not None:
            release(free)
        raise
    return free, held


def sweep(folder, roles):
    """Remove the files of roles that are gone; return how many went. What cannot be removed stays."""
    removed = 0
    with suppress(OSError):
        for name in os.listdir(folder):
            kind, _, rest = name.partition("-")
            number = rest.partition("-")[0]
            if kind in ("rate", "slot") and number.isdigit() and int(number) not in roles:
                os.unlink(os.path.join(folder, name))
                removed += 1
    return removed


@contextmanager
def _counter(folder, role, step):
    """Open the file of a role and hold its lock: for microseconds, whoever has it."""
    name = f"rate-{role}"
    try:
        descriptor = _lock(folder, name)
    except FileNotFoundError:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor = _lock(folder, name)
    while descriptor is None:
        step()
        time.sleep(_WAIT_SECONDS)
        descriptor = _lock(folder, name)
    try:
        yield descriptor
    finally:
        release(descriptor)


def _lock(folder, name):
    """Return the descriptor of a file that is made where it is missing, None where another holds its lock."""
    descriptor = _open(folder, name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(folder, name):
    # Not blocking, and no symbolic link: nothing that was put in its place is waited for or written to.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(os.path.join(folder, name), flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    return descriptor
