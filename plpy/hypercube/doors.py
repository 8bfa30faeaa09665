"""Calls that write: a refusal or an error of one is kept, though all that its transaction wrote is not."""

import functools

from hypercube import boundary, calls
from hypercube.errors import ReadOnly, reported_as
from hypercube.progress import named_session

# Arguments that name something; of the others only the type and the size are told.
_NAMES = {
    "path", "source", "name", "model", "documents", "directory", "upload_id", "ordinal", "role",
    "what", "value", "number", "older_than", "of_chain", "neighbors", "store", "tokenizer", "language",
    "replace", "vectors", "label", "kind", "composition", "m", "ef_construction", "window_size",
    "minimum_count", "names",
}  # fmt: skip
_SHOWN = 100
_MESSAGE = 500

_calls = []


def door(function):
    """Be a way in like calls.entry, for a function that writes: keep what it was refused.

    Where nothing can be written it is refused before it computes anything.
    """

    @functools.wraps(function)
    def writing(*args, **kwargs):
        require_writable()
        return function(*args, **kwargs)

    return _keeping(function, writing)


def reading_door(function):
    """The same for a function that answers also where the audit of it cannot be written."""
    return _keeping(function, function)


def require_writable():
    """Refuse on a standby, in a transaction that only reads, and after an update that this session missed.

    Raises
    ------
    ReadOnly, OtherVersion
    """
    boundary.require_same_version()
    found = boundary.rows(
        "SELECT current_setting('transaction_read_only') AS refused, pg_is_in_recovery() AS standby"
    )[0]
    if found["refused"] == "on":
        raise ReadOnly(standby=found["standby"])


def _keeping(function, work):
    names = function.__code__.co_varnames[: function.__code__.co_argcount]

    def run(args, kwargs):
        try:
            return work(*args, **kwargs)
        except boundary.SessionEnding:
            raise
        except BaseException as problem:
            # Of doors within a door, the outer one fails as well.
            if len(_calls) == 1:
                _keep(function.__name__, dict(zip(names, args, strict=False)) | kwargs, problem)
            raise

    @functools.wraps(function)
    def keeping(*args, **kwargs):
        _calls.append(function.__name__)
        try:
            with named_session(function.__name__):
                return run(args, kwargs)
        finally:
            _calls.pop()

    return calls.entry(keeping)


def announce(function, arguments):
    """Keep that a call is about to write files: a rollback takes back its entry, but not them."""
    _append(function, {"arguments": arguments, "outcome": "begun", "sqlstate": None, "message": None})


def _keep(function, arguments, problem):
    shown = {name: _shown(name, value) for name, value in arguments.items() if value is not None}
    if isinstance(problem, MemoryError):
        sqlstate = reported_as(problem)[1]
    else:
        sqlstate = getattr(problem, "sqlstate", None) or calls.EXTERNAL
    _append(function, {"arguments": shown, "sqlstate": sqlstate, "message": str(problem)[:_MESSAGE]})


def _append(function, what):
    # Inside: who is not refused does not pay for them.
    from hypercube import attempts, entries

    session = entries.session()
    told = {
        "at": session["at"],
        "session_role": session["session_role"],
        "role": session["role"],
        "pid": session["pid"],
        "client_addr": session["client_addr"],
        "client_port": session["client_port"],
        "application": session["application"],
        "call": session["call"],
        "function": function,
        **what,
    }
    try:
        attempts.append(boundary.data_directory(), session["database"], told)
    except OSError as failure:
        boundary.warning(f"a call of {function} could not be kept ({failure.strerror}): see the server's log")


def _shown(name, value):
    if name in _NAMES and isinstance(value, (str, int)):
        return str(value)[:_SHOWN]
    if name in _NAMES and isinstance(value, bytes) and len(value) == 32:
        return value.hex()
    size = f" of {len(value)}" if isinstance(value, (str, bytes, list, dict)) else ""
    return f"{type(value).__name__}{size}"
