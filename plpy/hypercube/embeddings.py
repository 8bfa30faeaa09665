"""The embedding of a model: its rows as they are stored, and the shared matrix of unit vectors."""

import os
from collections import OrderedDict
from contextlib import suppress

from blake3 import blake3

from hypercube import boundary, calls, catalog, lexicon, mapped, matrix, scales, weights
from hypercube.errors import CorruptFile, NotWritten, StepMissing

_BATCH = 16
_SAMPLE = 8
_KEPT_BYTES = 32 << 20
_located = OrderedDict()
_ineligible = OrderedDict()


def find_model(name, words=None):
    """Return the row of a model that has a usable embedding, with the token ids of some words."""
    model = catalog.find_model(name, words)
    if model["embedding"] is not None and not model["stored"]:
        raise StepMissing(
            f'model "{model["name"]}" was stored without its bytes',
            hint="Only stored neighbours and the map answer; ingest it again with store => 'embeddings'.",
        )
    if model["embedding"] is None:
        raise StepMissing(
            f'model "{model["name"]}" has no usable token embedding',
            hint="SELECT notes FROM hypercube.model_report('...') says why.",
        )
    return model


def load_matrix(model):
    """Return the Matrix of a model, mapped from its file, which is made first where it is missing."""
    import numpy as np

    key = (model["id"], model["created_at"])
    if key not in _ineligible:
        mapped.remember(_ineligible, key, np.array(lexicon.unusable_tokens(model["id"]), np.intp))
    return matrix.Matrix(_unit(model), _ineligible[key])


