"""The audit: what is written into it, by triggers and doors, and how it is checked, sealed and shortened.

Every entry goes through `_append`, which makes it a part of the chain.  What the entries of a statement
look like stands in ``changes``; the chain itself in ``chain``; calls that failed in ``attempts``.
"""

import json
import math
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime

from blake3 import blake3

from hypercube import attempts, boundary, call_ids, chain, entries
from hypercube.errors import InvalidArgument, Locked, NotAllowed, StepMissing, UnknownSegment

_COLLECTED = 1_000
_READ = 1_000
_EMPTY = dict.fromkeys(chain.FIELDS)
# What a line about a failed call says as text.
_TOLD = ("session_role", "role", "client_addr", "application", "sqlstate", "message")

# Whether what changes the tables of the audit now is this module.
_own = []


def record(operation, kind, key, detail=None):
    """Write that something was done that changed no row: an export, a verification.

    Nothing is written in a read-only transaction or on a standby.

    Parameters
    ----------
    operation, kind, key : str
        For example "export", "model" and the name of the model.
    detail : dict or None
        What JSON can hold.
    """
    if entries.can_write():
        write([{"operation": operation, "kind": kind, "objects": spelled([key]), "detail": spelled(detail)}])


def spelled(told):
    """Return what JSON can hold as JSON that PostgreSQL can store, None as None."""
    return None if told is None else json.dumps(_storable(told), ensure_ascii=False)


def _storable(told):
    """Return the same with texts that the server can store; in the finished JSON one could not tell them."""
    if isinstance(told, str):
        return clean(told)
    if isinstance(told, dict):
        return {clean(key): _storable(value) for key, value in told.items()}
    if isinstance(told, (list, tuple)):
        return [_storable(value) for value in told]
    # JSON has no NaN and no infinity.
    return str(told) if isinstance(told, float) and not math.isfinite(told) else told


def write(contents):
    """Write entries of the current statement, dicts of some of chain.FIELDS; return the last as stored."""
    role = boundary.caller()

    def work():
        told = _here(role)
        return _append(_collected() + [{**told, **content} for content in contents])

    return boundary.as_owner(work)


def _here(role):
    """Return what the session knows of itself, as fields of an entry that says no more yet."""
    session, statement = entries.session(), entries.statement()
    told = {
        field: session[field]
        for field in ("session_role", "client_addr", "client_port", "pid", "application", "call")
    }
    if statement["content"] is not None:
        told["statement"] = statement["beginning"]
        told["statement_length"] = statement["length"]
        told["statement_digest"] = blake3(statement["content"]).hexdigest()
    return {**_EMPTY, **told, "role": role, "by_hand": "false", "outcome": "done"}


def chain_number():
    """Return the number of the chain of this database."""
    name = entries.names()
    return chain.number(name["system"], name["database"], name["relation"])


def _append(contents):
    """Make entries the next of the chain; return the last."""
    name = entries.names()
    number = chain.number(name["system"], name["database"], name["relation"])
    documents = [entry[field] for entry in contents for field in ("objects", "old", "new", "detail")]
    with _by_us():
        taken = entries.take(len(contents), documents)
        stored = iter(taken["documents"])
        for entry, place in zip(contents, taken["numbers"], strict=True):
            entry.update({field: next(stored) for field in ("objects", "old", "new", "detail")})
            entry.update(chain=str(number), id=str(place), transaction=name["transaction"])
            entry["at"] = entry["at"] or taken["at"]
        tips = zip(taken["chains"] or [], taken["ids"] or [], taken["digests"] or [], strict=True)
        last = chain.link(contents, list(tips))
        entries.store(contents, (number, place, last))
    return contents[-1]


@contextmanager
def _by_us():
    _own.append(True)
    try:
        yield
    finally:
        _own.pop()


def keep(table):
    """Refuse a change of the tables of the audit that does not come from here."""
    if not _own:
        raise NotAllowed(
            f"rows of hypercube.{table} cannot be changed or removed",
            hint="Old entries go with hypercube.audit_seal() and later hypercube.audit_drop_segment(number).",
        )


