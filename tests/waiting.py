"""A statement that has to wait for what another session did and has not ended."""

import threading
import time

import psycopg

from rows import one

WRITERS = "LOCK TABLE hypercube.writer_turn IN SHARE ROW EXCLUSIVE MODE"
_PATIENCE = 20


class Waiting:
    """A statement that waits: ``with db.transaction(): ...; asked = Waiting(ann, "SELECT ...", db)``."""

    def __init__(self, connection, statement, blocker):
        """Run a statement in a thread; return when it waits for `blocker`, which holds a lock."""
        self._value = self._error = None
        self._asking = threading.Thread(target=self._ask, args=(connection, statement))
        self._asking.start()
        blocked = "SELECT %s = ANY (pg_blocking_pids(%s))"
        until = time.monotonic() + _PATIENCE
        while not one(blocker, blocked, blocker.info.backend_pid, connection.info.backend_pid):
            assert self._asking.is_alive(), f"{statement} did not wait: {self._error or self._value}"
            assert time.monotonic() < until, f"{statement} waits for somebody else"
            time.sleep(0.02)

    def _ask(self, connection, statement):
        try:
            self._value = one(connection, statement)
        except psycopg.Error as error:
            self._error = error

    def value(self):
        """Return the first column, after the lock was given back."""
        self._asking.join(_PATIENCE)
        assert not self._asking.is_alive() and self._error is None, self._error
        return self._value

    def error(self):
        """Return the error that it ended with."""
        self._asking.join(_PATIENCE)
        assert not self._asking.is_alive() and self._error is not None, self._value
        return self._error
