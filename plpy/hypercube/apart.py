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

from hypercube import errors, vocabulary
from hypercube.errors import CorruptFile, HypercubeError, StepMissing
from hypercube.vocabulary import Piece

_NAMES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
_KINDS = ("word", "continuation", "byte", "special", "unused")
_POLL_SECONDS = 0.05
_READ_BYTES = 1 << 16
_LINE_LIMIT = 1 << 20
_BLOCK_TOKENS = 2_000
_BLOCK_CHARACTERS = 1 << 16
_TEXT_LIMIT = 1_000
_PROBE_SECONDS = 10
_PROBES = (
    "",
    "Hello wörld, Привет мир! 你好世界 こんにちは 한국어 नमस्ते שלום مرحبا สวัสดี ﷺ İSTANBUL ﬁ ǅ ½ ①",
    "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🇨🇭 e\u0301\u0327\u0323 \U0010ffff \ufffd \ufeff",
    "".join(map(chr, [*range(1, 33), *range(0x7F, 0xA1), 0xAD, 0x200B, 0x2028, 0x202E, 0x3000, 0xFFFF])),
    *(character * 1_000 for character in "a ﷺ☃"),
)
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from hypercube import apart; apart.answer(*map(int, sys.argv[2:]))"
)


def _silent(fraction):
    pass


def read_vocabulary(files, *, step=_silent, seconds=120, memory=2 << 30):
    """Return what `vocabulary.parse` returns, after a child process has parsed and loaded the files.

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
        No child process can be started.
    HypercubeError
        What `vocabulary.parse` and `vocabulary.load` refuse, and CorruptFile if the
        child ended, took too long or needed too much memory.
    """
    contents = {name: files[name] for name in _NAMES if name in files}
    lengths = {name: len(content) for name, content in contents.items()}
    parts = [json.dumps(lengths).encode() + b"\n", *contents.values()]
    answer = _Answer(limit=16 * sum(lengths.values()) + _LINE_LIMIT)
    process = _start(math.ceil(seconds), memory)
    try:
        _talk(process, parts, answer, step, time.monotonic() + seconds)
        late = process.poll() is None
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    if answer.refusal is not None:
        raise answer.refusal
    if late or process.returncode == -signal.SIGXCPU:
        raise _unloadable(f"Needed more than {seconds} seconds.")
    if process.returncode:
        raise _ended(process.returncode, answer, memory)
    if answer.count != len(answer.pieces):
        raise _unloadable("Its reader gave an incomplete answer.")
    return answer.pieces


def _unloadable(detail):
    hint = "Fetch the file again; it has to be one that the tokenizers library loads."
    return CorruptFile("the tokenizer cannot be loaded", detail=detail, hint=hint)


def _unstartable(detail):
    return StepMissing(
        "the tokenizer cannot be read, because its reader cannot be started",
        detail=detail,
        hint="Let the user of the server run the Python that PL/Python is built with, with its packages.",
    )


def _ended(status, answer, memory):
    last = answer.complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
    if re.search(rb"memory allocation of|MemoryError", answer.complaint):
        return _unloadable(f"Needed more than {memory >> 20} MiB.")
    told = f"signal {-status}" if status < 0 else f"status {status}: {last}"
    return (_unloadable if answer.ready else _unstartable)(f"Its reader ended with {told}.")


def _interpreter():
    """Return the path of this Python, also inside a server that merely embeds it."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = sys.executable or ""
    if os.path.isabs(own) and os.path.basename(os.path.realpath(own)) == name and os.access(own, os.X_OK):
        return own
    return f"{sys.base_prefix}/bin/{name}"


def _start(seconds, memory):
    environment = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    environment["TOKENIZERS_PARALLELISM"] = "false"
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    interpreter = _interpreter()
    path = json.dumps([entry for entry in sys.path if os.path.isabs(entry)])
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
        told = f"{interpreter}: {problem.strerror} (errno {problem.errno})."
    raise _unstartable(told)


def _talk(process, parts, answer, step, deadline):
    """Send the parts and take the answer until the child has ended or the deadline has passed."""
    parts = [memoryview(part) for part in reversed(parts) if part]
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
                    open_still = _send(key.fd, parts)
                else:
                    data = os.read(key.fd, _READ_BYTES)
                    open_still = bool(data)
                    (answer.take if key.fileobj is process.stdout else answer.take_complaint)(data)
                if not open_still:
                    pipes.unregister(key.fileobj)
                    key.fileobj.close()


def _send(descriptor, parts):
    """Write what fits of the parts, of which the last is next; return whether there is more to write."""
    try:
        sent = os.write(descriptor, parts[-1][:_READ_BYTES])
    except BrokenPipeError:
        return False
    parts[-1] = parts[-1][sent:]
    if not parts[-1]:
        parts.pop()
    return bool(parts)


class _Answer:
    """What the child has said so far; nothing of it is taken unseen."""

    def __init__(self, limit):
        self.pieces = {}
        self.count = None
        self.ready = False
        self.refusal = None
        self.complaint = b""
        self._left = limit
        self._rest = b""

    @property
    def share(self):
        return len(self.pieces) / self.count if self.count else 0.0

    def take_complaint(self, data):
        self.complaint = (self.complaint + data)[-_READ_BYTES:]

    def take(self, data):
        self._left -= len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            for line in lines:
                self._read(json.loads(line.decode("utf-8")))
            if self._left < 0 or len(self._rest) > _LINE_LIMIT:
                raise ValueError
        except (ValueError, TypeError, LookupError, RecursionError):
            self.refusal = None
            refused = _unloadable("Its reader gave an answer that cannot be used.")
        else:
            return
        raise refused

    def _read(self, said):
        if said == "ready":
            self.ready = True
        elif isinstance(said, dict):
            self.refusal = _rebuilt(**said)
        elif isinstance(said, int):
            self.count = _in_range(said, vocabulary.ENTRIES_LIMIT + 1)
        else:
            for token_id, kind, piece, text in zip(*said, strict=True):
                self._add(token_id, _KINDS[_in_range(kind, len(_KINDS))], piece, text)

    def _add(self, token_id, kind, piece, text):
        if _in_range(token_id, vocabulary.ENTRIES_LIMIT) in self.pieces or len(self.pieces) >= self.count:
            raise ValueError
        text = piece if text is None else text
        for said in (piece, text):
            # What cannot be encoded (half a surrogate pair) is a ValueError as well.
            if len(said.encode("utf-8")) > vocabulary.PIECE_LIMIT or "\0" in said:
                raise ValueError
        label = "##" + text if kind == "continuation" else text
        self.pieces[token_id] = Piece(piece, label, kind, text)


def _in_range(number, end):
    if type(number) is not int or not 0 <= number < end:
        raise ValueError
    return number


def _rebuilt(refusal, message, detail, hint):
    """Return a refusal of the child as one of ours; only the classes of errors.py are taken."""
    kind = vars(errors)[refusal]
    if not issubclass(kind, HypercubeError):
        raise TypeError
    message, detail, hint = (
        text and text.replace("\0", "")[:_TEXT_LIMIT].encode("utf-8", "replace").decode()
        for text in (message, detail, hint)
    )
    rebuilt = kind.__new__(kind)
    HypercubeError.__init__(rebuilt, message, detail=detail, hint=hint)
    return rebuilt
