"""Limits of roles: who is held to which, and what is refused beyond.

Whether a limit is visible is asked with the rights of the caller; where none is, nothing else is
done.  A call that stores something looks at the beginning and, as another one may have stored
something meanwhile, once more when it has the lock of the writers.
"""

import functools
import math
import os
from collections import Counter
from contextlib import contextmanager

from hypercube import allowances, boundary, calls, catalog, rights
from hypercube.errors import (
    InvalidArgument,
    LimitReached,
    NotAllowed,
    NotWritten,
    who_raises,
)

_UNITS = {
    "models": "models",
    "stored_bytes": "stored bytes",
    "documents": "documents",
    "ingests": "ingests at a time",
    "questions": "questions a minute",
    "k": "rows of an answer",
    "batch": "rows of a batch",
}
_OWNED = ("models", "stored_bytes", "documents")


def set_limit(role, what, value):
    """Limit what a role and its members may use; 0 is nothing."""
    setter = _require_admin()
    _check(what)
    if value is None or value < 0:
        raise InvalidArgument(
            f"the limit is out of range: {'null' if value is None else value}",
            hint="Give 0 or more, or take the limit back with SELECT hypercube.unset_limit(role, what).",
        )
    rights.require_role(role, everybody=True)
    boundary.as_owner(lambda: allowances.store(role, what, value, setter))
    sweep()


def unset_limit(role, what):
    """Return whether a role had a limit; it no longer has. The role itself may be gone."""
    _require_admin()
    _check(what)
    if role is not None and boundary.as_owner(lambda: allowances.remove(role, what)):
        sweep()
        return True
    rights.require_role(role, everybody=True)
    return False


def _require_admin():
    role = boundary.caller()
    if not rights.is_member(role, rights.ADMIN):
        raise NotAllowed(
            f'role "{role}" may not decide on limits',
            hint=f"A superuser can call it, or GRANT {rights.ADMIN}.",
        )
    return role


def _check(what):
    if what not in _UNITS:
        raise InvalidArgument(
            "what is limited must not be null" if what is None else f'"{what}" cannot be limited',
            hint=f"Name one of {', '.join(_UNITS)}.",
        )


def sweep():
    """Remove the counters of roles that are gone; return how many went."""
    from hypercube import quotas

    return quotas.sweep(_folder(), allowances.role_numbers())


@functools.lru_cache(maxsize=1)
def _folder():
    from hypercube import mapped

    return mapped.folder()


def _find(what, owner=None):
    """Return the number of a role, the caller's if none is named, and the limit it is held to or None."""
    if not allowances.are_set(what):
        return None, None
    number = boundary.calling_user() if owner is None else allowances.role_number(owner)
    return number, allowances.find(number, what) if number is not None else None


def _refuse(what, found, detail, hint=None):
    role = found["asking"]
    raise LimitReached(
        f'role "{role}" is limited to {found["value"]} {_UNITS[what]}',
        detail=f'{detail} The limit was set for role "{found["role"]}".',
        hint=f"{hint} {who_raises(role, what)}" if hint else who_raises(role, what),
    )


def require(what, coming=1, owner=None, *, turn=False):
    """Refuse what would give a role more than it may own: models, documents or stored bytes.

    Parameters
    ----------
    coming : int
        How much more; less than nothing is never refused.
    owner : str or None
        Whose it will be, the caller's if None.
    turn : bool
        Whether to wait for other sessions that store something for this role, until they commit.  With
        the lock of the writers held, or not needed: who has the turn must not wait for that.

    Raises
    ------
    LimitReached
    StepMissing
        The transaction does not see what others stored meanwhile.
    """
    _, found = _find(what, owner)
    if found is None or coming <= 0:
        return
    role = found["asking"]
    if turn:
        catalog.require_latest_snapshots("what is stored cannot be counted")
        boundary.as_owner(lambda: allowances.take_turn(role))
    used = boundary.read_as_owner(lambda: allowances.used(role, what))
    if used + coming > found["value"]:
        _refuse(what, found, f"{used} are used, {coming} more would be.", "Drop what is not needed.")


