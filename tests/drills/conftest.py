"""What the drills share: whatever is broken here is broken for real, and told in one table."""

import json
import os
import time

import pytest

from backups import backed  # noqa: F401 - a fixture

# How often a drill that repeats itself does so: few times in every run of the tests, more by scripts/drill.
ROUNDS = int(os.environ.get("HYPERCUBE_DRILL_ROUNDS", "0"))
_passed = pytest.StashKey[bool]()


def rounds(usual):
    """Return how often a drill repeats itself: what was asked for, or `usual`."""
    return ROUNDS or usual


def _write(broken, times, result, seconds, test):
    path = os.environ.get("HYPERCUBE_DRILL_REPORT")
    if path:
        row = {"drill": broken, "times": times, "result": result, "seconds": round(seconds, 1), "test": test}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell of a drill that failed, which does not get to tell of itself."""
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    if report.failed:
        broken = item.originalname.removeprefix("test_").replace("_", " ")
        _write(broken, None, f"**failed** ({report.when})", call.duration, item.nodeid.removeprefix("tests/"))
    return report


@pytest.fixture
def drilled(request):
    """A function that notes what was broken, how often and what came of it, for the table of scripts/drill.

    Call it at the end of a drill, after everything was asserted: ``drilled("backend killed in an
    ingest", 12, "as before or after each time")``.  The name of the test and the seconds are added.
    """
    began, told = time.monotonic(), []

    def note(broken, times, result):
        told.append(broken)
        _write(broken, times, result, time.monotonic() - began, request.node.nodeid.removeprefix("tests/"))

    yield note
    assert told or not request.node.stash.get(_passed, False), (
        "the drill ended without telling what came of it"
    )
