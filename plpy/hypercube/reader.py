"""The child process of `apart`: what it does, and how its answer is written and taken.

An answer is lines of JSON: "ready" once the libraries are there, then either a
refusal (an object) or the number of tokens followed by blocks of them (arrays).
"""

import json
import os
import resource
import signal
import sys
import time

from hypercube import errors, spelling, vocabulary
from hypercube.errors import CorruptFile, HypercubeError
from hypercube.vocabulary import Piece

_KINDS = ("word", "continuation", "byte", "special", "unused")
_BLOCK_TOKENS = 2_000
_BLOCK_CHARACTERS = 1 << 16
_LINE_LIMIT = 1 << 20
_TEXT_LIMIT = 1_000
_PROBED_PIECES = 200
_PROBE_SECONDS = 10
_PROBES = (
    "",
    "Hello wörld, Привет мир! 你好世界 こんにちは 한국어 नमस्ते שלום مرحبا สวัสดี ﷺ İSTANBUL ﬁ ǅ ½ ①",
    "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🇨🇭 e\u0301\u0327\u0323 \U0010ffff \ufffd \ufeff",
    "".join(map(chr, [*range(1, 33), *range(0x7F, 0xA1), 0xAD, 0x200B, 0x2028, 0x202E, 0x3000, 0xFFFF])),
    *(character * 1_000 for character in "aA0. ﷺ☃"),
)
_PR_SET_PDEATHSIG = 1


def answer(seconds, memory, parent):
    """Read the files from stdin and write the answer to stdout, within limits set before anything else."""
    _confine(seconds, memory, parent)
    import tokenizers  # noqa: F401

    _say("ready")
    lengths = json.loads(sys.stdin.buffer.readline())
    files = {name: sys.stdin.buffer.read(length) for name, length in lengths.items()}
    try:
        pieces = vocabulary.parse(files)
        _try_out(files, pieces)
    except HypercubeError as refusal:
        told = [str(refusal), refusal.detail, refusal.hint]
        message, detail, hint = (text and text[:_TEXT_LIMIT] for text in told)
        _say({"kind": type(refusal).__name__, "message": message, "detail": detail, "hint": hint})
        return
    _say(len(pieces))
    for block in _blocks(pieces):
        _say(block)


def _confine(seconds, memory, parent):
    """Limit this process, let every signal end it, and end it with its parent."""
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _say(said):
    line = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    # A refusal may quote half a surrogate pair.
    sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def _try_out(files, pieces):
    """Spell what may trip a tokenizer; it need not be spelled, but it must not fail or take long."""
    tokenizer = spelling.load(files)
    spelling.unknown_id(files, tokenizer)
    texts = [piece.text for piece in pieces.values()]
    texts = texts[:: max(1, len(texts) // _PROBED_PIECES)]
    began = time.process_time()
    for text in [*texts, " ".join(texts)[:1_000], *_PROBES]:
        spelling.spell(tokenizer, text)
        spelling.spell(tokenizer, " " + text)
        if time.process_time() - began > _PROBE_SECONDS:
            raise CorruptFile(
                "the tokenizer cannot be loaded",
                detail=f"Spelling a few words took more than {_PROBE_SECONDS} seconds.",
                hint=vocabulary.HINT,
            )


def _blocks(pieces):
    """Cut the vocabulary into blocks of four columns; a text that equals the piece is None."""
    rows, size = [], 0
    for token_id, piece in pieces.items():
        text = None if piece.text == piece.piece else piece.text
        rows.append((token_id, _KINDS.index(piece.kind), piece.piece, text))
        size += len(piece.piece) + len(text or "")
        if len(rows) == _BLOCK_TOKENS or size > _BLOCK_CHARACTERS:
            yield list(zip(*rows, strict=True))
            rows, size = [], 0
    if rows:
        yield list(zip(*rows, strict=True))


class Answer:
    """What the child has said so far; it read a stranger's file, so nothing is taken unseen.

    Parameters
    ----------
    limit : int
        How many bytes it may say in all.
    """

    def __init__(self, limit):
        self.pieces = {}
        self.count = None
        self.ready = False
        self.refusal = None
        self._left = limit
        self._rest = b""

    @property
    def share(self):
        """The share of the tokens that have come, 0 to 1."""
        return len(self.pieces) / self.count if self.count else 0.0

    def take(self, data):
        """Take the next bytes; about a line's work, so that the caller can be cancelled in between."""
        self._left -= len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            if self._left < 0 or len(self._rest) > _LINE_LIMIT:
                raise ValueError
            for line in lines:
                self._read(json.loads(line.decode("utf-8")))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise CorruptFile(
                "the tokenizer cannot be loaded",
                detail="Its reader gave an answer that cannot be used.",
                hint=vocabulary.HINT,
            ) from None

    def _read(self, said):
        if said == "ready":
            self.ready = True
        elif isinstance(said, dict):
            self.refusal = _rebuilt(**said)
        elif isinstance(said, list):
            for token_id, kind, piece, text in zip(*said, strict=True):
                self._add(token_id, kind, piece, piece if text is None else text)
        else:
            self.count = _counted(said, vocabulary.ENTRIES_LIMIT + 1)

    def _add(self, token_id, kind, piece, text):
        if _counted(token_id, vocabulary.ENTRIES_LIMIT) in self.pieces or len(self.pieces) >= self.count:
            raise ValueError
        for said in (piece, text):
            # Half a surrogate pair cannot be encoded, which is a ValueError as well.
            if len(said.encode("utf-8")) > vocabulary.PIECE_LIMIT or "\0" in said:
                raise ValueError
        kind = _KINDS[_counted(kind, len(_KINDS))]
        label = "##" + text if kind == "continuation" else text
        self.pieces[token_id] = Piece(piece, label, kind, text)


def _counted(number, end):
    if type(number) is not int or not 0 <= number < end:
        raise ValueError
    return number


def _rebuilt(kind, message, detail, hint):
    """Return a refusal of the child as one of ours; only the classes of errors.py are taken."""
    kind = vars(errors)[kind]
    if not issubclass(kind, HypercubeError) or message is None:
        raise TypeError
    message, detail, hint = (
        None if text is None else text.replace("\0", "")[:_TEXT_LIMIT].encode("utf-8", "replace").decode()
        for text in (message, detail, hint)
    )
    refusal = kind.__new__(kind)
    HypercubeError.__init__(refusal, message, detail=detail, hint=hint)
    return refusal
