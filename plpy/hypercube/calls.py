"""The way in of every function: its calls are counted, and each has an id.

The id is made up only where it is told: by what writes, and by what fails.  A question that is answered pays
for two looks at a clock and two numbers in memory.
"""

import functools
import os
import time

from hypercube import boundary, call_ids, counters

# What PL/Python reports an exception with that has no code of its own.
EXTERNAL = "38000"
# A call that is shorter does not pay for a look at the setting.
_LOGGED_SECONDS = 0.01
# Of the longest duration that is understood, in milliseconds: no call takes a hundred days.
_DIGITS = 10
_NO = ("off", "false", "no", "0")
# What PostgreSQL keeps of application_name; it tells the client of what it does not.
ROOM = 63


class _Call:
    """The outermost call of this session that is not over: its function, and its id once somebody asked."""

    function = id = None


_call = _Call()
_counters = []


def entry(function, *, of_any_version=False):
    """Be boundary.entry; the outermost call is counted, and what it fails with is told with its id."""
    name = function.__name__
    inner = boundary.entry(function, of_any_version=of_any_version)

    @functools.wraps(function)
    def counting(*args, **kwargs):
        if _call.function is not None:
            return inner(*args, **kwargs)
        _call.function = name
        began = time.perf_counter()
        try:
            answer = inner(*args, **kwargs)
        except boundary.SessionEnding:
            raise
        except BaseException as problem:  # noqa: BLE001 - raised again below, without a chain
            _count(name, time.perf_counter() - began, getattr(problem, "sqlstate", None) or EXTERNAL)
            failed, told = problem, _called(_name_failure())
        else:
            seconds = time.perf_counter() - began
            _count(name, seconds)
            if seconds >= _LOGGED_SECONDS:
                _log_if_slow(name, seconds)
            return answer
        finally:
            _call.function = _call.id = None
        try:
            told(failed)
        finally:
            del failed

    return counting


def call_id():
    """Return the id of the call: what the client set hypercube.call_id to, or one that is made up."""
    if _call.id is None:
        _call.id = call_ids.given(boundary.text_setting("hypercube.call_id")) or call_ids.made()
    return _call.id


def named(function, identifier):
    """Return what application_name is while a call writes, and in the log where one failed: the whole id."""
    return f"hypercube {function[: ROOM - len('hypercube  ') - len(identifier)]} {identifier}"


def _name_failure():
    """Show the call as application_name, which the log tells; the rollback takes it back.  Return its id."""
    try:
        boundary.name_session(named(_call.function, call_id()))
    except boundary.StatementError:
        # The failure itself matters more.
        _call.id = _call.id or call_ids.made()
    return _call.id


def _called(identifier):
    """Return a function that raises a problem and is called by the id: PL/Python tells it in CONTEXT."""

    def fail(problem):
        try:
            raise problem
        finally:
            # Its traceback holds this frame, and would hold what the call worked on until it is collected.
            del problem

    fail.__code__ = fail.__code__.replace(co_name=f"call {identifier}")
    return fail


def _log_if_slow(name, seconds):
    least = boundary.text_setting("hypercube.log_min_duration")
    countable = least and least.isascii() and least.isdigit() and len(least) <= _DIGITS
    if countable and seconds * 1000 >= int(least):
        boundary.log(f"call {call_id()}: {name} took {seconds:.3f} s")


def _count(name, seconds, sqlstate=None):
    if not _counters:
        _counters.append(_open())
    if _counters[0] is not None:
        _counters[0].add(name, seconds)
        if sqlstate is not None:
            _counters[0].fail(name, sqlstate)


def _open():
    """Return where this session counts, None where that is switched off or not possible."""
    try:
        if boundary.text_setting("hypercube.metrics") in _NO:
            return None
        return counters.Counters(folder(), os.getpid())
    except (OSError, boundary.StatementError):
        # A call is worth more than its count; metrics() says whether calls of its session are counted.
        return None


def folder():
    """Return the folder in which the sessions of this database count."""
    return os.path.join(boundary.data_directory(), counters.FOLDER, str(boundary.database_number()))


def are_counted():
    """Return whether this session counts its calls."""
    if not _counters:
        _counters.append(_open())
    return _counters[0] is not None
