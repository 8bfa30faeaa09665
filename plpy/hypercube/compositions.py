"""Texts as nodes of a Merkle DAG over Unicode atoms.

A word is made of atoms, a sentence of words and single characters, a longer text of
sentences.  What would have one composition as its only child is that composition, so that
equal content has one id whoever brings it.
"""

from itertools import count
from typing import NamedTuple

import numpy as np
from blake3 import blake3

from hypercube import atoms
from hypercube.segments import segments

# Sets the preimage of a composition apart from that of an atom.
_DOMAIN = b"hypercube composition 1\n"
_DIGEST = 32
_TEXTS_A_STEP = 1000
# Atoms, pieces or children between two steps.
_A_STEP = 50_000
# Words and sentences are told whole, of what is longer the beginning.
_LABEL_LIMIT = 200


class Compositions(NamedTuple):
    """Distinct compositions, one entry each, children before their parents.

    `ids` and `children` are lists of bytes (the 32-byte ids of the ordered children, one
    after the other), `labels` of str, `depths`, `atom_counts` int64 ndarrays of shape (n,),
    `centroids` a float64 ndarray of shape (n, 4), `atoms` every code point that occurs, sorted.
    """

    ids: list[bytes]
    labels: list[str]
    depths: np.ndarray
    atom_counts: np.ndarray
    centroids: np.ndarray
    children: list[bytes]
    atoms: list[int]


class Text(NamedTuple):
    """What one text is made of: the id of the whole, and of its sentences in order.

    `starts` tells at which character each sentence begins, `pieces` how many words and
    other pieces there are.
    """

    root: bytes
    sentences: list[bytes]
    starts: list[int]
    pieces: int


def composition_id(child_ids):
    """Return the id of a composition from the ids of its ordered children."""
    return blake3(_DOMAIN + b"".join(child_ids)).digest()


def child_ids(children):
    """Return the ids of children that stand one after the other, as a list."""
    return [children[start : start + _DIGEST] for start in range(0, len(children), _DIGEST)]


def _silent(fraction):
    pass


def spell(texts, *, step=_silent):
    """Return the Compositions of texts that are made of atoms alone.

    Parameters
    ----------
    texts : iterable of str
        Not empty, without surrogates; repeated texts are one composition.
    step : callable
        ``step(fraction)``, called every thousand texts.
    """
    step(0.0)
    spelled = list(dict.fromkeys(texts))
    step(0.0)
    codepoints = np.frombuffer("".join(spelled).encode("utf-32-le"), np.uint32)
    step(0.0)
    seen = np.zeros(0x110000, bool)
    seen[codepoints] = True
    used = np.flatnonzero(seen)
    step(0.05)
    digests, points = _atoms(used, lambda fraction: step(0.05 + 0.3 * fraction))
    place_of = np.zeros(0x110000, np.int32)
    place_of[used] = np.arange(len(used), dtype=np.int32)
    place = place_of[codepoints]
    lengths = np.array([len(text) for text in spelled], np.int64)
    ids, children, start = [], [], 0
    for position, length in enumerate(lengths.tolist()):
        if position % _TEXTS_A_STEP == 0:
            step(0.4 + 0.5 * position / len(spelled))
        held = b"".join([digests[one] for one in place[start : start + length].tolist()])
        children.append(held)
        ids.append(blake3(_DOMAIN + held).digest())
        start += length
    centroids, start = [np.zeros((0, 4))], 0
    for first, last in _runs(lengths):
        step(0.9 + 0.1 * first / len(spelled))
        stop = start + int(lengths[first:last].sum())
        centroids.append(_means(points[place[start:stop]], np.ones(stop - start), lengths[first:last]))
        start = stop
    return Compositions(
        ids,
        [_told(text) for text in spelled],
        np.ones(len(ids), np.int64),
        lengths,
        np.concatenate(centroids),
        children,
        used.tolist(),
    )


def _atoms(codepoints, step):
    """Return the digests of characters, a list, and their points."""
    digests, points = [], [np.zeros((0, 4))]
    for start in range(0, len(codepoints), _A_STEP):
        step(start / len(codepoints))
        some = codepoints[start : start + _A_STEP]
        digests += atoms.atom_digests(some)
        points.append(atoms.atom_points(some))
    return digests, np.concatenate(points)