def require_texts(names, contents, metadata, *, turn=False):
    """Refuse documents that would give their owners more of them, or more bytes, than they may have.

    Whoever owns a document that is replaced goes on to own it.
    """
    if not (allowances.are_set("documents") or allowances.are_set("stored_bytes")):
        return
    old = {row["name"]: row for row in allowances.documents(names)}
    role = boundary.caller()
    count, size = Counter(), Counter()
    for name, content, told in zip(names, contents, metadata, strict=True):
        owner = old[name]["owner"] if name in old else role
        count[owner] += name not in old
        size[owner] += len(content.encode()) + len((told or "").encode())
        size[owner] -= old[name]["bytes"] if name in old else 0
    for owner in sorted(size):
        require("documents", count[owner], owner, turn=turn)
        require("stored_bytes", size[owner], owner, turn=turn)


def require_gift(what, name, heir):
    """Refuse to give a role a model or document ("models", "documents") that it has no room for."""
    for limited in (what, "stored_bytes"):
        if allowances.are_set(limited):
            size = 1 if limited == what else boundary.read_as_owner(lambda: allowances.size(what, name))
            require(limited, size, heir, turn=True)


def require_part(owner, upload_id, ordinal, size):
    """Refuse a part of an upload that would give its owner more stored bytes than he may have."""
    if allowances.are_set("stored_bytes"):
        before = boundary.read_as_owner(lambda: allowances.part_size(upload_id, ordinal))
        require("stored_bytes", size - before, owner, turn=True)


@contextmanager
def _written():
    """Say which files could not be written."""
    from hypercube import matrix

    try:
        yield
    except OSError as problem:
        if problem.errno is None:
            raise
        name = os.path.basename(problem.filename or "")
        raise NotWritten(matrix.shown((_folder(), name)), problem) from None


def charge(questions=1):
    """Count questions of the caller, or refuse them; what is counted stays so in a transaction that fails.

    Raises
    ------
    LimitReached
    """
    if questions >= 1 and allowances.are_set("questions"):
        charge_caller(questions)


def charge_caller(questions=1):
    """The same where it is known that there are limits of questions."""
    number = boundary.calling_user()
    found = allowances.find(number, "questions")
    if found is None:
        return
    from hypercube import quotas

    with _written():
        taken = quotas.charge(_folder(), number, found["value"], questions, step=boundary.tick)
    if taken.allowed:
        return
    if math.isfinite(taken.seconds):
        hint = f"Ask again in {math.ceil(taken.seconds)} s."
    else:
        hint = "Ask fewer at once." if found["value"] else None
    _refuse("questions", found, f"{questions} asked, {math.floor(taken.left)} left.", hint)


def question(function):
    """Make a function of a wrapper that is one question: it is counted first."""

    @functools.wraps(function)
    def counted(*args):
        charge()
        return function(*args)

    return calls.entry(counted)


def one_ingest(function):
    """Make a function one of the ingests that its caller runs at a time, from its begin to its end."""

    @functools.wraps(function)
    def running(*args, **kwargs):
        number, found = _find("ingests")
        if found is None:
            return function(*args, **kwargs)
        from hypercube import quotas

        with _written():
            slot, held = quotas.take_slot(_folder(), number, found["value"], step=boundary.tick)
        if slot is None:
            _refuse("ingests", found, f"{held} are running or waiting.", "Try again when one has ended.")
        try:
            return function(*args, **kwargs)
        finally:
            quotas.release(slot)

    return running


def used(what):
    """Return how much of a limit the caller uses, None for what is not counted."""
    number, found = _find(what)
    if found is None or what in ("k", "batch"):
        return None
    if what in _OWNED:
        return boundary.read_as_owner(lambda: allowances.used(found["asking"], what))
    from hypercube import quotas

    with _written():
        if what == "ingests":
            return quotas.busy(_folder(), number, step=boundary.tick)
        left = quotas.charge(_folder(), number, found["value"], 0, step=boundary.tick).left
        return math.ceil(found["value"] - left)
