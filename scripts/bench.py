"""Measures hypercube against what the machine can do at best, in one run.

A time means nothing without the limit beside it, taken in the same minute: tasks
that are compared take turns, and a ratio is the median of the ratios of the turns.
Prints a table and what it rests on; the exit status tells whether every target is met.
This file has the run, the neighbour graph and the ingest; bench_questions.py what is asked.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from bench_audit import measure_audit
from bench_batches import Words
from bench_guard import measure_guard
from bench_questions import choose_words, measure_questions
from bench_texts import measure_texts
from bench_tools import (
    PeakMemory,
    Row,
    mebibytes,
    print_table,
    recall,
    say,
    spell,
    take_turns,
    tell_turns,
    timed,
    weigh,
)
from blake3 import blake3
from safetensors import safe_open

from hypercube import neighbors
from rows import MODELS, ingest
from servers import ThrowawayServer

K = 16
TILE = 512
WEIGHTS = MODELS / "all-MiniLM-L6-v2" / "model.safetensors"
# --- the matrix product and the neighbour graph ---------------------------------------------------


def bare_product(unit, threads):
    """Multiply every tile of rows with the whole matrix, and keep nothing."""
    waiting = deque(range(0, len(unit), TILE))

    def work():
        out = np.empty((TILE, len(unit)), np.float32)
        while True:
            try:
                start = waiting.popleft()
            except IndexError:
                return
            left = unit[start : start + TILE].copy()
            np.matmul(left, unit.T, out=out[: len(left)])

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def serve_products(path):
    """The child with many BLAS threads: a product for every line that comes in."""
    unit = np.load(path)
    for _ in sys.stdin:
        bare_product(unit, 1)
        print("done", flush=True)


@contextmanager
def many_blas_threads(unit, cores, folder):
    """Give the same product in a process whose BLAS has all the cores."""
    path = folder / "unit.npy"
    np.save(path, unit)
    many = os.environ | {"OPENBLAS_NUM_THREADS": str(cores), "OMP_NUM_THREADS": str(cores)}
    command = [sys.executable, __file__, "--products", path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=many, **pipes) as child:

        def product():
            child.stdin.write("go\n")
            child.stdin.flush()
            if not child.stdout.readline():
                raise RuntimeError("the process with many BLAS threads is gone")

        product()
        yield product
        # It ends at the end of its input, which leaving this block brings.


def measure_graph(unit, exact, cores, folder):
    """Return the row of the graph and the seconds of the faster bare product."""
    found = []

    def graph():
        found[:] = neighbors.nearest_graph(unit, K)

    with many_blas_threads(unit, cores, folder) as blas:
        measured, tiles, threads = take_turns(5, graph, lambda: bare_product(unit, cores), blas)
    tell_turns({"graph": measured, "product by tiles": tiles, "by BLAS threads": threads})
    rows = np.random.default_rng(0).choice(len(unit), 500, replace=False)
    share = recall(exact, rows, found[0][rows], K)
    limit = tiles if np.median(tiles) < np.median(threads) else threads
    row = weigh(
        f"k-NN graph, {len(unit):,} x {unit.shape[1]}, k = {K}", measured, limit, "bare product",
        more=f", recall {share:.4f}", most=1.7, target="recall 1", met=share == 1.0,
    )  # fmt: skip
    return row, float(np.median(limit))


# --- ingest ---------------------------------------------------------------------------------------


def make_database(server, name, folder):
    """Ingest a model into a database of its own; return the report, the seconds and the peak memory."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    with server.connect(dbname=name, autocommit=True) as db:
        db.execute("CREATE EXTENSION hypercube CASCADE")
        db.execute("SELECT hypercube.allow_source(%s)", (str(MODELS),))
    with server.connect(dbname=name, autocommit=True) as db, PeakMemory(db.info.backend_pid) as peak:
        began = time.perf_counter()
        report = ingest(db, str(MODELS / folder), name, K)
        seconds = time.perf_counter() - began
    with server.connect(dbname=name, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")
    return report, seconds, peak


def measure_ingest(server, product):
    read = timed(lambda: blake3(WEIGHTS.read_bytes()).digest())
    report, seconds, peak = make_database(server, "minilm", "all-MiniLM-L6-v2")
    stages = ", ".join(f"{name} {spent} s" for name, spent in report["seconds"].items())
    say(f"stages of the ingest: {stages}")
    told = {"target": "<= 25 s", "met": seconds <= 25}
    yield weigh("ingest of MiniLM", seconds, read + product, "read, digest, product", **told)
    memory = f"{mebibytes(peak.private)} ({mebibytes(peak.anonymous)} anonymous)"
    file = f"{mebibytes(WEIGHTS.stat().st_size)} (the file)"
    yield Row("peak private memory of it", memory, file, target="<= 1 GiB", met=peak.private <= 1 << 30)


def measure_wordllama(server):
    _, seconds, peak = make_database(server, "wordllama", "wordllama")
    with server.connect(dbname="wordllama") as db:
        spent, residual, points = db.execute(
            "SELECT seconds, residual, points FROM hypercube.projection_metadata"
        ).fetchone()
    yield Row(f"projection, {points:,} x 4 (wordllama)", f"{spell(spent)}, residual {residual:.0e}",
              target="<= 6 s, <= 1e-4", met=spent <= 6 and residual <= 1e-4)  # fmt: skip
    yield Row("ingest of wordllama", f"{spell(seconds)}, {mebibytes(peak.private)}")


# --- the run --------------------------------------------------------------------------------------


def read_pieces(server):
    """Return the names of the rows of the matrix; pieces, as labels may stand for two tokens."""
    with server.connect(dbname="minilm") as db:
        pieces = db.execute("SELECT piece FROM hypercube.token ORDER BY token_id").fetchall()
    return [piece for (piece,) in pieces]


def measure(full):
    """Measure everything, the parts that need the cores first."""
    cores = len(os.sched_getaffinity(0))
    with safe_open(WEIGHTS, "np") as file:
        embedding = file.get_tensor("embeddings.word_embeddings.weight")
    unit, _ = neighbors.unit_rows(embedding)
    exact = embedding.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory(prefix="hypercube-bench-", dir="/tmp") as folder:
        folder = Path(folder)
        say("neighbour graph")
        row, product = measure_graph(unit, exact, cores, folder)
        yield row
        # Room for what pgvector reads as well.
        server = ThrowawayServer(shared_buffers="512MB")
        try:
            say("ingest")
            yield from measure_ingest(server, product)
            yield from measure_wordllama(server)
            say("texts")
            yield from measure_texts(server)
            say("questions")
            yield from measure_questions(server, exact, Words(read_pieces(server), unit), folder, full)
            say("guard")
            yield from measure_guard(server, choose_words(server), folder)
            yield from measure_audit(server)
        finally:
            server.stop()


def main():
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        sys.exit("run scripts/bench, which gives BLAS one thread")
    began = time.perf_counter()
    missed = print_table(list(measure("--full" in sys.argv)))
    say(f"the run took {spell(time.perf_counter() - began)}")
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--products"]:
        serve_products(sys.argv[2])
    else:
        main()