def keep_matrix(model, unit):
    """Write the unit vectors of a model that an ingest has computed, so that no question has to.

    If they cannot be written, the first question says why.  If the ingest is rolled back, the file is
    left over and goes with the next sweep: here is one, so that an ingest that is called again after a
    crash leaves nothing of the one before.
    """
    catalog.sweep_matrices()
    name, path = _locate(model)
    rows = max(1, _KEPT_BYTES // unit[:1].nbytes)
    blocks = (unit[start : start + rows] for start in range(0, len(unit), rows))
    with suppress(NotWritten):
        matrix.build(os.path.dirname(path), name, unit.nbytes, blocks, step=boundary.tick)


def warm(name):
    """Map the matrix of a model and read it once; return its bytes."""
    import numpy as np

    catalog.sweep_matrices()
    unit = _unit(find_model(name))
    nothing = np.zeros(unit.shape[1], np.float32)
    rows = max(1, (32 << 20) // (4 * unit.shape[1]))
    for start in range(0, len(unit), rows):
        boundary.tick()
        unit[start : start + rows] @ nothing
    return unit.nbytes


def _unit(model):
    """Return the mapped unit vectors of a model, whose file is made first where it has to be."""
    n, d = model["vocabulary_size"], model["dimension"]
    # Who may not read the bytes does not learn them from a file that another role made.
    key = (model["digest"], model["id"], model["created_at"], model["caller"])
    if key in _located:
        _located.move_to_end(key)
    else:
        if [len(data) for data in catalog.read_slices(model["digest"], [0], [0], [1])] != [1]:
            raise damaged(model)
        mapped.remember(_located, key, _locate(model))
    return mapped.rows(_located[key][1], n, d, lambda: _unit_blocks(model))


def _locate(model):
    scale = _scale(model)
    digests = [model["digest"]]
    if scale is not None:
        digests += [tensor["digest"] for tensor in catalog.tensors(model["id"], [scale.name])]
    name = matrix.file_name(*digests)
    return name, os.path.join(mapped.folder(), name)


def path(model):
    """Return the path of the matrix file of a model, whether it is there or not."""
    return _locate(model)[1]


def check_file(model):
    """Return whether the matrix file of a model holds what its chunks say (a sample of rows), and a text.

    Raises
    ------
    CorruptFile
    NotWritten
        There was no file, and none can be made.
    """
    import numpy as np

    from hypercube import neighbors

    n, d = model["vocabulary_size"], model["dimension"]
    path = _locate(model)[1]
    problem = matrix.folder_problem(boundary.data_directory(), os.path.dirname(path))
    if problem is not None:
        return False, problem
    if 4 * n * d > mapped.limit():
        return True, "larger than hypercube.matrix_limit, not looked at"
    # A file that is missing is made, as every exact question does: whether others have made it is not told.
    found = matrix.open_mapped(path, n, d)
    if found is None:
        _unit(model)
        found = matrix.open_mapped(path, n, d)
    rows = sorted({place * (n - 1) // _SAMPLE for place in range(_SAMPLE + 1)})
    try:
        unit, _ = neighbors.unit_rows(read_rows(model, rows))
    except CorruptFile as refusal:
        return False, str(refusal)
    wrong = np.flatnonzero(~(found.unit[rows] == unit).all(axis=1))
    if len(wrong):
        return (
            False,
            f"row {rows[wrong[0]]} differs from the stored bytes: remove {matrix.shown(os.path.split(path))}",
        )
    return True, f"{n} x {d}, {len(rows)} rows computed again"


def sweep(step=boundary.tick):
    """Remove the files of models that are gone; return how many went.

    None in a transaction whose snapshot may be too old to see every model.  ``step(fraction)`` is called
    while another session makes a file.
    """
    if not catalog.has_latest_snapshots():
        return 0
    wanted = {_locate(model)[0] for model in catalog.embedded_models()}
    beginnings = []
    for model in catalog.models():
        beginnings += [vectors_name(model, b""), encoder_name(model, b"")]
    folder = mapped.folder()
    databases = set(catalog.database_numbers())
    for parent in (os.path.dirname(folder), os.path.dirname(calls.folder())):
        matrix.sweep_databases(parent, databases)
    return matrix.sweep(folder, wanted, tuple(beginnings), step=step)


def vectors_name(model, digest):
    """Return the name of the file with the vectors of sentences; `digest` is that of their ids."""
    # The tensors alone do not decide: a model may have other files beside the same ones.
    whose = f"{model['id']} {model['created_at']} ".encode() + model["root"]
    return matrix.file_name(blake3(whose).digest(), digest, kind="texts")


def encoder_name(model, order):
    """Return the name of the file with the weights of an encoder, whose tensors `order` stands for."""
    return matrix.file_name(model["root"], order, kind="encoder")


def _unit_blocks(model):
    """Yield the unit vectors of a model in blocks of rows, computed from its chunks."""
    import numpy as np

    from hypercube import neighbors

    n, d = model["vocabulary_size"], model["dimension"]
    scale = _scale(model)
    entries = None if scale is None else _scale_values(model, scale)
    kind = weights.working_type(model["dtype"])
    rest, first = np.empty(0, kind), 0
    for begin in range(0, catalog.chunk_count(model["digest"]), _BATCH):
        boundary.tick()
        pieces = catalog.read_chunks(model["digest"], begin, begin + _BATCH - 1)
        values = np.concatenate([rest, *(weights.decode(piece, model["dtype"]) for piece in pieces)])
        rows = len(values) // d
        if first + rows > n:
            raise damaged(model)
        block, rest = values[: rows * d].astype(kind).reshape(rows, d), values[rows * d :].copy()
        if scale is not None:
            scales.multiply_rows(block, np.arange(first, first + rows), entries, scale)
        first += rows
        if rows:
            yield neighbors.unit_rows(block, step=boundary.tick)[0]
    if first != n or len(rest):
        raise damaged(model)


def _scale(model):
    """Return the scales.Scale of a quantised embedding, or None."""
    if model["scaling"] is None:
        return None
    names = scales.candidates(model["embedding"])
    shapes = {tensor["name"]: tensor["shape"] for tensor in catalog.tensors(model["id"], names)}
    return scales.find(model["embedding"], (model["vocabulary_size"], model["dimension"]), shapes)


def _scale_values(model, scale):
    """Return the values of a scale's tensor, float32."""
    import numpy as np

    [tensor] = catalog.tensors(model["id"], [scale.name])
    data = b"".join(catalog.read_chunks(tensor["digest"], 0, tensor["bytes"] // weights.PIECE))
    if len(data) != tensor["bytes"]:
        raise damaged(model)
    return weights.decode(data, tensor["dtype"]).astype(np.float32)


def damaged(model):
    """Return the refusal of a model whose bytes are not all there."""
    return CorruptFile(
        f'the stored embedding of model "{model["name"]}" is incomplete',
        hint="SELECT * FROM hypercube.health() lists what is damaged; restore it from a backup.",
    )


def read_rows(model, token_ids):
    """Return rows of the embedding as the model holds them: float64 (len(token_ids), dimension)."""
    import numpy as np

    size = model["dimension"] * weights.BITS[model["dtype"]] // 8
    parts = []
    for token_id in token_ids:
        begin, end = token_id * size, (token_id + 1) * size
        while begin < end:
            ordinal, inside = divmod(begin, weights.PIECE)
            length = min(end - begin, weights.PIECE - inside)
            parts.append((ordinal, inside, length))
            begin += length
    data = b"".join(catalog.read_slices(model["digest"], *map(list, zip(*parts, strict=True))))
    if len(data) != size * len(token_ids):
        raise damaged(model)
    # Scaled in the type that the matrix was scaled in, so that a row is the same everywhere.
    values = weights.decode(data, model["dtype"]).astype(weights.working_type(model["dtype"]))
    rows = values.reshape(len(token_ids), model["dimension"])
    scale = _scale(model)
    if scale is not None:
        scales.multiply_rows(rows, token_ids, _scale_values(model, scale), scale)
    return rows.astype(np.float64)
