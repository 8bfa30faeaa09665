"""What triggers write into the audit about a statement that changed rows.

Of what decides over rights and of the heads of models and documents: every statement, with the rows as
they were and are; those of one call of a function of this extension together, so that a thousand
documents are one entry.  Of the many rows behind them: only what did not come through such a function,
by how many there were and a digest of their keys.
"""

from typing import NamedTuple

from blake3 import blake3

from hypercube import audit, boundary, entries
from hypercube.errors import NotAllowed


class _Head(NamedTuple):
    keys: tuple
    bulk: tuple = ()
    noise: tuple = ()


_HEADS = {
    "model": _Head(("name",), ("config", "metadata")),
    # What is computed from a document comes after it.
    "document": _Head(("name",), ("metadata", "words"), ("pairs", "related", "embedded")),
    "allowed_source": _Head(("path", "role")),
    "allowed_target": _Head(("path", "role")),
    # A part that comes in touches the upload: what counts is its beginning and its end.
    "upload": _Head(("name", "path"), (), ("touched_at",)),
    "kept_composition": _Head(("composition_id", "owner")),
    "role_limit": _Head(("role", "what")),
    "backup_record": _Head(("kind", "label")),
}
# The keys that a digest is taken over; none where the rows are too large to be copied.
_BULK = {
    "model_file": (),
    "tensor": ("model_id", "name"),
    "chunk": (),
    "tensor_chunk": ("tensor_digest", "ordinal"),
    "atom": ("codepoint",),
    "atom_map": ("version",),
    "composition": ("id",),
    "holder": ("id",),
    "holding": ("holder_id", "composition_id"),
    "token": ("model_id", "token_id"),
    "relation": ("model_id", "kind", "layer", "head", "source", "target"),
    "projection": ("model_id", "token_id"),
    "projection_metadata": ("model_id", "tensor_name"),
    "expectation": ("model_id", "kind", "ordinal"),
    "upload_part": (),
    "sentence": ("document_id", "ordinal"),
    "sentence_search": ("composition_id", "language"),
    "sentence_token": ("model_id", "composition_id"),
    "sentence_vector": (),
    "sequence": ("model_id", "source", "target"),
    "text_state": ("model_id",),
    "relation_kind": ("kind",),
    "limit_turn": ("role",),
    "reader_change": ("model_id", "mark"),
    "writer_turn": (),
}
_MANY = 100
# Keys of more rows are not listed for a digest.
_DIGESTED = 100_000


class _Told:
    """What statements of one kind on one table did: how many rows, and of the first what they held."""

    def __init__(self):
        self.rows, self.keys = 0, []
        self.old, self.new = [], []

    def entry(self, operation, table, by_hand):
        detail = None
        if len(self.keys) > _MANY:
            detail = {"keys": _digest(self.keys)}
        return {
            "operation": operation.lower(),
            "kind": table,
            "by_hand": by_hand,
            "rows": str(self.rows),
            "objects": audit.spelled(self.keys[:_MANY]),
            "old": _array(self.old),
            "new": _array(self.new),
            "detail": audit.spelled(detail),
        }


def _array(pieces):
    """Return arrays of JSON as one, or None for none; their numbers stay as the server spelled them."""
    return "[" + ", ".join(piece[1:-1] for piece in pieces) + "]" if pieces else None


def _digest(keys):
    return blake3("\n".join(sorted(keys)).encode()).hexdigest()


def head(change):
    """Write an entry about a statement on a table of few rows; `change` is what PL/Python gives a trigger."""
    _require_ours(change)
    table, event = change["table_name"], change["event"]
    if event == "TRUNCATE":
        _write(change, rows=None)
    elif boundary.acts_as_owner():
        told = boundary.gathered(_finish).setdefault((table, event), _Told())
        _tell(told, change, _HEADS[table])
    else:
        told = _Told()
        _tell(told, change, _HEADS[table])
        _finish({(table, event): told}, by_hand="true")


def _finish(gathered, by_hand="false"):
    contents = [told.entry(event, table, by_hand) for (table, event), told in gathered.items() if told.rows]
    if contents:
        audit.write(contents)


def _tell(told, change, shown):
    """Add the rows of a statement to what is told."""
    event, relation = change["event"], int(change["relid"])
    # A part of an upload that comes in touches it, and changes nothing that is shown.
    if event == "UPDATE" and shown.noise and entries.are_alike(relation, shown.noise):
        return
    room = _MANY - told.rows
    if room <= 0:
        listing = entries.keys_come if event == "INSERT" else entries.keys_gone
        keys = listing(relation, shown.keys) or []
        told.rows += len(keys)
        told.keys += keys
        return
    before = entries.gone(relation, *shown, room) if event in ("UPDATE", "DELETE") else None
    after = entries.come(relation, *shown, room) if event in ("INSERT", "UPDATE") else None
    found = after or before
    if not found["keys"]:
        return
    told.rows += len(found["keys"])
    told.keys += found["keys"]
    for rows, place in ((before, told.old), (after, told.new)):
        if rows is not None and rows["held"] is not None:
            place.append(rows["held"])


def bulk(change):
    """Write an entry about a statement on a table of many rows, unless we made it ourselves."""
    if boundary.acts_as_owner():
        return
    _require_ours(change)
    keys = _BULK[change["table_name"]]
    count = None
    if change["event"] in ("UPDATE", "DELETE"):
        count = entries.count_gone(int(change["relid"]))
    elif change["event"] == "INSERT" and keys:
        count = entries.count_come(int(change["relid"]))
    if count != 0:
        _write(change, rows=count, keys=keys if count else ())


def _require_ours(change):
    """Refuse to tell of a table that is only called like one of this extension."""
    if change["table_schema"] != "hypercube":
        raise NotAllowed("this trigger is for tables of hypercube", hint="Drop the trigger.")


def _write(change, *, rows, keys=()):
    detail = None
    if keys and rows <= _DIGESTED:
        listing = entries.keys_come if change["event"] == "INSERT" else entries.keys_gone
        detail = {"keys": _digest(listing(int(change["relid"]), keys))}
    audit.write([{
        "operation": change["event"].lower(),
        "kind": change["table_name"],
        "by_hand": "false" if boundary.acts_as_owner() else "true",
        "rows": None if rows is None else str(rows),
        "detail": audit.spelled(detail),
    }])  # fmt: skip
