"""Measures the reading of files: time against digest and COPY, memory against the size of the file.

The yardstick does what cannot be left out: it reads the same file, takes one BLAKE3
digest of it, and puts the same bytes into a table with COPY, in the same pieces.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from blake3 import blake3
from safetensors.numpy import save_file

from rows import MODELS
from servers import ThrowawayServer
from small_models import tokenizer, write_sparse

_PIECE = 1 << 20
_ROUNDS = 3


def write_dense(path, megabytes):
    """Write a file of normal numbers in F16, in tensors of 16 MB, as a language model has them."""
    random = np.random.default_rng(1)
    tensors = {
        f"model.layers.{i}.mlp.up_proj.weight": random.normal(size=(8192, 1024)).astype(np.float16)
        for i in range(megabytes // 16)
    }
    save_file(tensors, path)
    os.chmod(path, 0o644)


def write_llama(folder, layers=30, tokens=49_152, width=576):
    """Write a model of the shape of a small Llama: about half a gigabyte in F32, its table in F16."""
    random = np.random.default_rng(2)
    centres = random.normal(size=(tokens // 16, width))
    table = centres[np.arange(tokens) % len(centres)] + 0.5 * random.normal(size=(tokens, width))
    tensors = {"model.embed_tokens.weight": table.astype(np.float16)}
    for layer in range(layers):
        shapes = {f"self_attn.{part}_proj": (width, width) for part in "qkvo"}
        shapes |= {"mlp.gate_proj": (4 * width, width), "mlp.up_proj": (4 * width, width)}
        shapes["mlp.down_proj"] = (width, 4 * width)
        for part, shape in shapes.items():
            tensors[f"model.layers.{layer}.{part}.weight"] = random.normal(size=shape).astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    vocabulary = tokenizer([f"t{number}" for number in range(tokens)], special=())
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    for path in folder.iterdir():
        os.chmod(path, 0o644)
    return sum(path.stat().st_size for path in folder.iterdir())


class Watch:
    """The peak of the private memory of a backend while a block runs, anonymous pages alone."""

    def __init__(self, pid):
        self._path = Path(f"/proc/{pid}/smaps_rollup")
        self._stop = threading.Event()
        self.peak = 0

    def _look(self):
        while not self._stop.wait(0.05):
            for line in self._path.read_text().splitlines():
                if line.startswith("Anonymous:"):
                    self.peak = max(self.peak, 1024 * int(line.split()[1]))

    def __enter__(self):
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def database(server, folder):
    """Return a connection to a new database that may read a folder."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS files WITH (FORCE)")
        db.execute("CREATE DATABASE files")
    db = server.connect(dbname="files", autocommit=True)
    db.execute("CREATE EXTENSION hypercube CASCADE")
    db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
    return db


