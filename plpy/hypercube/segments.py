"""Where the words and sentences of a text begin.

Owns the rules, which are the same for every model and on every machine: what a text is
made of must not depend on who stores it.  They follow the spirit of Unicode's annex 29,
with classes of characters that are fixed in ``characters``.
"""

import functools
from typing import NamedTuple

import numpy as np

from hypercube import characters

WORD_LIMIT = 100
SENTENCE_LIMIT = 1000

_SPACES = [
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
]
_LINE_ENDS = "\n\x0b\x0c\x85\u2028\u2029"
_APOSTROPHES = "'\u2019"
_DIGIT_MARKS = ".,"
_ENDS = ".!?\u2026\u203d"
_IDEOGRAPHIC_ENDS = "\u3002\uff01\uff1f\uff61"
_CLOSERS = "\"')]}\u00bb\u2019\u201d\u300d\u300f\uff09"
# Written without spaces: every character is a word.
_IDEOGRAPHS = ((0x3041, 0x3097), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32000))
# Before a full stop these do not end a sentence; neither does a single capital letter.
_ABBREVIATIONS = frozenset(
    "Capt Col Dr Esq Gen Gov Hon Jr Lieut Lt Messrs Mr Mrs Ms No Prof Rev Sgt Sr St Vol"
    " cf eg etc ie viz vs".split()
)

# Latin, Greek and Cyrillic; which other letters are capitals changes with every Unicode.
_CAPITALS = ((0x41, 0x5B), (0xC0, 0xD7), (0xD8, 0xDF), (0x391, 0x3A2), (0x3A3, 0x3AA), (0x400, 0x430))
_CANDIDATES_A_STEP = 10_000

(
    _WORD,
    _SPACE,
    _LINE_END,
    _APOSTROPHE,
    _DIGIT_MARK,
    _END,
    _WIDE_END,
    _CLOSER,
    _IDEOGRAPH,
    _LOWER,
    _DIGIT,
    _CAPITAL,
) = (1 << place for place in range(12))


class Segments(NamedTuple):
    """A text cut into pieces, and the pieces into sentences.

    `pieces` (int64) holds where each piece begins in the text, and where the last one
    ends; `sentences` (int64) which piece each sentence begins with, and how many there are.
    `words` (bool) says which pieces are words; the others are single characters or runs of
    white space.
    """

    pieces: np.ndarray
    sentences: np.ndarray
    words: np.ndarray


