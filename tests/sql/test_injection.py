"""Text that looks like code is text: every argument of every public function, found through the catalogue."""

import json

import psycopg
import pytest

from chapters import store
from hypercube import errors
from rows import ingest, one
from signatures import call, functions, prepare
from small_models import tokenizer, vectors, write_model

TEXTUAL = {"text", "text[]", "name", "name[]", "jsonb", "jsonb[]", "json", "refcursor", "bytea", "bytea[]"}
# Where a text has to be known to be looked at, it also comes after one that is.
READ_IN_PIECES = {"content", "query", "question", "label", "words", "pairs", "questions"}

HOSTILE = [
    "", " ", "'", "''", '"', '""', "\\", "\\'", "\\\\", "\\x", "\\000", "\\u0000", "E'\\''", "'\\0'",
    "'; DROP TABLE canary; --", "'; INSERT INTO canary VALUES (1); --",
    "'); DROP TABLE canary; --", "' OR 1 = 1 --", '"; DROP TABLE canary; --',
    "$$; DROP TABLE canary; $$", "$tag$", "$1", "$2::text", ":name", "%(name)s", "%s", "%I", "%L", "%n%n",
    "%", "_", "%%%%_\\", "{}", "{0.__class__.__mro__}", "{NULL}", '{"a":', "[]", "NULL", "null", "()",
    "(1,2)", "a&b|!c", "a <-> b:*", "(((", "[[:alpha:]", "/* comment", "*/ SELECT 1", "-- comment",
    "a\n; DROP TABLE canary;\n", "\r\n\t\v\f\b\x1b[31m", "\x7f\x01", "hypercube.model; DROP TABLE canary",
    "pg_temp.x", "public.canary", "pg_catalog.pg_class", "canary", "(SELECT 1)", "1; SELECT pg_sleep(100)",
    "current_user", "public", "postgres", "../../etc/passwd", "/etc/passwd", "/etc/passwd\n",
    "/etc/passwd%00.json", "file:///etc/passwd", "|id", "$(id)", "`id`", "~/x", ".", "/", "-rf", "*",
    "config.json/../../x", "__import__('os').system('id')", '"""', "'''", "\\N{DIGIT ONE}",
    "<script>alert(1)</script>", "]]>", "&lt;", "\u202ewhale\u202c", "wh\u0430le", "e\u0301" * 40, "\u200b",
    "\ufeffwaab", "\ufffd", "\U0010ffff", "\u2028", "\U0001f468\u200d\U0001f469", "\u2400", "1e999", "NaN",
    "-1", "0x41", "99999999999999999999", "x" * 20_000, "'" * 2_000, "a b " * 3_000,
]  # fmt: skip

# What hypercube refuses with, but for a defect, and what PostgreSQL says of a value, or of a cursor that is
# not there.  The value has to be refused before any function runs: inside, it would have been passed on.
OURS = {
    kind.sqlstate
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.HypercubeError)
} | {"34000"} - {"XX000"}
BEFORE = {"22P02", "22P05"}

# What the server came with has smaller numbers.
CATALOGUE = (
    "SELECT md5(string_agg(t::text, ',' ORDER BY t)) FROM ("
    " SELECT 'class', oid, xmin::text FROM pg_class WHERE oid >= 16384"
    " UNION ALL SELECT 'proc', oid, xmin::text FROM pg_proc WHERE oid >= 16384"
    " UNION ALL SELECT 'type', oid, xmin::text FROM pg_type WHERE oid >= 16384"
    " UNION ALL SELECT 'operator', oid, xmin::text FROM pg_operator WHERE oid >= 16384"
    " UNION ALL SELECT 'role', oid, xmin::text FROM pg_authid"
    " UNION ALL SELECT 'member', roleid, member::text FROM pg_auth_members"
    " UNION ALL SELECT 'database', oid, xmin::text FROM pg_database"
    " UNION ALL SELECT 'schema', oid, xmin::text FROM pg_namespace"
    " UNION ALL SELECT 'policy', oid, xmin::text FROM pg_policy"
    " UNION ALL SELECT 'trigger', oid, xmin::text FROM pg_trigger"
    " UNION ALL SELECT 'event', oid, xmin::text FROM pg_event_trigger"
    " UNION ALL SELECT 'extension', oid, xmin::text FROM pg_extension"
    " UNION ALL SELECT 'setting', setdatabase, setconfig::text FROM pg_db_role_setting"
    ") AS t"
)


