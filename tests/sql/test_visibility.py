"""What a role sees is all there is, to it: every answer is that of a database without the rest.

Owners, readers and memberships are drawn at random.  One role asks the same questions of the whole database,
under row-level security, and of a copy in which everything that it should not see was deleted, as a role
that no policy holds.  What it should see is worked out in Python (`worlds.seen`).
"""

import contextlib
import itertools
import random
import shutil
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

import worlds
from chapters import copied, open_folder
from replies import Answer, answer
from tenant_questions import (
    GRANTS,
    OF_SESSIONS,
    PRIVATE,
    QUESTIONS,
    REFUSED,
    WITHIN,
    WRITES,
    Ask,
    First,
    catalogue,
)
from worlds import ADMIN, LOGINS, READER

_numbers = itertools.count()
_ASKED_OF_EACH = 3
_WRITES_EACH = 8
# Not to shrink: an example takes seconds, and says what it is.
_EXAMPLES = settings(
    derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def world(server):
    """The name of a database with the models, texts and uploads of tenants, and the folder they come from."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE tenants TEMPLATE blank")
        worlds.create_roles(db)
    with open_folder() as sources:
        with server.connect(dbname="tenants", autocommit=True) as db:
            db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
            worlds.build(db, sources)
        yield "tenants", sources
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("DROP DATABASE tenants WITH (FORCE)")
        worlds.drop_roles(db)


def shuffled(server, name, shuffle, role):
    """Write a shuffle into the database; return all rows, and those that a role should see."""
    with server.connect(dbname=name, autocommit=True) as db:
        worlds.apply(db, shuffle)
        rows = worlds.dump(db)
    return rows, worlds.seen(rows, role, shuffle.memberships)


@contextlib.contextmanager
def without_the_rest(server, name, seen):
    """Give a copy of the database that holds nothing but what is seen."""
    with copied(server, name, f"visible_{next(_numbers)}") as copy:
        with server.connect(dbname=copy, autocommit=True) as db:
            worlds.delete_but(db, seen)
        yield copy


@contextlib.contextmanager
def held_to_no_policy(server, role):
    """Let a role see every row while it is needed."""
    name = sql.Identifier(role)
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(name))
        try:
            yield
        finally:
            db.execute(sql.SQL("ALTER ROLE {} NOBYPASSRLS").format(name))


def contents(db, columns):
    """Return how many rows of each table are seen, and a digest of them."""
    found = {}
    for table, told in columns.items():
        # Relations of kind S are made from what the owner of a model saw, and so are those that go.
        which = "WHERE kind <> 'S'" if table == "relation" else ""
        rows = f"SELECT {told} FROM hypercube.{table} {which}"
        found[table] = db.execute(
            f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM ({rows}) AS t"
        ).fetchone()
    return found


def written_columns(db):
    """Return the columns of each table that readers see, but for those that tell times or are random."""
    return dict(
        db.execute(
            "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)"
            " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
            " WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind = 'r'"
            "  AND has_table_privilege('hypercube_reader', c.oid, 'SELECT') AND c.relname <> 'text_state'"
            "  AND a.attname NOT IN ('created_at', 'kept_at', 'report', 'seconds')"
            " GROUP BY c.relname"
        ).fetchall()
    )


def answers(db, asked, views, columns, sources):
    """Return (what was asked of, statement, arguments, Answer) of everything that is asked."""
    # No order is promised, and text tells every number exactly.
    everything = "SELECT array_agg(v::text ORDER BY v::text) FROM hypercube.{} AS v"
    found = [("view " + view, view, (), answer(db, everything.format(view))) for view in sorted(views)]
    for name, questions in asked:
        if name in WRITES or name in GRANTS:
            with db.transaction(force_rollback=True):
                found += [(name, *question, answer(db, *question)) for question in questions]
                if name in WRITES:
                    found.append((name, "contents", (), contents(db, columns)))
            for folder in sources.glob("*/exported"):
                shutil.rmtree(folder)
        else:
            found += [(name, *question, answer(db, *question)) for question in questions]
    return found


def test_everything_public_is_asked(server, world):
    with server.connect(dbname=world[0]) as db:
        functions, views = catalogue(db)
        tables = set(worlds.tables(db))
        rows = worlds.dump(db)

    asked = [set(QUESTIONS), set(REFUSED), set(WRITES), set(GRANTS), WITHIN]
    assert len(set().union(*asked)) == sum(map(len, asked))
    assert functions == set().union(*asked) - views
    assert OF_SESSIONS <= views
    assert set(worlds.seen(rows, LOGINS[0], [])) == tables - set(worlds.AUDIT)


def test_tables_show_what_is_seen_and_no_more(server, world):
    shown = Counter()
    with server.connect(dbname=world[0]) as db:
        rows = worlds.dump(db)

    @settings(_EXAMPLES, max_examples=10)
    @given(worlds.shuffles())
    def each(shuffle):
        rows, _ = shuffled(server, world[0], shuffle, ADMIN)
        with server.connect(dbname=world[0]) as db:
            # The policies alone suffice: the privileges that readers lack are given here.
            db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA hypercube TO hypercube_reader")
            for role in (READER, *LOGINS, ADMIN):
                seen = worlds.seen(rows, role, shuffle.memberships)
                db.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
                for table in worlds.AUDIT:
                    # An admin sees which segments there are, of which this database has none.
                    assert db.execute(f"SELECT FROM hypercube.{table}").rowcount == 0, (role, table)
                for table, held in seen.items():
                    found = db.execute(f"SELECT t::text FROM hypercube.{table} AS t").fetchall()
                    assert sorted(found) == sorted((row["_text"],) for row in held), (role, table)
                    shown[table, 0 < len(held) < len(rows[table])] += 1
                db.execute("RESET ROLE")
            db.rollback()

    each()
    # Of every table something was hidden, and something was not.
    partly = {table for table, hidden in shown if hidden}
    assert partly == set(worlds.seen(rows, LOGINS[0], [])) - set(worlds.EVERYBODYS) - {"limit_turn"}


def test_answers_are_those_of_a_database_without_the_rest(server, world):
    name, sources = world
    answered, asked_of = Counter(), Counter()
    with server.connect(dbname=name) as db:
        views = catalogue(db)[1] - OF_SESSIONS - set(REFUSED)
        columns = written_columns(db)

    def ask(database, role, model, asked):
        with server.connect(dbname=database, user=role, autocommit=True) as db:
            db.execute("SELECT set_config('hypercube.model', %s, false)", (model,))
            return answers(db, asked, views, columns, sources)

    # The first example shows that whoever may do everything gets an answer to everything that writes.
    @settings(_EXAMPLES, max_examples=12)
    @example(worlds.all_of(LOGINS[0]), LOGINS[0], First(), len(WRITES))
    @given(
        worlds.shuffles(),
        st.sampled_from([READER, *LOGINS]),
        st.integers(0, 1 << 32).map(random.Random),
        st.just(_WRITES_EACH),
    )
    def each(shuffle, role, drawing, writes):
        rows, seen = shuffled(server, name, shuffle, role)
        hidden = len(seen["document"]) < len(rows["document"])
        drawn = Ask(drawing, rows, seen, worlds.members(role, shuffle.memberships), sources)
        questions = QUESTIONS | PRIVATE
        asked = [(of, make(drawn)) for of, make in questions.items() for _ in range(_ASKED_OF_EACH)]
        asked += [(of, make(drawn)) for of, make in (REFUSED | GRANTS).items()]
        asked += [(of, WRITES[of](drawn)) for of in drawing.sample(sorted(WRITES), writes)]
        model = drawing.choice(["", drawn.named_model()])
        with without_the_rest(server, name, seen) as copy:
            found = ask(name, role, model, asked)
            with held_to_no_policy(server, role):
                expected = ask(copy, role, model, asked)
        for mine, other in zip(found, expected, strict=True):
            assert repr(mine) == repr(other), (role, shuffle)
            of, *_, held = mine
            asked_of[of] += 1
            if hidden or of in WRITES or of in GRANTS:
                answered[of] += isinstance(held, Answer) and held.is_one

    each()
    assert not [of for of in REFUSED if answered[of]]
    assert not [of for of in asked_of.keys() - REFUSED.keys() if not answered[of]]
    assert asked_of.keys() >= QUESTIONS.keys() | REFUSED.keys() | WRITES.keys() | GRANTS.keys()
