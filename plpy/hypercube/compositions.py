"""Texts as nodes of a Merkle DAG over Unicode atoms."""

from typing import NamedTuple

from blake3 import blake3

from hypercube import atoms

# Sets the preimage of a composition apart from that of an atom.
_DOMAIN = b"hypercube composition 1\n"


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


def spell(texts):
    """Return the Compositions of texts that are made of atoms alone.

    Parameters
    ----------
    texts : iterable of str
        Not empty, without surrogates; repeated texts are one composition.
    """
    import numpy as np

    labels = list(dict.fromkeys(texts))
    children = [[ord(character) for character in label] for label in labels]
    used = sorted({codepoint for label in children for codepoint in label})
    digests = {codepoint: atoms.atom_digest(codepoint) for codepoint in used}
    ids = [composition_id([digests[codepoint] for codepoint in label]) for label in children]

    points = atoms.atom_points(np.array(used, dtype=np.int64))
    place = {codepoint: position for position, codepoint in enumerate(used)}
    centroids = np.empty((len(labels), 4))
    for position, label in enumerate(children):
        centroids[position] = points[[place[codepoint] for codepoint in label]].mean(axis=0)
    return Compositions(ids, labels, centroids, children, used)
