"""Traps in a schema: whatever has a name that hypercube uses, and raises an error when it is run."""

import itertools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# As PostgreSQL calls them inside; an array has an underscore.
_TYPES = (
    "text", "int4", "int8", "float8", "float4", "name", "bytea", "_text", "_int4", "_bytea", "_float8",
    "numeric", "int2", "bool", "oid", "char", "jsonb", "tsvector", "tsquery", "regconfig", "timestamptz",
)  # fmt: skip
_PAIRED = _TYPES[:14]
_THREE = ("text", "int4", "int8")
_OPERATORS = (
    "=", "<>", "<", "<=", ">", ">=", "||", "~", "!~", "~~", "!~~", "~~*", "+", "-", "*", "/", "%",
    "@@", "@>", "<@", "&&", "->", "->>", "<->",
)  # fmt: skip
_BODY = "LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'planted'; END$$"


def _sources():
    paths = [*ROOT.glob("sql/[0-9][0-9]_*.sql"), *ROOT.glob("plpy/hypercube/*.py")]
    return " ".join(path.read_text(encoding="utf-8") for path in paths)


def used_functions(db):
    """Return the names of PostgreSQL's functions that occur in the sources of hypercube."""
    words = set(re.findall(r"\b([a-z_0-9]+)\(", _sources()))
    known = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
    return sorted(words & {name for (name,) in db.execute(known).fetchall()})


def used_relations(db):
    """Return the names of the tables and views of hypercube, and of those of PostgreSQL that it reads."""
    words = set(re.findall(r"\bpg_[a-z_]+", _sources()))
    rows = db.execute(
        "SELECT relname, relnamespace = 'hypercube'::regnamespace"
        " FROM pg_class WHERE relkind IN ('r', 'v', 'm')"
        " AND relnamespace IN ('hypercube'::regnamespace, 'pg_catalog'::regnamespace)"
    ).fetchall()
    return sorted(name for name, ours in rows if ours or name in words)


def _run(db, statements):
    for begin in range(0, len(statements), 1_000):
        db.execute("; ".join(statements[begin : begin + 1_000]))


def _trap(schema, name, types, returns="text"):
    arguments = ", ".join(f'pg_catalog."{kind}"' for kind in types)
    return f'CREATE FUNCTION {schema}."{name}"({arguments}) RETURNS pg_catalog.{returns} {_BODY}'


def plant_functions(db, schema, names):
    """Make functions with the arguments that PostgreSQL's take, and with others; return how many."""
    own = db.execute(
        "SELECT p.proname, ARRAY(SELECT y.typname FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n)"
        "  JOIN pg_type AS y ON y.oid = a.t ORDER BY n)"
        " FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (%s)"
        " AND NOT EXISTS (SELECT FROM pg_type WHERE oid = ANY (p.proargtypes) AND typtype = 'p')",
        (names,),
    ).fetchall()
    shapes = [(), *((kind,) for kind in _TYPES)]
    shapes += [*itertools.product(_PAIRED, repeat=2), *itertools.product(_THREE, repeat=3)]
    wanted = {(name, tuple(types)) for name, types in own} | set(itertools.product(names, shapes))
    _run(db, [_trap(schema, name, types) for name, types in sorted(wanted)])
    return len(wanted)


def plant_operators(db, schema):
    """Make operators between many pairs of types; return how many."""
    made = []
    for left, right in itertools.product(_TYPES, repeat=2):
        trap = f"trap_{left}_{right}"
        made.append(_trap(schema, trap, (left, right), "bool"))
        sides = f'LEFTARG = pg_catalog."{left}", RIGHTARG = pg_catalog."{right}"'
        made += [
            f'CREATE OPERATOR {schema}.{name} ({sides}, FUNCTION = {schema}."{trap}")' for name in _OPERATORS
        ]
    _run(db, made)
    return len(made)


def plant_types(db, schema):
    """Make types, a cast and text search configurations that are none of PostgreSQL's."""
    names = (
        "text", "bytea", "jsonb", "name", "uuid", "oid", "regclass", "regconfig", "tsquery", "cube",
        "token_kind", "answer",
    )  # fmt: skip
    made = [f'CREATE TYPE {schema}."{name}" AS (nothing pg_catalog.int4)' for name in names]
    made += [
        f"CREATE FUNCTION {schema}.as_text({schema}.text) RETURNS pg_catalog.text {_BODY}",
        f"CREATE CAST ({schema}.text AS pg_catalog.text) WITH FUNCTION {schema}.as_text AS IMPLICIT",
        f'CREATE TEXT SEARCH CONFIGURATION {schema}.english (PARSER = pg_catalog."default")',
        f'CREATE TEXT SEARCH CONFIGURATION {schema}.simple (PARSER = pg_catalog."default")',
    ]
    _run(db, made)


def plant_relations(db, schema, names, trap):
    """Make views of those names that run a trap when they are read."""
    _run(db, [f'CREATE VIEW {schema}."{name}" AS SELECT {trap} AS id' for name in names])
