"""Questions to one model: stored neighbours, exact questions, the first of a session, twenty sessions."""

import os
import random
import re
import subprocess
from contextlib import ExitStack, contextmanager
from time import perf_counter

import bench_pgvector as pgvector
import numpy as np
from bench_batches import measure_batch, measure_evaluation
from bench_tools import (
    PeakMemory,
    Row,
    mebibytes,
    memory,
    private,
    recall,
    say,
    spell,
    take_turns,
    tell_turns,
    timed,
    weigh,
)

from servers import program_folder

SESSIONS = 20
SESSION_LIMIT = 60 << 20
FIRST_LIMIT = 0.4
STORED = "semantic_neighbors"
ANALOGIES = [
    ("man", "king", "woman"), ("france", "paris", "italy"), ("big", "bigger", "small"),
    ("walk", "walking", "swim"), ("japan", "tokyo", "germany"), ("boy", "girl", "brother"),
]  # fmt: skip


def connect(server):
    return server.connect(dbname="minilm", autocommit=True)


def prepared(session, statement, arguments):
    """Return the task of asking, as a client does that prepares its statements."""
    return lambda: session.execute(statement, arguments, prepare=True).fetchall()


def choose_words(server):
    """Return (token id, label) of 200 words of the vocabulary that name one token."""
    with connect(server) as db:
        words = db.execute(
            "SELECT token_id, label FROM hypercube.token"
            " WHERE kind = 'word' AND usable AND label ~ '^[a-z]+$' ORDER BY token_id"
        ).fetchall()
    return random.Random(0).sample(words, 200)


# --- stored neighbours ----------------------------------------------------------------------------


@contextmanager
def one_core(*pids):
    """Keep processes, and what they start, on one core.

    One client and its session never work at the same time. On two cores each question may or may not wait for
    the other core to wake up, which takes longer than the answer.
    """
    before = {pid: os.sched_getaffinity(pid) for pid in pids}
    core = max(os.sched_getaffinity(0))
    try:
        for pid in pids:
            os.sched_setaffinity(pid, {core})
        yield
    finally:
        for pid, cores in before.items():
            os.sched_setaffinity(pid, cores)


def pgbench(server, folder, mode, statements, seconds=1, **changes):
    """Return the average seconds of a statement, chosen at random by one pgbench client.

    `changes` are those of the dsn: another role or database.
    """
    command = [program_folder() / "pgbench", "--no-vacuum", f"--protocol={mode}", f"--time={seconds}"]
    # pgbench takes 128 scripts; words in them, not in a table, leave only the question to be measured.
    for number, statement in enumerate(statements[:100]):
        script = folder / f"{number}.sql"
        script.write_text(f"{statement};\n")
        command += ["--file", script]
    dsn = server.dsn(**{"dbname": "minilm", **changes})
    command += ["--host", dsn["host"], "--port", str(dsn["port"]), "--username", dsn["user"], dsn["dbname"]]
    told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(f"pgbench failed: {told.stderr}")
    # With one client the reciprocal of the rate is the latency, with more digits than pgbench prints.
    return 1.0 / float(re.search(r"^tps = ([\d.]+)", told.stdout, re.MULTILINE)[1])


def measure_stored(server, exact, words, keys, has_pgvector, folder):
    """Neighbours from the stored graph, asked by pgbench."""
    asked = {
        name: [f"SELECT * FROM hypercube.{name}('{word}', 10)" for _, word in words]
        for name in (STORED, "spatial_neighbors")
    }
    asked["floor"] = ["SELECT 1"]
    turns = [(name, mode) for mode in ("prepared", "simple") for name in asked]
    compared = [(STORED, "prepared")]
    if has_pgvector:
        asked["hnsw"] = [pgvector.neighbors_statement(f"'{word}'") for _, word in words]
        compared.append(("hnsw", "prepared"))
    spent = {turn: [] for turn in turns + compared}
    # Those that are compared with one another take two turns for one of the others.
    with one_core(server.pid, 0):
        for _ in range(5):
            for name, mode in compared + turns + compared[1:]:
                spent[name, mode].append(pgbench(server, folder, mode, asked[name]))
    tell_turns({" ".join(turn): seconds for turn, seconds in spent.items()})

    rows, place = [token_id for token_id, _ in words], {key: number for number, key in enumerate(keys)}
    share = {}
    with connect(server) as db:
        statement = f"SELECT token_id FROM hypercube.{STORED}(%s, 10)"
        found = [[token for (token,) in db.execute(statement, (word,))] for _, word in words]
        share[STORED] = recall(exact, rows, found, 10)
        if has_pgvector:
            found = [[place[label] for (label,) in db.execute(statement)] for statement in asked["hnsw"]]
            share["hnsw"] = recall(exact, rows, found, 10)

    stored, name = spent[STORED, "prepared"], "stored neighbours beside HNSW, pgbench"
    if has_pgvector:
        of = f"pgvector, recall {share['hnsw']:.4f}"
        more = f", recall {share[STORED]:.4f}"
        yield weigh(name, stored, spent["hnsw", "prepared"], of, more=more, faster=20)
    else:
        yield pgvector.missing(name, ">= 20 x faster")
    for name, mode in turns:
        if name in ("floor", "hnsw"):
            continue
        held = {}
        if (name, mode) == (STORED, "prepared"):
            met = float(np.median(stored)) <= 0.2e-3 and share[STORED] == 1.0
            held = {"target": "<= 0.2 ms, recall 1", "met": met, "more": f", recall {share[STORED]:.4f}"}
        floor = np.median(spent["floor", mode])
        yield weigh(f"{name}, {mode}", spent[name, mode], floor, "SELECT 1", **held)


