"""Calls of every public function of the extension, found through the catalogue."""

from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from chapters import store
from rows import ingest, one
from small_models import vectors, words, write_model

_DIMENSION = 16


@dataclass(frozen=True)
class Argument:
    """One that is passed in; `cast` is its type by a name that no search_path changes."""

    name: str
    type: str
    cast: str
    required: bool


@dataclass(frozen=True)
class Function:
    """A function of the schema hypercube; `signature` tells overloaded ones apart."""

    name: str
    signature: str
    arguments: tuple
    writes: bool


def functions(db):
    """Return the public functions."""
    rows = db.execute(
        "SELECT p.proname, p.oid::regprocedure::text, p.provolatile = 'v', p.pronargs - p.pronargdefaults,"
        " coalesce(p.proargnames[1:p.pronargs], '{}'),"
        " ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n),"
        " ARRAY(SELECT format('%I.%I', s.nspname, y.typname)"
        "  FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n)"
        "  JOIN pg_type AS y ON y.oid = a.t JOIN pg_namespace AS s ON s.oid = y.typnamespace ORDER BY n)"
        " FROM pg_proc AS p WHERE p.pronamespace = 'hypercube'::regnamespace AND p.proname NOT LIKE '\\_%'"
        " AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype ORDER BY 2"
    ).fetchall()
    found = []
    for name, signature, writes, required, names, types, casts in rows:
        assert len(set(names)) == len(types) and all(names), f"{signature} has arguments without a name"
        arguments = tuple(
            Argument(*told, place < required)
            for place, told in enumerate(zip(names, types, casts, strict=True))
        )
        found.append(Function(name, signature, arguments, writes))
    return found


def call(function, sane, **changed):
    """Return the statement that calls a function, and its values: sane ones where it needs some."""
    given = {
        a.name: (changed[a.name] if a.name in changed else value_for(function, a, sane), a.cast)
        for a in function.arguments
        if a.required or a.name in changed
    }
    # Overloaded functions are told apart by the types.
    passed = ", ".join(f'"{name}" => %s::{cast}' for name, (_, cast) in given.items())
    return f"SELECT * FROM hypercube.{function.name}({passed})", [value for value, _ in given.values()]


def value_for(function, argument, sane):
    """Return a value that means something to a function."""
    name, kind = argument.name, argument.type
    for key in (f"{function.name}.{name}", f"{name} {kind}", name, kind):
        if key in sane:
            return sane[key]
    raise AssertionError(f"no value is known for {name} {kind} of {function.signature}")


def prepare(db, sources):
    """Store a model "m" and a document "a" for whoever is connected; return values for `call`."""
    ingest(db, write_model(sources / "m", vectors(60, _DIMENSION), pieces=["[UNK]", *words(59)]), "m")
    store(db, "a", "Waab waac. Waad waae.")
    db.execute("SET hypercube.model = 'm'")
    upload = one(db, "SELECT hypercube.upload_begin('uploaded', 'config.json')")
    db.execute("SELECT hypercube.upload_part(%s, 0, '{}')", (upload,))
    db.execute("DECLARE some_cursor SCROLL CURSOR WITH HOLD FOR SELECT 'new' AS name, 'Waab.' AS content")
    composition = one(db, "SELECT hypercube.compose('waab waac')")
    numbers = [1.0] * _DIMENSION
    return {
        "text": "waab",
        "text[]": ["waab", "waac", "waad"],
        "name": "hypercube_reader",
        "integer": 2,
        "bigint": 2,
        "integer[]": [1, 2],
        "double precision": 0.5,
        "boolean": False,
        "real[]": numbers,
        "real[] vectors": [numbers],
        "bytea": composition,
        "cube": "(0, 0, 0, 0), (0.1, 0.1, 0.1, 0.1)",
        "hilbert_index.point": "(0, 0, 0, 0)",
        "uuid": upload,
        "jsonb": "{}",
        "interval": "90 days",
        "timestamp with time zone": "2026-11-22 04:00 UTC",
        "metrics.part": "calls",
        "metrics_text.part": "calls",
        "record_backup.kind": "full",
        "record_backup.label": "20261122-040000F",
        "model": "m",
        "model_a": "m",
        "model_b": "m",
        "model_diff.a": "m",
        "model_diff.b": "m",
        "name text": "a",
        "document": "a",
        "documents": ["a"],
        "role": "hypercube_reader",
        "b text": "waac",
        "c text": "waad",
        "analogies.questions": [["waab", "waac", "waad"]],
        "source text": write_model(sources / "n", vectors(30, _DIMENSION)),
        "source refcursor": "some_cursor",
        "ingest_text.name": "new",
        "ingest_texts.names": ["new"],
        "ingest_texts.contents": ["Waab."],
        "content bytea": b"Waab.",
        "upload_begin.name": "new",
        "upload_begin.path": "config.json",
        "upload_cancel.name": "uploaded",
        "ingest_upload.name": "uploaded",
        "path": str(sources),
        "directory": f"{sources}/exported",
        "pairs text": "waab waac 1\nwaab waad 2\nwaac waad 3",
        "pairs text[]": ["waab waac 1", "waab waad 2", "waac waad 3"],
        "questions text": "waab waac waad waae",
        "explain_question.question": "nearest",
        "questions text[]": ["waab waac waad waae"],
        "index": bytes(16),
        "vectors bytea": np.ones(_DIMENSION, "<f4").tobytes(),
        "vectors real[]": [numbers],
        "data": b"{}",
        "digest": blake3(b"{}").digest(),
        "what": "k",
        "method": "sif",
        "checkpoint": bytes(32),
    }