@pytest.fixture
def sane(own, sources):
    """A canary that sings when somebody changes it, and values for `call`."""
    own.execute("CREATE TABLE canary (a text)")
    own.execute("CREATE FUNCTION sing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'changed'; END $$")
    own.execute(
        "CREATE TRIGGER sing BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON canary EXECUTE FUNCTION sing()"
    )
    # The server's user makes what is exported.
    sources.chmod(0o777)
    own.execute("SELECT hypercube.allow_target(%s)", (str(sources),))
    values = prepare(own, sources)
    own.execute("SELECT hypercube.refresh_consensus()")
    return values


def shaped(text, argument):
    """Return the values of an argument that a text can be put into."""
    kind = argument.type
    if kind in ("jsonb", "json"):
        return [text, json.dumps(text), json.dumps({text: [text]})]
    if kind == "jsonb[]":
        return [[json.dumps({text: text})]]
    if kind == "bytea":
        return [text.encode()]
    if kind == "bytea[]":
        return [[text.encode()]]
    if kind.endswith("[]"):
        return [[text], [text, "waab", text]]
    return [text, f"waab {text}"] if argument.name in READ_IN_PIECES else [text]


def problem_of(db, function, sane, catalogue=None, **changed):
    """Return what is wrong with how a call ends, None if nothing; with the catalogue, it is taken back."""
    if any(argument.type == "refcursor" for argument in function.arguments):
        db.execute("MOVE ABSOLUTE 0 IN some_cursor")
    with db.transaction(force_rollback=catalogue is not None):
        try:
            with db.transaction():
                db.execute(*call(function, sane, **changed)).fetchall()
        except psycopg.Error as refusal:
            early = refusal.sqlstate in BEFORE and "function" not in (refusal.diag.context or "")
            if refusal.sqlstate not in OURS and not early:
                return f"{refusal.sqlstate} {refusal}"[:300]
        if catalogue is not None and one(db, CATALOGUE) != catalogue:
            return "the catalogue is another one"
    return None


def problems_of(db, chosen, sane):
    """Return what is wrong with the answers of functions to hostile values, and how many were asked for."""
    before, wrong, calls = one(db, CATALOGUE), [], 0
    for function in chosen:
        for argument in function.arguments:
            if argument.type not in TEXTUAL:
                continue
            with db.transaction(force_rollback=True):
                for text in HOSTILE:
                    for value in shaped(text, argument):
                        calls += 1
                        catalogue = before if function.writes else None
                        problem = problem_of(db, function, sane, catalogue, **{argument.name: value})
                        if problem:
                            wrong.append((function.signature, argument.name, value[:100], problem))
                if one(db, CATALOGUE) != before:
                    wrong.append((function.signature, argument.name, None, "the catalogue is another one"))
            # What was refused is read again by every later write, until one of them stays.
            db.execute("SELECT hypercube.audit_collect()")
    return wrong, calls


def test_every_function_is_called_with_what_means_something(own, sane):
    """Otherwise the refusals below could be those of the other arguments."""
    refused = []
    for function in functions(own):
        if function.name == "seed_atoms":
            continue
        with own.transaction(force_rollback=True):
            try:
                with own.transaction():
                    own.execute(*call(function, sane)).fetchall()
            except psycopg.Error as refusal:
                refused.append((function.name, str(refusal)))
    # The upload is not finished, pgvector is not in this database, and nothing of the audit is sealed.
    expected = {"ingest_upload", "create_vector_index", "measure_recall", "audit_drop_segment"}
    assert [told for told in refused if told[0] not in expected] == []


