"""What the parts of the benchmark share: clocks, rows of the table, memory seen from outside, recall."""

import re
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One line of the table; `met` is None for what is told without a target."""

    name: str
    measured: str
    limit: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None


def say(text):
    print(text, file=sys.stderr, flush=True)


def spell(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def mebibytes(size):
    return f"{size / 2**20:.0f} MiB"


def timed(task):
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def take_turns(rounds, *tasks):
    """Return an array of seconds for each task, in the order of the turns."""
    return np.array([[timed(task) for task in tasks] for _ in range(rounds)]).T


def tell_turns(spent):
    """Say the seconds of every turn by task, so that a run on a busy machine can be judged."""
    for what, turns in spent.items():
        say(f"{what}, turn by turn: {', '.join(map(spell, turns))}")


def weigh(name, measured, limit, of, *, more="", most=None, faster=None, target="", met=None):
    """Make the row of seconds beside their limit; either is one number or one a turn.

    The target is a ratio of at most `most`, or at least `faster` times the speed of the limit, and what
    else `target` names and `met` answers.
    """
    ratio = float(np.median(np.divide(measured, limit)))
    shown, conditions = f"{ratio:.2f}", []
    if faster is not None:
        shown = f"{1 / ratio:.1f} x faster"
        conditions.append((f">= {faster} x faster", 1 / ratio >= faster))
    if most is not None:
        conditions.append((f"ratio <= {most}", ratio <= most))
    if target:
        conditions.append((target, met))
    texts, answers = zip(*conditions, strict=True) if conditions else ((), ())
    measured, limit = spell(np.median(measured)), spell(np.median(limit))
    verdict = all(answers) if conditions else None
    return Row(name, measured + more, f"{limit} ({of})", shown, ", ".join(texts), verdict)


def print_table(rows):
    """Print the table; return the names of the rows that miss their target."""
    print("| what | measured | limit in the same run | ratio | target | met |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        met = {None: "", True: "yes", False: "NO"}[row.met]
        print(f"| {row.name} | {row.measured} | {row.limit} | {row.ratio} | {row.target} | {met} |")
    return [row.name for row in rows if row.met is False]


def memory(pid):
    """Return the sizes in smaps_rollup of a process, in bytes by name."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)
    return {name: int(kib) << 10 for name, kib in found}


def private(size):
    """Return the bytes that a process shares with no other, from what `memory` returned.

    Pages of shared buffers, and of mapped files, that no other process has touched yet count as private too.
    """
    return size["Private_Clean"] + size["Private_Dirty"]


class PeakMemory:
    """Looks at a process from outside every 50 ms; bytes of the largest moment."""

    def __init__(self, pid, interval=0.05):
        self._pid = pid
        self._interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.private = 0
        self.anonymous = 0

    def _watch(self):
        while not self._done.wait(self._interval):
            size = memory(self._pid)
            self.private = max(self.private, private(size))
            self.anonymous = max(self.anonymous, size["Anonymous"])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._done.set()
        self._thread.join()


def recall(exact, rows, found, k):
    """Compare answers with a float64 scan; what float32 cannot tell apart counts as equal."""
    right = 0
    for row, answers in zip(rows, found, strict=True):
        scores = exact @ exact[row]
        scores[row] = -np.inf
        worst = np.partition(scores, -k)[-k]
        right += len({answer for answer in answers[:k] if scores[answer] >= worst - 1e-6})
    return right / (k * len(rows))