def _runs(lengths):
    """Cut range(len(lengths)) into (first, last) whose lengths are together about what a step may take."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _A_STEP, side="right")))
        yield first, last
        first = last


def compose(texts, *, step=_silent):
    """Return the Compositions of whole texts, and a list of one Text for each of them.

    Parameters
    ----------
    texts : list of str
        Without surrogates; may be empty.
    step : callable
        ``step(fraction)``, called every few tens of milliseconds.
    """
    cuts, words = [], {}
    for position, text in enumerate(texts):
        step(0.3 * position / len(texts))
        cuts.append(_pieces(text, words, step))
    # Single characters that are no words are the atoms themselves: they come first, negative.
    spelled = spell(words, step=lambda fraction: step(0.3 + 0.2 * fraction))
    seen = np.zeros(0x110000, bool)
    for pieces, _, _ in cuts:
        step(0.5)
        seen[-1 - pieces[pieces < 0]] = True
    graph = _Graph(spelled, np.flatnonzero(seen), lambda fraction: step(0.5))
    made = [
        graph.add_text(text, *cut, lambda fraction, place=place: step(0.5 + 0.5 * place / len(texts)))
        for place, (text, cut) in enumerate(zip(texts, cuts, strict=True))
    ]
    return graph.compositions(), made


def _pieces(text, words, step):
    """Return the pieces of a text, where they begin, and the first piece of each sentence.

    A piece is the number of a word in `words`, which grows, or -1 - code point.
    """
    cut = segments(text, step=step)
    pieces = np.empty(len(cut.words), np.int64)
    for start in range(0, len(pieces), _A_STEP):
        step(0.0)
        bounds = cut.pieces[start : start + _A_STEP + 1].tolist()
        known = cut.words[start : start + _A_STEP].tolist()
        for place, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            if end - begin == 1 and not known[place]:
                pieces[start + place] = -1 - ord(text[begin])
            else:
                pieces[start + place] = words.setdefault(text[begin:end], len(words))
    return pieces, cut.pieces, cut.sentences


class _Graph:
    """Grows Compositions of sentences and texts on top of those of words."""

    def __init__(self, spelled, singles, step):
        self._spelled = spelled
        self._ids = list(spelled.ids)
        self._labels = list(spelled.labels)
        self._children = list(spelled.children)
        self._row_of = {}
        for start in range(0, len(self._ids), _A_STEP):
            step(0.0)
            self._row_of.update(zip(self._ids[start : start + _A_STEP], count(start), strict=False))
        # One table of what a child can be: the words, then the single characters.
        self._single_rows = np.zeros(0x110000, np.int64)
        self._single_rows[singles] = len(self._ids) + np.arange(len(singles))
        digests, points = _atoms(singles, step)
        self._child_ids = self._ids + digests
        self._child_points = np.concatenate((spelled.centroids, points))
        self._child_atoms = np.concatenate((spelled.atom_counts, np.ones(len(singles), np.int64)))
        step(0.0)
        seen = np.zeros(0x110000, bool)
        seen[np.array(spelled.atoms, np.int64)] = seen[singles] = True
        self._atoms = np.flatnonzero(seen).tolist()
        step(0.0)
        self._depths = [spelled.depths]
        self._counts = [spelled.atom_counts]
        self._points = [spelled.centroids]

    def add_text(self, text, pieces, begins, sentences, step):
        """Add the sentences of a text and the text itself; return its Text."""
        children = self._numbered(pieces, step)
        found, new, waiting = [], [], 0
        starts = begins[sentences].tolist()
        bounds = sentences.tolist()
        for place, (first, last) in enumerate(zip(bounds, bounds[1:], strict=False)):
            waiting += last - first
            if waiting > _A_STEP or place % _TEXTS_A_STEP == 0:
                step(0.0)
                waiting = 0
            found.append(self._sentence(text, starts[place], starts[place + 1], children, first, last, new))
        self._measure(children, new, step)
        root = found[0] if len(found) == 1 else self._whole(text, found, step)
        return Text(self._ids[root], [self._ids[row] for row in found], starts[:-1], len(pieces))

    def _numbered(self, pieces, step):
        """Return the rows of the table of children for pieces."""
        rows = pieces.copy()
        for start in range(0, len(rows), _A_STEP):
            step(0.0)
            part = rows[start : start + _A_STEP]
            single = part < 0
            part[single] = self._single_rows[-1 - part[single]]
        return rows

    def _sentence(self, text, begin, end, children, first, last, new):
        """Return the row of a sentence; where it is in `children` goes to `new` if it was not there.

        Known by its children: where a limit cut a word, equal characters can be of other words.
        """
        if last - first == 1 and children[first] < len(self._spelled.ids):
            return int(children[first])
        held = b"".join([self._child_ids[row] for row in children[first:last].tolist()])
        row, is_new = self._row(held, text, begin, end)
        if is_new:
            new.append((first, last))
        return row

    def _row(self, held, text, begin, end):
        """Return the row of the composition of some children, told by a part of a text, and if it is new."""
        its_id = blake3(_DOMAIN + held).digest()
        is_new = its_id not in self._row_of
        if is_new:
            self._row_of[its_id] = len(self._ids)
            self._ids.append(its_id)
            self._labels.append(_told(text[begin:end]))
            self._children.append(held)
        return self._row_of[its_id], is_new

    def _measure(self, children, new, step):
        """Compute what new sentences have in common with their children."""
        bounds = np.array(new, np.int64).reshape(-1, 2)
        for begin, end in _runs(bounds[:, 1] - bounds[:, 0]):
            step(0.0)
            some = bounds[begin:end]
            rows = np.concatenate([children[first:last] for first, last in some.tolist()])
            lengths = some[:, 1] - some[:, 0]
            starts = np.cumsum(lengths) - lengths
            counts = self._child_atoms[rows]
            is_word = rows < len(self._spelled.ids)
            self._points.append(_means(self._child_points[rows], counts, lengths))
            self._counts.append(np.add.reduceat(counts, starts))
            self._depths.append(1 + np.maximum.reduceat(is_word.astype(np.int64), starts))

    def _whole(self, text, found, step):
        step(0.0)
        held = b"".join([self._ids[row] for row in found])
        step(0.0)
        row, is_new = self._row(held, text, 0, _LABEL_LIMIT)
        if is_new:
            depths, counts, points = self._columns()
            weights = counts[found]
            step(0.0)
            self._depths.append(np.array([1 + depths[found].max() if found else 0]))
            self._counts.append(np.array([weights.sum()], np.int64))
            step(0.0)
            self._points.append(_means(points[found], weights, np.array([len(found)])))
            step(0.0)
        return row

    def _columns(self):
        """Return depths, counts of atoms and centroids of all rows so far."""
        self._depths = [np.concatenate(self._depths)]
        self._counts = [np.concatenate(self._counts)]
        self._points = [np.concatenate(self._points)]
        return self._depths[0], self._counts[0], self._points[0]

    def compositions(self):
        """Return what has grown."""
        return Compositions(self._ids, self._labels, *self._columns(), self._children, self._atoms)


def _means(points, weights, lengths):
    """Return the weighted means of runs of points: the origin where a run is empty."""
    means = np.zeros((len(lengths), 4))
    filled = lengths > 0
    if filled.any():
        starts = (np.cumsum(lengths) - lengths)[filled]
        sums = np.add.reduceat(points * weights[:, None], starts, axis=0)
        means[filled] = sums / np.add.reduceat(weights, starts)[:, None]
    return means


def below(found, roots):
    """Return the ids of everything that each of some texts is made of, itself and its atoms included.

    Parameters
    ----------
    found : Compositions
        With every composition of the texts.
    roots : list of bytes

    Returns
    -------
    list of list of bytes
        Sorted, one list for each root.
    """
    children = {one: child_ids(held) for one, held in zip(found.ids, found.children, strict=True)}
    return [sorted(_reached(children, root)) for root in roots]


def _reached(children, root):
    reached, waiting = {root}, [root]
    while waiting:
        new = set(children.get(waiting.pop(), ())) - reached
        reached |= new
        waiting += new
    return reached


def labels(text):
    """Return how a text may be told: whole, or its beginning where it is made of sentences."""
    return _told(text), _told(text[:_LABEL_LIMIT])


def _told(text):
    """Return a text as it can be stored as text: the null character is shown."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}")