def test_no_argument_of_any_function_becomes_code(own, sane):
    """In one test, as the functions are those of the catalogue: whatever is wrong is listed."""
    wrong, calls = problems_of(own, functions(own), sane)
    assert calls > 10_000
    assert wrong == []


@pytest.mark.parametrize(
    ("volatility", "code"),
    [("STABLE", "42601"), ("VOLATILE", "the catalogue is another one"), ("VOLATILE", "P0001")],
)
def test_a_function_that_puts_text_into_code_would_be_found(own, sane, volatility, code):
    own.execute(
        f"CREATE FUNCTION hypercube.leaky(label text) RETURNS text LANGUAGE plpgsql {volatility} AS"
        " $$ BEGIN EXECUTE format('SELECT ''%s''', label); RETURN label; END $$"
    )
    wrong, _ = problems_of(own, [function for function in functions(own) if function.name == "leaky"], sane)
    assert any(problem.startswith(code) for *_, problem in wrong)


def test_what_was_refused_does_not_stop_those_who_write_later(own, sane):
    """A refused call is written down outside of its transaction, and taken in by whoever writes next."""
    for text in HOSTILE:
        with pytest.raises(psycopg.Error), own.transaction():
            own.execute("SELECT hypercube.drop_model(%s)", (text,))
        with pytest.raises(psycopg.Error), own.transaction():
            own.execute("SELECT hypercube.ingest_text('new', 'waab', language => %s)", (text,))
    own.execute("SELECT hypercube.compose('waab')")
    told = one(own, "SELECT count(*) FROM hypercube.audit_entry WHERE outcome = 'refused'")
    assert told == 2 * len(HOSTILE)
    assert own.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall() == []
    assert own.execute("SELECT ok, problem FROM hypercube.audit_verify()").fetchone() == (True, None)


@pytest.mark.parametrize(
    "name",
    ["'; DROP TABLE canary; --", '"quoted"', "%I %s %(a)s $1 {0}", "a\\b\\", "$$; DROP TABLE canary; $$",
     "wh\u0430le", "<b>&amp;</b>"],
)  # fmt: skip
def test_names_that_are_stored_stay_names_wherever_they_are_read(own, sane, sources, name):
    """What was stored yesterday is an argument of a statement today."""
    pieces = ["[UNK]", *(f"{name}{place}" for place in range(29))]
    told = tokenizer(pieces)
    ingest(own, write_model(sources / "odd", vectors(30), tokenizer_json=told), name)
    store(own, name, f"Waab {name} waac.", model=name)
    own.execute("SELECT hypercube.allow_source(%s)", (str(sources / "odd"),))
    own.execute("SELECT hypercube.refresh_consensus()")
    own.execute("SELECT set_config('hypercube.model', %s, false)", (name,))
    odd = sane | {"model": name, "model_a": name, "name text": name, "document": name, "text": f"{name}1"}
    odd |= {"text[]": [f"{name}{place}" for place in (1, 2, 3)], "model_diff.a": name}

    before, answered = one(own, CATALOGUE), 0
    for function in functions(own):
        if not function.writes:
            assert problem_of(own, function, odd) is None, function
            answered += 1
    for (view,) in own.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace"
        " AND relkind IN ('v', 'm')"
    ).fetchall():
        own.execute(f"SELECT * FROM {view}").fetchall()
    assert answered > 50 and one(own, CATALOGUE) == before
    assert own.execute('SELECT "check", detail FROM hypercube.health() WHERE NOT ok').fetchall() == []

    own.execute("SELECT hypercube.drop_document(%s)", (name,))
    own.execute("SELECT hypercube.drop_model(%s)", (name,))
    assert own.execute("SELECT name FROM hypercube.model").fetchall() == [("m",)]