def begin():
    """Write the first entry of a new extension: without it, an empty table would look like a new one."""
    write([{"operation": chain.INSTALLED, "kind": "extension", "objects": '["hypercube"]'}])


def collect():
    """Take in the attempts that are written down; return how many entries that made."""

    def work():
        found = _collected()
        if found:
            _append(found)
        return len(found)

    return boundary.as_owner(work)


def _collected():
    """Return entries for attempts that have none yet; empty their file when all of them are committed."""
    parent, name = boundary.data_directory(), entries.session()["database"]
    if not attempts.pending(parent, name):
        return []
    with _by_us():
        state = entries.collection()
        if state is None:
            return []
        try:
            taken = attempts.read(parent, name, state["generation"], state["taken"], _COLLECTED)
            if not taken.lines and not state["ours"] and taken.end == taken.size:
                attempts.empty(parent, name, taken.generation, taken.size)
        except OSError as problem:
            boundary.warning(f"failed attempts could not be read ({problem.strerror})")
            return []
        missed = max(0, taken.undescribed - state["undescribed"])
        if taken.lines or missed:
            entries.store_collection(taken.generation, taken.end, taken.undescribed)
    ids = [found for line in taken.lines if (found := _attempt_id(line)) is not None]
    known = entries.known(ids) if ids else set()
    found = [_attempt(line) for line in taken.lines if _attempt_id(line) not in known]
    return found + ([_undescribed(missed)] if missed else [])