# --- the first question of a session --------------------------------------------------------------


def ask_first(server, statement, arguments=None):
    """Connect and ask; return the seconds of the question, and those of both."""
    began = perf_counter()
    with connect(server) as db:
        connected = perf_counter()
        db.execute(statement, arguments).fetchall()
        answered = perf_counter()
    return answered - connected, answered - began


def measure_fresh(server, words, unit):
    """The first question of a new connection: alone, and with connecting."""
    choice = random.Random(1)
    vector = unit[2054].tolist()
    asked = {
        "SELECT 1": lambda: ask_first(server, "SELECT 1"),
        "stored neighbours": lambda: ask_first(
            server, f"SELECT * FROM hypercube.{STORED}(%s, 10)", (choice.choice(words)[1],)
        ),
        "nearest": lambda: ask_first(server, "SELECT * FROM hypercube.nearest(%s::real[], 10)", (vector,)),
        "analogy": lambda: ask_first(server, "SELECT * FROM hypercube.analogy(%s, %s, %s)", ANALOGIES[0]),
    }
    for ask in asked.values():
        ask()
    spent = {what: [] for what in asked}
    for _ in range(20):
        for what, ask in asked.items():
            spent[what].append(ask())
    spent = {what: np.array(turns).T for what, turns in spent.items()}
    for what, limit in ("stored neighbours", 15e-3), ("nearest", FIRST_LIMIT), ("analogy", FIRST_LIMIT):
        for place, more in enumerate(("", ", connecting included")):
            seconds = spent[what][place]
            yield weigh(
                f"first {what} of a session{more}", seconds, spent["SELECT 1"][place], "SELECT 1",
                target=f"<= {1e3 * limit:.0f} ms", met=float(np.median(seconds)) <= limit,
            )  # fmt: skip

    built = []
    for _ in range(3):
        for file in server.data_folder.glob("pgsql_tmp_hypercube/*/*"):
            file.unlink()
        built.append(asked["analogy"]()[0])
    yield Row("first analogy of a session, the matrix built first", spell(np.median(built)))
    warmed, after = [], []
    for _ in range(5):
        with connect(server) as db:
            warmed.append(timed(prepared(db, "SELECT hypercube.warm()", ())))
            after.append(timed(prepared(db, "SELECT * FROM hypercube.analogy(%s, %s, %s)", ANALOGIES[0])))
    told = f"{spell(np.median(after))}, warm() {spell(np.median(warmed))}"
    yield Row("first analogy of a session after warm()", told)


# --- exact questions ------------------------------------------------------------------------------


def in_turn(ours, other):
    """Return the seconds of two tasks that take turns, and nothing else with them.

    Each reads a matrix, and so pushes the other's out of the caches; of three tasks, two that read the same
    one would have it there.
    """
    take_turns(6, ours, other)
    return take_turns(60, ours, other)