def yardstick(server, path):
    """Return the seconds of digest and COPY of a file."""
    with server.connect(dbname="files", autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS plain")
        db.execute("CREATE TABLE plain (ordinal int PRIMARY KEY, data bytea)")
        db.execute("ALTER TABLE plain ALTER COLUMN data SET STORAGE EXTERNAL")
        began = time.perf_counter()
        digest = blake3()
        with open(path, "rb") as file:
            for data in iter(lambda: file.read(_PIECE), b""):
                digest.update(data)
        with (
            open(path, "rb") as file,
            db.cursor().copy("COPY plain FROM STDIN (FORMAT binary)") as copy,
        ):
            copy.set_types(["int4", "bytea"])
            for ordinal, data in enumerate(iter(lambda: file.read(_PIECE), b"")):
                copy.write_row((ordinal, data))
        return time.perf_counter() - began


def stored(server, folder, path):
    """Return the seconds of storing a file, and the peak memory of the backend."""
    db = database(server, folder)
    with db, Watch(db.info.backend_pid) as watch:
        report = db.execute("SELECT seconds FROM hypercube.ingest(%s)", (str(path),)).fetchone()[0]
    return report["store"], watch.peak


def measure_speed(server, folder, megabytes):
    """Compare storing a dense file with the yardstick, in turns."""
    path = folder / "dense.safetensors"
    write_dense(path, megabytes)
    turns = []
    for _ in range(_ROUNDS):
        seconds, peak = stored(server, folder, path)
        turns.append((seconds, yardstick(server, path), peak))
    path.unlink()
    ours, limit = (statistics.median(turn[place] for turn in turns) for place in (0, 1))
    ratio = statistics.median(turn[0] / turn[1] for turn in turns)
    peak = max(turn[2] for turn in turns)
    return [
        (
            f"store {megabytes} MB, F16",
            f"{ours:.2f} s",
            f"{limit:.2f} s (digest and COPY)",
            ratio,
            "<= 2",
            ratio <= 2,
        ),
        (f"its peak memory, {megabytes} MB", f"{peak >> 20} MiB", "", None, "<= 1 GiB", peak <= 1 << 30),
    ]


def measure_size(server, folder, gibibytes):
    """Read a sparse file of any size and watch the memory of the backend."""
    path = folder / "sparse.safetensors"
    write_sparse(path, gibibytes << 30, max(16, 16 * gibibytes))
    began = time.perf_counter()
    _, peak = stored(server, folder, path)
    seconds = time.perf_counter() - began
    path.unlink()
    speed = f"{gibibytes / seconds:.2f} GiB/s"
    return [
        (f"read a file of {gibibytes} GiB", f"{seconds:.0f} s, {speed}", "", None, "", None),
        ("its peak memory", f"{peak >> 20} MiB", "", None, "<= 1 GiB", peak <= 1 << 30),
    ]


def measure_llama(server, folder):
    """Ingest a whole model of half a gigabyte, relations and map included."""
    size = write_llama(folder / "llama")
    db = database(server, folder)
    began = time.perf_counter()
    with db, Watch(db.info.backend_pid) as watch:
        relations = db.execute(
            "SELECT relations FROM hypercube.ingest(%s)", (str(folder / "llama"),)
        ).fetchone()[0]
    seconds = time.perf_counter() - began
    shutil.rmtree(folder / "llama")
    what = f"ingest of a Llama of {size // 10**6} MB, 49,152 tokens"
    return [
        (what, f"{seconds:.0f} s, {relations:,} relations", "", None, "", None),
        ("its peak memory", f"{watch.peak >> 20} MiB", "", None, "<= 1 GiB", watch.peak <= 1 << 30),
    ]


def measure_minilm(server):
    """Compare storing the real model with the yardstick."""
    folder = MODELS / "all-MiniLM-L6-v2"
    turns = []
    for _ in range(_ROUNDS):
        seconds, _ = stored(server, MODELS, folder)
        turns.append((seconds, yardstick(server, folder / "model.safetensors")))
    ratio = statistics.median(ours / limit for ours, limit in turns)
    ours, limit = map(statistics.median, zip(*turns, strict=True))
    spelled = f"{ours:.2f} s", f"{limit:.2f} s (digest and COPY)"
    return [("store all-MiniLM-L6-v2, 91 MB", *spelled, ratio, "<= 2", ratio <= 2)]


def main():
    """Print the table; exit with 1 where a target was missed."""
    folder = Path(tempfile.mkdtemp(prefix="hypercube-files-", dir="/var/tmp"))
    os.chmod(folder, 0o755)
    server = ThrowawayServer(shared_buffers="256MB", max_wal_size="8GB")
    try:
        rows = measure_minilm(server) + measure_speed(server, folder, 512)
        rows += measure_llama(server, folder)
        rows += measure_size(server, folder, int(sys.argv[1]))
    finally:
        server.stop()
        shutil.rmtree(folder)
    print("| what | measured | limit in the same run | ratio | target | met |")
    print("| --- | --- | --- | --- | --- | --- |")
    for what, measured, limit, ratio, target, met in rows:
        shown = "" if ratio is None else f"{ratio:.2f}"
        verdict = {None: "", True: "yes", False: "NO"}[met]
        print(f"| {what} | {measured} | {limit} | {shown} | {target} | {verdict} |")
    sys.exit(any(met is False for *_, met in rows))


if __name__ == "__main__":
    main()
