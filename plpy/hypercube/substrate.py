"""Atoms and compositions for those who ask: made, read back, compared."""

from hypercube import audit, boundary, catalog, graph, holders, texts
from hypercube.errors import InvalidArgument, TooMany, UnknownComposition, Unrepresentable

# In characters; what a text is made of takes about thirty times its size in memory.
TEXT_LIMIT = 32 << 20
RANGES_LIMIT = 1000


def seed_atoms():
    """Store every Unicode scalar value; return how many were new."""
    catalog.lock_writers()
    new = boundary.as_owner(_seed_atoms)
    audit.record("seed_atoms", "atom", "all", {"new": new})
    return new


def _seed_atoms():
    new = graph.store_atoms([*range(0xD800), *range(0xE000, 0x110000)])
    texts.set_seeded()
    if new:
        texts.analyze()
    return new


def as_text(content):
    """Return a text that came as text or as bytes of UTF-8.

    Raises
    ------
    InvalidArgument
        It is NULL.
    Unrepresentable
        The bytes are not UTF-8.
    TooMany
        It has more characters than are stored at once.
    """
    if content is None:
        raise InvalidArgument("the text must not be null", hint="The empty text is ''.")
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise Unrepresentable(
                f"the bytes are not UTF-8: {problem.reason} at byte {problem.start}",
                hint="Convert them with convert_from(content, '...'), naming their encoding.",
            ) from None
    if len(content) > TEXT_LIMIT:
        raise TooMany(
            f"a text has {len(content)} characters, at most {TEXT_LIMIT} are stored at once",
            hint="Store it as several documents.",
        )
    return content


def composition_id(content):
    """Return the id that a text has, stored or not."""
    from hypercube import compositions

    return compositions.compose([as_text(content)], step=boundary.tick)[1][0].root


def compose(content):
    """Store a text as a composition that stays until its owner drops it; return its id."""
    from hypercube import compositions

    role = boundary.caller()
    found, [made] = compositions.compose([as_text(content)], step=boundary.tick)
    catalog.lock_writers()
    [held] = compositions.below(found, [made.root])
    boundary.as_owner(lambda: _keep(found, made.root, held, role))
    return made.root


def _keep(found, root, held, role):
    holder = holders.keep_composition(root, role)
    if holder is not None:
        graph.store(found)
        graph.hold([holder], [held])


def drop_composition(composition_id):
    """Take back compose; return how many compositions the caller no longer sees."""
    if composition_id is None:
        raise InvalidArgument(
            "the composition must not be null", hint="SELECT composition_id FROM hypercube.kept_composition."
        )
    role = boundary.caller()
    catalog.lock_writers()
    held = boundary.as_owner(lambda: _release(composition_id, role))
    if held is None:
        raise UnknownComposition(
            composition_id,
            f'composition \\x{composition_id.hex()} is not kept for role "{role}"',
            "SELECT composition_id, owner FROM hypercube.kept_composition.",
        )
    return len(held) - graph.count_stored(held)


def _release(composition_id, role):
    """Return the compositions that were kept with it, None where it was not kept for the role."""
    holder = holders.release_composition(composition_id, role)
    return None if holder is None else graph.release(holder)


def composition_bytes(composition_id):
    """Return the UTF-8 of a composition or atom."""
    return _read(composition_id).encode()


def composition_text(composition_id):
    """Return the text of a composition or atom; refuse the null character, which text cannot hold."""
    text = _read(composition_id)
    if "\0" in text:
        raise Unrepresentable(
            f"the text of composition \\x{composition_id.hex()} holds the null character",
            hint="Read it with hypercube.composition_bytes(...), which returns its UTF-8.",
        )
    return text


def _read(composition_id):
    if composition_id is None:
        raise InvalidArgument("the composition must not be null", hint="hypercube.find_composition('...').")
    text = graph.read(composition_id)
    if text is None:
        raise UnknownComposition(composition_id)
    return text


def orthographic_neighbors(text, k):
    """Return the k words spelled most like a text: rank, label, path, centroid distance, id.

    Raises
    ------
    InvalidArgument
        The text is empty or longer than a word may be.
    """
    from hypercube import orthography
    from hypercube.ranking import check_k

    check_k(k, catalog.limits())
    text = as_text(text)
    if not 0 < len(text) <= orthography.LIMIT:
        raise InvalidArgument(
            f"a word has {len(text)} characters",
            hint=f"Ask for 1 to {orthography.LIMIT}.",
        )
    # A word whose length differs by n is at least n away, and as far may come first by its label: the first
    # band is enough where k are nearer than that.
    for reach in (3, orthography.LIMIT):
        ids, labels = texts.words_of_length(len(text) - reach, len(text) + reach)
        paths = orthography.paths(text, labels, step=boundary.tick).tolist()
        rows = [row for row in range(len(ids)) if labels[row] != text]
        order = sorted(rows, key=lambda row: (paths[row], labels[row]))[:k]
        if len(order) == k and paths[order[-1]] < reach + 1:
            break
    distances = orthography.centroid_distances(text, [labels[row] for row in order])
    return [
        (rank, labels[row], round(paths[row], 6), distance, ids[row])
        for rank, (row, distance) in enumerate(zip(order, distances, strict=True), start=1)
    ]


def _are_four(coordinates):
    return (
        coordinates is not None
        and len(coordinates) == 4
        and all(isinstance(one, float) for one in coordinates)
    )


def hilbert_index(coordinates, is_point):
    """Return the Hilbert index of a point given by four coordinates."""
    from hypercube import hilbert

    if not is_point or not _are_four(coordinates):
        raise InvalidArgument(
            "the cube is not a point of four coordinates", hint="For example '(0.1, 0.2, 0.3, 0.4)'::cube."
        )
    return hilbert.hilbert_index([coordinates])[0]


def hilbert_point(index):
    """Return the four coordinates of the point at a Hilbert index."""
    from hypercube import hilbert

    if index is None:
        raise InvalidArgument("the Hilbert index must not be null", hint="hypercube.hilbert_index(point).")
    return hilbert.hilbert_point([index])[0].tolist()


def hilbert_range(low, high, ranges):
    """Return (first, last) pairs of Hilbert indexes that cover a box."""
    from hypercube import hilbert

    if not (_are_four(low) and _are_four(high)):
        raise InvalidArgument(
            "the box has not four coordinates", hint="For example '(-1,-1,-1,-1),(0,0,0,0)'::cube."
        )
    if ranges is None or not 1 <= ranges <= RANGES_LIMIT:
        raise InvalidArgument(
            f"ranges is out of range: {'null' if ranges is None else ranges}",
            hint=f"Ask for 1 to {RANGES_LIMIT}.",
        )
    return hilbert.hilbert_ranges(low, high, ranges)