def measure_scans(server, words, has_pgvector):
    """Questions that multiply the whole matrix, in one warm session."""
    unit = words.unit
    column, asked = unit[0].copy(), unit[words.place["whale"]]
    triple = ANALOGIES[0]
    inputs = dict(zip("abc", triple, strict=True)) | {"inputs": list(triple)}
    # Vectors cross as text that is made beforehand, to both.
    vector = pgvector.vector_text(asked)
    array = "{" + vector[1:-1] + "}"

    def product():
        return unit @ column

    def gensim():
        return words.vectors.most_similar(positive=list(triple[1:]), negative=list(triple[:1]))

    with connect(server) as db, pgvector.exact_session(server) as scan:
        analogy = prepared(db, "SELECT * FROM hypercube.analogy(%s, %s, %s)", triple)
        nearest = prepared(db, "SELECT * FROM hypercube.nearest(%s::real[], 10)", (array,))
        for name, task, scanned in (
            ("analogy", analogy, prepared(scan, pgvector.ANALOGY, inputs)),
            ("nearest", nearest, prepared(scan, pgvector.NEAREST, (vector,))),
        ):
            yield weigh(f"{name}, warm", *in_turn(task, product), "unit @ v", most=1.4)
            what = f"{name} beside pgvector, exact"
            if has_pgvector:
                yield weigh(what, *in_turn(task, scanned), "pgvector, exact", faster=4)
            else:
                yield pgvector.missing(what, ">= 4 x faster")
        yield weigh("analogy beside gensim", *in_turn(analogy, gensim), "most_similar")
        if has_pgvector:
            hnsw = prepared(db, pgvector.NEAREST, (vector,))
            yield weigh("nearest beside HNSW, same client", *in_turn(nearest, hnsw), "pgvector")
        letters = prepared(db, f"SELECT * FROM hypercube.{STORED}('whale', letters_only => true)", ())
        yield weigh("semantic_neighbors with letters_only, warm", *in_turn(letters, product), "unit @ v")
        similarity = prepared(db, "SELECT hypercube.similarity('whale', 'dolphin')", ())
        yield Row("similarity, warm", spell(np.median(in_turn(similarity, similarity))))


def measure_others(server):
    """What has no limit to be measured against: a join and a map."""
    with connect(server) as db:
        count = (
            "SELECT count(*) FROM hypercube.neighbor_join('minilm', 'minilm', 10, 'b%', letters_only => true)"
        )
        rows = db.execute(count).fetchone()[0]
        joined = take_turns(3, lambda: db.execute(count).fetchone())[0]
        yield Row(f"neighbor_join, {rows // 10:,} sources, k = 10", spell(np.median(joined)))
        drawn = take_turns(3, lambda: db.execute("SELECT hypercube.map_svg()").fetchone())[0]
        yield Row("map_svg", spell(np.median(drawn)))


# --- twenty sessions ------------------------------------------------------------------------------


def measure_sessions(server, words):
    """The memory of sessions that ask exact questions, seen from outside while all of them are there."""
    vector = words.unit[words.place["whale"]].tolist()
    batch = [list(ANALOGIES[number % len(ANALOGIES)]) for number in range(100)]

    def ask(db):
        db.execute("SELECT * FROM hypercube.nearest(%s::real[], 10)", (vector,)).fetchall()
        db.execute("SELECT * FROM hypercube.analogy(%s, %s, %s)", ANALOGIES[0]).fetchall()
        db.execute("SELECT * FROM hypercube.analogies(%s::text[])", (batch,)).fetchall()

    with ExitStack() as open_sessions:
        sessions = [open_sessions.enter_context(connect(server)) for _ in range(SESSIONS)]
        for db in sessions[1:]:
            ask(db)
        with PeakMemory(sessions[0].info.backend_pid, 0.005) as peak:
            ask(sessions[0])
        found = [memory(db.info.backend_pid) for db in sessions]
    own, together = [private(size) for size in found], sum(size["Pss"] for size in found)
    matrix = f"{mebibytes(words.unit.nbytes)} (the shared matrix)"
    yield Row(
        f"private memory of each of {SESSIONS} sessions", f"{mebibytes(max(own))} at most", matrix,
        target=f"<= {mebibytes(SESSION_LIMIT)}", met=max(own) <= SESSION_LIMIT,
    )  # fmt: skip
    yield Row("Pss of them together", mebibytes(together), matrix)
    yield Row("peak private memory of one while it asks", mebibytes(peak.private))


def measure_questions(server, exact, words, folder, full):
    """Yield the rows of all questions."""
    has_pgvector = pgvector.make_table(server, words.keys, words.unit) is not None
    if not has_pgvector:
        say("pgvector is not installed; scripts/install-pgvector does it")
    chosen = choose_words(server)
    say("stored neighbours")
    yield from measure_stored(server, exact, chosen, words.keys, has_pgvector, folder)
    say("first questions")
    yield from measure_fresh(server, chosen, words.unit)
    say("exact questions")
    yield from measure_scans(server, words, has_pgvector)
    say("batches")
    yield from measure_batch(server, words)
    yield from measure_evaluation(server, words, full)
    yield from measure_others(server)
    say("sessions")
    yield from measure_sessions(server, words)
