"""Search by meaning: the answers that numpy gives over every stored vector, at once after every change."""

import os
import shutil
import time

import numpy as np
import psycopg
import pytest

from chapters import cancelled, chapter, drop, held, reports, role, show_all, store, table_counts, unhealthy
from rows import ingest, one
from small_models import vectors, write_model

NOT_READY = psycopg.errors.ObjectNotInPrerequisiteState
QUERIES = ("the colour of the whale", "a captain who wants revenge", "three days of chasing", "gold", "?")
ASK = "SELECT document, sentence, round(score::numeric, 5) FROM hypercube.search('waab waac', 20)"


def vector(db, text, model=None, method=None):
    return np.array(one(db, "SELECT hypercube.embed(%s, %s, %s)", text, model, method))


def places(db):
    """Return (document, ordinal, start, text) of every place of a sentence and the vectors, in one order."""
    rows = db.execute(
        "SELECT d.name, s.ordinal, s.start, c.label, v.vector FROM hypercube.sentence AS s"
        " JOIN hypercube.document AS d ON d.id = s.document_id"
        " JOIN hypercube.composition AS c ON c.id = s.composition_id"
        " JOIN hypercube.sentence_vector AS v"
        "  ON v.model_id = d.model_id AND v.composition_id = s.composition_id ORDER BY 1, 2"
    ).fetchall()
    stored = np.array([np.frombuffer(row[4], "<f4") for row in rows]).astype(np.float64)
    return [row[:4] for row in rows], stored


def check_answer(found, expected, k):
    """Compare rows of hypercube.passage with a dict of (document, sentence) to its score."""
    scores = [row["score"] for row in found]
    assert [row["rank"] for row in found] == list(range(1, min(k, len(expected)) + 1))
    assert scores == pytest.approx([expected[row["document"], row["sentence"]] for row in found], abs=1e-6)
    assert scores == pytest.approx(sorted(expected.values(), reverse=True)[:k], abs=1e-6)
    order = [(-row["score"], row["document"], row["sentence"] or 0) for row in found]
    assert order == sorted(order) and len({row[1:] for row in order}) == len(order)


