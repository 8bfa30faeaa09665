"""The only module that talks to the server it runs in.

Owns the way in (a refusal becomes a PostgreSQL error), statements with bound
arguments, notices, and the poll that makes long work cancellable.
"""

import ctypes
import functools
import select
import time

import plpy
from plpy import spiexceptions

from hypercube import __version__, lifeline
from hypercube.errors import (
    ClientGone,
    HypercubeError,
    InvalidArgument,
    NotAllowed,
    OtherVersion,
    reported_as,
)

_POLL_SECONDS = 0.1
# What a statement failed with.
StatementError = plpy.SPIError
Canceled = spiexceptions.QueryCanceled


class _Refusal(plpy.Error):
    """What PL/Python turns into a PostgreSQL error with these fields."""

    def __init__(self, message, sqlstate, detail, hint):
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint


# PL/Python puts the name of the exception in front of the message: this one tells the user something.
_Refusal.__name__ = "hypercube"
_Refusal.__module__ = "builtins"


def require_same_version():
    """Refuse where package and extension have different versions."""
    found = rows("SELECT extversion AS version FROM pg_extension WHERE extname = 'hypercube'")[0]["version"]
    if found != __version__:
        raise OtherVersion(found, __version__)


# Asked until they agree, not again: what only reads pays for it once in a session.
_match = functools.cache(require_same_version)


def entry(function, *, of_any_version=False):
    """Let a refusal leave Python as a PostgreSQL error with its own SQLSTATE.

    Those of the lookup that is shared with SQL (an unknown model) are refusals
    too; anything else is a defect or a statement's own error and passes through.
    """

    @functools.wraps(function)
    def reporting(*args, **kwargs):
        try:
            if not of_any_version:
                _match()
            return function(*args, **kwargs)
        except SessionEnding:
            plpy.execute("SELECT 1")
            raise
        except (HypercubeError, MemoryError) as refusal:
            reported = _Refusal(*reported_as(refusal))
        except spiexceptions.UndefinedObject as refusal:
            reported = _Refusal(str(refusal), refusal.sqlstate, *refusal.spidata[1:3])
        # Outside the handlers, so that the report carries no chained traceback.
        raise reported

    return reporting


@functools.cache
def _plan(sql, types):
    return plpy.prepare(sql, list(types))


def rows(sql, *, types=(), args=()):
    """Run a statement with bound arguments and return its rows as dicts."""
    return list(_plan(sql, types).execute(list(args)))


def try_rows(sql):
    """Run a statement that says NOWAIT; return whether it did not have to wait."""
    try:
        plpy.execute(sql)
    except spiexceptions.LockNotAvailable:
        return False
    return True


def write(sql, *, types=(), args=()):
    """Run a writing statement and return how many rows it touched."""
    return _plan(sql, types).execute(list(args)).nrows()


@functools.cache
def _plan_of(relation, sql, types):
    return plpy.prepare(sql, list(types))


def rows_of_trigger(relation, sql, *, types=(), args=()):
    """Run a statement on what a trigger calls its rows: a plan of its own for each relation (a number)."""
    return list(_plan_of(relation, sql, types).execute(list(args)))


def rows_of_snapshot(sql, *, types=(), args=()):
    """Run a statement that locks rows; None if one of them changed after the snapshot of the transaction."""
    try:
        return rows(sql, types=types, args=args)
    except spiexceptions.SerializationFailure:
        return None


def notice(message):
    """Tell the own client something at once."""
    plpy.notice(message)


def warning(message):
    """Tell the own client and the log of the server that something did not work."""
    plpy.warning(message)


def log(message):
    """Tell the log of the server something."""
    plpy.log(message)


def name_session(text):
    """Set application_name, which every other session sees, to the end of the transaction; 63 bytes of it."""
    rows("SELECT set_config('application_name', $1, true)", types=("text",), args=(text,))


def text_setting(name):
    """Return a setting of the session as text, None where there is none."""
    return rows("SELECT current_setting($1, true) AS value", types=("text",), args=(name,))[0]["value"]


def setting(name, default):
    """Return a setting of the session that is a count."""
    return count(name, text_setting(name), default)


