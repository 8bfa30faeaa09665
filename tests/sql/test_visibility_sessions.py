"""What a session keeps of the sentences that its role sees follows every change of what that is."""

import psycopg
import pytest

from rows import ingest, one
from small_models import vectors, write_model

SHARED, MORE = "Waab waac waad. ", "Waae waaf. "


@pytest.fixture
def session(server, own, sources):
    """Give sessions of ann and carl in a database whose model everybody sees."""
    ingest(own, write_model(sources / "m", vectors(60)), "m")
    own.execute("SELECT hypercube.grant_model('m', 'public')")
    for name in ("ann", "carl"):
        own.execute(f"CREATE ROLE {name} LOGIN IN ROLE hypercube_ingest")
    opened = []

    def connected(name):
        opened.append(server.connect(dbname=own.info.dbname, user=name, autocommit=True))
        return opened[-1]

    yield connected
    for connection in opened:
        connection.close()
    own.execute("DROP ROLE ann")
    own.execute("DROP ROLE carl")


def store(db, name, text, **options):
    told = "".join(f", {option} => %s" for option in options)
    db.execute(f"SELECT hypercube.ingest_text(%s, %s{told})", (name, text, *options.values()))


def found(db):
    """Return the documents and sentences that a search finds, sorted; None where it is refused."""
    try:
        rows = db.execute("SELECT document, sentence FROM hypercube.search('waab waae', 20)").fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return None
    return sorted(rows)


def test_a_text_whose_sentences_others_have_is_found_at_once_by_who_searched_before(session):
    ann, carl = session("ann"), session("carl")
    store(carl, "his", SHARED + MORE)
    assert found(ann) is None

    store(ann, "hers", SHARED)
    assert found(ann) == [("hers", 1)]
    store(session("ann"), "hers too", MORE)
    assert found(ann) == [("hers", 1), ("hers too", 1)]


def test_a_text_that_a_model_reads_from_now_on_is_found_at_once_though_no_vector_came(own, sources, session):
    ingest(own, write_model(sources / "n", vectors(60, seed=8)), "n")
    own.execute("SELECT hypercube.grant_model('n', 'public')")
    ann, carl = session("ann"), session("carl")
    ann.execute("SET hypercube.model = 'm'")
    store(carl, "his", SHARED, model="m")
    store(ann, "hers", SHARED, model="n")
    assert found(ann) is None

    session("ann").execute("SELECT hypercube.read_documents('m', '{hers}')")
    assert found(ann) == [("hers", 1)]


def test_a_text_that_went_is_no_longer_found_though_others_keep_its_sentences(session):
    ann, carl = session("ann"), session("carl")
    store(carl, "his", SHARED)
    store(ann, "hers", SHARED)
    assert found(ann) == [("hers", 1)]

    session("ann").execute("SELECT hypercube.drop_document('hers')")
    assert found(ann) is None


def test_a_grant_is_seen_after_another_one_was_taken_back_by_a_rollback(session):
    ann, carl = session("ann"), session("carl")
    store(ann, "hers", SHARED)
    store(carl, "his", SHARED + MORE)
    with ann.transaction(force_rollback=True):
        ann.execute("SELECT hypercube.grant_document('hers', 'carl')")
        assert found(ann) == [("hers", 1)]

    carl.execute("SELECT hypercube.grant_document('his', 'ann')")
    assert found(ann) == [("hers", 1), ("his", 1), ("his", 2)]


def test_a_role_that_is_renamed_sees_at_once_what_was_granted_to_its_new_name(own, session):
    own.execute("CREATE ROLE club")
    own.execute("CREATE ROLE crew")
    own.execute("GRANT crew TO ann")
    ann, carl = session("ann"), session("carl")
    try:
        store(carl, "his", SHARED)
        carl.execute("SELECT hypercube.grant_document('his', 'club')")
        assert found(ann) is None

        own.execute("ALTER ROLE club RENAME TO club_of_before")
        own.execute("ALTER ROLE crew RENAME TO club")
        assert found(ann) == [("his", 1)]
    finally:
        for name in ("club_of_before", "club", "crew"):
            own.execute(f"DROP ROLE IF EXISTS {name}")


def test_a_search_by_both_refuses_a_model_that_is_not_there_also_where_no_text_is(session):
    ann, carl = session("ann"), session("carl")
    store(carl, "his", SHARED)
    for call in ("hybrid_search('waab', 3, 'no such model')", "ask('waab', 3, 'no such model')"):
        with pytest.raises(psycopg.errors.UndefinedObject, match='"no such model" does not exist'):
            ann.execute(f"SELECT * FROM hypercube.{call}")
    assert one(ann, "SELECT count(*) FROM hypercube.document") == 0
