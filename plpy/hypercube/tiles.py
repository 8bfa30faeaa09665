"""Work in tiles on every core, from a thread that has to stay answerable.

Owns the threads.  The calling thread does nothing but report progress, so it
notices a cancel while others compute; the others never report and never take a
signal, because the handlers of a PostgreSQL backend belong to its main thread.
It knows nothing of what a tile is.
"""

import collections
import os
import signal
import threading

_POLL_SECONDS = 0.05
_MOST_THREADS = 8


def _silent(fraction):
    pass


def run(tiles, prepare, *, threads=None, step=_silent):
    """Hand every tile to one of several worker threads and wait for them.

    Parameters
    ----------
    tiles : sequence
        What is to be worked on, in the order in which it is handed out.
    prepare : callable
        ``prepare(stopping)`` is called once in every thread, returns the function
        of one tile and may give it buffers of its own.  A tile that takes longer
        than a quarter of a second asks ``stopping()`` now and then and returns
        early when it is true.
    threads : int, optional
        Default: one for each usable core, eight at most.
    step : callable
        ``step(fraction)``, called in the calling thread about every 50 ms.

    Raises
    ------
    Whatever `step` or a tile raises, after every thread has ended.
    """
    waiting = collections.deque(tiles)
    total = len(waiting)
    stop = threading.Event()
    failures = []
    done = []

    def serve():
        try:
            work = prepare(stop.is_set)
            while not stop.is_set():
                try:
                    tile = waiting.popleft()
                except IndexError:
                    return
                work(tile)
                done.append(tile)
        except BaseException as failure:  # noqa: BLE001 - raised again by the thread that waits
            failures.append(failure)
            stop.set()

    wanted = max(1, min(threads or usable_cores(), total))
    workers = [threading.Thread(target=serve, daemon=True) for _ in range(wanted)]
    try:
        _start(workers)
        for worker in workers:
            while worker.is_alive():
                step(len(done) / total if total else 1.0)
                worker.join(_POLL_SECONDS)
    finally:
        stop.set()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
    if failures:
        raise failures[0]
    step(1.0)


def usable_cores():
    """Count the cores that this process may use, eight at most."""
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))


def _start(workers):
    # A thread is born with the mask of the one that starts it.
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        for worker in workers:
            worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def even_bounds(total, largest):
    """Cut ``range(total)`` into runs of nearly equal length, none above `largest`.

    Nearly equal, because a product with a sliver of one row goes another way
    through BLAS and rounds differently.
    """
    count = -(-total // largest)
    return [(total * i // count, total * (i + 1) // count) for i in range(count)]
