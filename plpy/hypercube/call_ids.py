"""The id of a call: the client's own where it gives one, else one that is made up.

It stands in the log, the audit and what other sessions see, so only letters, digits, hyphens and underscores
are taken: nothing that could look like another line or another field.
"""

import os
import re

LENGTH = 32
_OWN = re.compile(rf"[0-9A-Za-z_-]{{1,{LENGTH}}}")
# The trace context of the W3C: version, trace, parent and flags.
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def given(text):
    """Return the id that a client gave: the trace of a `traceparent` or the text itself, or None."""
    if not isinstance(text, str):
        return None
    trace = _TRACE.fullmatch(text)
    if trace:
        return trace[1]
    return text if _OWN.fullmatch(text) else None


def made():
    """Return a new id: 12 hexadecimal digits that nobody can guess."""
    return os.urandom(6).hex()
