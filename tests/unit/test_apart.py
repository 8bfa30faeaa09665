"""Tokenizers read in a child process: as if read here, and whatever a stranger does stays there."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from hypercube import apart, vocabulary
from hypercube.errors import CorruptFile, NameTaken, NotSupported, SourceMissing, StepMissing, TooMany
from hypercube.reader import Answer

MODELS = Path(__file__).parents[2] / ".local" / "models"
NAMES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
SMALL = {"vocab.txt": b"[PAD]\n[UNK]\nwhale\n##s\n"}
DOUBLE_PANIC = {
    "type": "BPE",
    "vocab": {"a": 0, "é": 1, "aé": 2, "b": 3},
    "merges": ["a é"],
    "continuing_subword_prefix": "a",
}
TENFOLD = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
BOMB = {"type": "Sequence", "normalizers": [TENFOLD] * 9}


def files(model, **settings):
    return {"tokenizer.json": json.dumps({"version": "1.0", "model": model, **settings}).encode()}


def boot(change):
    """Return what starts a child in which something is changed first."""
    before, after = apart._BOOT.split(" from hypercube import reader;")
    return f"{before} from hypercube import reader, vocabulary; {change};{after}"


def children():
    """Return the processes that are ours, ended ones that nobody waited for included."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = os.listdir("/proc/self/fd"), children()
    yield
    assert (os.listdir("/proc/self/fd"), children()) == before


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "glassllm", "wordllama"])
def test_a_real_vocabulary_arrives_as_it_is(name):
    content = {file: (MODELS / name / file).read_bytes() for file in NAMES if (MODELS / name / file).exists()}

    assert list(apart.read_vocabulary(content).items()) == list(vocabulary.parse(content).items())


def test_every_kind_of_piece_arrives_as_it_is():
    vocab = {
        "<unk>": 0,
        "[unused3]": 1,
        "<0x0A>": 2,
        "▁whale": 3,
        "s": 4,
        "\0": 5,
        "▁": 6,
        "": 7,
        "\u2028": 9,
    }
    content = files({"type": "BPE", "vocab": vocab, "merges": []}, added_tokens=[])

    assert apart.read_vocabulary(content) == vocabulary.parse(content)


def test_step_hears_of_the_share():
    shares = []
    content = {"vocab.txt": "\n".join(f"token{number}" for number in range(20_000)).encode()}

    assert len(apart.read_vocabulary(content, step=shares.append)) == 20_000
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        ({}, SourceMissing, "no tokenizer"),
        ({"tokenizer.json": b'{"model": {}}'}, NotSupported, "neither a map nor a list"),
        (files(DOUBLE_PANIC), CorruptFile, "merge 0"),
        (files({"type": "BPE", "vocab": {"a": 0}, "merges": []}, normalizer=BOMB), TooMany, "too long"),
        (files({"type": "BPE", "vocab": {"a": 0}}), CorruptFile, "cannot be loaded"),
        (files({"type": "New", "vocab": {"a": 0}}), CorruptFile, "cannot be loaded"),
        (files({"type": "BPE", "vocab": {"\ud800": 0}, "merges": []}), CorruptFile, "not valid Unicode"),
    ],
)
def test_a_refusal_arrives_as_it_is(content, kind, problem):
    with pytest.raises(kind, match=problem) as refusal:
        apart.read_vocabulary(content)

    assert type(refusal.value) is kind
    assert refusal.value.hint


def test_a_panic_while_a_word_is_spelled_is_a_refusal():
    backtracking = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    content = files(
        {"type": "WordLevel", "unk_token": "?", "vocab": {"a" * 40 + "b": 0}}, normalizer=backtracking
    )

    with pytest.raises(CorruptFile, match="cannot spell") as refusal:
        apart.read_vocabulary(content)

    assert "retry-limit" in refusal.value.detail


