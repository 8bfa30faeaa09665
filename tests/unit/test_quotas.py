"""Buckets and slots: closed forms of what flows in and out, and real processes that take from one file."""

import itertools
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hypercube import quotas
from hypercube.quotas import Bucket

PACKAGE = Path(quotas.__file__).parents[1]
ROLE = 16384


def silent():
    pass


def charge(folder, capacity, count=1, at=None):
    now = quotas.clocks if at is None else lambda: (at, at)
    return quotas.charge(str(folder), ROLE, capacity, count, step=silent, now=now)


@pytest.mark.parametrize("capacity", [1, 7, 60, 1_000_000])
@pytest.mark.parametrize("passed", [0.0, 0.25, 1.0, 59.0, 3600.0])
def test_a_bucket_gains_a_sixtieth_of_its_size_a_second_and_never_holds_more(capacity, passed):
    held = quotas.refill(Bucket(0.0, 100.0, 50.0), capacity, 100.0 + passed, 50.0 + passed)
    assert held.left == pytest.approx(min(capacity, capacity * passed / 60.0))


@pytest.mark.parametrize(
    ("wall", "steady", "passed"),
    [
        (+30, +30, 30),
        # Set forward by a day: the steady clock knows better.
        (+86_400, +2, 2),
        # Set back by an hour: nothing is gained, and nothing is lost for good.
        (-3_600, +5, 0),
        # The machine began again, the steady clock with it.
        (+40, -1_000, 40),
        (-40, -1_000, 0),
    ],
)
def test_setting_the_clock_gives_nothing_away(wall, steady, passed):
    held = quotas.refill(Bucket(1.0, 1e9, 5e3), 60, 1e9 + wall, 5e3 + steady)
    assert held.left == pytest.approx(1.0 + passed)
    assert (held.wall, held.steady) == (1e9 + wall, 5e3 + steady)


def test_after_a_clock_that_was_set_back_time_goes_on():
    held = quotas.refill(Bucket(0.0, 1e9, 100.0), 60, 1e9 - 3_600, 100.0)
    assert quotas.refill(held, 60, 1e9 - 3_590, 110.0).left == pytest.approx(10.0)


def test_questions_are_taken_all_or_none():
    held = Bucket(5.0, 0.0, 0.0)
    left, taken = quotas.take(held, 10, 5)
    assert left.left == 0.0
    assert taken == (True, 0.0, 0.0)
    left, taken = quotas.take(held, 10, 6)
    assert left == held
    assert taken == (False, 5.0, 6.0)


def test_what_a_bucket_never_holds_is_never_to_be_had():
    assert quotas.take(Bucket(10.0, 0.0, 0.0), 10, 11)[1].seconds == math.inf
    assert quotas.take(Bucket(0.0, 0.0, 0.0), 0, 1)[1].seconds == math.inf


def test_whoever_waits_as_told_is_answered():
    chance = random.Random(7)
    for _ in range(200):
        capacity = chance.randrange(1, 100)
        count = chance.randrange(1, capacity + 1)
        held = Bucket(chance.random() * count, 0.0, 0.0)
        taken = quotas.take(held, capacity, count)[1]
        after = math.ceil(taken.seconds)
        assert quotas.take(quotas.refill(held, capacity, after, after), capacity, count)[1].allowed
        if not taken.allowed:
            soon = taken.seconds * 0.99
            assert not quotas.take(quotas.refill(held, capacity, soon, soon), capacity, count)[1].allowed


def test_no_window_has_more_than_a_bucket_and_what_flows_into_it(tmp_path):
    chance = random.Random(11)
    times = list(itertools.accumulate(chance.expovariate(2.0) for _ in range(600)))
    answered = [at for at in times if charge(tmp_path, 30, at=at).allowed]
    assert 100 < len(answered) < 600
    for first, last in itertools.combinations(range(len(answered)), 2):
        assert last - first + 1 <= 30 + 0.5 * (answered[last] - answered[first]) + 1e-6


def test_the_file_has_thirty_two_bytes_and_is_nobody_elses(tmp_path):
    folder = tmp_path / "new" / "5"
    charge(folder, 10, at=77.5)
    [path] = folder.iterdir()
    assert path.name == f"rate-{ROLE}"
    assert path.read_bytes() == (
        b"hcrate1\n"
        + bytes.fromhex("0000000000002240")  # 9.0
        + bytes.fromhex("0000000000605340") * 2  # 77.5
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "content",
    [b"", b"hcrate1\n", b"\x00" * 32, b"x" * 33, quotas.encode(Bucket(math.nan, 1.0, 1.0)), b"x" * 10_000],
)
def test_a_file_that_a_crash_left_behind_is_a_full_bucket(tmp_path, content):
    (tmp_path / f"rate-{ROLE}").write_bytes(content)
    assert charge(tmp_path, 3, at=10.0) == (True, 2.0, 0.0)
    assert charge(tmp_path, 3, at=10.0).left == 1.0


def test_less_than_nothing_in_a_file_is_nothing():
    assert quotas.refill(Bucket(-5.0, 0.0, 0.0), 60, 0.0, 0.0).left == 0.0


def test_looking_takes_nothing(tmp_path):
    assert charge(tmp_path, 5, 0, at=1.0).left == 5.0
    assert charge(tmp_path, 5, 2, at=1.0).left == 3.0
    assert charge(tmp_path, 5, 0, at=1.0).left == 3.0


