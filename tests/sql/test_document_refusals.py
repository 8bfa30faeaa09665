"""Documents that are refused, stopped half way, or not for the caller: nothing of them is left."""

import psycopg
import pytest

from chapters import CHAPTERS, cancelled, chapter, drop, held, reports, role, store, unhealthy
from rows import ingest, one
from small_models import vectors, write_model

INVALID = psycopg.errors.InvalidParameterValue
UNDEFINED = psycopg.errors.UndefinedObject
TOO_MANY = psycopg.errors.ProgramLimitExceeded


@pytest.mark.parametrize(
    ("call", "error", "problem", "hint"),
    [
        ("ingest_text(NULL, 'x')", INVALID, "1 to 200 characters", "For example 'Moby-Dick"),
        ("ingest_text('', 'x')", INVALID, "1 to 200 characters", "For example 'Moby-Dick"),
        ("ingest_text(repeat('n', 201), 'x')", INVALID, "1 to 200 characters", "For example"),
        ("ingest_text('n', NULL::text)", INVALID, "the text must not be null", "The empty text is ''."),
        ("ingest_text('n', NULL::bytea)", INVALID, "the text must not be null", "The empty text is ''."),
        ("ingest_text('n', 'x', replace => NULL)", INVALID, "must not be null", "Give true or false."),
        ("ingest_text('n', 'x', vectors => NULL)", INVALID, "must not be null", "Give true or false."),
        ("ingest_text('n', 'x', metadata => '[1]')", INVALID, "must be a JSON object", "jsonb_build"),
        ("ingest_text('n', 'x', metadata => '\"a\"')", INVALID, "must be a JSON object", "jsonb_build"),
        ("ingest_text('n', 'x', metadata => 'null')", INVALID, "must be a JSON object", "jsonb_build"),
        ("ingest_text('n', 'x', model => 'no')", UNDEFINED, 'model "no" does not exist', "List the loaded"),
        ("ingest_texts('{a,b}', '{x}')", INVALID, r"names \(2\) is not that", "one name for each"),
        ("ingest_texts('{}', '{}')", INVALID, r"names \(0\) is not that", "one name for each"),
        ("ingest_texts(NULL, '{x}')", INVALID, r"names \(0\) is not that", "one name for each"),
        ("ingest_texts('{a}', NULL)", INVALID, r"names \(1\) is not that", "one name for each"),
        ("ingest_texts('{a,b,a}', '{x,y,z}')", INVALID, '"a" is given twice', "another name"),
        ("ingest_texts('{a,NULL}', '{x,y}')", INVALID, "1 to 200 characters", "For example"),
        ("ingest_texts('{a,b}', '{x,NULL}')", INVALID, "the text must not be null", "The empty text is ''."),
        (
            "ingest_texts('{a,b}', '{x,y}', metadata => ARRAY['{}']::jsonb[])",
            INVALID, r"metadata \(1\) is not that of documents \(2\)", "one for each, or null",
        ),
        ("drop_document(NULL)", INVALID, "the document must be named", "SELECT name FROM"),
        ("document_text(NULL)", INVALID, "the document must be named", "SELECT name FROM"),
        ("document_bytes(NULL)", INVALID, "the document must be named", "SELECT name FROM"),
        ("verify_document(NULL)", INVALID, "the document must be named", "SELECT name FROM"),
        ("drop_document('no')", UNDEFINED, 'document "no" does not exist', "List the documents"),
        ("document_text('no')", UNDEFINED, 'document "no" does not exist', "List the documents"),
        ("document_bytes('no')", UNDEFINED, 'document "no" does not exist', "List the documents"),
        ("verify_document('no')", UNDEFINED, 'document "no" does not exist', "List the documents"),
        (
            "ingest_texts(array_fill('a'::text, ARRAY[10001]), array_fill('x'::text, ARRAY[10001]))",
            TOO_MANY, "10001 documents were given", "Store them in parts.",
        ),
        (
            "ingest_text('n', repeat('a', 33554433))",
            TOO_MANY, "has 33554433 characters", "Store it as several documents.",
        ),
        ("ingest_text('n', 'x', metadata => jsonb_build_object('a', repeat('b', 1048577)))",
         TOO_MANY, "metadata have", "table of your own"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(db, call, error, problem, hint):
    with pytest.raises(error, match=problem) as refusal:
        db.execute(f"SELECT * FROM hypercube.{call}")
    assert hint in refusal.value.diag.message_hint


@pytest.mark.parametrize("bad", [b"\xff", b"Call \xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"])
def test_bytes_that_are_not_utf8_are_refused(db, bad):
    with pytest.raises(psycopg.errors.CharacterNotInRepertoire, match="not UTF-8.* at byte") as refusal:
        store(db, "n", bad)
    assert "convert_from" in refusal.value.diag.message_hint


@pytest.mark.parametrize("language", ["klingon", "", "english; DROP TABLE x"])
def test_an_unknown_language_is_refused(own, language):
    before = held(own)
    with pytest.raises(UNDEFINED, match="configuration .* does not exist") as refusal:
        store(own, "n", "The whale.", language=language)
    assert "pg_ts_config" in refusal.value.diag.message_hint
    assert held(own) == before


def test_a_name_that_is_taken_is_refused_with_all_that_came_with_it(own, sources):
    ingest(own, write_model(sources / "m", vectors(30)), "m")
    store(own, "taken", "Waab waac.")
    before = held(own)
    names = [*(f"d{n}" for n in range(500)), "taken"]
    texts = [f"Something new {n}." for n in range(501)]
    with pytest.raises(psycopg.errors.DuplicateObject, match='document "taken" already exists') as refusal:
        own.execute("SELECT hypercube.ingest_texts(%s::text[], %s::text[])", (names, texts))
    assert "replace => true" in refusal.value.diag.message_hint
    assert held(own) == before


def test_a_bad_document_takes_the_good_ones_of_its_call_along(own):
    before = held(own)
    metadata = [*(["{}"] * 200), "[]"]
    with pytest.raises(INVALID, match="must be a JSON object"):
        own.execute(
            "SELECT hypercube.ingest_texts(%s::text[], %s::text[], metadata => %s::jsonb[])",
            ([f"d{n}" for n in range(201)], [f"Text {n}." for n in range(201)], metadata),
        )
    assert held(own) == before


def test_what_is_rolled_back_leaves_nothing(own, sources):
    ingest(own, write_model(sources / "m", vectors(30)), "m")
    store(own, "a", "Waab waac.")
    before = held(own)
    with own.transaction(force_rollback=True):
        store(own, "b", "Waab waad. Xyz!")
        store(own, "a", "Qrs.", replace=True)
        drop(own, "b")
    assert held(own) == before
    assert unhealthy(own) == {}
    assert own.execute("SELECT document FROM hypercube.search('waab', 5)").fetchall() == [("a",)]


def test_without_a_model_documents_are_stored_and_their_words_found(own):
    report = store(own, "d", "Call me Ishmael. The whale!")

    assert report["tokens"] == 0
    assert one(own, "SELECT hypercube.document_text('d')") == "Call me Ishmael. The whale!"
    assert own.execute("SELECT sentence FROM hypercube.search_text('whales')").fetchall() == [(2,)]
    with pytest.raises(UNDEFINED, match="no model is loaded") as refusal:
        own.execute("SELECT * FROM hypercube.search('whale')")
    assert "hypercube.ingest" in refusal.value.diag.message_hint
    drop(own, "d")


def test_one_of_two_models_has_to_be_named(own, sources):
    for name in ("a", "b"):
        ingest(own, write_model(sources / name, vectors(30)), name)
    with pytest.raises(UNDEFINED, match="no model was named, and more than one is loaded") as refusal:
        store(own, "d", "Waab.")
    assert "a, b" in refusal.value.diag.message_hint
    assert store(own, "d", "Waab.", model="b")["tokens"] == 2
    assert one(own, "SELECT model FROM hypercube.document_overview") == "b"
    # The other model takes over when it replaces the document, and nothing of the first is left.
    store(own, "d", "Waab.", model="a", replace=True)
    for table in ("sentence_token", "sentence_vector"):
        assert one(own, f"SELECT count(*) FROM hypercube.{table}") == 1, table
    assert unhealthy(own) == {}


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize(
    "call", ["ingest_text('n', 'x')", "drop_document('d')", "relate_sequences()", "embed_documents()"]
)
def test_an_old_snapshot_may_not_write(db, level, call):
    db.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=level.lower()) as refusal:
        db.execute(f"SELECT * FROM hypercube.{call}")
    assert "READ COMMITTED" in refusal.value.diag.message_hint


class TestOwners:
    def test_another_role_may_read_what_it_is_granted_but_neither_replace_nor_drop(self, own):
        store(own, "d", "Call me Ishmael.")
        calls = ("document_text('d')", "document_bytes('d')", "verify_document('d')", "drop_document('d')")
        replace = "ingest_text('d', 'Other.', replace => true)"
        with role(own, "reading_role"):
            for call in calls:
                with pytest.raises(UNDEFINED, match='document "d" does not exist'):
                    own.execute(f"SELECT hypercube.{call}")
            # Names are the same for all: that one is taken is all that is told.
            with pytest.raises(psycopg.errors.DuplicateObject, match='document "d" already exists'):
                own.execute(f"SELECT hypercube.{replace}")
            own.execute("RESET ROLE")
            own.execute("SELECT hypercube.grant_document('d', 'reading_role')")
            own.execute("SET ROLE reading_role")
            assert one(own, "SELECT hypercube.document_text('d')") == "Call me Ishmael."
            assert one(own, "SELECT hypercube.verify_document('d')")
            for call in ("drop_document('d')", replace):
                with pytest.raises(
                    psycopg.errors.InsufficientPrivilege, match='"reading_role" does not own document "d"'
                ) as refusal:
                    own.execute(f"SELECT hypercube.{call}")
                told = "Its owner postgres can do it, or a member of hypercube_admin."
                assert refusal.value.diag.message_hint == told
            assert store(own, "e", "Call me.")["sentences"] == 1
            assert one(own, "SELECT owner FROM hypercube.document WHERE name = 'e'") == "reading_role"
            drop(own, "e")
        assert one(own, "SELECT hypercube.document_text('d')") == "Call me Ishmael."

    def test_members_of_the_owner_may_and_it_stays_the_owners(self, own):
        own.execute("CREATE ROLE crew IN ROLE hypercube_ingest")
        try:
            with role(own, "sailor", "crew"):
                own.execute("SET ROLE crew")
                store(own, "log", "Day one.")
                own.execute("SET ROLE sailor")
                store(own, "log", "Day two.", replace=True)
                assert one(own, "SELECT owner FROM hypercube.document WHERE name = 'log'") == "crew"
                drop(own, "log")
        finally:
            own.execute("DROP ROLE crew")
        assert one(own, "SELECT count(*) FROM hypercube.document") == 0

    def test_an_admin_may_what_an_owner_may_and_it_stays_the_owners(self, own):
        with role(own, "sailor"):
            store(own, "log", "Day one.")
        with role(own, "admiral", "hypercube_admin"):
            store(own, "log", "Day two.", replace=True)
            assert one(own, "SELECT owner FROM hypercube.document WHERE name = 'log'") == "sailor"
            assert drop(own, "log")["sentences"] == 1

    def test_a_role_without_rights_can_do_nothing(self, own):
        store(own, "d", "Call me.")
        own.execute("CREATE ROLE nobody_at_all")
        try:
            own.execute("SET ROLE nobody_at_all")
            for call in ("document_text('d')", "ingest_text('e', 'x')", "search_text('call')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    own.execute(f"SELECT * FROM hypercube.{call}")
        finally:
            own.execute("RESET ROLE")
            own.execute("DROP ROLE nobody_at_all")

    def test_the_document_of_a_role_that_is_gone_is_for_admins(self, own):
        with role(own, "passing"):
            store(own, "d", "Call me.")
        with role(own, "heir"), pytest.raises(UNDEFINED, match='"d" does not exist'):
            drop(own, "d")
        store(own, "d", "Call me again.", replace=True)
        with role(own, "admiral", "hypercube_admin"):
            assert drop(own, "d")["sentences"] == 1


class TestStopping:
    @pytest.mark.parametrize("after", [0.3, 1.0, 2.0, 3.0])
    def test_a_long_ingest_ends_within_a_second_and_leaves_nothing(self, own, sources, after):
        ingest(own, write_model(sources / "m", vectors(30)), "m")
        store(own, "d", chapter(1), vectors=False)
        before = held(own)
        # No two sentences alike, so that all of it is work.
        text = "".join(chapter(n).replace("the", f"the {n} {m}") for m in range(12) for n in CHAPTERS)
        error, took = cancelled(
            own, "SELECT hypercube.ingest_text('long', %s, vectors => false)", (text,), after
        )

        assert isinstance(error, psycopg.errors.QueryCanceled)
        assert took < 1.0
        assert held(own) == before
        assert one(own, "SHOW application_name") == ""
        assert unhealthy(own) == {}

    def test_what_waits_for_another_writer_can_be_stopped(self, server, own):
        with server.connect(dbname=own.info.dbname) as other:
            store(other, "d", "Call me.")
            error, took = cancelled(own, "SELECT hypercube.ingest_text('e', 'x')", (), 0.5)
        assert isinstance(error, psycopg.errors.QueryCanceled)
        assert took < 1.0
        assert [row["document"] for row in reports(own, "SELECT * FROM hypercube.document_overview")] == ["d"]
