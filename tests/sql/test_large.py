"""Files larger than memory should ever be: read in pieces, whatever their size."""

import os
import threading
import time
from pathlib import Path

import pytest

from rows import ingest, one
from small_models import write_sparse

GIB = 1 << 30


def private_memory(pid):
    """Return the private memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(
        int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))
    )


@pytest.mark.parametrize("store", ["all", "none"])
def test_memory_does_not_grow_with_the_file(own, sources, store):
    """Three gigabytes here; scripts/bench does the same with a hundred."""
    path = sources / "large.safetensors"
    write_sparse(path, 3 * GIB, 48)
    peak, stop = [0], threading.Event()

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], private_memory(own.info.backend_pid))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        own.execute("SELECT hypercube.ingest(%s, store => %s)", (str(path), store))
    finally:
        stop.set()
        watcher.join()

    assert peak[0] < GIB // 2
    assert one(own, "SELECT sum(bytes)::bigint FROM hypercube.tensor") == 3 * GIB
    # All zeros: one chunk, however often it occurs.
    assert one(own, "SELECT count(*) FROM hypercube.chunk") == (store == "all")
    assert one(own, "SELECT bool_and(zero_count = elements) FROM hypercube.tensor")


def test_a_file_that_shrinks_while_it_is_read_is_refused(server, own, sources):
    """A mapped file would have ended the server with SIGBUS."""
    path = sources / "large.safetensors"
    write_sparse(path, 3 * GIB, 48)
    before = server.pid
    errors = []

    def work():
        try:
            ingest(own, str(path))
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(1.0)
    os.truncate(path, 4096)
    worker.join()

    assert [getattr(error, "sqlstate", error) for error in errors] == ["XX001"]
    assert server.pid == before and one(own, "SELECT count(*) FROM hypercube.model") == 0
