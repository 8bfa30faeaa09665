"""The process that started this one, and the end of this one when that is gone.

Where the postmaster was killed, no other can be started before all of its sessions have ended.  The server
looks for that while it waits for a client, not while it works: long work has to look itself.
"""

import os
import signal


def parent(told):
    """Return the number of the parent process, None where the server runs without one.

    Parameters
    ----------
    told : object with a `value`, or None
        The number as the server knows it: nothing, 0 or this process in one that stands alone.
    """
    # In a namespace of processes a parent outside of it has no number: 0.
    return told.value if told is not None and told.value and told.value == os.getppid() else None


def end_without(parent):
    """Ask this process to end, as an administrator would, if its parent is another one by now."""
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