def test_an_abort_ends_the_child_only(monkeypatch):
    monkeypatch.setattr(apart, "_BOOT", boot("vocabulary.require_merges = lambda model, step: None"))

    with pytest.raises(CorruptFile, match="cannot be loaded") as refusal:
        apart.read_vocabulary(files(DOUBLE_PANIC))

    assert refusal.value.detail == "Its reader ended with signal 6."


def test_a_text_that_grows_without_end_meets_the_limit_of_memory(monkeypatch):
    monkeypatch.setattr(apart, "_BOOT", boot("vocabulary.require_bounded = lambda settings: None"))
    began = time.monotonic()

    with pytest.raises(CorruptFile) as refusal:
        content = files({"type": "BPE", "vocab": {"a": 0}, "merges": []}, normalizer=BOMB)
        apart.read_vocabulary(content, memory=512 << 20)

    assert refusal.value.detail == "Reading it needed more than 512 MiB."
    assert time.monotonic() - began < 20


def test_json_that_takes_memory_and_time_never_keeps_the_caller():
    waits, seen = [], time.monotonic()

    def step(share):
        nonlocal seen
        waits.append(time.monotonic() - seen)
        seen = time.monotonic()

    with pytest.raises(CorruptFile, match="cannot be loaded") as refusal:
        content = {"tokenizer.json": b"[" + b"[]," * 5_000_000 + b"[]]"}
        apart.read_vocabulary(content, step=step, memory=256 << 20)

    assert refusal.value.detail == "Reading it needed more than 256 MiB."
    assert max(waits) < 1


@pytest.mark.parametrize("stubborn", ["pass", "[signal.signal(n, signal.SIG_IGN) for n in range(1, 9)]"])
def test_what_step_raises_ends_the_child_and_leaves_at_once(monkeypatch, stubborn):
    class Cancelled(BaseException):
        pass

    def step(share):
        if time.monotonic() - began > 0.3:
            raise Cancelled

    forever = f"import signal, time\ntry: {stubborn}\nexcept OSError: pass\nwhile True: time.sleep(1)"
    monkeypatch.setattr(apart, "_BOOT", forever)
    began = time.monotonic()

    with pytest.raises(Cancelled):
        apart.read_vocabulary({"vocab.txt": b"whale\n" * 1_000_000}, step=step)

    assert time.monotonic() - began < 2


@pytest.mark.parametrize("busy", ["time.sleep(60)", "any(iter(int, 1))"])
def test_a_child_that_takes_too_long_is_ended(monkeypatch, busy):
    monkeypatch.setattr(apart, "_BOOT", boot(f"import time; vocabulary.parse = lambda files: {busy}"))

    with pytest.raises(CorruptFile) as refusal:
        apart.read_vocabulary(SMALL, seconds=1)

    assert refusal.value.detail == "Reading it took more than 1 s."


def test_a_defect_of_the_child_is_told(monkeypatch):
    monkeypatch.setattr(apart, "_BOOT", boot("vocabulary.parse = lambda files: 1 / 0"))

    with pytest.raises(CorruptFile) as refusal:
        apart.read_vocabulary(SMALL)

    assert refusal.value.detail == "Its reader ended with status 1: ZeroDivisionError: division by zero"


def test_a_python_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(apart, "_interpreter", lambda: "/nowhere/python3")

    with pytest.raises(StepMissing, match="cannot be started") as refusal:
        apart.read_vocabulary(SMALL)

    assert refusal.value.detail == "/nowhere/python3: No such file or directory (errno 2)."
    assert refusal.value.hint


def test_a_python_without_the_packages_is_told(monkeypatch):
    monkeypatch.setattr(apart, "_BOOT", "import no_such_package")

    with pytest.raises(StepMissing, match="cannot be started") as refusal:
        apart.read_vocabulary(SMALL)

    assert "No module named 'no_such_package'" in refusal.value.detail


@pytest.mark.parametrize("executable", [None, "", "python3", "/bin/sh", "/nowhere/python3"])
def test_the_python_is_found_where_the_server_does_not_know_it(monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)

    assert len(apart.read_vocabulary(SMALL)) == 4


