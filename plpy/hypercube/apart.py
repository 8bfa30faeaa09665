"""Tokenizers read apart: the files of a stranger are first parsed in a bounded child process.

A tokenizer.json can make the library abort, fill the memory or compute for hours.
Inside a backend an abort would end every session of the server, so the file is
parsed, loaded and tried in a child that has limits and can be killed at any time.
"""

import json
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import time

from hypercube import vocabulary
from hypercube.errors import CorruptFile, StepMissing
from hypercube.reader import Answer

_NAMES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
_POLL_SECONDS = 0.05
_PIECE_BYTES = 1 << 16
# A token takes at most this many bytes for each byte of its file, besides a fixed sum.
_ANSWER_RATIO = 32
_ANSWER_BASE = 1 << 20
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from hypercube import reader; reader.answer(*map(int, sys.argv[2:]))"
)


def _silent(fraction):
    pass


def read_vocabulary(files, *, step=_silent, seconds=120, memory=2 << 30):
    """Return what `vocabulary.parse` returns, after a child process has parsed and tried the files.

    Parameters
    ----------
    files : dict of str to bytes
        The small files of the model.
    step : callable, optional
        Called at least every 0.1 s; what it raises kills the child and leaves at once.
    seconds, memory : int
        The limits of the child; the seconds hold for its processor time and for the clock.

    Raises
    ------
    StepMissing
        The child process cannot be started.
    HypercubeError
        What `vocabulary.parse` and `spelling.load` refuse; CorruptFile if the child
        was ended by a signal, took too long or needed too much memory.
    """
    contents = {name: files[name] for name in _NAMES if name in files}
    lengths = {name: len(content) for name, content in contents.items()}
    parts = [json.dumps(lengths).encode() + b"\n", *contents.values()]
    answer = Answer(_ANSWER_RATIO * sum(lengths.values()) + _ANSWER_BASE)
    process = _start(math.ceil(seconds), memory)
    try:
        complaint = _talk(process, parts, answer, step, time.monotonic() + seconds)
        late = process.poll() is None
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    if answer.refusal is not None:
        raise answer.refusal
    if late or process.returncode == -signal.SIGXCPU:
        raise _unloadable(f"Reading it took more than {seconds} s.")
    if process.returncode:
        raise _ended(process.returncode, complaint, answer.ready, memory)
    if len(answer.pieces) != answer.count:
        raise _unloadable("Its reader gave half an answer.")
    return answer.pieces


def _unloadable(detail):
    return CorruptFile("the tokenizer cannot be loaded", detail=detail, hint=vocabulary.HINT)


def _unstartable(detail):
    return StepMissing(
        "the tokenizer cannot be read, because its reader cannot be started",
        detail=detail,
        hint="The server's user has to be able to run the Python of PL/Python with hypercube's packages.",
    )


def _ended(status, complaint, ready, memory):
    """Say why the child ended: it complained of memory, or before it was ready, or while it read."""
    if re.search(rb"memory allocation of|MemoryError", complaint):
        return _unloadable(f"Reading it needed more than {memory >> 20} MiB.")
    if status < 0:
        told = f"Its reader ended with signal {-status}."
    else:
        last = complaint.decode("utf-8", "replace").replace("\0", "").strip().rpartition("\n")[2]
        told = f"Its reader ended with status {status}: {last[:300]}"
    return _unloadable(told) if ready else _unstartable(told)


def _interpreter():
    """Return the path of this Python, also inside a server that embeds it."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = sys.executable or ""
    if os.path.isabs(own) and os.path.basename(os.path.realpath(own)) == name and os.access(own, os.X_OK):
        return own
    return f"{sys.base_prefix}/bin/{name}"


def _start(seconds, memory):
    environment = {
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "RUST_BACKTRACE": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    interpreter = _interpreter()
    path = json.dumps([folder for folder in sys.path if os.path.isabs(folder)])
    limits = [str(number) for number in (seconds, memory, os.getpid())]
    try:
        return subprocess.Popen(
            [interpreter, "-I", "-S", "-B", "-c", _BOOT, path, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as problem:
        raise _unstartable(f"{interpreter}: {problem.strerror} (errno {problem.errno}).") from None


def _talk(process, parts, answer, step, deadline):
    """Send the parts and take the answer until the child has ended or the deadline has passed.

    Returns the end of what it wrote to stderr.
    """
    parts = [memoryview(part) for part in reversed(parts) if part]
    complaint = b""
    with selectors.DefaultSelector() as pipes:
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
            pipes.register(pipe, selectors.EVENT_WRITE if pipe is process.stdin else selectors.EVENT_READ)
        while (pipes.get_map() or process.poll() is None) and time.monotonic() < deadline:
            step(answer.share)
            if not pipes.get_map():
                time.sleep(_POLL_SECONDS / 10)
                continue
            for key, _ in pipes.select(_POLL_SECONDS):
                if key.fileobj is process.stdin:
                    more = _send(key.fd, parts)
                else:
                    more = data = os.read(key.fd, _PIECE_BYTES)
                    if key.fileobj is process.stdout:
                        answer.take(data)
                    else:
                        complaint = (complaint + data)[-_PIECE_BYTES:]
                if not more:
                    pipes.unregister(key.fileobj)
                    key.fileobj.close()
    return complaint


def _send(descriptor, parts):
    """Write what fits of the parts, the last one first; return whether there is more to write."""
    try:
        sent = os.write(descriptor, parts[-1][:_PIECE_BYTES])
    except BrokenPipeError:
        return False
    parts[-1] = parts[-1][sent:]
    if not parts[-1]:
        parts.pop()
    return bool(parts)
