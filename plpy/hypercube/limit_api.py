"""One function for each PL/Python function of the extension about limits."""

from hypercube.calls import entry
from hypercube.doors import door


@door
def set_limit(role, what, value):
    """Limit what a role may use."""
    from hypercube import limits

    limits.set_limit(role, what, value)


@door
def unset_limit(role, what):
    """Take back set_limit."""
    from hypercube import limits

    return limits.unset_limit(role, what)


@entry
def charge_caller():
    """Count a question that SQL answers."""
    from hypercube import limits

    limits.charge_caller()


@entry
def limit_used(what):
    """Return how much of a limit the caller uses."""
    from hypercube import limits

    return limits.used(what)
