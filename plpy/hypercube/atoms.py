"""Unicode characters as the atoms of all text.

Owns the digest and the place of every Unicode scalar value; both are the same in
every database.  It does not know which of them are stored.
"""

from blake3 import blake3

from hypercube.errors import InvalidArgument

# Raised when the same character would get another point.
MAP_VERSION = 1

_SURROGATES = range(0xD800, 0xE000)
_LAST = 0x10FFFF
_COUNT = _LAST + 1 - len(_SURROGATES)

# Half the turn from one atom to the next in the two planes of the spiral, 1 / sqrt(2) and
# 1 / 1.533751168755204288118041, in units of 2^-64: whole turns then drop out exactly.
_FIRST_HALF_STEP = 0x5A827999FCEF3242
_SECOND_HALF_STEP = 0x53749CE6C8DD0D0B


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


def atom_points(codepoints):
    """Place characters on the unit 3-sphere, evenly over all of Unicode.

    Parameters
    ----------
    codepoints : int array-like of shape (n,)

    Returns
    -------
    float64 ndarray of shape (n, 4)
        Of length 1; a character's point depends on nothing but its code point.

    Raises
    ------
    InvalidArgument
        If a code point is a surrogate or outside Unicode.

    Notes
    -----
    The super-Fibonacci spiral (Alexa, "Super-Fibonacci Spirals: Fast,
    Low-Discrepancy Sampling of SO(3)", CVPR 2022) through the 1,112,064 scalar
    values in order.  All of them are about equally far from their nearest
    neighbours, and successive code points are not close.
    """
    import numpy as np

    codepoints = np.asarray(codepoints, np.int64).reshape(-1)
    surrogate = (codepoints >= _SURROGATES.start) & (codepoints < _SURROGATES.stop)
    wrong = surrogate | (codepoints < 0) | (codepoints > _LAST)
    if wrong.any():
        raise _no_character(int(codepoints[wrong][0]))

    above = codepoints >= _SURROGATES.stop
    odd = 2 * (codepoints - above * len(_SURROGATES)) + 1
    share = odd / (2.0 * _COUNT)
    inner, outer = np.sqrt(share), np.sqrt(1.0 - share)
    first, second = (
        (odd.astype(np.uint64) * np.uint64(half_step)) * (2.0 * np.pi / 2.0**64)
        for half_step in (_FIRST_HALF_STEP, _SECOND_HALF_STEP)
    )
    return np.column_stack(
        (inner * np.sin(first), inner * np.cos(first), outer * np.sin(second), outer * np.cos(second))
    )


def _no_character(codepoint):
    return InvalidArgument(
        f"code point {codepoint} is not a character",
        detail="Characters are 0 to 55295 and 57344 to 1114111.",
    )
