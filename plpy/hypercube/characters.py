"""What every character is, read from a file that is the same for every machine.

Owns the semantic order of all characters, and which are of words and which are small.
It does not ask Python's unicodedata, which knows another Unicode with every version.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from hypercube.errors import CorruptFile

CODEPOINTS = 0x110000
SURROGATES = range(0xD800, 0xE000)
CHARACTERS = CODEPOINTS - len(SURROGATES)

_FILE = Path(__file__).with_name("characters.txt")


@lru_cache(maxsize=1)
def positions():
    """Return the place of every character in the semantic order.

    Returns
    -------
    int32 ndarray of shape (0x110000,)
        By code point, read-only; 0 to 1,112,063, and -1 for surrogates.

    Raises
    ------
    CorruptFile
        If the file of the characters is not whole.

    Notes
    -----
    Sorted by script, letter, marks, compatibility form and case, so that neighbours
    in the order are variants of one another; digits stand by their value; private
    use and what the file's Unicode does not assign come last, by code point.
    `scripts/characters` says it exactly.
    """
    firsts, counts = _ranges("order")
    if counts.sum() != CHARACTERS:
        raise _corrupt("order", f"it has {counts.sum()} characters")
    found = np.full(CODEPOINTS, -1, np.int32)
    places = np.arange(CHARACTERS, dtype=np.int32)
    # Within a run code point and place grow together.
    ahead = firsts + counts - np.cumsum(counts)
    found[np.repeat(ahead.astype(np.int32), counts) + places] = places
    if (found < 0).sum() != len(SURROGATES) or (found[SURROGATES.start : SURROGATES.stop] >= 0).any():
        raise _corrupt("order", "it does not have every character once")
    return _kept(found)


@lru_cache(maxsize=1)
def is_word():
    """Return which code points are letters, marks or numbers, as a read-only bool ndarray (0x110000,)."""
    return _members("word")


@lru_cache(maxsize=1)
def is_lower():
    """Return which code points are small letters, as a read-only bool ndarray of shape (0x110000,).

    Those of category Ll, and the ordinals ª and º: they have no capital and are therefore in
    category Lo, but Unicode's property Lowercase counts them, and a word written with them is small.
    """
    return _members("lower")


def _members(section):
    firsts, counts = _ranges(section)
    lasts = firsts + counts - 1
    if (firsts[1:] <= lasts[:-1] + 1).any():
        raise _corrupt(section, "its ranges are not in order")
    if ((firsts < SURROGATES.stop) & (lasts >= SURROGATES.start)).any():
        raise _corrupt(section, "it has surrogates")
    found = np.zeros(CODEPOINTS + 1, np.int8)
    found[firsts], found[lasts + 1] = 1, -1
    return _kept(np.cumsum(found[:-1], dtype=np.int8).view(bool))


def _kept(array):
    # All callers share it.
    array.flags.writeable = False
    return array


def _ranges(section):
    """Return the first code points of a section's ranges and how many each has, as int64 ndarrays."""
    try:
        text = _FILE.read_text(encoding="ascii")
        lines = [line for line in text.split("\n") if line[:1] != "#"]
        begin = lines.index(section) + 1
        words = " ".join(lines[begin : lines.index("", begin)]).split(" ")
        parts = [word.partition("-") for word in words]
        firsts = np.array([int(first, 16) for first, _, _ in parts], np.int64)
        lasts = np.array([int(last if dash else first, 16) for first, dash, last in parts], np.int64)
    except (ValueError, OverflowError):
        raise _corrupt(section, "it cannot be read") from None
    if (firsts < 0).any() or (lasts < firsts).any() or (lasts >= CODEPOINTS).any():
        raise _corrupt(section, "it has a range that is none")
    return firsts, lasts - firsts + 1


def _corrupt(section, reason):
    return CorruptFile(f'section "{section}" of {_FILE.name} is not as it was written', detail=reason)
