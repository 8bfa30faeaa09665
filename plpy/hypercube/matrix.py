"""The unit-length embedding matrix of a model, kept for the session.

Keyed by the digest of its tensor, so an entry can never be out of date.
"""

from collections import OrderedDict
from typing import NamedTuple

from hypercube.errors import TooMuchMemory

_KEPT_BYTES = 1 << 30
_kept = OrderedDict()


class Matrix(NamedTuple):
    """`unit` is float32 of shape (n, dimension), `ineligible` the rows that no answer may hold."""

    unit: object
    ineligible: object


def require_room(rows, columns, limit):
    """Refuse a matrix of more than `limit` bytes."""
    needed = rows * columns * 4
    if needed > limit:
        raise TooMuchMemory(
            f"the embedding matrix needs {-(-needed >> 20)} MiB, {limit >> 20} MiB are allowed",
            hint=f"Allow it for the session with SET hypercube.matrix_limit = '{-(-needed >> 20)}'.",
        )


def lookup(digest):
    """Return the Matrix kept under a digest, or None."""
    found = _kept.get(digest)
    if found is not None:
        _kept.move_to_end(digest)
    return found


def keep(digest, matrix):
    """Keep a Matrix, and let go of the least used ones beyond 1 GiB."""
    _kept[digest] = matrix
    while len(_kept) > 1 and sum(entry.unit.nbytes for entry in _kept.values()) > _KEPT_BYTES:
        _kept.popitem(last=False)
