"""scripts/drill: the table that it prints, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"


def test_the_table_has_a_row_for_each_drill_also_for_one_that_failed(tmp_path):
    told = [
        ("b | c", 4, "well", 1.5, "drills/test_two_b.py::test_x[1]"),
        ("a", None, "**failed** (call)", 2, "drills/test_one.py::test_y"),
    ]
    rows = [dict(zip(("drill", "times", "result", "seconds", "test"), row, strict=True)) for row in told]
    report = tmp_path / "report"
    report.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, SCRIPTS / "drill.py", report], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [
        "| drill | what was broken | how often | result | seconds | test |",
        "| --- | --- | --- | --- | --- | --- |",
        "| one | a | - | **failed** (call) | 2 | `test_y` |",
        "| two b | b \\| c | 4 | well | 1.5 | `test_x[1]` |",
    ]


def test_it_says_which_drills_there_are_and_runs_none_where_it_was_asked_for_something_else():
    for arguments in (
        ["nothing"],
        ["cra.h"],
        ["pg_upgrade"],
        ["--rounds", "0"],
        ["--rounds"],
        ["../conftest"],
    ):
        run = subprocess.run([SCRIPTS / "drill", *arguments], capture_output=True, text=True)
        assert run.returncode == 2 and not run.stdout
        assert run.stderr.startswith("usage: drill") and "\n  crash\n" in run.stderr
