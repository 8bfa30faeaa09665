"""Atoms: golden digests, and points that are even over the whole of Unicode."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hypercube import atoms
from hypercube.errors import InvalidArgument


def scalar_values():
    return np.concatenate((np.arange(0xD800), np.arange(0xE000, 0x110000)))


# The first is one of BLAKE3's own test vectors; the points come from decimal arithmetic with 60 digits.
GOLDEN = {
    0x0: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    0x41: "32684bfa28c0c84d6f210511aace0efc5171c7889148ba89208d5aa29705fa98",
    0x20: "00263ca9f57f7177f495e3711f8cdd59967a0a1a4de895b1ebee566cd1883ed4",
    0xE9: "46d0ec742ceaad149f9a3d109d1bd9e9ece7858161b43cf0008906478418e807",
    0x1F40B: "48a7bfe6ea9be1402c2c02b3e5bfad038d873deadd413398caab254e6f9ab165",
}
GOLDEN_POINTS = [
    [0.007033902143449033, -0.0030698059280101814, -0.9615761875340495, -0.27443093134645613],
    [-0.26597294917727476, -0.20622414976349351, -0.9333041736650105, -0.12519308998398745],
]


@pytest.mark.parametrize(("codepoint", "digest"), GOLDEN.items())
def test_digests_never_change(codepoint, digest):
    assert atoms.atom_digest(codepoint).hex() == digest


@pytest.mark.parametrize("codepoint", [-1, 0xD800, 0xDBFF, 0xDFFF, 0x110000])
def test_what_is_not_a_character_is_refused(codepoint):
    with pytest.raises(InvalidArgument, match=f"code point {codepoint} is not a character"):
        atoms.atom_digest(codepoint)
    with pytest.raises(InvalidArgument, match=f"code point {codepoint} is not a character"):
        atoms.atom_points([65, codepoint])


@pytest.mark.parametrize("codepoint", [0, 0xD7FF, 0xE000, 0x10FFFF])
def test_the_outermost_characters_are_accepted(codepoint):
    assert len(atoms.atom_digest(codepoint)) == 32
    assert atoms.atom_points([codepoint]).shape == (1, 4)


def test_every_point_has_length_one_and_is_there_once():
    points = atoms.atom_points(scalar_values())
    assert points.shape == (1_112_064, 4) and points.dtype == np.float64
    assert np.abs(np.einsum("ij,ij->i", points, points) - 1.0).max() < 1e-12
    assert len(np.unique(points.view("V32"))) == len(points)


def test_points_are_evenly_spread():
    points = atoms.atom_points(scalar_values())
    sample = points[:: len(points) // 2000]
    distance = cKDTree(points).query(sample, k=2)[0][:, 1]
    # The edge of a cube that has the room of one of n points on the sphere.
    ideal = (2 * np.pi**2 / len(points)) ** (1 / 3)
    assert distance.min() > 0.4 * ideal
    assert np.median(distance) > 0.7 * ideal
    assert distance.max() < 1.3 * ideal


def test_a_point_depends_on_its_character_alone():
    several = atoms.atom_points([0x1F40B, 65, 0x4E2D])
    for codepoint, point in zip((0x1F40B, 65, 0x4E2D), several, strict=True):
        np.testing.assert_array_equal(atoms.atom_points([codepoint])[0], point)


def test_points_never_change():
    assert atoms.MAP_VERSION == 1
    np.testing.assert_allclose(atoms.atom_points([65, 0x1F40B]), GOLDEN_POINTS, atol=1e-12)


def test_no_characters_have_no_points():
    assert atoms.atom_points([]).shape == (0, 4)