class TestSearch:
    def test_every_sentence_has_the_vector_that_embed_gives(self, searched):
        rows = searched.execute(
            "SELECT DISTINCT ON (c.id) c.label, v.vector FROM hypercube.sentence_vector AS v"
            " JOIN hypercube.composition AS c ON c.id = v.composition_id ORDER BY c.id LIMIT 40"
        ).fetchall()
        for label, stored in rows:
            np.testing.assert_allclose(vector(searched, label), np.frombuffer(stored, "<f4"), atol=1e-5)

    @pytest.mark.parametrize("query", QUERIES)
    @pytest.mark.parametrize("k", [1, 10, 150])
    def test_sentences_are_those_of_brute_force(self, searched, query, k):
        rows, stored = places(searched)
        assert len(rows) > 800
        scores = stored @ vector(searched, query)
        expected = {row[:2]: score for row, score in zip(rows, scores.tolist(), strict=True)}
        found = reports(searched, "SELECT * FROM hypercube.search(%s, %s)", query, k)

        check_answer(found, expected, k)
        told = {row[:2]: (row[2], row[3].rstrip(" \t\r\n")) for row in rows}
        for row in found:
            assert (row["start"], row["text"]) == told[row["document"], row["sentence"]]
            assert row["exact"] is True and row["highlighted"] is None

    @pytest.mark.parametrize("query", QUERIES)
    def test_documents_are_ranked_by_the_mean_of_their_sentences(self, searched, query):
        rows, stored = places(searched)
        asked, expected = vector(searched, query), {}
        for name in {row[0] for row in rows}:
            mean = stored[[row[0] == name for row in rows]].mean(axis=0)
            expected[name, None] = float(mean @ asked / np.linalg.norm(mean))
        found = reports(searched, "SELECT * FROM hypercube.search(%s, 5, scope => 'document')", query)

        check_answer(found, expected, 5)
        for row in found:
            text = chapter(int(row["document"].removeprefix("chapter ")))
            assert row["start"] == 0 and row["text"] == text[:200]

    def test_the_known_chapter_and_sentence_are_found(self, searched):
        """The chapter of that name speaks of whiteness, and only one sentence of his leg."""
        call = "SELECT document FROM hypercube.search('the colour white', 1, scope => 'document')"
        assert one(searched, call) == "chapter 42"
        text = one(searched, "SELECT text FROM hypercube.search('Moby Dick bit off the leg of Ahab', 1)")
        assert "leg" in text

    def test_all_are_found_where_so_many_are_asked_for(self, searched):
        rows, _ = places(searched)
        with searched.transaction(force_rollback=True):
            searched.execute("SET hypercube.max_k = '100000'")
            found = searched.execute(
                "SELECT document, sentence FROM hypercube.search('whale', 100000)"
            ).fetchall()
        assert sorted(found) == sorted(row[:2] for row in rows)

    @pytest.mark.parametrize(
        ("call", "error", "problem", "hint"),
        [
            ("search(NULL)", "InvalidParameterValue", "the query is empty", "Give a sentence"),
            ("search(' \n')", "InvalidParameterValue", "the query is empty", "Give a sentence"),
            ("search('a', 0)", "InvalidParameterValue", "k is out of range: 0", "at least 1 row"),
            ("search('a', NULL)", "InvalidParameterValue", "k is out of range: null", "at least 1 row"),
            ("search('a', 1001)", "ProgramLimitExceeded", "1001 rows were asked for", "hypercube.max_k"),
            ("search('a', scope => 'word')", "InvalidParameterValue", 'scope "word"', "Use 'sentence' or"),
            ("search('a', scope => NULL)", "InvalidParameterValue", "scope", "'sentence' or 'document'"),
            ("search('a', model => 'no')", "UndefinedObject", 'model "no"', "List the loaded models"),
            ("search('a', model => 'wordllama')", "ObjectNotInPrerequisiteState", "no sen", "ingest_text"),
            ("search(repeat('a', 10001))", "InvalidParameterValue", "has 10001 characters", "at most 10000"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_asked_is_refused(self, searched, call, error, problem, hint):
        with pytest.raises(getattr(psycopg.errors, error), match=problem) as refusal:
            searched.execute(f"SELECT * FROM hypercube.{call}")
        assert hint in refusal.value.diag.message_hint


@pytest.fixture
def small(own, sources):
    """A connection to a database with a model "m" that has read three documents."""
    ingest(own, write_model(sources / "m", vectors(60)), "m")
    for name, text in (
        ("a", "Waab waac. Waad waae. Waab waac. "), ("b", "Waaf. Waab waac. "), ("c", "Waag waah."),
    ):  # fmt: skip
        store(own, name, text)
    return own


def brute_force(db, query="waab waac"):
    rows, stored = places(db)
    scores = stored @ vector(db, query, "m")
    best = sorted(zip(-scores.astype(np.float32), rows, strict=True), key=lambda one: (one[0], one[1][:2]))
    return [(row[0], row[1], pytest.approx(float(-negative), abs=2e-5)) for negative, row in best]


def answer(db):
    return [(document, sentence, float(score)) for document, sentence, score in db.execute(ASK).fetchall()]


class TestChange:
    def test_a_repeated_sentence_gives_a_row_for_each_place(self, small):
        found = small.execute(
            "SELECT document, sentence, score FROM hypercube.search('waab waac', 3)"
        ).fetchall()

        assert [row[:2] for row in found] == [("a", 1), ("a", 3), ("b", 2)]
        assert len({row[2] for row in found}) == 1
        assert answer(small) == brute_force(small) and len(answer(small)) == 6

    def test_answers_follow_every_change_at_once_also_in_another_session(self, server, small):
        with server.connect(dbname=small.info.dbname, autocommit=True) as other:
            assert answer(other) == brute_force(small)
            for change in (
                lambda: store(small, "d", "Waab waac waai. Waaj."),
                lambda: drop(small, "a"),
                lambda: store(small, "b", "Waab waak. Waal!", replace=True),
                lambda: small.execute("SELECT hypercube.ingest_texts('{e,f}', '{Waab waac.,Waac waab.}')"),
                lambda: store(small, "c", "", replace=True),
            ):
                change()
                expected = brute_force(small)
                assert answer(other) == expected == answer(small)
            for name in "bcdef":
                drop(small, name)
            for session in (other, small):
                with pytest.raises(NOT_READY, match="no sentences with vectors"):
                    answer(session)
            store(small, "a", "Waab.")
            assert [row[:2] for row in answer(other)] == [("a", 1)]
        assert unhealthy(small) == {}

    def test_a_change_that_is_not_committed_is_for_its_own_transaction(self, server, small):
        before = brute_force(small)
        with server.connect(dbname=small.info.dbname, autocommit=True) as other:
            with small.transaction(force_rollback=True):
                store(small, "d", "Waab waac waai. ")
                drop(small, "b")
                assert answer(small) == brute_force(small) != before
                assert answer(other) == before
            assert answer(small) == answer(other) == before

    def test_another_history_with_as_many_sentences_is_not_mistaken_for_the_first(self, small):
        """A transaction that is rolled back leaves a file of vectors and what the session knows of it."""
        store(small, "x", "Waam. Waan. Waao. ")
        with small.transaction(force_rollback=True):
            store(small, "y", "Waan. ")
            drop(small, "x")
            assert answer(small) == brute_force(small)
        store(small, "z", "Waao. ")
        drop(small, "x")
        assert answer(small) == brute_force(small)

    def test_equal_models_know_different_documents(self, own, sources):
        source = write_model(sources / "m", vectors(60))
        for name, left in (("m", "Waac. "), ("n", "Waad. ")):
            ingest(own, source, name)
            store(own, "x " + name, "Waab. Waac. Waad. ", model=name)
            store(own, name, left, model=name)
            drop(own, "x " + name)
        for name, left in (("m", "Waac."), ("n", "Waad.")):
            found = own.execute("SELECT document, text, score FROM hypercube.search(%s, 5, %s)", (left, name))
            assert found.fetchall() == [(name, left, pytest.approx(1.0))]

    def test_vectors_that_are_not_there_yet_are_asked_for_and_computed(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(60)), "m")
        store(own, "a", "Waab waac. Waad waae!", vectors=False)
        with pytest.raises(NOT_READY, match="there are no sentences with vectors") as refusal:
            own.execute(ASK)
        assert "embed_documents()" in refusal.value.diag.message_hint
        assert one(own, "SELECT hypercube.embed_documents()") == 2
        assert answer(own) == brute_force(own)
        before = table_counts(own)
        assert one(own, "SELECT hypercube.embed_documents()") == 0
        assert table_counts(own) == before

    def test_what_has_no_vector_yet_is_not_found_and_that_is_said(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(60)), "m")
        store(own, "a", "Waab waac. Waad waae!")
        ask = "SELECT document, sentence, score, exact FROM hypercube.search('waab waac')"
        complete = own.execute(ask).fetchall()
        store(own, "b", "Waaf waag.", vectors=False)
        said = []
        own.add_notice_handler(lambda notice: said.append(notice.message_primary))

        found = own.execute(ask).fetchall()
        assert [row[:-1] for row in found] == [row[:-1] for row in complete]
        assert {row[-1] for row in complete} == {True} and {row[-1] for row in found} == {False}
        assert any("no vector yet" in message for message in said)
        # By whole documents: one without any vector is left out, one with some counts by those.
        store(own, "c", "Waab waac. Waah waai!", vectors=False)
        ask_documents = "SELECT document, exact FROM hypercube.search('waab waac', scope => 'document')"
        assert own.execute(ask_documents).fetchall() == [("c", False), ("a", False)]
        drop(own, "c")
        own.execute("SELECT hypercube.embed_documents()")
        assert answer(own) == brute_force(own)
        assert {row[-1] for row in own.execute(ask).fetchall()} == {True}

    def test_sentences_without_vectors_that_go_again_are_in_nobodys_way(self, small):
        before = answer(small)
        store(small, "d", "Waai waaj.", vectors=False)
        drop(small, "d")
        assert answer(small) == before
        # All of its sentences have vectors already.
        store(small, "d", "Waaf. Waag waah.", vectors=False)
        assert answer(small) == brute_force(small)

    def test_computed_later_the_vectors_are_the_same(self, own, sources):
        ingest(own, write_model(sources / "m", vectors(60)), "m")
        store(own, "a", "Waab waac. Waad!")
        stored = own.execute(
            "SELECT composition_id, vector FROM hypercube.sentence_vector ORDER BY 1"
        ).fetchall()
        drop(own, "a")
        store(own, "a", "Waab waac. Waad!", vectors=False)
        own.execute("SELECT hypercube.embed_documents('m')")

        again = own.execute(
            "SELECT composition_id, vector FROM hypercube.sentence_vector ORDER BY 1"
        ).fetchall()
        assert again == stored


class TestFiles:
    @pytest.mark.parametrize("kind", ["texts", "encoder"])
    @pytest.mark.parametrize("harm", ["remove", "cut", "lengthen", "folder"])
    def test_a_file_is_made_again_by_a_session_that_had_it_and_by_one_that_had_not(
        self, server, searched, kind, harm
    ):
        question = "SELECT document, sentence, score FROM hypercube.search('a white whale', 20)"
        expected = searched.execute(question).fetchall()
        number = one(searched, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
        folder = server.data_folder / "pgsql_tmp_hypercube" / str(number)
        for new in (False, True):
            [path] = folder.glob(f"{kind}*")
            size = path.stat().st_size
            if harm == "folder":
                shutil.rmtree(folder)
            elif harm == "remove":
                path.unlink()
            else:
                os.truncate(path, 100 if harm == "cut" else 10**9)
            with server.connect(dbname="searched", autocommit=True) as fresh:
                fresh.execute("SET hypercube.model = 'minilm'")
                assert (fresh if new else searched).execute(question).fetchall() == expected
            assert path.stat().st_size == size

    def test_embed_documents_ends_within_a_second_and_leaves_nothing(self, server, searched):
        with server.connect(dbname="searched", autocommit=True) as db:
            db.execute("SET hypercube.model = 'minilm'")
            store(db, "more", "".join(chapter(number) for number in range(1, 6)), vectors=False)
            before = held(db)
            error, took = cancelled(db, "SELECT hypercube.embed_documents()", (), 1.0)
            assert isinstance(error, psycopg.errors.QueryCanceled)
            assert took < 1.0
            assert held(db) == before and one(db, "SHOW application_name") == ""
            found = searched.execute("SELECT exact FROM hypercube.search('whale')").fetchall()
            assert found == [(False,)] * 10
            # Quick also where no statistics tell of documents yet.
            began = time.monotonic()
            drop(db, "more")
            assert time.monotonic() - began < 10
        assert len(searched.execute("SELECT * FROM hypercube.search('whale')").fetchall()) == 10


class TestRoles:
    CALLS = (
        "search('whale')",
        "search_text('whale')",
        "hybrid_search('whale')",
        "ask('whale')",
        "embed('whale')",
    )

    def test_who_sees_all_finds_what_everybody_finds(self, searched):
        """Without a right on the vectors themselves, which are read for him."""
        expected = [searched.execute(f"SELECT * FROM hypercube.{call}").fetchall() for call in self.CALLS]
        with searched.transaction(force_rollback=True):
            show_all(searched)
            with role(searched, "searcher", "hypercube_reader"):
                found = [
                    searched.execute(f"SELECT * FROM hypercube.{call}").fetchall() for call in self.CALLS
                ]
                refusal = psycopg.errors.InsufficientPrivilege
                with pytest.raises(refusal), searched.transaction():
                    searched.execute("SELECT * FROM hypercube.sentence_vector")
        assert found == expected and all(found)

    def test_who_sees_nothing_learns_nothing_from_the_files(self, searched):
        searched.execute("SELECT * FROM hypercube.search('whale')")
        with role(searched, "outsider", "hypercube_reader"):
            for call in (*self.CALLS[:1], *self.CALLS[2:]):
                with pytest.raises(psycopg.errors.UndefinedObject, match='"minilm" does not exist'):
                    searched.execute(f"SELECT * FROM hypercube.{call}")
            assert searched.execute(f"SELECT * FROM hypercube.{self.CALLS[1]}").fetchall() == []
            searched.execute("RESET ROLE")
            searched.execute("SELECT hypercube.grant_model('minilm', 'outsider')")
            searched.execute("SET ROLE outsider")
            for scope in ("sentence", "document"):
                with pytest.raises(NOT_READY, match="no sentences with vectors"):
                    searched.execute("SELECT * FROM hypercube.search('whale', scope => %s)", (scope,))
            searched.execute("RESET ROLE")
            searched.execute("SELECT hypercube.revoke_model('minilm', 'outsider')")

    @pytest.mark.parametrize("table", ["document", "sentence"])
    def test_a_policy_hides_documents(self, searched, table):
        """Somebody may narrow what is seen further."""
        only = {
            "document": "name = 'chapter 132'",
            "sentence": "document_id = (SELECT id FROM hypercube.document WHERE name = 'chapter 132')",
        }
        with searched.transaction(force_rollback=True):
            show_all(searched)
            with role(searched, "veiled", "hypercube_reader"):
                searched.execute("RESET ROLE")
                searched.execute(
                    f"CREATE POLICY one ON hypercube.{table} AS RESTRICTIVE TO veiled USING ({only[table]})"
                )
                searched.execute("SET ROLE veiled")
                for scope, count in (("sentence", 30), ("document", 1)):
                    rows = searched.execute(
                        "SELECT document FROM hypercube.search('the white whale', 30, scope => %s)", (scope,)
                    ).fetchall()
                    assert rows == [("chapter 132",)] * count
