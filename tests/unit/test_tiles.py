"""Tiles: each is worked on once, the caller stays in charge, and signals stay away."""

import signal
import threading
import time

import pytest

from hypercube import tiles


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("threads", [None, 1, 2, 7])
def test_every_tile_is_handed_out_once(threads):
    seen = []
    tiles.run(range(100), lambda stopping: seen.append, threads=threads)
    assert sorted(seen) == list(range(100))


def test_no_tiles_are_done_at_once():
    told = []
    tiles.run([], lambda stopping: None, step=told.append)
    assert told[-1] == 1.0


def test_step_is_called_by_the_caller_and_tiles_are_not():
    callers, workers = set(), set()
    tiles.run(
        range(8),
        lambda stopping: lambda tile: (workers.add(threading.get_ident()), time.sleep(0.02)),
        threads=2,
        step=lambda fraction: callers.add(threading.get_ident()),
    )
    assert callers == {threading.get_ident()}
    assert workers and callers.isdisjoint(workers)


def test_workers_take_no_signals_and_the_caller_keeps_its_own():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    masks = []
    tiles.run(
        range(4),
        lambda stopping: lambda tile: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    )
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    for mask in masks:
        assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM} <= mask


def test_no_tile_starts_after_the_caller_stopped():
    started = []

    def step(fraction):
        if fraction > 0.0:
            raise Cancelled

    with pytest.raises(Cancelled):
        tiles.run(
            range(1000),
            lambda stopping: lambda tile: (started.append(tile), time.sleep(0.03)),
            threads=2,
            step=step,
        )
    count = len(started)
    time.sleep(0.1)
    assert count == len(started) < 20
    assert threading.active_count() == 1


def test_a_long_tile_can_ask_whether_to_stop():
    def prepare(stopping):
        def work(tile):
            while not stopping():
                time.sleep(0.01)

        return work

    def step(fraction):
        if time.monotonic() > began + 0.1:
            raise Cancelled

    began = time.monotonic()
    with pytest.raises(Cancelled):
        tiles.run(range(2), prepare, step=step)
    assert time.monotonic() - began < 1.0


def test_the_failure_of_a_tile_is_raised_by_the_caller():
    def prepare(stopping):
        def work(tile):
            if tile == 3:
                raise Cancelled

        return work

    with pytest.raises(Cancelled):
        tiles.run(range(10), prepare)


@pytest.mark.parametrize(("total", "largest"), [(0, 5), (1, 5), (5, 5), (6, 5), (1000, 7)])
def test_bounds_cover_everything_in_nearly_equal_runs(total, largest):
    bounds = tiles.even_bounds(total, largest)
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(total))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes, default=0) <= largest
    assert not sizes or max(sizes) - min(sizes) <= 1
