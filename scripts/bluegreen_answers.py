"""Whether two clusters give equal answers to questions that are drawn from what is stored."""

import os
import re
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bluegreen_servers import SAFE, Refused, run, wait

_QUESTIONS = Path(__file__).with_name("bluegreen_questions.sql")
_HEADER = """\\set ON_ERROR_STOP off
\\set VERBOSITY sqlstate
SET client_min_messages = warning;
SET extra_float_digits = 1;
SET default_transaction_read_only = on;
SET statement_timeout = '10min';
"""
_ROUNDS = 5


def questions(cluster, dbname, verify):
    """Return the statements to ask, drawn from one database."""
    program = [cluster.programs / "psql", "-XqAt0", "-v", "ON_ERROR_STOP=1"]
    program += ["-v", f"verify={'on' if verify else 'off'}", "-d", cluster.conninfo(dbname)]
    return [told for told in run([*program, "-f", _QUESTIONS], environment=SAFE).split("\0") if told]


def answers(cluster, dbname, statements):
    """Return what a cluster answers to each statement; a refusal is an answer too."""
    if not statements:
        return []
    # No answer holds the mark, so none is taken for another's.
    mark = str(uuid.uuid4())
    asked = "".join(f"\\echo {mark}\n{statement};\n" for statement in statements)
    program = [cluster.programs / "psql", "-XqAt", "-d", cluster.conninfo(dbname)]
    told = subprocess.run(
        [str(part) for part in program],
        input=(_HEADER + asked).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | SAFE,
    )
    found = told.stdout.decode("utf-8", "replace").split(f"{mark}\n")[1:]
    if told.returncode or len(found) != len(statements):
        raise Refused(f"{cluster.name} stopped answering: {told.stdout.decode('utf-8', 'replace')[-300:]}")
    # The line of an error is one of what was sent, not of the question.
    return [re.sub(r"^psql:<stdin>:\d+: ", "", answer, flags=re.MULTILINE) for answer in found]


def differences(live, other, dbname, verify=False):
    """Return how many questions were asked, and which of them the two answer differently.

    What is written meanwhile reaches the live one first: the standby is asked what differs again when it has
    caught up, and all of it is tried a few times.
    """
    statements = questions(live, dbname, verify)
    differing = statements
    for _ in range(_ROUNDS):
        with ThreadPoolExecutor(2) as both:
            before, told = both.map(answers, (other, live), (dbname, dbname), (differing, differing))
        if other.is_standby():
            position = live.ask("SELECT pg_current_wal_lsn() - 1")
            wait(
                lambda end=position: other.has_replayed(end), 60, f"{other.name} catching up with {live.name}"
            )
        after = answers(other, dbname, [q for q, a, b in zip(differing, before, told, strict=True) if a != b])
        late = iter(after)
        differing = [
            question
            for question, first, second in zip(differing, before, told, strict=True)
            if first != second and next(late) != second
        ]
        if not differing:
            break
    return len(statements), differing


def unhealthy(cluster, dbname):
    """Return the red lines of health()."""
    asked = "SELECT \"check\" || ': ' || detail FROM hypercube.health() WHERE NOT ok"
    return cluster.ask(asked, dbname, seconds=600).splitlines()


def settings(cluster):
    """Return the settings that a file or the command line gives, but for those that differ by nature."""
    told = cluster.ask(
        "SELECT name || '=' || setting FROM pg_settings"
        " WHERE source IN ('configuration file', 'command line', 'environment variable') AND name NOT IN"
        " ('port', 'data_directory', 'config_file', 'hba_file', 'ident_file', 'unix_socket_directories',"
        " 'primary_conninfo', 'primary_slot_name', 'transaction_read_only', 'cluster_name')"
    )
    return dict(line.split("=", 1) for line in told.splitlines())
