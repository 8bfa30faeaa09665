"""How differently two words are spelled.

The path of a word is the line through the points of its characters.  Two paths are as far
apart as the cheapest way to turn one into the other: to insert, to leave out or to
exchange two neighbours costs 1, to replace a character by another what their points are
apart, at most 1, and a quarter of it where both are forms of one letter: a capital or an accent.
"""

import unicodedata

import numpy as np

from hypercube import atoms

LIMIT = 100
# Characters that far apart have nothing to do with each other; letters of the alphabet are about as far.
_REACH = 0.1
_SAME_LETTER = 0.25


def _silent(fraction):
    pass


def paths(text, words, *, step=_silent):
    """Return how far the path of a text is from those of words.

    Parameters
    ----------
    text : str
        Of 1 to `LIMIT` characters.
    words : list of str
        None of them empty.
    step : callable
        ``step(fraction)``, called once for each character of the text.

    Returns
    -------
    float64 ndarray of shape (len(words),)

    Notes
    -----
    The optimal string alignment distance (Damerau 1964, Wagner and Fischer 1974) with weights,
    for all words at once.
    """
    lengths = np.array([len(word) for word in words], np.int64)
    if not len(lengths):
        return np.zeros(0)
    own = np.array([ord(character) for character in text])
    flat = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    used, place = np.unique(flat, return_inverse=True)
    # What stands behind the end of a word is some character; it does not count.
    letters = np.zeros((lengths.max(), len(words)), np.int64)
    rows = np.repeat(np.arange(len(words)), lengths)
    columns = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    letters[columns, rows] = place
    apart = np.linalg.norm(atoms.atom_points(own)[:, None] - atoms.atom_points(used)[None], axis=2)
    costs = np.minimum(apart / _REACH, 1.0)
    letters_of = np.array([_letter(one) for one in used.tolist()])
    costs[np.array([_letter(one) for one in own.tolist()])[:, None] == letters_of] *= _SAME_LETTER
    same = own[:, None] == used[None]

    before = previous = None
    current = np.repeat(np.arange(len(letters) + 1.0)[:, None], len(words), axis=1)
    for i in range(len(own)):
        step(i / len(own))
        before, previous = previous, current
        current = np.empty_like(previous)
        current[0] = i + 1.0
        for j in range(len(letters)):
            best = np.minimum(previous[j + 1], current[j]) + 1.0
            np.minimum(best, previous[j] + costs[i][letters[j]], out=best)
            if i and j:
                exchanged = same[i][letters[j - 1]] & same[i - 1][letters[j]]
                np.minimum(best, before[j - 1] + 1.0, out=best, where=exchanged)
            current[j + 1] = best
    return current[lengths, np.arange(len(words))]


def centroid_distances(text, words):
    """Return how far the mean of the points of a text is from those of words, a list of float."""
    centre = _centroid(text)
    return [float(np.linalg.norm(centre - _centroid(word))) for word in words]


def _centroid(word):
    return atoms.atom_points([ord(character) for character in word]).mean(axis=0)


def _letter(codepoint):
    """Return the base letter of a character as text, itself where it is no letter."""
    return unicodedata.normalize("NFKD", chr(codepoint))[:1].casefold()[:1]
