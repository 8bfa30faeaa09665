"""Unicode characters as the atoms of all text.

Owns the digest and the place of every Unicode scalar value; both are the same in
every database.  It does not know which of them are stored.

The points are a curve through the unit 3-sphere that characters follow in their
semantic order.  The sphere is seen as circles over a sphere (Hopf); that is cut
into the 12 equal squares of HEALPix, each of them into 24 x 24 columns, and the
circle over a column into 328 cells, which are nearly cubes.  A Hilbert curve
visits the cells of one square after the other and ends where it began.  Every
second cell that it visits is of one colour of a chessboard in space: such cells
are a face-centred cubic lattice, the densest packing of equal spheres.
"""

from functools import lru_cache
from math import factorial, pi, sqrt

from blake3 import blake3

from hypercube.errors import InvalidArgument

# Raised when the same character would get another point.
MAP_VERSION = 2

_SURROGATES = range(0xD800, 0xE000)
_LAST = 0x10FFFF
_COUNT = _LAST + 1 - len(_SURROGATES)

_SQUARES = 12
_SIDE = 24
_CIRCLE = 328
# The curve fills a layer of a square, 24 x 24 cells and 8 high, before it goes on along the circle.
_CUBE = 8
_LAYER = _SIDE * _SIDE * _CUBE // 2
# A square has 92,672 characters and room for 94,464, which is 369 for 362; the gaps are spread evenly.
_OF_SQUARE = _COUNT // _SQUARES
_ROOM, _TAKEN = 369, 362
# HEALPix's numbers of the squares in the order of the curve, and whether it goes against their two axes:
# from one corner to the opposite one, which is where the next square begins.
_FACES = (5, 6, 7, 4, 0, 1, 9, 10, 2, 3, 11, 8)
_AGAINST = "01 01 01 01 00 11 11 00 00 11 11 00".split()
# The 9 cubes of a layer: where they are, the corner they are entered by, and the axis to the corner they are
# left by.  The end is above the opposite corner: the next layer is this one, turned by half.
_CUBES = (
    ("00", "000", 0), ("10", "000", 0), ("20", "000", 1), ("21", "000", 1), ("11", "110", 0),
    ("01", "110", 2), ("02", "101", 1), ("12", "011", 0), ("22", "011", 0),
)  # fmt: skip
# Characters placed at a time; what belongs to them stays in the cache.
_BLOCK = 1 << 13


def atom_digest(codepoint):
    """Return the BLAKE3 digest of a character's UTF-8.

    Raises
    ------
    InvalidArgument
        If the code point is a surrogate or outside Unicode.
    """
    if codepoint in _SURROGATES or not 0 <= codepoint <= _LAST:
        raise _no_character(codepoint)
    return blake3(chr(codepoint).encode()).digest()


def atom_digests(codepoints):
    """Return the digests of characters, as `atom_digest` does for one.

    Parameters
    ----------
    codepoints : int array-like of shape (n,)

    Returns
    -------
    list of bytes

    Raises
    ------
    InvalidArgument
        If a code point is a surrogate or outside Unicode.
    """
    return [blake3(chr(codepoint).encode()).digest() for codepoint in _checked(codepoints).tolist()]


def atom_points(codepoints):
    """Place characters on the unit 3-sphere, evenly over all of Unicode and near their like.

    Parameters
    ----------
    codepoints : int array-like of shape (n,)

    Returns
    -------
    float64 ndarray of shape (n, 4)
        Of length 1; a character's point depends on nothing but its code point, and is the
        same to the last bit on every machine.

    Raises
    ------
    InvalidArgument
        If a code point is a surrogate or outside Unicode.

    Notes
    -----
    Squares of equal area: Gorski et al., "HEALPix" (ApJ 622, 2005); with the circles
    over them: Yershova et al., "Generating Uniform Incremental Grids on SO(3) Using the
    Hopf Fibration" (IJRR 29, 2010).  Only +, -, *, / and square roots of IEEE 754 are
    used, one at a time: sines of a library differ between machines.
    """
    import numpy as np

    from hypercube import characters

    codepoints = _checked(codepoints)
    positions = characters.positions()
    points = np.empty((len(codepoints), 4))
    for start in range(0, len(codepoints), _BLOCK):
        block = slice(start, start + _BLOCK)
        points[block] = _placed(positions[codepoints[block]].astype(np.int64)).T
    return points


def _placed(places):
    """Return the points at places of the order, as four arrays."""
    import numpy as np

    base, circle, layers = _tables()
    square = places // _OF_SQUARE
    cell = ((places - square * _OF_SQUARE) * 2 + 1) * _ROOM // (2 * _TAKEN)
    layer = cell // _LAYER
    cell -= layer * _LAYER
    column, height = (table[(layer & 1) * _LAYER + cell] for table in layers)
    a, b, c, d = (part[square * _SIDE**2 + column] for part in base)
    cosine, sine = (part[layer * _CUBE + height] for part in circle)
    return np.stack(
        (a * cosine - b * sine, a * sine + b * cosine, c * cosine - d * sine, c * sine + d * cosine)
    )


