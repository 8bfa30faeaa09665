"""Compositions between numbers and rows: stored, held, read back as text, gone when nothing holds them."""

from hypercube import boundary, holders, texts
from hypercube.errors import CorruptFile, StepMissing

_ROWS_A_STATEMENT = 5_000
# Sentences hold fifty children each, and come with their words: smaller steps.
_CHILDREN_A_STATEMENT = 200_000
_DIGEST = 32
DAMAGED = "Restore it from a backup, or drop the document and store it again."


def store(found, step=boundary.tick):
    """Insert the rows of a compositions.Compositions that are not there.

    ``step(fraction)`` is called between statements.
    """
    import numpy as np

    from hypercube import hilbert

    store_atoms(found.atoms)
    missing = []
    for part, share in parts(len(found.ids), _ROWS_A_STATEMENT):
        step(0.3 * share)
        stored = texts.stored_compositions(found.ids[part])
        missing += [row for row in range(part.start, part.stop) if found.ids[row] not in stored]
    if not missing:
        return
    weights = np.cumsum([len(found.children[row]) // _DIGEST + 20 for row in missing])
    bounds = np.unique(np.searchsorted(weights, np.arange(0, weights[-1], _CHILDREN_A_STATEMENT)))
    for start, stop in zip(bounds.tolist(), [*bounds.tolist()[1:], len(missing)], strict=True):
        step(0.3 + 0.7 * start / len(missing))
        rows = missing[start:stop]
        centroids = found.centroids[rows]
        texts.store_compositions(
            [found.ids[row] for row in rows],
            [found.labels[row] for row in rows],
            found.depths[rows].tolist(),
            found.atom_counts[rows].tolist(),
            centroids,
            hilbert.hilbert_index(centroids),
            [found.children[row] for row in rows],
        )


def store_atoms(codepoints, step=boundary.tick):
    """Insert the atoms of some characters that are not there; return how many were new."""
    import numpy as np

    from hypercube import atoms, hilbert

    stored_version = texts.map_version(atoms.MAP_VERSION)
    if stored_version != atoms.MAP_VERSION:
        raise StepMissing(
            f"the stored characters are placed by map version {stored_version},"
            f" this package has {atoms.MAP_VERSION}",
            hint="Install the package of the version that the database was made with.",
        )
    new = 0
    for part, share in parts(len(codepoints), 20_000):
        step(share)
        some = codepoints[part]
        stored = texts.stored_atoms(some)
        missing = [codepoint for codepoint in some if codepoint not in stored]
        if missing:
            points = atoms.atom_points(np.array(missing, np.int64))
            new += texts.store_atoms(
                missing, atoms.atom_digests(missing), points, hilbert.hilbert_index(points)
            )
    return new


def in_parts(ids, size=_ROWS_A_STATEMENT):
    """Cut a list into lists of at most so many entries."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def parts(count, size):
    """Cut range(count) into slices, each with the share of the work done before it."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count)), start / count


def read(composition_id):
    """Return the text of a composition or atom, bit for bit; None where it does not exist.

    Raises
    ------
    CorruptFile
        Something that it is made of is missing.
    """
    known = {}
    wanted = [composition_id]
    below = []
    while wanted:
        lower = {}
        for part, _ in parts(len(wanted), _ROWS_A_STATEMENT):
            boundary.tick()
            _look_up(wanted[part], known, lower)
        lost = [one for one in wanted if one not in known and one not in lower]
        if lost == [composition_id]:
            return None
        if lost:
            raise CorruptFile(
                f"composition {lost[0].hex()} is missing",
                hint=DAMAGED,
            )
        below.append(lower)
        inner = {child for held in lower.values() for child in held}
        wanted = [child for child in inner if child not in known]
    for lower in reversed(below):
        for one, held in lower.items():
            boundary.tick()
            known[one] = "".join([known[child] for child in held])
    return known[composition_id]


def _look_up(ids, known, lower):
    """Put the texts of nodes into `known` where they are told whole, else their children into `lower`."""
    from hypercube.compositions import child_ids

    found = set()
    for row in texts.compositions(ids):
        found.add(row["id"])
        if row["whole"]:
            known[row["id"]] = row["label"]
        else:
            lower[row["id"]] = child_ids(row["children"])
    rest = [one for one in ids if one not in found]
    if rest:
        known.update((one, chr(codepoint)) for one, codepoint in texts.codepoints(rest).items())


def verify(composition_id):
    """Return the text of a composition put together from its atoms alone, after computing every id again.

    Raises
    ------
    CorruptFile
        Naming what is missing, does not hash to its id, or is told as another text.
    """
    from hypercube import compositions

    spelled, lower, labels, wanted = {}, {}, {}, [composition_id]
    while wanted:
        for part, _ in parts(len(wanted), _ROWS_A_STATEMENT):
            boundary.tick()
            _compute_again(wanted[part], spelled, lower, labels)
        wanted = sorted(
            {child for one in wanted for child in lower.get(one, ())} - spelled.keys() - lower.keys()
        )
    waiting = [composition_id]
    while waiting:
        one = waiting[-1]
        inner = [child for child in lower.get(one, ()) if child not in spelled]
        if one not in spelled and inner:
            waiting += dict.fromkeys(inner)
            continue
        boundary.tick()
        waiting.pop()
        if one not in spelled:
            spelled[one] = "".join([spelled[child] for child in lower[one]])
            if labels[one] not in compositions.labels(spelled[one]):
                raise CorruptFile(f"composition {one.hex()} has not the label of its text", hint=DAMAGED)
    return spelled[composition_id]


def _compute_again(ids, spelled, lower, labels):
    """Put the characters of sound atoms into `spelled`, the children of sound compositions into `lower`."""
    from hypercube import atoms, compositions

    for row in texts.compositions(ids):
        lower[row["id"]] = compositions.child_ids(row["children"])
        labels[row["id"]] = row["label"]
        if compositions.composition_id(lower[row["id"]]) != row["id"]:
            raise CorruptFile(f"composition {row['id'].hex()} is not made of its children", hint=DAMAGED)
    rest = [one for one in ids if one not in lower]
    for one, codepoint in texts.codepoints(rest).items() if rest else ():
        if atoms.atom_digest(codepoint) != one:
            raise CorruptFile(f"atom {codepoint} has not the digest of its character", hint=DAMAGED)
        spelled[one] = chr(codepoint)
    lost = [one for one in rest if one not in spelled]
    if lost:
        raise CorruptFile(f"composition or atom {lost[0].hex()} is missing", hint=DAMAGED)


def hold(holder_ids, held, step=boundary.tick):
    """Say of each of some holders which compositions and atoms, a list of ids, it is made of."""
    owners = [one for one, ids in zip(holder_ids, held, strict=True) for _ in ids]
    flat = [one for ids in held for one in ids]
    for part, share in parts(len(flat), _ROWS_A_STATEMENT):
        step(share)
        holders.hold(owners[part], flat[part])


def release(holder_id, step=boundary.tick):
    """Remove a holder, and of what it is made of what nothing else holds.

    Returns
    -------
    list of bytes
        All compositions that it was made of, whether they went or not.
    """
    ids, compositions = holders.held(holder_id), []
    for part, share in parts(len(ids), _ROWS_A_STATEMENT):
        step(share)
        compositions += texts.stored_compositions(ids[part])
        holders.release(holder_id, ids[part])
    holders.drop_holder(holder_id)
    return compositions


def count_stored(ids):
    """Return how many of the ids are compositions that the caller sees."""
    return sum(len(texts.stored_compositions(some)) for some in in_parts(ids))


def digests_of(codepoints):
    """Return the ids of the atoms of some characters."""
    from hypercube import atoms

    return atoms.atom_digests(codepoints)
