"""Texts as nodes of a Merkle DAG over Unicode atoms."""

from typing import NamedTuple

from blake3 import blake3

from hypercube import atoms

# Sets the preimage of a composition apart from that of an atom.
_DOMAIN = b"hypercube composition 1\n"
_TEXTS_A_STEP = 1000


class Compositions(NamedTuple):
    """Distinct texts, one entry a text, in the order in which they first came.

    `centroids` is an ndarray of shape (n, 4); `children` holds the codepoints
    of each text, `atoms` every codepoint that occurs, sorted.
    """

    ids: list[bytes]
    labels: list[str]
    centroids: object
    children: list[list[int]]
    atoms: list[int]


def composition_id(child_ids):
    """Return the id of a composition from the ids of its ordered children."""
    return blake3(_DOMAIN + b"".join(child_ids)).digest()


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
    import numpy as np

    labels = list(dict.fromkeys(texts))
    children, ids, used = [], [], {}
    for position, label in enumerate(labels):
        if position % _TEXTS_A_STEP == 0:
            step(position / len(labels) / 2)
        codepoints = list(map(ord, label))
        for codepoint in codepoints:
            if codepoint not in used:
                used[codepoint] = atoms.atom_digest(codepoint)
        children.append(codepoints)
        ids.append(composition_id([used[codepoint] for codepoint in codepoints]))

    ordered = sorted(used)
    points = atoms.atom_points(np.array(ordered, dtype=np.int64))
    place = {codepoint: position for position, codepoint in enumerate(ordered)}
    centroids = np.empty((len(labels), 4))
    for position, codepoints in enumerate(children):
        if position % _TEXTS_A_STEP == 0:
            step(0.5 + position / len(labels) / 2)
        centroids[position] = points[[place[codepoint] for codepoint in codepoints]].mean(axis=0)
    return Compositions(ids, labels, centroids, children, ordered)
