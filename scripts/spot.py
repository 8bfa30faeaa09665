"""Holds SQL scripts of an extension to what pgspot knows of how such scripts are attacked.

usage: spot.py FILE ...

pgspot stops at the first body that PostgreSQL parses at creation (BEGIN ATOMIC, RETURN).  Such a body is
read here as what it is: a statement of the script itself, whose names are found once, by the search_path
that the script has set at that place.  Whoever calls the function later has no say in it.
"""

import re
import sys
from argparse import Namespace
from pathlib import Path

from pglast.parser import ParseError
from pgspot import visitors
from pgspot.codes import codes
from pgspot.formatters import format_function
from pgspot.state import Counter, State

# Findings that were looked at: code, object, why it is none.  One that is no longer found is an error too.
_EXACT = "needs the schema of cube; each argument has just the type declared, which nothing matches better"
_ACCEPTED = [
    ("unknown", "DO LANGUAGE plpython3u", "imports packages and runs no statement"),
    ("unknown", "hypercube.ingest_texts_from", "its reader does not know refcursor; the path is pinned"),
    *(
        (code, name, _EXACT)
        for name, found in {
            "hypercube.composition": ["PS001", "PS016"],
            "hypercube._point": ["PS016"],
            "hypercube._off_the_map": ["PS001", "PS016"],
            "hypercube._point_number": ["PS001", "PS016"],
            "hypercube._map_neighbors": ["PS001", "PS016"],
            "hypercube.map": ["PS001", "PS016"],
            "hypercube._coordinates": ["PS016"],
            "hypercube.hilbert_index": ["PS016"],
            "hypercube.atom_overview": ["PS001", "PS016"],
            "hypercube.distance": ["PS001"],
        }.items()
        for code in found
    ),
]

# CREATE OR REPLACE in an update: PostgreSQL refuses to replace what does not belong to the extension.
_OF_UPDATES = ("PS002", "PS015")

_ARGUMENTS = Namespace(
    ignore=[],
    # Their bodies are two lines that call Python, where statements are constants under a pinned search_path.
    ignore_lang=["plpython3u"],
    plpgsql=True,
    proc_without_search_path=[],
    sql_fn=[],
    summary_only=False,
)


class Reader(visitors.SQLVisitor):
    """pgspot's visitor, which also knows bodies that are parsed at creation."""

    def visit_CreateFunctionStmt(self, ancestors, node):
        if node.sql_body is None:
            try:
                super().visit_CreateFunctionStmt(ancestors, node)
            except ParseError as problem:
                self.state.unknown(f"the body was not read: {problem}")
            return
        if node.replace:
            self.state.warn("PS002", format_function(node))
        if any(option.defname == "security" and option.arg.boolval for option in node.options):
            self.state.error("PS003", format_function(node))
        # The body is a child of this node: pgspot goes on to it, with the path of the script.


class Findings(Counter):
    """Collects (line, code, object, context)."""

    def __init__(self):
        super().__init__(_ARGUMENTS)
        self.found = []

    def _add(self, code, context):
        self.found.append((self.line_number(), code, self._object(), context))

    def warn(self, code, context):
        self._add(code, f"{codes[code]['title']}: {context}")

    error = warn

    def unknown(self, message):
        self._add("unknown", message)

    def _object(self):
        """Return what the statement that is being read makes or changes, or its beginning."""
        text = re.sub(r"^(\s*(--[^\n]*)?\n)*", "", self.sql[self.stmt_location :]).lstrip("; \n")
        made = re.match(r"(?:CREATE|ALTER|COMMENT ON)[A-Z ]* (hypercube\.\w+)", text)
        return made[1] if made else " ".join(text.split("\n", 1)[0].split()[:3])


def findings(path):
    """Return what is wrong with a script: a list of (line, code, object, context)."""
    counter = Findings()
    visitors.visit_sql(State(counter), path.read_text(encoding="utf-8"), toplevel=True)
    return counter.found


def main(paths):
    visitors.SQLVisitor = Reader
    accepted, used, problems = {entry[:2] for entry in _ACCEPTED}, set(), []
    for path in map(Path, paths):
        for line, code, name, context in findings(path):
            if code in _OF_UPDATES and path.parent.name == "upgrade":
                continue
            if (code, name) in accepted:
                used.add((code, name))
            else:
                problems.append(f"{path}:{line}: {code} {name}: {context}")
    problems += [f"{code} {name}: accepted, but found no more" for code, name in sorted(accepted - used)]
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
