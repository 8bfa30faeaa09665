"""The project held to its own word: versions, layers, wrappers, documents."""

import ast
import itertools
import json
import re
from pathlib import Path

import pytest

import hypercube
from hypercube import errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "plpy" / "hypercube"
ROOMS = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
PARTS = sorted((ROOT / "sql").glob("[0-9][0-9]_*.sql"))
SCRIPTS = [path for path in (ROOT / "scripts").rglob("*") if path.is_file() and path.suffix != ".pyc"]
SQL = "".join(path.read_text(encoding="utf-8") for path in PARTS)
REFERENCE = (ROOT / "doc" / "reference.md").read_text(encoding="utf-8")

# Imports point down this list only; what is not named here is a pure room.
LAYERS = (
    {"api", "audit_api", "guard_api", "limit_api", "operate_api", "text_api"},
    {
        "archive",
        "assignments",
        "differences",
        "documents",
        "evaluations",
        "explaining",
        "grants",
        "health",
        "indexes",
        "ingest",
        "maintenance",
        "metrics",
        "models",
        "rebuilding",
    },
    {"batches", "expectations", "pictures", "plan", "search", "substrate", "uploads"},
    {"reading"},
    {"queries", "store", "geometry"},
    {"meaning", "ranking", "words"},
    {"changes", "embeddings", "graph", "tokens"},
    {"audit", "doors", "limits"},
    {"mapped"},
    {
        "allowances",
        "catalog",
        "bulk",
        "entries",
        "expected",
        "gauges",
        "hnsw",
        "holders",
        "lexicon",
        "parcels",
        "rights",
        "sequences",
        "texts",
        "upkeep",
    },
    {"progress"},
    {"calls"},
    {"boundary"},
)
NEED_A_SERVER = set().union(*LAYERS)
# Tested through the room that uses them.
TESTED_WITH = {
    "components": "vocabulary",
    "errors": "weights",
    "habits": "classify",
    "reader": "apart",
    "scoring": "neighbors",
    "tiles": "neighbors",
}


def height(room):
    return next((len(LAYERS) - place for place, layer in enumerate(LAYERS) if room in layer), 0)


def imported(path):
    """Return the modules that a file imports, those of the package by their own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "hypercube":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.removeprefix("hypercube."))
    return found


def test_versions_agree():
    control = re.search(r"default_version = '(.+)'", (ROOT / "hypercube.control").read_text())[1]
    meta = json.loads((ROOT / "META.json").read_text())
    changelog = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]

    provided = meta["provides"]["hypercube"]["version"]
    assert {control, meta["version"], provided, changelog} == {hypercube.__version__}


def test_every_version_can_be_reached_from_the_one_before():
    """PostgreSQL needs a script also where nothing changed; what is kept of each version tests it."""
    listed = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    scripts = {path.name for path in (ROOT / "sql" / "upgrade").glob("*.sql")}
    assert scripts == {f"hypercube--{old}--{new}.sql" for new, old in itertools.pairwise(listed)}
    kept = ("install.sql.gz", "package.tar.xz", "made.dump", "answers.json.gz")
    for version in listed[1:]:
        assert all((ROOT / "tests" / "data" / f"hypercube-{version}" / name).exists() for name in kept)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_only_boundary_knows_the_server_and_imports_point_down(room):
    modules = imported(ROOMS[room])

    assert ("plpy" in modules) == (room == "boundary")
    for other in modules & ROOMS.keys():
        assert height(other) < height(room) or height(room) == height(other) == 0


def test_a_wrapper_imports_api_and_calls_it():
    wrapper = r"CREATE FUNCTION hypercube\.(\w+)(?:(?!CREATE FUNCTION).)*?AS \$python\$\n(.*?)\$python\$;"
    bodies = re.findall(wrapper, SQL, re.DOTALL)
    assert len(bodies) > 10
    for name, body in bodies:
        assert re.fullmatch(r"from hypercube import (\w+)\nreturn \1\.\w+\([\w, ]*\)\n", body), name
    called = {re.search(r"return (\w+\.\w+)", body)[1] for _, body in bodies}
    defined = {
        f"{room}.{node.name}"
        for room in LAYERS[0]
        for node in ast.parse(ROOMS[room].read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert called == defined


def test_install_scripts_only_create():
    assert not re.search(r"OR REPLACE|(CREATE|DROP) [A-Z ]*IF (NOT )?EXISTS", SQL)


def test_no_statement_is_put_together_from_text():
    # DDL cannot bind names: hnsw fills in numbers, and a schema that the server quoted.
    for room in NEED_A_SERVER - {"hnsw"}:
        for node in ast.walk(ast.parse(ROOMS[room].read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("rows", "write", "prepare"):
                built = (ast.JoinedStr, ast.BinOp)
                assert not any(isinstance(part, built) for part in ast.walk(node.args[0]))
    assert "EXECUTE" not in re.sub(r"(REVOKE|GRANT) EXECUTE|EXECUTE FUNCTION", "", SQL)


@pytest.mark.parametrize("room", sorted(ROOMS.keys() - NEED_A_SERVER))
def test_every_pure_room_has_a_unit_test(room):
    assert (ROOT / "tests" / "unit" / f"test_{TESTED_WITH.get(room, room)}.py").exists()


def test_files_stay_small():
    for path in [*ROOMS.values(), *PARTS, *(ROOT / "tests").rglob("*.py"), *SCRIPTS]:
        # A dashboard is what another program exports.
        if path.suffix == ".json":
            continue
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_the_tree_of_refusals_is_drawn_as_it_is():
    drawn = dict(re.findall(r"[*+] (\w+) +(\w{5})", errors.__doc__))
    defined = {
        name: kind.sqlstate
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.HypercubeError)
    }
    assert drawn == defined
    assert all(code in REFERENCE for code in set(drawn.values()) - {"58000", "XX000"})


def test_every_public_object_is_in_the_reference():
    public = set(re.findall(r"CREATE (?:FUNCTION|VIEW|TABLE|TYPE) hypercube\.([a-z]\w*)", SQL))
    assert len(public) > 30
    assert {name for name in public if not re.search(rf"(`|hypercube\.){name}\b", REFERENCE)} == set()


def test_nothing_is_fetched_by_address():
    """Packages are named and left to their clients; whose registry they ask is not ours to say."""
    address = re.compile(r"https?:" + "//")
    containers = [path for path in (ROOT / "docker").iterdir() if path.is_file()]
    for path in [*SCRIPTS, *containers, *ROOT.glob(".ci/*"), *ROOMS.values(), *PARTS, ROOT / "Makefile"]:
        assert not address.search(path.read_text(encoding="utf-8")), path


def test_no_function_is_called_like_the_array_type_of_a_table():
    """Every table brings a type of its name with an underscore, and a call with a literal would be a cast."""
    tables = set(re.findall(r"CREATE (?:TABLE|VIEW|TYPE) hypercube\.(\w+)", SQL))
    functions = set(re.findall(r"CREATE FUNCTION hypercube\.(\w+)", SQL))
    assert not {"_" + name for name in tables} & functions
