"""Many analogies at once, beside the bare product, numpy and gensim.

The questions are those of Mikolov, Chen, Corrado and Dean (2013), of which gensim's
test data has a copy.
"""

import random
import time
from pathlib import Path

import numpy as np
from bench_tools import Row, spell, take_turns, tell_turns, timed, weigh
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

_BATCH = 1000
_TILE = 512
_BLOCK = 256
_EPSILON = np.float32(1e-6)
# What gensim answers right by 3CosMul; --full asks it again.
_MULTIPLIED_RIGHT = 9434


class Words:
    """The rows of a matrix by their names, for numpy and for gensim; `keys` is in the order of the rows."""

    def __init__(self, keys, unit):
        self.keys = keys
        self.unit = unit
        self.place = {key: number for number, key in enumerate(keys)}
        self.vectors = KeyedVectors(unit.shape[1])
        self.vectors.add_vectors(keys, unit)
        self.vectors.fill_norms()

    def lower_case(self):
        """Return the Words of the keys that match ^[a-z]+$."""
        chosen = [key for key in self.keys if key.isascii() and key.isalpha() and key.islower()]
        return Words(chosen, self.unit[[self.place[key] for key in chosen]])

    def questions(self, text):
        """Return the rows of the words of every question that has only known ones, int (m, 4)."""
        lines = (line.lower().split() for line in text.splitlines() if not line.startswith(":"))
        known = [[self.place[word] for word in line] for line in lines if all(w in self.place for w in line)]
        return np.array(known)


def google_text():
    return Path(datapath("questions-words.txt")).read_text(encoding="utf-8")


# --- numpy ----------------------------------------------------------------------------------------


def count_added(words, text):
    """Return how many analogies numpy answers right by 3CosAdd, its way."""
    questions, right = words.questions(text), 0
    for start in range(0, len(questions), _BLOCK):
        a, b, c, d = questions[start : start + _BLOCK].T
        directions = words.unit[b] - words.unit[a] + words.unit[c]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        right += count_best(directions @ words.unit.T, (a, b, c), d)
    return right


def count_multiplied(words, text):
    """Return how many by 3CosMul; the cosines of every word that is asked for are computed once."""
    questions, right = words.questions(text), 0
    used, place = np.unique(questions[:, :3], return_inverse=True)
    place = place.reshape(-1, 3)
    near = words.unit[used] @ words.unit.T
    near += 1
    near /= 2
    for start in range(0, len(questions), _BLOCK):
        a, b, c = place[start : start + _BLOCK].T
        scores = near[b] * near[c]
        scores /= near[a] + _EPSILON
        *inputs, d = questions[start : start + _BLOCK].T
        right += count_best(scores, inputs, d)
    return right


def count_best(scores, inputs, expected):
    rows = np.arange(len(scores))
    for column in inputs:
        scores[rows, column] = -np.inf
    return int((scores.argmax(axis=1) == expected).sum())


# --- gensim ---------------------------------------------------------------------------------------


class Multiplying(KeyedVectors):
    """evaluate_word_analogies asks most_similar, whatever similarity it is told."""

    def most_similar(self, positive=None, negative=None, topn=10, restrict_vocab=None, **_):
        return self.most_similar_cosmul(positive, negative, topn, restrict_vocab)


def gensim_right(vectors):
    """Return how many analogies gensim answers right, and its seconds."""
    began = time.perf_counter()
    _, sections = vectors.evaluate_word_analogies(datapath("questions-words.txt"))
    return len(sections[-1]["correct"]), time.perf_counter() - began


def gensim_multiplied_right(words):
    vectors = Multiplying(words.unit.shape[1])
    vectors.add_vectors(words.keys, words.unit)
    return gensim_right(vectors)


# --- the rows -------------------------------------------------------------------------------------