def test_a_smaller_limit_counts_at_once_and_a_greater_one_fills_up(tmp_path):
    charge(tmp_path, 100, 1, at=0.0)
    assert charge(tmp_path, 10, 0, at=0.0).left == 10.0
    assert charge(tmp_path, 1000, 0, at=0.0).left == 10.0
    assert charge(tmp_path, 1000, 0, at=60.0).left == 1000.0


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("link", "symbolic links"), ("pipe", "Invalid argument"), ("folder", "Is a directory")],
)
def test_what_was_put_in_the_place_of_a_file_is_neither_followed_nor_waited_for(tmp_path, kind, problem):
    path, other = tmp_path / f"rate-{ROLE}", tmp_path / "other"
    other.write_text("untouched")
    {"link": lambda: path.symlink_to(other), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(OSError, match=problem):
        charge(tmp_path, 5)
    assert other.read_text() == "untouched"


def _ask(folder, start, count):
    start.wait()
    allowed = sum(charge(folder, 40).allowed for _ in range(count))
    os._exit(allowed)


def test_processes_together_never_take_more_than_there_is(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    asking = [context.Process(target=_ask, args=(tmp_path, start, 30)) for _ in range(8)]
    for process in asking:
        process.start()
    began = time.monotonic()
    start.set()
    for process in asking:
        process.join()
    most = 40 + 40 / 60 * (time.monotonic() - began)
    assert 40 <= sum(process.exitcode for process in asking) <= most


def holder(statements):
    """Start a process that holds something until it is killed; return it once it says so."""
    program = (
        f"import sys, time; sys.path.insert(0, {str(PACKAGE)!r})\nfrom hypercube import quotas\n"
        f"{statements}\nprint('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_process_that_is_killed_leaves_no_lock_behind(tmp_path):
    process = holder(f"held = quotas._lock({str(tmp_path)!r}, 'rate-{ROLE}')")
    asked = []

    def step():
        asked.append(1)
        if len(asked) == 3:
            kill(process)

    assert quotas.charge(str(tmp_path), ROLE, 5, 1, step=step).allowed
    assert len(asked) >= 3


def test_waiting_for_a_lock_can_be_stopped(tmp_path):
    process = holder(f"held = quotas._lock({str(tmp_path)!r}, 'rate-{ROLE}')")

    def step():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quotas.charge(str(tmp_path), ROLE, 5, 1, step=step)
    kill(process)


class TestSlots:
    def take(self, folder, most):
        return quotas.take_slot(str(folder), ROLE, most, step=silent)

    def test_as_many_are_held_as_there_are(self, tmp_path):
        slots = [self.take(tmp_path, 3)[0] for _ in range(3)]
        assert None not in slots
        assert self.take(tmp_path, 3) == (None, 3)
        assert quotas.busy(str(tmp_path), ROLE, step=silent) == 3
        quotas.release(slots[1])
        assert quotas.busy(str(tmp_path), ROLE, step=silent) == 2
        again, held = self.take(tmp_path, 3)
        assert held == 2
        for slot in (slots[0], slots[2], again):
            quotas.release(slot)
        assert quotas.busy(str(tmp_path), ROLE, step=silent) == 0

    def test_none_is_to_be_had_where_there_are_none(self, tmp_path):
        assert self.take(tmp_path, 0) == (None, 0)

    def test_those_held_count_under_a_smaller_limit(self, tmp_path):
        slots = [self.take(tmp_path, 3)[0] for _ in range(3)]
        quotas.release(slots.pop(0))
        assert self.take(tmp_path, 2) == (None, 2)
        quotas.release(slots.pop())
        slots.append(self.take(tmp_path, 2)[0])
        assert slots[-1] is not None
        for slot in slots:
            quotas.release(slot)

    def test_any_number_is_as_cheap(self, tmp_path):
        slot, _ = self.take(tmp_path, 10**15)
        assert len(list(tmp_path.iterdir())) == 2
        quotas.release(slot)

    def test_roles_do_not_meet(self, tmp_path):
        slot, _ = self.take(tmp_path, 1)
        other, held = quotas.take_slot(str(tmp_path), int(f"{ROLE}1"), 1, step=silent)
        assert (other is not None, held) == (True, 0)
        quotas.release(slot)
        quotas.release(other)

    def test_those_of_a_killed_process_are_free(self, tmp_path):
        process = holder(f"held = quotas.take_slot({str(tmp_path)!r}, {ROLE}, 1, step=lambda: None)")
        assert self.take(tmp_path, 1) == (None, 1)
        kill(process)
        slot, held = self.take(tmp_path, 1)
        assert (slot is not None, held) == (True, 0)
        quotas.release(slot)

    def test_a_child_that_goes_on_does_not_keep_them(self, tmp_path):
        slot, _ = self.take(tmp_path, 1)
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
        try:
            assert self.take(tmp_path, 1)[0] is None
            quotas.release(slot)
            again, _ = self.take(tmp_path, 1)
            assert again is not None
            quotas.release(again)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def test_a_slot_that_is_no_file_leaves_none_taken(self, tmp_path):
        (tmp_path / f"slot-{ROLE}-1").mkdir()
        for _ in range(2):
            with pytest.raises(OSError, match="Is a directory"):
                self.take(tmp_path, 5)
        (tmp_path / f"slot-{ROLE}-1").rmdir()
        assert quotas.busy(str(tmp_path), ROLE, step=silent) == 0


def test_files_of_roles_that_are_gone_are_removed(tmp_path):
    for name in ("rate-1", "rate-2", "slot-1-0", "slot-2-0", "slot-2-17", "unit1-ab", "rate-x", "slot"):
        (tmp_path / name).touch()
    quotas.sweep(str(tmp_path), {1})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rate-1", "rate-x", "slot", "slot-1-0", "unit1-ab",
    ]  # fmt: skip
    quotas.sweep(str(tmp_path / "missing"), {1})
