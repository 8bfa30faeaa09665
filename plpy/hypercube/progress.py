"""What other sessions see of a call that works: application_name, and lines for the own client."""

import time
from contextlib import contextmanager

from hypercube import boundary, calls

_REPORT_SECONDS = 1.0

# The name that was there before a call, and the one that it set last.
_before = []
_shown = []


def application():
    """Return application_name, as it was before a call took its place."""
    found = boundary.rows("SELECT current_setting('application_name') AS name")[0]["name"]
    return _before[0] if _before and _shown == [found] else found


@contextmanager
def named_session(function):
    """Show the id of a call as application_name while it runs, so that each line it logs has it.

    Where it fails the name stays, for the line about that, and goes with what is rolled back.
    """
    if _before:
        yield
        return
    name = application()
    _before[:] = [name]
    try:
        _show(calls.named(function, calls.call_id()))
        yield
        _show(name)
    finally:
        _before.clear()
        _shown.clear()


def _show(text):
    boundary.name_session(text)
    _shown[:] = [text]


class Progress:
    """Shows how far an operation is: NOTICE lines for the own client, and
    application_name for other sessions (the view hypercube.progress reads it).

    Parameters
    ----------
    operation, subject : str
        For example "ingest" and the name of the model.
    costs : dict of str to float
        The expected seconds of each stage, in order; only their ratios matter.
    """

    def __init__(self, operation, subject, costs):
        self._operation = operation
        self._subject = subject
        self._costs = costs
        self._total = sum(costs.values()) or 1.0
        self._began = time.monotonic()
        self._told = float("-inf")
        self._stage = None
        self._stage_began = self._began
        self.seconds = {}
        self._name = _shown[0] if _before else application()

    def stage(self, name):
        """Begin a stage and return its callback ``step(fraction)``."""
        self._end_stage()
        self._stage = name
        before = 0.0
        for stage, cost in self._costs.items():
            if stage == name:
                break
            before += cost
        self._tell(before / self._total)

        def step(fraction):
            boundary.tick()
            if time.monotonic() - self._told >= _REPORT_SECONDS:
                self._tell((before + min(max(fraction, 0.0), 1.0) * self._costs[name]) / self._total)

        return step

    def end(self):
        """Say that everything is done, and give back application_name."""
        self._end_stage()
        self._stage = "done"
        self._tell(1.0)
        _show(self._name)

    def _end_stage(self):
        now = time.monotonic()
        if self._stage is not None:
            self.seconds[self._stage] = round(now - self._stage_began, 3)
        self._stage_began = now

    def _tell(self, share):
        self._told = time.monotonic()
        elapsed = self._told - self._began
        remaining = elapsed * (1 - share) / share if share > 0.02 else sum(self._costs.values())
        percent = int(100 * share)
        filled = int(24 * share)
        bar = "#" * filled + "." * (24 - filled)
        left = f"about {remaining:.0f} s left" if share < 1 else f"in {elapsed:.1f} s"
        boundary.notice(f"{self._subject}  [{bar}] {percent:3d} %  {self._stage}, {left}")
        # Everybody on the server sees it, so it does not say on what.
        text = f" {percent}% {remaining:.0f}s {self._stage}"
        # Of a long id of a client what there is room for: of ours always all.
        _show(calls.named(self._operation, calls.call_id())[: calls.ROOM - len(text)] + text)
