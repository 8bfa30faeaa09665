"""Work on texts that ends when it is told to."""

import threading
import time

import numpy as np
import psycopg
import pytest

from rows import one


def seconds_to_cancel(server, own, pause, statement, *args):
    """Cancel a statement that has run for some time; return how long it went on."""
    raised = []

    def work():
        try:
            own.execute(statement, args)
        except psycopg.Error as error:
            raised.append((time.monotonic(), error))

    worker = threading.Thread(target=work)
    with server.connect(dbname="postgres", autocommit=True) as other:
        worker.start()
        # A cancel that comes before the last byte of a long text finds nothing to cancel: until then the
        # statement is active already, but has no snapshot.
        running = "SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = %s"
        while not one(other, running, own.info.backend_pid):
            time.sleep(0.01)
    time.sleep(pause)
    asked = time.monotonic()
    own.cancel_safe()
    worker.join()

    [(ended, error)] = raised
    assert isinstance(error, psycopg.errors.QueryCanceled)
    for table in ("composition", "kept_composition", "atom", "atom_map"):
        assert one(own, f"SELECT count(*) FROM hypercube.{table}") == 0
    return ended - asked


@pytest.mark.parametrize("pause", [0.1, 1.5])
def test_a_cancel_ends_seeding_within_a_second_and_leaves_nothing(server, own, pause):
    assert seconds_to_cancel(server, own, pause, "SELECT hypercube.seed_atoms()") < 1.0


@pytest.mark.parametrize("kind", ["words", "different words", "characters"])
@pytest.mark.parametrize("pause", [0.2, 1.0, 2.0])
def test_a_cancel_ends_compose_within_a_second_and_leaves_nothing(server, own, kind, pause):
    random = np.random.default_rng(8)
    if kind == "words":
        text = " ".join([f"w{i}" for i in random.integers(0, 20_000, 3_000_000).tolist()])
    elif kind == "different words":
        text = " ".join([f"w{i}" for i in range(2_000_000)])
    else:
        text = random.integers(0xE000, 0x110000, 5_000_000).astype("<u4").tobytes().decode("utf-32-le")

    assert seconds_to_cancel(server, own, pause, "SELECT hypercube.compose(%s)", text) < 1.0
