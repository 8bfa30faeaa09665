"""Files of numbers that all sessions of a database share: opened, or made where they are missing."""

import os
from collections import OrderedDict

from hypercube import boundary, catalog, matrix

_KEPT = 16
_mapped = OrderedDict()


def limit():
    """Return the setting hypercube.matrix_limit in bytes."""
    return boundary.setting("hypercube.matrix_limit", 4096) << 20


def folder():
    """Return the folder of the files of this database."""
    return os.path.join(boundary.data_directory(), matrix.FOLDER, str(catalog.database_number()))


def path(name):
    """Return the path of a file of this database."""
    return os.path.join(folder(), name)


def rows(path, count, columns, blocks):
    """Return the float32 rows of a file, read-only, of shape (count, columns).

    Parameters
    ----------
    path : str
        Its name tells what it is computed from, so that it is never out of date.
    blocks : callable
        ``blocks()`` returns the rows in pieces; called where the file is missing or of another size.

    Raises
    ------
    TooMuchMemory
        It has more bytes than hypercube.matrix_limit.
    """
    if path in _mapped and matrix.is_current(path, _mapped[path]):
        _mapped.move_to_end(path)
        return _mapped[path].unit
    # What is mapped of models that are gone would keep their space on the disk.
    for other in [other for other, held in _mapped.items() if not matrix.is_current(other, held)]:
        del _mapped[other]
    found = matrix.open_mapped(path, count, columns)
    while found is None:
        matrix.require_room(count, columns, limit())
        catalog.sweep_matrices()
        matrix.build(*os.path.split(path), 4 * count * columns, blocks(), step=boundary.tick)
        found = matrix.open_mapped(path, count, columns)
    remember(_mapped, path, found)
    return found.unit


def remember(kept, key, value):
    """Put an entry into a dict that forgets its oldest."""
    kept[key] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)