def code_points(text):
    """Return the characters of a text as a uint32 ndarray."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _silent(fraction):
    pass


def segments(text, *, step=_silent):
    """Cut a text into Segments; joined together, the pieces are the text.

    A piece is a word (letters, marks and numbers, with an apostrophe inside, or a point or
    comma between digits; at most 100 characters), a run of white space (the same), or
    one character of any other kind.  Ideographs are words of one character.

    A sentence ends after ``.``, ``!``, ``?`` and the like with the quotation marks and
    brackets behind it, when white space follows and no lower-case letter after that; at an empty line;
    and after 1,000 pieces.  White space belongs to the sentence before it.
    """
    step(0.0)
    kinds = _kinds()[code_points(text)]
    count = len(kinds)
    if not count:
        nothing = np.zeros(1, np.int64)
        return Segments(nothing, nothing, np.zeros(0, bool))
    step(0.1)
    word = _words(kinds)
    step(0.2)
    pieces = _pieces(kinds, word, step)
    ends = _sentence_ends(text, kinds, step)
    step(0.9)
    # The piece that each sentence begins with: a cut is always between two pieces.
    first = np.searchsorted(pieces, np.concatenate(([0], ends)))
    starts = _cut(first, np.diff(np.append(first, len(pieces))), SENTENCE_LIMIT)
    step(0.95)
    return Segments(
        np.append(pieces, count).astype(np.int64),
        np.append(starts, len(pieces)).astype(np.int64),
        word[pieces],
    )


@functools.lru_cache(maxsize=1)
def _kinds():
    """Return what each code point is, uint16 (0x110000,): a sum of the kinds above."""
    kinds = np.zeros(0x110000, np.uint16)
    kinds[characters.is_word()] |= _WORD
    kinds[characters.is_lower()] |= _LOWER
    for begin, end in _IDEOGRAPHS:
        kinds[begin:end] |= (kinds[begin:end] & _WORD) * np.uint16(_IDEOGRAPH // _WORD)
    for begin, end in _CAPITALS:
        kinds[begin:end] |= _CAPITAL
    kinds[_SPACES] |= _SPACE
    kinds[ord("0") : ord("9") + 1] |= _DIGIT
    for members, kind in (
        (_LINE_ENDS, _LINE_END),
        (_APOSTROPHES, _APOSTROPHE),
        (_DIGIT_MARKS, _DIGIT_MARK),
        (_ENDS, _END),
        (_IDEOGRAPHIC_ENDS, _WIDE_END),
        (_CLOSERS, _CLOSER),
    ):
        kinds[[ord(member) for member in members]] |= kind
    return kinds


def _words(kinds):
    """Return which characters are part of a word, also for what stands inside one."""
    word = (kinds & _WORD) != 0
    if len(kinds) > 2:
        joined = ((kinds[1:-1] & _APOSTROPHE) != 0) & word[:-2] & word[2:]
        digit = (kinds & _DIGIT) != 0
        joined |= ((kinds[1:-1] & _DIGIT_MARK) != 0) & digit[:-2] & digit[2:]
        word[1:-1] |= joined
    return word


def _pieces(kinds, word, step):
    """Return where each piece begins."""
    space = (kinds & _SPACE) != 0
    ideograph = (kinds & _IDEOGRAPH) != 0
    begins = np.ones(len(kinds), bool)
    step(0.25)
    same = (word[1:] & word[:-1]) | (space[1:] & space[:-1])
    begins[1:] = ~same | ideograph[1:] | ideograph[:-1]
    # Runs are cut, so that no composition has very many children.
    step(0.3)
    starts = np.flatnonzero(begins)
    step(0.35)
    return _cut(starts, np.diff(np.append(starts, len(kinds))), WORD_LIMIT)


def _cut(starts, lengths, limit):
    """Return the starts of runs, and where what is longer than a limit is cut."""
    if lengths.max() <= limit:
        return starts
    counts = -(-lengths // limit)
    ordinals = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + limit * ordinals


def _sentence_ends(text, kinds, step):
    """Return where sentences end within a text, sorted; its own end is not among them."""
    count = len(kinds)
    step(0.4)
    space = (kinds & _SPACE) != 0
    closer = (kinds & _CLOSER) != 0
    edges = np.diff(np.concatenate(([False], space, [False])).astype(np.int8))
    step(0.45)
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    inside = (begins > 0) & (ends < count)
    begins, ends = begins[inside], ends[inside]

    step(0.55)
    lines = np.flatnonzero((kinds & _LINE_END) != 0)
    empty_line = np.searchsorted(lines, ends) - np.searchsorted(lines, begins) > 1
    step(0.7)
    # What stands before the white space, but for closing quotation marks and brackets.
    before = begins - 1
    closed = closer[before]
    runs = np.flatnonzero(closer & ~np.concatenate(([False], closer[:-1])))
    step(0.74)
    before[closed] = runs[np.searchsorted(runs, before[closed], side="right") - 1] - 1
    ended = (before >= 0) & ((kinds[before] & _END) != 0) & ((kinds[ends] & _LOWER) == 0)
    found = [ends[empty_line]]
    candidates = np.flatnonzero(ended & ~empty_line)
    for start in range(0, len(candidates), _CANDIDATES_A_STEP):
        step(0.75 + 0.1 * start / len(candidates))
        some = candidates[start : start + _CANDIDATES_A_STEP]
        kept = [not _abbreviated(text, kinds, place) for place in before[some].tolist()]
        found.append(ends[some[kept]])

    step(0.85)
    wide = np.flatnonzero((kinds & _WIDE_END) != 0)
    if len(wide):
        stops = np.flatnonzero(~space & ~closer & ((kinds & (_WIDE_END | _END)) == 0))
        step(0.87)
        after = np.searchsorted(stops, wide)
        found.append(stops[after[after < len(stops)]])
        step(0.89)
    begins_sentence = np.zeros(count, bool)
    begins_sentence[np.concatenate(found)] = True
    return np.flatnonzero(begins_sentence)


def _abbreviated(text, kinds, place):
    """Return whether the full stop at a place follows an abbreviation."""
    if text[place] != ".":
        return False
    start = place
    while start > 0 and place - start < 8 and kinds[start - 1] & _WORD:
        start -= 1
    word = text[start:place]
    return word in _ABBREVIATIONS or (len(word) == 1 and bool(kinds[start] & _CAPITAL) and word != "I")
