"""The documents held to the tree: links lead somewhere, drills and rooms are those that there are."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("doc/*.md"), *ROOT.glob("tests/*/*.md")])
DRILLS = (ROOT / "doc" / "operations.md").read_text(encoding="utf-8").split("\n## Drills\n")[1]


def prose(path):
    """Return the lines of a document outside of its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """Return what a link can point to in a document: its headings, spelled as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)) if not link.startswith("http")]
    for link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_room_stands_in_the_layers_of_the_design():
    drawn = (ROOT / "doc" / "design.md").read_text(encoding="utf-8").split("\n## Layers\n")[1].split("```")[1]
    rooms = {path.stem for path in (ROOT / "plpy" / "hypercube").glob("*.py")} - {"__init__"}
    assert rooms - set(re.findall(r"\w+", drawn)) == set()


def test_the_table_of_drills_has_each_drill():
    """One of pg_upgrade is no part of a run of the tests."""
    told = set(re.findall(r"^\| ([\w ]+) \| .*`(test_\w+)[^`]*` \|$", DRILLS, re.MULTILINE))
    there = {
        (path.stem.removeprefix("test_").replace("_", " "), node.name)
        for path in (ROOT / "tests" / "drills").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and "drilled" in [one.arg for one in node.args.args]
    }
    assert told == {(drill, test) for drill, test in there if drill != "pg upgrade"}
