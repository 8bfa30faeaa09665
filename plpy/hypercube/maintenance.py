"""What has to be done from time to time, as one call: nothing of it is needed twice, none of it waits long.

What others are at is left to them, and reported; the next call does it.
"""

import time

from hypercube import audit, boundary, catalog, embeddings, expectations, limits, rights, upkeep
from hypercube.errors import ClientGone, HypercubeError, Locked, NotAllowed

# An audit is closed as soon as it has so many entries, or one of a day.
_SEALED_ENTRIES = 10_000
_COLLECTED = 100
_PATIENCE = 2.0
_BUSY = "another session writes models or documents: not done, call again"


def maintain():
    """Do every step; return (step, done, seconds, detail) rows.

    Raises
    ------
    NotAllowed
        The caller is no admin.
    StepMissing
        The transaction does not see what others have committed meanwhile.
    """
    role = boundary.caller()
    if not rights.is_member(role, rights.ADMIN):
        raise NotAllowed(
            f'role "{role}" may not maintain the database',
            hint=f"A superuser can call it, or GRANT {rights.ADMIN}.",
        )
    catalog.require_latest_snapshots("nothing can be maintained")
    report = []
    # The lock of writers is held to the end of the transaction: what needs it comes as late as it can.
    _step(report, "uploads", _uploads)
    _step(report, "limits", _limits)
    _step(report, "failed calls", _failed_calls)
    alone = boundary.as_owner(upkeep.try_lock_writers)
    _step(report, "rows", _rows if alone else _left)
    _step(report, "files", _files)
    _step(report, "expectations", _expectations if alone else _left)
    _step(report, "consensus", _consensus if alone else _left)
    _step(report, "statistics", _statistics)
    _step(report, "vacuum", _vacuum)
    told = {step: detail for step, done, _, detail in report if done}
    if told:
        audit.record("maintain", "database", "hypercube", told)
    # Last: others that write into the audit wait for it.
    _step(report, "audit", _audit)
    return report


def _step(report, name, work):
    boundary.tick()
    began = time.monotonic()
    try:
        done, detail = work()
    except (boundary.Canceled, ClientGone):
        raise
    except (HypercubeError, MemoryError, boundary.StatementError) as problem:
        # What a damaged page or a full disk keeps one step from is no reason to leave out the others.
        done, detail = 0, f"failed: {str(problem) or type(problem).__name__}"
        boundary.warning(f"maintenance, {name}: {detail}")
    report.append((name, done, round(time.monotonic() - began, 3), detail))


def _left():
    return 0, _BUSY


def _uploads():
    count = boundary.as_owner(upkeep.expire_uploads)
    return count, "not touched for a day" if count else "none has expired"


def _limits():
    files = limits.sweep()
    count = files + boundary.as_owner(upkeep.forget_turns)
    return count, "counters of roles that are gone" if count else "no counter of a role that is gone"


def _failed_calls():
    count = 0
    for _ in range(_COLLECTED):
        boundary.tick()
        taken = audit.collect()
        count += taken
        if not taken:
            break
    return count, "taken into the audit" if count else "all are in the audit"


def _rows():
    gone = boundary.as_owner(upkeep.drop_orphans)
    told = ", ".join(f"{kind} {count}" for kind, count in gone.items())
    return sum(gone.values()), told or "every row belongs to something"


def _files():
    end = time.monotonic() + _PATIENCE

    def impatient(fraction=0.0):
        boundary.tick()
        if time.monotonic() > end:
            raise Locked("another session makes a file")

    try:
        count = boundary.read_as_owner(lambda: embeddings.sweep(step=impatient))
    except Locked:
        return 0, "another session makes a file: not done, call again"
    return count, "files that belong to nothing" if count else "every file belongs to something"


def _expectations():
    made, wrong = boundary.as_owner(expectations.keep_missing)
    told = [f"made for {', '.join(made)}"] if made else []
    told += [f"of {name} {problem}" for name, problem in wrong.items()]
    return len(made), "; ".join(told) or "every model has some"


def _consensus():
    state = boundary.read_as_owner(upkeep.consensus)
    if not (state["filled"] or state["was_filled"]):
        return 0, "was never filled: SELECT hypercube.refresh_consensus(), if it is wanted"
    current = state["of_these"]
    if current is None:
        # There is no model that it could be of.
        current = not boundary.read_as_owner(upkeep.consensus_has_rows)
    if state["filled"] and current:
        return 0, "is of the models that there are"
    if not boundary.as_owner(upkeep.try_refresh_consensus):
        return 0, "another session reads or fills it: not done, call again"
    return 1, "computed anew"


def _statistics():
    names = boundary.read_as_owner(upkeep.changed_tables)
    for name in names:
        boundary.tick()
        boundary.as_owner(lambda name=name: upkeep.analyze(name))
    return len(names), ", ".join(names) or "no table has changed much"


def _vacuum():
    found = boundary.read_as_owner(upkeep.bloated_tables)
    if not found:
        return 0, "no table has many dead rows"
    return 0, "for you to do: VACUUM " + ", ".join(row["name"] for row in found)


def _audit():
    state = boundary.as_owner(lambda: upkeep.unsealed(audit.chain_number()))
    if state["entries"] <= _SEALED_ENTRIES and not state["old"]:
        return 0, f"{state['entries']} entries since it was sealed, none older than a day"
    try:
        segment = audit.seal()
    except Locked:
        return 0, "another transaction writes to it: not done, call again"
    return segment["entries"], f"sealed as segment {segment['number']}"
