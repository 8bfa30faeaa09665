"""Compositions: equal content has one id, and no atom has the id of a composition."""

import numpy as np
from blake3 import blake3

from hypercube import atoms, compositions


def test_an_id_is_the_digest_of_the_ordered_children_behind_a_domain():
    a, b = atoms.atom_digest(ord("a")), atoms.atom_digest(ord("b"))

    assert compositions.composition_id([a, b]) == blake3(b"hypercube composition 1\n" + a + b).digest()
    assert compositions.composition_id([a, b]) != compositions.composition_id([b, a])
    assert compositions.composition_id([a]) != a


def test_texts_are_spelled_once_each_in_their_order():
    found = compositions.spell(["ba", "a", "ba", "é"])

    assert found.labels == ["ba", "a", "é"]
    assert found.children == [[98, 97], [97], [233]]
    assert found.atoms == [97, 98, 233]
    assert len(set(found.ids)) == 3


def test_a_centroid_is_the_mean_of_the_points_of_the_atoms():
    found = compositions.spell(["abb"])
    points = atoms.atom_points(np.array([97, 98, 98]))

    assert np.allclose(found.centroids[0], points.mean(axis=0), atol=1e-15)


def test_nothing_is_spelled_from_nothing():
    found = compositions.spell([])

    assert found.ids == [] and found.centroids.shape == (0, 4)