def test_the_child_has_its_limits_and_nothing_of_ours(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    looked = "sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), os.listdir('/proc/self/fd')"
    limits = (
        "[resource.getrlimit(getattr(resource, 'RLIMIT_' + n))[0] for n in ('AS', 'CORE', 'CPU', 'FSIZE')]"
    )
    signals = "signal.pthread_sigmask(0, ()), signal.getsignal(signal.SIGPIPE)"
    told = f"raise ValueError({looked}, {limits}, {signals})"
    monkeypatch.setattr(
        apart,
        "_BOOT",
        boot(f"import os, resource, signal; exec('def parse(files): ' + {told!r}); vocabulary.parse = parse"),
    )

    with pytest.raises(CorruptFile) as refusal:
        apart.read_vocabulary(SMALL, seconds=7, memory=1 << 30)

    assert "PYTHON" not in refusal.value.detail
    assert "'/', True, ['0', '1', '2', '3'], [1073741824, 0, 7, 0], set(), " in refusal.value.detail
    assert "SIG_DFL" in refusal.value.detail


def said(*lines):
    answer = Answer(1 << 20)
    answer.take("".join(json.dumps(line) + "\n" for line in lines).encode())
    return answer


def test_an_answer_is_taken_in_any_portions():
    whole = b'"ready"\n2\n[[7,8],[0,1],["Whale","##s"],[null,"s"]]\n'
    answer = Answer(1 << 20)
    for place in range(len(whole)):
        answer.take(whole[place : place + 1])

    assert answer.ready
    assert answer.pieces == {
        7: ("Whale", "Whale", "word", "Whale"),
        8: ("##s", "##s", "continuation", "s"),
    }


@pytest.mark.parametrize(
    "lines",
    [
        ["other"],
        [None],
        [True],
        [-1],
        [4_000_001],
        [[[0], [0], ["a"], [None]]],
        [1, [[0, 1], [0, 0], ["a", "b"], [None, None]]],
        [2, [[0, 0], [0, 0], ["a", "b"], [None, None]]],
        [2, [[0, 1], [0, 0], ["a", "b"], [None]]],
        [1, [[4_000_000], [0], ["a"], [None]]],
        [1, [[True], [0], ["a"], [None]]],
        [1, [[0], [5], ["a"], [None]]],
        [1, [[0], [-1], ["a"], [None]]],
        [1, [[0], [0], [1], [None]]],
        [1, [[0], [0], ["a"], [1]]],
        [1, [[0], [0], ["a\0"], [None]]],
        [1, [[0], [0], ["\ud800"], [None]]],
        [1, [[0], [0], ["a" * 2_001], [None]]],
        [1, [0, 0, "a", None]],
        [{"kind": "CorruptFile"}],
        [{"kind": "CorruptFile", "message": None, "detail": None, "hint": None}],
        [{"kind": "CorruptFile", "message": 1, "detail": None, "hint": None}],
        [{"kind": "KeyError", "message": "no", "detail": None, "hint": None}],
        [{"kind": "__builtins__", "message": "no", "detail": None, "hint": None}],
        ["a" * (1 << 20)],
    ],
)
def test_an_answer_that_cannot_be_true_is_refused(lines):
    with pytest.raises(CorruptFile, match="cannot be loaded") as refusal:
        said(*lines)

    assert "answer" in refusal.value.detail


def test_an_answer_without_an_end_is_refused():
    answer = Answer(1 << 30)

    with pytest.raises(CorruptFile, match="cannot be loaded"):
        for _ in range(100):
            answer.take(b"[" * (1 << 16))


def test_a_refusal_keeps_its_class_whatever_that_is_made_from():
    told = {"kind": "NameTaken", "message": "it \ud800is\0", "detail": "x" * 2_000, "hint": None}
    refusal = said(told).refusal

    assert type(refusal) is NameTaken
    assert (str(refusal), refusal.detail, refusal.hint) == ("it ?is", "x" * 1_000, None)