def count(name, text, default):
    """Return the value of a setting that is a count from its text; NULL and '' are the default."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise InvalidArgument(
            f'{name} is not a count: "{text}"', hint=f"SET {name} = '{default}' is the default."
        )
    return int(text)


def data_directory():
    """Return the folder of the cluster; the setting of that name is not for everybody to read."""
    return ctypes.c_char_p.in_dll(ctypes.CDLL(None), "DataDir").value.decode()


def database_number():
    """Return the object id of the database, without a statement."""
    return _server_variable(ctypes.c_uint, "MyDatabaseId").value


_SECURITY_RESTRICTED_OPERATION = 2

_acting = []
_waiting = []
_gathered = {}


def caller():
    """Return the role that called: whose rights every decision is made with.

    Raises
    ------
    NotAllowed
        Inside an index expression, a materialized view or maintenance, where a
        function runs for whoever reads or maintains the table, not for who wrote it.
    """
    user, context = _acting[-1] if _acting else _current_user()
    if context & _SECURITY_RESTRICTED_OPERATION:
        raise NotAllowed(
            "this function cannot be called from an index, a materialized view or maintenance",
            hint="Call it in a statement of its own.",
        )
    return rows("SELECT pg_get_userbyid($1)::text AS name", types=("oid",), args=(user,))[0]["name"]


def calling_user():
    """Return the number of the role that `caller` names; it decides nothing, and is never refused."""
    return (_acting[-1] if _acting else _current_user())[0]


@functools.cache
def _server():
    return ctypes.CDLL(None)


def _current_user():
    """Return the number of the current role, and the context that it works in."""
    user, context = ctypes.c_uint(), ctypes.c_int()
    _server().GetUserIdAndSecContext(ctypes.byref(user), ctypes.byref(context))
    return user.value, context.value


class _Work:
    """What is to be done with the rights of the owner of the extension, and how it ended."""

    def __init__(self, function):
        self.function = function
        self.user = _current_user()
        self.answer = self.problem = None


def as_owner(function):
    """Call a function with the rights of the owner of the extension, and return what it returns.

    The only way to write.  Whatever decides about a request runs before, with the rights of the
    caller and under row-level security; what it decided is carried out here.
    """
    if _acting:
        return function()
    caller()
    return _with_rights(_Work(function), "SELECT hypercube._as_owner()")


def acts_as_owner():
    """Return whether what runs now was begun by as_owner: not by a statement of somebody with such rights."""
    return bool(_acting)


def gathered(finish):
    """Return the dict that `finish` is called with before what as_owner began returns; gone if it fails."""
    return _gathered.setdefault(finish, {})


def read_as_owner(function):
    """The same for a function that only reads: it sees what the statement around it sees."""
    return function() if _acting else _with_rights(_Work(function), "SELECT hypercube._read_as_owner()")


def _with_rights(work, statement):
    _waiting.append(work)
    try:
        rows(statement)
    finally:
        if work in _waiting:
            _waiting.remove(work)
        if work.problem is not None:
            # As it was raised: on its way through the server it became text.
            raise work.problem
    return work.answer


def run_waiting():
    """Do what as_owner or read_as_owner was asked to do: the body of the two functions with more rights.

    Nothing waits unless Python code of this package put it there in the same session, so a call
    from SQL finds nothing.
    """
    if not _waiting:
        raise NotAllowed(
            "this function is for hypercube itself", hint="Call one of the functions that are documented."
        )
    work = _waiting.pop()
    _acting.append(work.user)
    try:
        work.answer = work.function()
        for finish, gathered in _gathered.items():
            finish(gathered)
    except BaseException as problem:
        work.problem = problem
        raise
    finally:
        _acting.pop()
        _gathered.clear()


def _server_variable(kind, name):
    """Return a global variable of the server program, or None where it is not exported."""
    try:
        return kind.in_dll(ctypes.CDLL(None), name)
    except ValueError:
        return None


class SessionEnding(Exception):
    """The session was told to end: the way out of Python comes first, then the server's own."""


class _Poll:
    """Notice a cancel, a timeout or a lost client; costs well under a microsecond.

    The server sets ``InterruptPending`` in its signal handlers; a statement then
    acts on it.  Where the symbol is missing, a statement every 0.1 s asks instead.
    The end of a session would exit from within that statement, while other threads
    compute: it is raised first, so that they have ended by then.
    ``MyProcPort`` points to a struct whose first member is the client's socket.
    """

    def __init__(self):
        self._pending = _server_variable(ctypes.c_int, "InterruptPending")
        self._ending = [
            flag
            for name in ("ProcDiePending", "ClientConnectionLost")
            if (flag := _server_variable(ctypes.c_int, name)) is not None
        ]
        self._asked = time.monotonic()
        self._postmaster = lifeline.parent(_server_variable(ctypes.c_int, "PostmasterPid"))
        self._client = None
        port = _server_variable(ctypes.c_void_p, "MyProcPort")
        if port is not None and port.value:
            descriptor = ctypes.c_int.from_address(port.value).value
            if descriptor >= 0:
                self._client = select.poll()
                self._client.register(descriptor, select.POLLRDHUP)

    def __call__(self):
        interrupted = self._pending is not None and self._pending.value
        now = time.monotonic()
        if not interrupted and now - self._asked < _POLL_SECONDS:
            return
        self._asked = now
        lifeline.end_without(self._postmaster)
        if any(flag.value for flag in self._ending):
            raise SessionEnding
        if self._client is not None and self._client.poll(0):
            raise ClientGone
        if interrupted or self._pending is None:
            plpy.execute("SELECT 1")


@functools.lru_cache(maxsize=1)
def _poll():
    return _Poll()


def tick(fraction=0.0):
    """Stop here if the caller cancelled, timed out or went away."""
    _poll()()


def cancel_is_immediate():
    """Return whether cancel is seen through the server's own flag, not by a statement every 0.1 s."""
    return _poll()._pending is not None