@lru_cache(maxsize=1)
def _tables():
    """Return a point over each column, the points of the circle, and the cells of the two kinds of layers.

    A point is two complex numbers, (a + bi, c + di); times a number of the circle, it moves along its own.
    """
    import numpy as np

    eighth = np.arange(_CIRCLE) * 8
    circle = _angle(eighth // _CIRCLE, (eighth % _CIRCLE) / _CIRCLE)
    base, phase = [], (1.0, 0.0)
    for face, against in zip(_FACES, _AGAINST, strict=True):
        square = _over_square(face, against)
        if base:
            # The circles of two squares are joined where the curve goes over.
            last, first = ([float(part[at]) for part in parts] for parts, at in ((base[-1], -1), (square, 0)))
            phase = _overlap(first, last)
        base.append(_times(square, phase))
    return np.concatenate(base, axis=1), circle, _layers()


def _over_square(face, against):
    """Return a point over each column of a square of HEALPix, as an ndarray of shape (4, 576).

    Over the middle of the square any will do; the others are as near to that one as they can be, so
    that cells of neighbouring columns are side by side.
    """
    import numpy as np

    # In units of half a column: the middles of the columns are odd, that of the square is 24.
    along = np.arange(1, 2 * _SIDE, 2)
    x, y = (along[::-1] if turned == "1" else along for turned in against)
    x, y = np.append(np.repeat(x, _SIDE), _SIDE), np.append(np.tile(y, _SIDE), _SIDE)
    points = _section(face, x, y)
    middle = [float(part[-1]) for part in points]
    return _times(points[:, :-1], _overlap(points[:, :-1], middle))


def _section(face, x, y):
    """Return the points (cos t/2, 0, sin t/2 cos u, sin t/2 sin u) over those of a square at angles t, u."""
    import numpy as np

    unit = 2 * _SIDE
    row, column = divmod(face, 4)
    # From the north pole, 0, to the south pole, four units.
    down = (row + 2) * unit - x - y
    near = np.minimum(down, 4 * unit - down)
    cap = near < unit
    # The squares of cos t/2 and sin t/2, with integers above the line; the smaller one in a cap is exact.
    pole = near * near / (6 * unit * unit)
    north = np.where(cap, np.where(down < 2 * unit, 1.0 - pole, pole), (7 * unit - 2 * down) / (6 * unit))
    south = np.where(cap, np.where(down < 2 * unit, pole, 1.0 - pole), (2 * down - unit) / (6 * unit))
    cosine, sine = _angle(2 * column + (row != 1), (x - y) / np.minimum(near, unit))
    radius = np.sqrt(south)
    return np.stack((np.sqrt(north), np.zeros(len(x)), radius * cosine, radius * sine))


def _angle(eighths, part):
    """Return cosine and sine of an angle in eighths of the circle, and a part from -1 to 1 of one more."""
    import numpy as np

    x = part * (pi / 4)
    square = x * x
    cosine, sine = np.zeros(len(x)), np.zeros(len(x))
    for power in range(18, -1, -2):
        sign = -1 if power % 4 else 1
        cosine = cosine * square + sign / factorial(power)
        sine = sine * square + sign / factorial(power + 1)
    half = sqrt(0.5)
    eight = np.array([1.0, half, 0.0, -half, -1.0, -half, 0.0, half])
    whole = np.stack((eight[eighths], eight[(eighths + 6) % 8]))
    return np.stack(_product(whole, (cosine, sine * x)))


def _product(one, other):
    """Return the product of complex numbers that are given as pairs."""
    (a, b), (c, d) = one, other
    return a * c - b * d, a * d + b * c


def _times(points, number):
    """Move points along their circles."""
    import numpy as np

    return np.stack((*_product(points[:2], number), *_product(points[2:], number)))


def _overlap(points, to):
    """Return the numbers that move points along their circles as near to another as possible."""
    import numpy as np

    (a, b, c, d), (e, f, g, h) = points, to
    real = (a * e + b * f) + (c * g + d * h)
    imaginary = (a * f - b * e) + (c * h - d * g)
    length = np.sqrt(real * real + imaginary * imaginary)
    return real / length, imaginary / length


def _layers():
    """Return column and height of every second cell along the curve, of a layer and of the one above it."""
    import numpy as np

    from hypercube import hilbert

    path = hilbert.cube_path(_CUBE.bit_length() - 1)
    cells = []
    for where, corner, axis in _CUBES:
        # The path of the cube goes along its first axis.
        turned = np.roll(path, axis, axis=1)
        turned = np.where(np.array([entered == "1" for entered in corner]), _CUBE - 1 - turned, turned)
        cells.append(turned + np.array([int(where[0]) * _CUBE, int(where[1]) * _CUBE, 0]))
    x, y, height = np.concatenate(cells)[::2].T
    column = x * _SIDE + y
    return np.concatenate((column, _SIDE**2 - 1 - column)), np.concatenate((height, height))


def _checked(codepoints):
    """Return code points as an int64 ndarray, or refuse one that is no character."""
    import numpy as np

    codepoints = np.asarray(codepoints, np.int64).reshape(-1)
    surrogate = (codepoints >= _SURROGATES.start) & (codepoints < _SURROGATES.stop)
    wrong = surrogate | (codepoints < 0) | (codepoints > _LAST)
    if wrong.any():
        raise _no_character(int(codepoints[wrong][0]))
    return codepoints


def _no_character(codepoint):
    return InvalidArgument(
        f"code point {codepoint} is not a character",
        detail="Characters are 0 to 55295 and 57344 to 1114111.",
    )