def _attempt_id(line):
    """Return the id of an attempt as the server spells it, None for what is no line of ours."""
    try:
        return str(uuid.UUID(line["id"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _attempt(line):
    """Return the entry of a line of the file; a line that is none is told as such."""
    found = _attempt_id(line)
    numbers = [str(line.get(field) or "0") for field in ("at", "pid", "client_port")] if found else ["?"]
    if not all(text.isascii() and text.isdigit() for text in numbers) or len(numbers[0]) > 17:
        return _refused({"unreadable": True})
    if int(numbers[1]) >> 31 or int(numbers[2]) >> 31:
        return _refused({"unreadable": True})
    told = {field: clean(line.get(field)) for field in _TOLD}
    detail = {"arguments": line.get("arguments"), **({"broken": True} if line.get("broken") else {})}
    return {
        **_refused(detail), **told, "at": numbers[0], "pid": numbers[1],
        "outcome": "begun" if line.get("outcome") == "begun" else "refused",
        "client_port": numbers[2] if line.get("client_port") else None,
        "objects": spelled([str(line.get("function"))]), "attempt": found,
        "call": call_ids.given(line.get("call")),
    }  # fmt: skip


def clean(text):
    """Return a text that the server can store, None as None."""
    if text is None:
        return None
    return str(text).replace("\0", "\u2400").encode(errors="backslashreplace").decode()


def _undescribed(count):
    return {**_refused({"not described": count}), "rows": str(count)}


def _refused(detail):
    """Return an entry about a call that failed, by nobody known yet."""
    session = entries.session()
    return {
        **_EMPTY, "session_role": session["session_role"], "role": session["role"], "pid": session["pid"],
        "application": "", "operation": "call", "kind": "function", "by_hand": "false", "outcome": "refused",
        "detail": spelled(detail),
    }  # fmt: skip


def verify(checkpoint):
    """Follow the whole chain, of one snapshot; return the chain.Verdict, and write that it was asked for.

    Parameters
    ----------
    checkpoint : bytes or None
        The digest that audit_checkpoint returned once.
    """
    if checkpoint is not None and len(checkpoint) != chain.DIGEST_BYTES:
        raise InvalidArgument(
            f"a checkpoint has {chain.DIGEST_BYTES} bytes, not {len(checkpoint)}",
            hint="Give the digest that hypercube.audit_checkpoint() returned.",
        )
    boundary.caller()
    verdict = boundary.read_as_owner(lambda: _verify(checkpoint))
    told = {**verdict._asdict(), "checkpoint": checkpoint and checkpoint.hex()}
    record("verify", "audit", "hypercube.audit_entry", told)
    return verdict


def _verify(checkpoint):
    segments = [chain.Segment(*row.values()) for row in entries.segments()]
    verification = chain.Verification(entries.tips(), segments, checkpoint)
    place = (-1, 0)
    while True:
        boundary.tick()
        rows = entries.read(*place, _READ)
        for row in rows:
            verification.add(row)
        if len(rows) < _READ:
            return verification.end()
        place = int(rows[-1]["chain"]), int(rows[-1]["id"])


def checkpoint():
    """Write an entry that covers all tips; return chain, id, digest and time to be kept elsewhere."""
    entry = write([{"operation": chain.CHECKED, "kind": "audit", "objects": '["hypercube.audit_entry"]'}])
    return {
        "chain": int(entry["chain"]),
        "id": int(entry["id"]),
        "digest": bytes.fromhex(entry["digest"]),
        "at": _time(entry["at"]),
    }


def _time(microseconds):
    seconds, rest = divmod(int(microseconds), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat()


def seal():
    """Close the entries that there are; return the segment that they make.

    Raises
    ------
    Locked
        A transaction that wrote an entry has not ended.
    StepMissing
        The snapshot of the transaction may be older than some entries.
    """
    _require_new_snapshots()
    boundary.caller()
    return boundary.as_owner(_seal)


def _require_new_snapshots():
    from hypercube import catalog

    catalog.require_latest_snapshots("the audit cannot be sealed or shortened")


def _seal():
    if not entries.lock():
        raise Locked(
            "the audit cannot be sealed while other transactions write to it",
            hint="Try again when they have ended; SELECT * FROM pg_stat_activity shows them.",
        )
    entry = write([{"operation": chain.SEALED, "kind": "audit", "objects": '["hypercube.audit_segment"]'}])
    with _by_us():
        return entries.store_segment(int(entry["chain"]), int(entry["id"]), bytes.fromhex(entry["digest"]))


def drop_segment(number, older_than, of_chain):
    """Remove the entries of a sealed segment; return how many there were.

    What stays: how the audit was made, checked, sealed and shortened, and what covers another chain or
    segment.  The entry of the drop holds a digest over these.
    """
    if number is None or older_than is None:
        raise InvalidArgument(
            "the segment and its age must not be null", hint="SELECT * FROM hypercube.audit_segment."
        )
    _require_new_snapshots()
    boundary.caller()
    return boundary.as_owner(lambda: _drop_segment(number, older_than, of_chain))


def _drop_segment(number, older_than, of_chain):
    if of_chain is None:
        name = entries.names()
        of_chain = chain.number(name["system"], name["database"], name["relation"])
    with _by_us():
        found = entries.segment(of_chain, number, older_than)
        if found is None:
            raise UnknownSegment(number)
        if found["negative"]:
            raise InvalidArgument(
                "the age of a segment must not be negative", hint="'90 days' is the default."
            )
        if found["dropped"]:
            return 0
        if not found["old"]:
            raise StepMissing(
                f"segment {number} is not old enough", detail=f"It was sealed at {found['sealed_at']}.",
                hint="Wait, or say older_than => '...'; it is recorded.",
            )  # fmt: skip
        bounds = of_chain, found["first_id"], found["last_id"], chain.KEPT
        left = blake3(b"".join(entries.left_of(*bounds))).hexdigest()
        dropped = entries.drop(*bounds)
        entries.mark_dropped(of_chain, number)
    detail = {"chain": of_chain, "number": number, "left": left, "older_than": older_than, "entries": dropped}
    write(
        [{"operation": chain.DROPPED, "kind": "audit", "objects": f'["{number}"]', "detail": spelled(detail)}]
    )
    return dropped
