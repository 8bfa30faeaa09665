"""Who may create objects puts them ahead of ours and of PostgreSQL's own: nobody runs them."""

import psycopg
import pytest

from chapters import copied, open_folder
from planted import (
    plant_functions,
    plant_operators,
    plant_relations,
    plant_types,
    used_functions,
    used_relations,
)
from rows import ingest, one
from signatures import call, functions, prepare
from small_models import vectors, write_model

PATH = "evil, hypercube, public, pg_catalog"
TRAP = "evil.trap_text_text('a', 'b')"


@pytest.fixture(scope="module")
def shadowed(server):
    """A database in which "planter" has a model and a document, and planted; values for `call`."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE ROLE planter LOGIN")
        db.execute("GRANT hypercube_ingest TO planter")
    with copied(server, "blank", "shadowed"), open_folder() as folder:
        folder.chmod(0o777)
        with server.connect(dbname="shadowed", autocommit=True) as db:
            for function in ("allow_source", "allow_target"):
                db.execute(f"SELECT hypercube.{function}(%s)", (str(folder),))
            db.execute("CREATE SCHEMA evil AUTHORIZATION planter")
            db.execute("GRANT TEMP ON DATABASE shadowed TO planter")
            names = used_functions(db), used_relations(db)
        with server.connect(dbname="shadowed", user="planter", autocommit=True) as db:
            sane = prepare(db, folder)
            assert plant_functions(db, "evil", names[0]) > 5_000
            assert plant_operators(db, "evil") > 5_000
            plant_types(db, "evil")
            plant_relations(db, "evil", names[1], TRAP)
        yield sane, names[1]
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("DROP ROLE planter")


def answers(db, chosen, sane):
    """Return how every function answers: its rows, or for one that writes that it did, or its refusal."""
    found = {}
    for function in chosen:
        if any(argument.type == "refcursor" for argument in function.arguments):
            db.execute("MOVE ABSOLUTE 0 IN some_cursor")
        with db.transaction(force_rollback=True):
            try:
                with db.transaction():
                    rows = db.execute(*call(function, sane)).fetchall()
                found[function.signature] = None if function.writes else rows
            except psycopg.Error as refusal:
                found[function.signature] = f"{refusal.sqlstate} {refusal.diag.message_primary}"
    return found


def everything(server, user, sane, relations, planted):
    """Return the answers of all functions and views to a role, with traps in its way or without."""
    with server.connect(dbname="shadowed", user=user, autocommit=True) as db:
        db.execute("SET hypercube.model = 'm'")
        db.execute("DECLARE some_cursor SCROLL CURSOR WITH HOLD FOR SELECT 'new' AS name, 'Waab.' AS content")
        # One takes its time, the others tell how long something took.
        left_out = ("seed_atoms", "model_report", "metrics", "metrics_text")
        chosen = [function for function in functions(db) if function.name not in left_out]
        # Files stay when a transaction does not.
        sane = sane | {"directory": f"{sane['path']}/{user}-{planted}"}
        if planted:
            plant_relations(db, "pg_temp", relations, TRAP)
            db.execute(f"SET search_path = {PATH}")
            with pytest.raises(psycopg.Error, match="planted"):
                db.execute("SELECT * FROM model")
            for trapped in ("format('%s', 'a')", "'a'::pg_catalog.text = 'b'::pg_catalog.text", "lower('A')"):
                with pytest.raises(psycopg.errors.RaiseException, match="planted"):
                    db.execute(f"SELECT {trapped}")
        found = answers(db, chosen, sane)
        for name in relations:
            if name.startswith("pg_"):
                continue
            try:
                found[name] = sorted(db.execute(f'SELECT * FROM hypercube."{name}"').fetchall(), key=repr)
            except psycopg.Error as refusal:
                found[name] = f"{refusal.sqlstate} {refusal.diag.message_primary}"
        return found


@pytest.mark.parametrize("user", ["planter", "postgres"])
def test_traps_ahead_of_everything_change_no_answer(server, shadowed, user):
    """Neither for who planted them nor for a superuser, with bodies that are parsed at creation or not."""
    before = everything(server, user, *shadowed, planted=False)
    after = everything(server, user, *shadowed, planted=True)

    # Doors open, too: what is refused to an owner is for others, or needs what is not there.
    refused = {name for name, told in before.items() if isinstance(told, str)}
    assert len(before) > 100 and len(refused) < len(before) / 4
    assert {name: told for name, told in after.items() if told != before[name]} == {}


def test_a_function_that_finds_its_names_by_the_path_of_its_caller_would_be_caught(server, shadowed):
    sane, _ = shadowed
    with server.connect(dbname="shadowed") as db:
        db.execute(
            "CREATE FUNCTION hypercube.careless(query text) RETURNS text LANGUAGE plpgsql STABLE"
            " AS $$ BEGIN RETURN lower(query); END $$"
        )
        chosen = [function for function in functions(db) if function.name == "careless"]
        before = answers(db, chosen, sane)
        db.execute(f"SET search_path = {PATH}")
        assert answers(db, chosen, sane) == {name: "P0001 planted" for name in before}
        db.rollback()


def test_traps_that_wait_for_the_extension_are_not_taken_into_it(server, sources):
    """The owner of a database, who may create in public, plants before a superuser creates the extension."""
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE ROLE early LOGIN")
        db.execute("CREATE DATABASE trapped OWNER early")
    try:
        with server.connect(dbname="blank") as db:
            names = used_functions(db)
        with server.connect(dbname="trapped", user="early", autocommit=True) as db:
            plant_functions(db, "public", [name for name in names if name != "cube"])
            plant_operators(db, "public")
        with server.connect(dbname="trapped", autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            taken = (
                "SELECT pg_describe_object(d.classid, d.objid, d.objsubid),"
                " pg_describe_object(d.refclassid, d.refobjid, 0)"
                " FROM pg_depend AS d"
                " LEFT JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid"
                " LEFT JOIN pg_operator AS o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid"
                " WHERE 'early'::regrole IN (p.proowner, o.oprowner)"
                " AND d.classid NOT IN ('pg_operator'::regclass, 'pg_extension'::regclass)"
            )
            assert db.execute(taken).fetchall() == []
            db.execute("SELECT hypercube.allow_source(%s)", (str(sources),))
            ingest(db, write_model(sources / "m", vectors(60)), "m")
            assert len(db.execute("SELECT * FROM hypercube.semantic_neighbors('waab', 5)").fetchall()) == 5
            assert len(db.execute("SELECT * FROM hypercube.spatial_neighbors('waab', 5)").fetchall()) == 5
            # A view that is made as ours would be without a search_path is caught.
            db.execute("CREATE VIEW hypercube.careless AS SELECT unnest(ARRAY[1, 2]) AS a")
            assert len(db.execute(taken).fetchall()) == 1
            with pytest.raises(psycopg.errors.RaiseException, match="planted"):
                db.execute("SELECT * FROM hypercube.careless")
            assert one(db, "SELECT count(*) FROM hypercube.health() WHERE NOT ok") == 0
    finally:
        with server.connect(dbname="postgres", autocommit=True) as db:
            db.execute("DROP DATABASE trapped WITH (FORCE)")
            db.execute("DROP ROLE early")
