"""One function for each PL/Python function of the extension about the audit.

As in ``api``, what they need is imported inside.
"""

from hypercube.boundary import acts_as_owner
from hypercube.calls import entry
from hypercube.doors import door, reading_door


@entry
def audit_head(change):
    """Write about a statement on a table of few rows."""
    from hypercube import changes

    changes.head(change)


@entry
def audit_bulk(change):
    """Write about a statement by hand on a table of many rows."""
    if not acts_as_owner():
        from hypercube import changes

        changes.bulk(change)


@door
def keep_audit(change):
    """Refuse a change of the audit."""
    from hypercube import audit

    audit.keep(change["table_name"])


@entry
def begin_audit():
    """Write the first entry."""
    from hypercube import audit

    audit.begin()


@door
def audit_collect():
    """Take in the attempts that failed."""
    from hypercube import audit

    return audit.collect()


@reading_door
def audit_verify(checkpoint):
    """Follow the chain of the audit."""
    from hypercube import audit

    return [audit.verify(checkpoint)]


@door
def audit_checkpoint():
    """Write an entry that covers all."""
    from hypercube import audit

    return [audit.checkpoint()]


@door
def audit_seal():
    """Close the entries that there are."""
    from hypercube import audit

    return [audit.seal()]


@door
def audit_drop_segment(number, older_than, of_chain):
    """Remove the entries of a segment."""
    from hypercube import audit

    return audit.drop_segment(number, older_than, of_chain)