def measure_batch(server, words):
    """A thousand analogies in one call."""
    letters = words.lower_case()
    known = letters.questions(google_text())
    sample = random.Random(0).sample(known.tolist(), _BATCH)
    triples = [[letters.keys[place] for place in question[:3]] for question in sample]
    unit = words.unit
    a, b, c = (unit[[words.place[triple[side]] for triple in triples]] for side in range(3))
    directions = b - a + c
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    out = np.empty((_BATCH, len(unit)), np.float32)
    found = {}

    with server.connect(dbname="minilm", autocommit=True) as db:

        def batch():
            statement = "SELECT question, label FROM hypercube.analogies(%s::text[], 1)"
            found["hypercube"] = db.execute(statement, (triples,), prepare=True).fetchall()

        def whole():
            np.matmul(directions, unit.T, out=out)

        def tiles():
            for start in range(0, _BATCH, _TILE):
                part = slice(start, start + _TILE)
                np.matmul(directions[part], unit.T, out=out[part])

        take_turns(2, batch, whole, tiles)
        batches, wholes, tiled = take_turns(15, batch, whole, tiles)
    tell_turns({"1,000 analogies": batches, "whole product": wholes, "product by tiles": tiled})
    limit, how = (wholes, "whole") if np.median(wholes) <= np.median(tiled) else (tiled, "tiles of 512")
    yield weigh("1,000 analogies in one call", batches, limit, f"bare product, {how}", most=1.7)

    answers = []

    def ask_gensim(part):
        for first, second, third in part:
            [(key, _)] = words.vectors.most_similar(positive=[second, third], negative=[first], topn=1)
            answers.append(key)

    ask_gensim(triples[:5])
    answers.clear()
    spent = [
        5 * timed(lambda part=triples[start : start + 50]: ask_gensim(part)) for start in range(0, 200, 50)
    ]
    ask_gensim(triples[200:])
    same = sum(label == key for (_, label), key in zip(sorted(found["hypercube"]), answers, strict=True))
    limit = 4 * float(np.median(spent))
    yield weigh(
        "the same beside gensim", float(np.median(batches)), limit, "most_similar, 200 of them x 5",
        more=f", {same} of {_BATCH:,} answers equal", faster=5,
    )  # fmt: skip


def measure_evaluation(server, words, full):
    """The whole test of analogies, letters only."""
    text = google_text()
    letters = words.lower_case()
    counts, results = {}, {}

    with server.connect(dbname="minilm", autocommit=True) as db:

        def evaluate(method):
            statement = (
                "SELECT answered, correct FROM hypercube.evaluate_analogies("
                "%s, method => %s, letters_only => true) WHERE section = 'total'"
            )
            results[method] = db.execute(statement, (text, method)).fetchall()[-1]

        tasks = {
            "hypercube": lambda: evaluate("3cosadd"),
            "numpy": lambda: counts.update({"3cosadd": count_added(letters, text)}),
            "hypercube by product": lambda: evaluate("3cosmul"),
            "numpy by product": lambda: counts.update({"3cosmul": count_multiplied(letters, text)}),
        }
        take_turns(1, *tasks.values())
        turns = take_turns(3, *tasks.values())
    tell_turns({f"evaluation, {what}": spent for what, spent in zip(tasks, turns, strict=True)})
    right, seconds = gensim_right(letters.vectors)
    expected = {"3cosadd": right, "3cosmul": _MULTIPLIED_RIGHT}
    told = [Row("gensim, evaluate_word_analogies", f"{spell(seconds)}, {right:,} right")]
    if full:
        expected["3cosmul"], seconds = gensim_multiplied_right(letters)
        told.append(Row("gensim, the same by 3CosMul", f"{spell(seconds)}, {expected['3cosmul']:,} right"))
    for method, measured, limit in ("3cosadd", *turns[:2]), ("3cosmul", *turns[2:]):
        answered, correct = results[method]
        yield weigh(
            f"{answered:,} Google analogies, {method}", measured, limit, f"numpy, {counts[method]:,} right",
            more=f", {correct:,} right", most=2,
            target=f"{expected[method]:,} right, as gensim", met=correct == expected[method],
        )  # fmt: skip
    yield from told
