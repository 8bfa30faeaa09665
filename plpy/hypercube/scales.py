"""The scales of quantised weights: which tensor scales which, and how.

A quantised weight means nothing by itself where its rows or blocks have scales
of their own.  Publishers keep the scale in a tensor beside it; its name says
that it belongs there, its shape says what one entry is for.
"""

from typing import NamedTuple

# What is put in place of the weight's own name; "{layer}" is that name without ".weight".
_NAMES = (
    "{name}_scale",
    "{name}_scale_inv",
    "{name}_scales",
    "{layer}.scale",
    "{layer}.scales",
    "{layer}_scale",
    "{layer}.SCB",
)
# LLM.int8 keeps the largest magnitude of a row, which stands for 127.
_ABSOLUTE_MAXIMUM = 127.0
_ROWS_AT_A_TIME = 4096


class Scale(NamedTuple):
    """The tensor that scales a matrix, what it is multiplied by, and the rule in words."""

    name: str
    rows: int
    columns: int
    divisor: float
    rule: str


def candidates(name):
    """Return the names that the tensor of a matrix's scale may have, in the order in which they count."""
    layer = name.removesuffix(".weight")
    return [pattern.format(name=name, layer=layer) for pattern in _NAMES]


def find(name, shape, shapes):
    """Return the Scale of a matrix, or None where no tensor beside it is one.

    Parameters
    ----------
    name : str
    shape : tuple of int
        (n, d).
    shapes : dict of str to tuple of int
        Of all tensors of the model, by name.
    """
    for candidate in candidates(name):
        if candidate == name or candidate not in shapes:
            continue
        covered = _covered(shape, shapes[candidate])
        if covered is not None:
            rows, columns, words = covered
            divisor = _ABSOLUTE_MAXIMUM if candidate.endswith(".SCB") else 1.0
            return Scale(
                candidate,
                rows,
                columns,
                divisor,
                f"{words} times {candidate}" + ("/127" if divisor > 1 else ""),
            )
    return None


def _covered(shape, scale):
    """Return how many rows and columns of a matrix one entry of its scale is for, and that in words."""
    n, d = shape
    if all(side == 1 for side in scale):
        return n, d, "the whole"
    if scale in ((n,), (n, 1)):
        return 1, d, "each row"
    if scale in ((d,), (1, d)):
        return n, 1, "each column"
    if len(scale) == 2 and 0 < scale[0] <= n and 0 < scale[1] <= d:
        rows, columns = _block(n, scale[0]), _block(d, scale[1])
        if rows and columns:
            return rows, columns, f"each block of {rows} x {columns}"
    return None


def _block(length, count):
    """Return the size of `count` blocks that cover a length, the last one perhaps in part; None if none fits.

    Sizes are powers of two where several fit, as they are in every published scheme.
    """
    least = -(-length // count)
    most = length if count == 1 else -(-length // (count - 1)) - 1
    power = 1 << (least - 1).bit_length()
    if count == 1 or length % count == 0 and not (least <= power <= most):
        return least
    return power if least <= power <= most else (least if least <= most else None)


def multiply(values, entries, scale):
    """Multiply a matrix by its scale, in place.

    Parameters
    ----------
    values : float ndarray of shape (n, d)
    entries : float32 ndarray, flat
        The values of the scale's tensor.
    scale : Scale
    """
    import numpy as np

    for start in range(0, len(values), _ROWS_AT_A_TIME):
        rows = np.arange(start, min(start + _ROWS_AT_A_TIME, len(values)))
        multiply_rows(values[start : start + _ROWS_AT_A_TIME], rows, entries, scale)


def multiply_rows(values, rows, entries, scale):
    """Multiply some rows of a matrix by its scale, in place.

    Parameters
    ----------
    values : float ndarray of shape (m, d)
    rows : sequence of m int
        Which rows of the matrix these are.
    entries, scale
        As for `multiply`.
    """
    import numpy as np

    d = values.shape[1]
    grid = entries.reshape(-1, -(-d // scale.columns))
    factors = np.repeat(grid[np.asarray(rows) // scale.rows], scale.columns, axis=1)[:, :d]
    with np.errstate(over="ignore", invalid="ignore"):
        values *= factors / np.float32(scale.divisor)
