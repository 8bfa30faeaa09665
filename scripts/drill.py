"""Print the table of scripts/drill from what the drills wrote down, one line of JSON each."""

import json
import sys
from pathlib import Path

_COLUMNS = ("drill", "what was broken", "how often", "result", "seconds", "test")


def table(lines):
    """Return the Markdown lines of a table, in the order of the drills' files."""
    rows = [json.loads(line) for line in lines]
    found = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    for row in sorted(rows, key=lambda row: row["test"].partition("::")[0]):
        file, _, test = row["test"].partition("::")
        drill = Path(file).stem.removeprefix("test_").replace("_", " ")
        times = "-" if row["times"] is None else row["times"]
        cells = [drill, row["drill"], times, row["result"], row["seconds"], f"`{test}`"]
        found.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return found


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())))
