"""Atoms: golden digests and points, and a curve that is even over the whole of Unicode."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from blake3 import blake3
from scipy.spatial import cKDTree

from hypercube import atoms, characters, hilbert
from hypercube.errors import InvalidArgument

# The edge of a cube that has the room of one of all points on the sphere, and how far apart as many points
# are in the densest packing.
SPACING = (2 * np.pi**2 / 1_112_064) ** (1 / 3)
DENSEST = 2 ** (1 / 6) * SPACING


def scalar_values():
    return np.concatenate((np.arange(0xD800), np.arange(0xE000, 0x110000)))


@pytest.fixture(scope="module")
def points():
    """All points, in the order of the curve."""
    values = scalar_values()
    return atoms.atom_points(values[np.argsort(characters.positions()[values])])


# The first is one of BLAKE3's own test vectors; `exact_point` gives the points.
GOLDEN = {
    0x0: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    0x41: "32684bfa28c0c84d6f210511aace0efc5171c7889148ba89208d5aa29705fa98",
    0x20: "00263ca9f57f7177f495e3711f8cdd59967a0a1a4de895b1ebee566cd1883ed4",
    0xE9: "46d0ec742ceaad149f9a3d109d1bd9e9ece7858161b43cf0008906478418e807",
    0x1F40B: "48a7bfe6ea9be1402c2c02b3e5bfad038d873deadd413398caab254e6f9ab165",
}
GOLDEN_POINTS = {
    0x41: [0.5822308786320722, 0.5081627949678601, -0.4476971947738294, 0.44982774433045103],
    0x4E2D: [-0.4425645149404572, 0.4065067788200204, -0.3465413334989031, -0.7202763310464192],
    0x1F40B: [0.5646378150773486, 0.12048846881760647, -0.44075319001816826, 0.6873160060375978],
    0x10FFFF: [0.6338003091616424, 0.26555487253829224, 0.2971299636658633, 0.6629415980836476],
}
# BLAKE3 of all points in the order of code points: another machine must not differ in the last bit of one.
GOLDEN_MAP = "56e7027eb4f0a6cc028773a643dc1935dd5c1439d5a44a80feafca526777baf0"


@pytest.mark.parametrize(("codepoint", "digest"), GOLDEN.items())
def test_digests_never_change(codepoint, digest):
    assert atoms.atom_digest(codepoint).hex() == digest
    assert [found.hex() for found in atoms.atom_digests([codepoint, codepoint])] == [digest, digest]


@pytest.mark.parametrize("codepoint", [-1, 0xD800, 0xDBFF, 0xDFFF, 0x110000])
def test_what_is_not_a_character_is_refused(codepoint):
    with pytest.raises(InvalidArgument, match=f"code point {codepoint} is not a character"):
        atoms.atom_digest(codepoint)
    with pytest.raises(InvalidArgument, match=f"code point {codepoint} is not a character"):
        atoms.atom_points([65, codepoint])
    with pytest.raises(InvalidArgument, match=f"code point {codepoint} is not a character"):
        atoms.atom_digests([65, codepoint])


@pytest.mark.parametrize("codepoint", [0, 0xD7FF, 0xE000, 0x10FFFF])
def test_the_outermost_characters_are_accepted(codepoint):
    assert len(atoms.atom_digest(codepoint)) == 32
    assert atoms.atom_points([codepoint]).shape == (1, 4)


def test_every_point_has_length_one_and_is_there_once(points):
    assert points.shape == (1_112_064, 4) and points.dtype == np.float64
    assert np.abs(np.einsum("ij,ij->i", points, points) - 1.0).max() < 1e-14
    assert len(np.unique(points.view("V32"))) == len(points)
    assert len(set(hilbert.hilbert_index(points))) == len(points)


def test_points_are_nearly_as_far_apart_as_they_can_be(points):
    sample = points[:: len(points) // 20_000]
    distance = cKDTree(points).query(sample, k=2)[0][:, 1] / DENSEST
    assert distance.min() > 0.72
    assert distance.mean() > 0.86


def test_the_curve_goes_in_short_steps_and_comes_back(points):
    steps = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1) / SPACING
    assert np.median(steps) < 1.2
    assert np.quantile(steps, 0.99) < 2.0
    assert steps.max() < 3.7


@pytest.mark.parametrize("distance", [8, 64, 512, 4096, 32768])
def test_what_is_near_on_the_curve_is_near_in_space(points, distance):
    """As near as for a ball that fills up: the cube root of the distance on the curve."""
    apart = np.linalg.norm(points[distance:] - points[:-distance], axis=1) / SPACING
    assert apart.max() < 3.7 * distance ** (1 / 3)


def test_equal_parts_of_the_curve_fill_equal_volumes(points):
    """Every cap of the sphere, wherever it is, has its share of the characters."""
    random = np.random.default_rng(0)
    for _ in range(20):
        axis = random.normal(size=4)
        along = points @ (axis / np.linalg.norm(axis))
        for cosine in (-0.5, 0.0, 0.5, 0.9):
            angle = math.acos(cosine)
            share = (angle - math.sin(angle) * math.cos(angle)) / math.pi
            assert abs((along > cosine).mean() - share) < 1e-3


def test_the_path_of_a_layer_takes_every_second_cell_once_and_ends_below_its_like():
    column, height = atoms._layers()
    first = np.column_stack((column // 24, column % 24, height))[:2304]
    above = np.column_stack((column // 24, column % 24, height + 8))[2304:]
    path = np.concatenate((first, above))

    assert len(np.unique(path, axis=0)) == 4608
    assert (path.sum(axis=1) % 2 == 0).all()
    assert path.min() == 0 and path.max(axis=0).tolist() == [23, 23, 15]
    steps = np.abs(np.diff(path, axis=0))
    assert (steps.sum(axis=1) == 2).all()
    np.testing.assert_array_equal(path[0], [0, 0, 0])
    assert np.abs(first[-1] - [23, 23, 7]).sum() == 1


def sine_and_cosine(angle):
    sine = cosine = Decimal(0)
    term, power = Decimal(1), 0
    while abs(term) > Decimal("1e-48"):
        cosine, sine = cosine + term, sine + term * angle / (power + 1)
        term = -term * angle * angle / ((power + 1) * (power + 2))
        power += 2
    return sine, cosine


PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


def times(one, other):
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def joining(points, to):
    """Return the unit number that takes a pair of complex numbers as near to another as possible."""
    both = [times((real, -imaginary), goal) for (real, imaginary), goal in zip(points, to, strict=True)]
    real, imaginary = (sum(parts) for parts in zip(*both, strict=True))
    length = (real * real + imaginary * imaginary).sqrt()
    return real / length, imaginary / length


def over(face, x, y):
    """Return a point over a place of a square of HEALPix as its authors write it, and as their z and phi."""
    row, column = divmod(face, 4)
    down = row + 2 - x - y
    ring = min(Decimal(1), down, 4 - down)
    z = (2 - down) * 2 / 3 if ring == 1 else (1 - ring * ring / 3).copy_sign(2 - down)
    sine, cosine = sine_and_cosine(PI / 4 * ((2 * column + (row != 1)) + (x - y) / ring))
    near, far = ((1 + z) / 2).sqrt(), ((1 - z) / 2).sqrt()
    return (near, Decimal(0)), (far * cosine, far * sine)


def exact_point(place):
    """The point at a place of the order in decimal arithmetic with 50 digits, from the words of `atoms`."""
    with localcontext(prec=50):
        phase, before = (Decimal(1), Decimal(0)), None
        for face, against in zip(atoms._FACES, atoms._AGAINST, strict=True):

            def lifted(i, j, face=face, against=against):
                x, y = (
                    (Decimal(47 - 2 * at if turned == "1" else 2 * at + 1)) / 48
                    for at, turned in zip((i, j), against, strict=True)
                )
                point = over(face, x, y)
                number = joining(point, over(face, Decimal("0.5"), Decimal("0.5")))
                return [times(part, number) for part in point]

            if before is not None:
                phase = joining(lifted(0, 0), before)
            if place < 92_672:
                break
            place -= 92_672
            before = [times(part, phase) for part in lifted(23, 23)]
        cell = (2 * place + 1) * 94_464 // (2 * 92_672)
        columns, heights = atoms._layers()
        layer, cell = divmod(cell, 2304)
        at = layer % 2 * 2304 + cell
        sine, cosine = sine_and_cosine(2 * PI * (layer * 8 + int(heights[at])) / 328)
        number = times(phase, (cosine, sine))
        found = [times(part, number) for part in lifted(*divmod(int(columns[at]), 24))]
        return [float(value) for part in found for value in part]


def test_points_are_those_of_exact_arithmetic(points):
    for place in [*range(0, 1_112_064, 30_011), 92_671, 92_672, 1_112_063]:
        np.testing.assert_allclose(points[place], exact_point(place), rtol=0, atol=3e-15)


def test_points_never_change():
    assert atoms.MAP_VERSION == 2
    for codepoint, point in GOLDEN_POINTS.items():
        np.testing.assert_allclose(atoms.atom_points([codepoint])[0], point, rtol=0, atol=3e-15)


def test_points_are_the_same_to_the_last_bit_on_every_machine():
    found = atoms.atom_points(scalar_values())
    assert blake3(found.astype("<f8").tobytes()).hexdigest() == GOLDEN_MAP


def test_a_point_depends_on_its_character_alone():
    several = atoms.atom_points([0x1F40B, 65, 0x4E2D])
    for codepoint, point in zip((0x1F40B, 65, 0x4E2D), several, strict=True):
        np.testing.assert_array_equal(atoms.atom_points([codepoint])[0], point)


def apart(one, other):
    first, second = atoms.atom_points([ord(one), ord(other)])
    return np.linalg.norm(first - second)


def test_forms_of_a_letter_are_nearer_than_another_letter():
    for form in "aàÄªＡ𝐀Ⓐ":
        assert apart("A", form) < apart("A", "Z")
    assert apart("A", "a") < 2 * SPACING
    assert apart("l", "ł") < apart("l", "z")
    assert apart("中", "丬") < 2 * SPACING < apart("中", "a")


@pytest.mark.parametrize(
    ("members", "radius"), [("0123456789", 0.26), ("abcdefghijklmnopqrstuvwxyz", 0.31), ("αβγδεζηθικλμ", 0.3)]
)
def test_characters_of_one_kind_are_in_a_small_ball(members, radius):
    found = atoms.atom_points(list(map(ord, members)))
    assert np.linalg.norm(found - found.mean(axis=0), axis=1).max() < radius


def test_no_characters_have_no_points_and_no_digests():
    assert atoms.atom_points([]).shape == (0, 4)
    assert atoms.atom_digests([]) == []
