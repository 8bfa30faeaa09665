"""A process that ends when the one that started it is gone."""

import ctypes
import os
import signal
import time

from hypercube import lifeline


def test_the_parent_is_taken_only_where_it_is_the_one_that_was_told():
    assert lifeline.parent(ctypes.c_int(os.getppid())) == os.getppid()
    assert lifeline.parent(ctypes.c_int(0)) is None
    assert lifeline.parent(ctypes.c_int(os.getpid())) is None
    assert lifeline.parent(None) is None


def test_nothing_happens_while_the_parent_lives_or_where_there_is_none():
    lifeline.end_without(os.getppid())
    lifeline.end_without(None)


def test_who_lost_its_parent_is_told_to_end():
    """A child whose own child looks after it was killed; what that one writes comes through a pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        parent = os.getpid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(os.write(writing, b"ended") * 0))
            os.write(writing, b"ready ")
            for _ in range(500):
                lifeline.end_without(parent)
                time.sleep(0.01)
            os._exit(1)
        signal.pause()
    os.close(writing)
    assert os.read(reading, 6) == b"ready "
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as said:
        assert said.read() == b"ended"
