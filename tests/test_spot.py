"""scripts/spot.py finds in a script what it is there to find."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECURE = "SET LOCAL search_path = pg_catalog, pg_temp;\n"
FUNCTION = "CREATE FUNCTION hypercube.f(a text) RETURNS text LANGUAGE {}\n"


def spotted(tmp_path, text):
    """Return the lines about a script, without those about what is accepted in the real one."""
    path = tmp_path / "script.sql"
    path.write_text(text, encoding="utf-8")
    run = subprocess.run([sys.executable, ROOT / "scripts" / "spot.py", path], capture_output=True, text=True)
    assert run.returncode == 1 and not run.stderr
    return [line.removeprefix(f"{path}:") for line in run.stdout.splitlines() if line.startswith(str(path))]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (FUNCTION.format("sql") + "RETURN format('%s', f.a);", "PS016"),
        (FUNCTION.format("sql") + "BEGIN ATOMIC\n    SELECT 1;\n    SELECT f.a || 'x';\nEND;", "PS001"),
        ("CREATE VIEW hypercube.v AS SELECT lower(t.a) AS a FROM hypercube.t;", "PS016"),
        (SECURE + FUNCTION.format("sql SECURITY DEFINER") + "RETURN f.a;", "PS003"),
        (SECURE + FUNCTION.format("plpgsql") + "AS $$ BEGIN RETURN a; END $$;", "PS005"),
        (SECURE + FUNCTION.format("plperl") + "AS 'return 1';", "unknown"),
        (SECURE + "CREATE OR REPLACE " + FUNCTION.format("sql")[7:] + "RETURN f.a;", "PS002"),
        (SECURE + "CREATE TABLE IF NOT EXISTS hypercube.t (a int);", "PS012"),
        (SECURE + "SET search_path = pg_catalog, public;\nSELECT lower('A');", "PS016"),
    ],
)
def test_a_trap_is_found(tmp_path, text, code):
    found = spotted(tmp_path, text)
    assert found and {line.split()[1] for line in found} == {code}


def test_a_line_says_where_and_in_what(tmp_path):
    text = (
        SECURE + "SELECT 1;\nRESET search_path;\n-- why\nCREATE VIEW hypercube.v AS SELECT lower('A') AS a;"
    )
    assert spotted(tmp_path, text) == ["4: PS016 hypercube.v: Unqualified function call: lower"]


def test_bodies_that_are_parsed_under_a_secure_path_are_none(tmp_path):
    assert spotted(tmp_path, SECURE + FUNCTION.format("sql") + "RETURN format('%s', f.a);") == []


def test_what_is_accepted_and_found_no_more_is_said(tmp_path):
    path = tmp_path / "script.sql"
    path.write_text(SECURE)
    run = subprocess.run([sys.executable, ROOT / "scripts" / "spot.py", path], capture_output=True, text=True)
    assert run.returncode == 1 and "accepted, but found no more" in run.stdout
