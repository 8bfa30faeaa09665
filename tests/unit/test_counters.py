"""Counters of calls: what many processes count is what is read, whatever becomes of them and their files."""

import bisect
import multiprocessing
import os
import random
import signal
import time

import pytest

from hypercube import counters
from hypercube.counters import BOUNDS, OTHER, SIZE, Counters, total

_FUNCTIONS = ("search", "similarity", "ingest")


def count_some(folder, seed, ready=None):
    """Count random calls and failures; return what was counted."""
    drawing = random.Random(seed)
    counted = Counters(folder, seed)
    for _ in range(500):
        counted.add(drawing.choice(_FUNCTIONS), drawing.random())
        if drawing.random() < 0.1:
            counted.fail(drawing.choice(_FUNCTIONS), drawing.choice(["42704", "53400"]))
    if ready is not None:
        ready.set()
        time.sleep(60)
    counted.close()


def expected(seeds):
    calls, failures = {}, {}
    for seed in seeds:
        drawing = random.Random(seed)
        for _ in range(500):
            function, seconds = drawing.choice(_FUNCTIONS), drawing.random()
            before, buckets = calls.get(function, (0.0, [0] * (len(BOUNDS) + 1)))
            buckets[sum(bound < seconds for bound in BOUNDS)] += 1
            calls[function] = before + seconds, buckets
            if drawing.random() < 0.1:
                key = drawing.choice(_FUNCTIONS), drawing.choice(["42704", "53400"])
                failures[key] = failures.get(key, 0) + 1
    return calls, failures


def compare(folder, seeds):
    calls, failures = total(folder)
    wanted, failed = expected(seeds)
    assert failures == failed
    assert calls.keys() == wanted.keys()
    for function, (seconds, buckets) in wanted.items():
        assert calls[function] == (pytest.approx(seconds), buckets)


def test_what_processes_count_is_summed(tmp_path):
    workers = [multiprocessing.Process(target=count_some, args=(str(tmp_path), seed)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    compare(tmp_path, range(6))


def test_what_a_killed_process_counted_stays_and_its_file_is_gone_on_with(tmp_path):
    ready = multiprocessing.Event()
    worker = multiprocessing.Process(target=count_some, args=(str(tmp_path), 1, ready))
    worker.start()
    assert ready.wait(60)
    count_some(str(tmp_path), 2)
    assert len(os.listdir(tmp_path)) == 2
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    for seed in (3, 4, 5):
        count_some(str(tmp_path), seed)
    assert len(os.listdir(tmp_path)) == 2
    compare(tmp_path, range(1, 6))


def test_a_bound_belongs_to_its_bucket(tmp_path):
    counted = Counters(tmp_path)
    for bound in BOUNDS:
        counted.add("search", bound)
    counted.add("search", 1e6)
    assert total(tmp_path)[0]["search"] == (sum(BOUNDS) + 1e6, [1] * (len(BOUNDS) + 1))


def test_more_keys_than_there_is_room_for_are_counted_together(tmp_path):
    counted = Counters(tmp_path)
    for number in range(1000):
        counted.add(f"function_{number}", 0.25)
        counted.fail(f"function_{number}", "42704")
    calls, failures = total(tmp_path)
    assert sum(sum(buckets) for _, buckets in calls.values()) == 1000
    assert sum(seconds for seconds, _ in calls.values()) == 250
    assert sum(failures.values()) == 1000
    assert sum(calls[OTHER][1]) > 500 and failures[OTHER, "42704"] > 500
    assert os.stat(tmp_path / "0").st_size == SIZE


def test_what_is_no_key_is_counted_as_other(tmp_path):
    counted = Counters(tmp_path)
    for name in ("", "Ä", "a b", "x" * 65, "a\0b"):
        counted.add(name, 1.0)
    assert total(tmp_path)[0] == {OTHER: (5.0, [0] * 10 + [5, 0, 0, 0, 0])}


@pytest.mark.parametrize("damage", [b"", b"x", bytes(SIZE), os.urandom(SIZE), b"hccalls1" + b"\xff" * SIZE])
def test_a_file_that_is_none_of_ours_counts_nothing_and_is_begun_anew(tmp_path, damage):
    (tmp_path / "0").write_bytes(damage)
    assert total(tmp_path) == ({}, {})
    counted = Counters(tmp_path)
    counted.add("search", 1.0)
    # Where all looks full, nothing can be counted, and nothing fails.
    assert ("search" in total(tmp_path)[0]) == (damage[:8] != b"hccalls1")


def test_a_torn_record_does_not_spoil_the_others(tmp_path):
    counted = Counters(tmp_path)
    counted.add("search", 1.0)
    counted.add("ingest", 1.0)
    counted.close()
    data = bytearray((tmp_path / "0").read_bytes())
    data[192 + 64 : 192 + 72] = b"\xff" * 8
    (tmp_path / "0").write_bytes(data)
    assert total(tmp_path)[0].keys() == {"ingest"}


def test_links_and_pipes_are_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "0").symlink_to(target)
    with pytest.raises(OSError):
        Counters(folder)
    assert target.read_bytes() == b"untouched" and total(folder) == ({}, {})
    (folder / "0").unlink()
    os.mkfifo(folder / "0")
    with pytest.raises(OSError):
        Counters(folder)
    assert total(folder) == ({}, {})


def test_what_is_no_folder_holds_no_counts(tmp_path):
    (tmp_path / "calls").write_bytes(b"")
    assert total(tmp_path / "calls") == total(tmp_path / "nothing") == ({}, {})
    with pytest.raises(OSError):
        Counters(tmp_path / "calls")


def test_files_are_for_their_user_alone(tmp_path):
    Counters(tmp_path / "calls").add("search", 1.0)
    assert os.stat(tmp_path / "calls").st_mode & 0o777 == 0o700
    assert os.stat(tmp_path / "calls" / "0").st_mode & 0o777 == 0o600


class _Listed:
    """The same two numbers in a list of this process, as the measure of what counting costs."""

    def __init__(self):
        self._numbers = [0.0] * 16
        self._places = {"search": 0}

    def add(self, function, seconds):
        numbers = self._numbers
        place = self._places.get(function)
        numbers[place] += seconds
        numbers[place + 1 + bisect.bisect_left(BOUNDS, seconds)] += 1.0


def test_counting_costs_little_more_than_two_numbers_in_a_list(tmp_path):
    counted, listed = Counters(tmp_path), _Listed()
    counted.add("search", 0.01)
    # Turn by turn, so that both have the same share of a machine that does other things.
    times = [(_seconds(counted), _seconds(listed)) for _ in range(50)]
    assert min(mapped for mapped, _ in times) < 3 * min(plain for _, plain in times)
    assert counters.total(tmp_path)[0]["search"][1][4] == 1 + 50 * 1000


def _seconds(counting):
    began = time.perf_counter()
    for _ in range(1000):
        counting.add("search", 0.01)
    return time.perf_counter() - began
