"""Documents: stored once, rebuilt bit for bit, shared, replaced and dropped without a trace."""

import hashlib
import json
import random

import psycopg
import pytest
from blake3 import blake3
from tokenizers import Tokenizer

from chapters import CHAPTERS, chapter, copied, drop, held, reports, store, table_counts, unhealthy
from rows import ingest, one
from small_models import tokenizer, vectors, words, write_model

PIECES = ["[UNK]", ".", "!", *words(57)]


@pytest.fixture(scope="module")
def book(server, loaded):
    """A connection to a database with every chapter of Moby-Dick, stored at once, and their reports."""
    names = [f"chapter {number}" for number in CHAPTERS]
    with copied(server, "loaded", "book") as database:
        with server.connect(dbname=database, autocommit=True) as db:
            db.execute("SET hypercube.model = 'minilm'")
            db.book = reports(
                db,
                "SELECT * FROM hypercube.ingest_texts(%s::text[], %s::text[], vectors => false)",
                names,
                [chapter(number) for number in CHAPTERS],
            )
            yield db


@pytest.fixture
def reading(own, sources):
    """A connection to a database with a small model "m"."""
    ingest(own, write_model(sources / "m", vectors(60), pieces=PIECES), "m")
    return own


def label_counts(db):
    return db.execute(
        "SELECT label, depth, child_count, atom_count FROM hypercube.composition ORDER BY 1, 2, 3"
    ).fetchall()


class TestBook:
    def test_every_chapter_comes_back_bit_for_bit(self, book):
        found = book.execute(
            "SELECT encode(sha256(convert_to(hypercube.document_text(name), 'UTF8')), 'hex'),"
            " encode(sha256(hypercube.document_bytes(name)), 'hex')"
            " FROM unnest(%s::text[]) AS name",
            ([report["document"] for report in book.book],),
        ).fetchall()
        expected = [hashlib.sha256(chapter(number).encode()).hexdigest() for number in CHAPTERS]

        assert found == [(digest, digest) for digest in expected]

    def test_what_is_told_of_a_chapter_is_true(self, book):
        found = reports(book, "SELECT * FROM hypercube.document_overview ORDER BY created_at, document")
        found = {row["document"]: row for row in found}
        assert len(found) == len(book.book) == 135
        for number, report in zip(CHAPTERS, book.book, strict=True):
            text, row = chapter(number), found[f"chapter {number}"]
            assert report["document"] == row["document"]
            assert report["bytes"] == row["bytes"] == len(text.encode())
            assert report["characters"] == row["characters"] == len(text)
            assert report["sentences"] == row["sentences"]
            assert row["digest"] == blake3(text.encode()).hexdigest()
            assert (row["model"], row["language"], row["owner"]) == ("minilm", "english", "postgres")

    def test_the_sentences_are_the_text_and_say_where_they_begin(self, book):
        for number in (1, 36, 42, 135):
            rows = book.execute(
                "SELECT ordinal, start, text FROM hypercube.sentence_overview WHERE document = %s ORDER BY 1",
                (f"chapter {number}",),
            ).fetchall()
            assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
            assert "".join(row[2] for row in rows) == chapter(number)
            begins = 0
            for _, start, text in rows:
                assert start == begins
                begins += len(text)

    def test_the_tokens_counted_are_those_stored(self, book):
        found = dict(
            book.execute(
                "SELECT d.name, sum(cardinality(t.token_ids)) FROM hypercube.document AS d"
                " JOIN hypercube.sentence AS s ON s.document_id = d.id"
                " JOIN hypercube.sentence_token AS t "
                " ON t.model_id = d.model_id AND t.composition_id = s.composition_id GROUP BY 1"
            ).fetchall()
        )
        assert found == {report["document"]: report["tokens"] for report in book.book}

    def test_every_chapter_can_be_computed_again(self, book):
        assert one(book, "SELECT bool_and(hypercube.verify_document(name)) FROM hypercube.document")
        assert unhealthy(book) == {}

    def test_the_same_text_under_another_name_adds_no_composition(self, book):
        before = table_counts(book)
        with book.transaction(force_rollback=True):
            report = store(book, "again", chapter(42), vectors=False)
            after = table_counts(book)
            again = book.execute(
                "SELECT count(DISTINCT composition_id) FROM hypercube.document"
                " WHERE name IN ('again', 'chapter 42')"
            ).fetchone()
            dropped = drop(book, "again")
            assert held(book) == {table: before[table] for table in held(book)}

        assert (report["new_sentences"], report["shared"]) == (0, 1.0)
        assert again == (1,)
        changed = {table for table in before if before[table] != after[table]}
        assert changed == {"document", "holder", "holding", "sentence", "sequence"}
        assert after["holder"] - before["holder"] == 1
        assert after["sentence"] - before["sentence"] == report["sentences"] == dropped["sentences"]
        assert dropped["compositions"] == dropped["vectors"] == 0

    def test_a_chapter_with_one_sentence_more_shares_all_others(self, book):
        with book.transaction(force_rollback=True):
            before = table_counts(book)
            report = store(book, "more", chapter(42) + "\n\nUnheard-of zyxwvut!", vectors=False)
            after = table_counts(book)

        # The last sentence has more white space behind it now.
        assert report["new_sentences"] == 2
        assert 0.9 < report["shared"] < 1.0
        assert after["composition"] - before["composition"] < 10


class TestReport:
    TEXT = "Waab waac. W\u00e4ad!  Waab waac. "

    def test_a_report_counts_what_is_there(self, reading):
        report = store(reading, "d", self.TEXT)
        library = Tokenizer.from_str(json.dumps(tokenizer(PIECES)))
        tokens = sum(
            len(library.encode(sentence).ids) for sentence in ("Waab waac. ", "W\u00e4ad!  ", "Waab waac. ")
        )

        assert report.pop("seconds") > 0
        assert report.pop("shared") == pytest.approx(11 / 29)
        assert report == {
            "document": "d", "bytes": 30, "characters": 29, "sentences": 3, "new_sentences": 2, "pieces": 13,
            "tokens": tokens,
        }  # fmt: skip
        assert tokens == 8
        assert one(reading, "SELECT count(*) FROM hypercube.sentence_vector") == 2

    def test_reports_of_many_come_in_their_order_and_share_among_themselves(self, reading):
        names, texts = ["z", "a", "k"], ["Waab. Waac.", "Waab. Waad.", "Waab. Waad."]
        found = reports(reading, "SELECT * FROM hypercube.ingest_texts(%s, %s)", names, texts)

        assert [row["document"] for row in found] == names
        assert [row["new_sentences"] for row in found] == [2, 1, 0]
        assert [row["shared"] for row in found] == pytest.approx([0, 6 / 11, 1])
        assert [one(reading, "SELECT hypercube.document_text(%s)", name) for name in names] == texts

    def test_a_drop_tells_what_went(self, reading):
        store(reading, "kept", "Xyz waab.")
        before = held(reading)
        store(reading, "d", "Xyz waab. Qrs uvw! Qrs uvw! ")
        after = held(reading)
        dropped = drop(reading, "d")

        assert dropped == {
            "document": "d",
            "sentences": 3,
            "compositions": after["composition"] - before["composition"],
            "vectors": after["sentence_vector"] - before["sentence_vector"],
        }
        # Words, sentences and the whole; "Xyz waab." has no space behind it in the other document.
        assert dropped["compositions"] == 2 + 2 + 1 and dropped["vectors"] == 2
        assert held(reading) == before


class TestContent:
    def test_bytes_of_utf8_are_the_same_document(self, own):
        text = "Call me Ishmael. \U0001f40b Na\u00efve!"
        store(own, "a", text)
        report = store(own, "b", text.encode())

        assert report["shared"] == 1.0
        assert one(own, "SELECT count(DISTINCT digest) FROM hypercube.document") == 1
        assert one(own, "SELECT hypercube.document_text('b')") == text

    def test_a_null_character_is_kept_and_only_told_as_bytes(self, own):
        content = b"One\0two. \0\0 \xe2\x90\x80 Three!"
        store(own, "d", content)

        assert one(own, "SELECT hypercube.document_bytes('d')") == content
        assert one(own, "SELECT hypercube.verify_document('d')") is True
        with pytest.raises(psycopg.errors.CharacterNotInRepertoire, match="null character") as refusal:
            own.execute("SELECT hypercube.document_text('d')")
        assert "document_bytes" in refusal.value.diag.message_hint
        assert unhealthy(own) == {}

    TEXTS = (
        "", " ", "\n", "a", "\U0001f40b", "word", "\u2400", "No end", "\r\n\r\n \t", "A. B. C.",
        "x" * 5000, " " * 5000, "\u9be8\u3002" * 300, "! " * 2500, "Same. " * 3000, "a\u0301" * 300,
    )  # fmt: skip

    def test_any_text_comes_back_and_goes_without_a_trace(self, reading):
        before = held(reading)
        for text in self.TEXTS:
            report = store(reading, "d", text)
            assert report["characters"] == len(text)
            assert one(reading, "SELECT hypercube.document_text('d')") == text
            assert one(reading, "SELECT hypercube.verify_document('d')") is True
            assert unhealthy(reading) == {}
            drop(reading, "d")
            assert held(reading) == before, text[:20]

    def test_a_text_with_more_different_words_than_a_tsvector_holds(self, own):
        """Its sentences are found all the same."""
        letters = "".join(random.Random(5).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
        text = " ".join(letters[start : start + 10] for start in range(0, len(letters), 10))
        store(own, "wide", text)

        assert one(own, "SELECT words IS NULL FROM hypercube.document")
        assert one(own, "SELECT hypercube.document_text('wide')") == text
        found = own.execute("SELECT document, text FROM hypercube.search_text(%s)", (letters[:10],))
        assert [row[0] for row in found.fetchall()] == ["wide"]
        call = "SELECT * FROM hypercube.search_text(%s, scope => 'document')"
        assert own.execute(call, (letters[:10],)).fetchall() == []

    def test_the_language_of_the_session_is_taken_unless_one_is_given(self, own):
        own.execute("SET default_text_search_config = 'german'")
        store(own, "a", "Die Wale.")
        store(own, "b", "The whales.", language="english")
        found = own.execute(
            "SELECT document, language FROM hypercube.document_overview ORDER BY 1"
        ).fetchall()
        assert found == [("a", "german"), ("b", "english")]

    def test_metadata_are_kept(self, own):
        own.execute(
            "SELECT hypercube.ingest_texts('{a,b}', '{Call.,Me.}', metadata => %s::jsonb[])",
            (['{"author": "Melville", "year": 1851}', None],),
        )
        found = own.execute("SELECT metadata FROM hypercube.document_overview ORDER BY document").fetchall()
        assert found == [({"author": "Melville", "year": 1851},), (None,)]


class TestCursor:
    def open(self, db, query):
        db.execute("DECLARE source CURSOR FOR " + query)

    def test_the_rows_of_a_query_are_stored(self, reading):
        query = (
            "SELECT format('d%s', n), format('Waab waac %s.', n), jsonb_build_object('n', n)"
            " FROM generate_series(1, 2345) AS n"
        )
        with reading.transaction():
            self.open(reading, query)
            found = reports(reading, "SELECT * FROM hypercube.ingest_texts_from('source', vectors => false)")

        assert [row["document"] for row in found] == [f"d{n}" for n in range(1, 2346)]
        assert one(reading, "SELECT hypercube.document_text('d2345')") == "Waab waac 2345."
        assert one(reading, "SELECT metadata FROM hypercube.document WHERE name = 'd7'") == {"n": 7}
        assert unhealthy(reading) == {}

    def test_no_rows_are_no_documents(self, own):
        with own.transaction():
            self.open(own, "SELECT 'a', 'b', NULL::jsonb WHERE false")
            assert own.execute("SELECT * FROM hypercube.ingest_texts_from('source')").fetchall() == []

    @pytest.mark.parametrize(
        ("row", "problem"),
        [("NULL, 'x'", "1 to 200 characters"), ("'', 'x'", "1 to 200 characters"), ("'c', NULL", "null")],
    )
    def test_a_row_that_is_no_document_refuses_them_all(self, own, row, problem):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem), own.transaction():
            self.open(own, f"VALUES ('a', 'x', NULL::jsonb), ({row}, NULL), ('z', 'x', NULL)")
            own.execute("SELECT * FROM hypercube.ingest_texts_from('source')")
        assert not any(held(own).values())


class TestReplace:
    def test_the_new_text_takes_the_place_and_the_old_one_goes(self, reading):
        store(reading, "other", "Waac waad. Xyz!")
        store(reading, "d", "Waab waac. Xyz!", metadata='{"old": true}')
        before = label_counts(reading), held(reading)
        drop(reading, "d")
        store(reading, "d", "Entirely new. Xyz!")
        expected = label_counts(reading), held(reading)
        report = store(reading, "d", "Waab waac. Xyz!", replace=True)
        assert (label_counts(reading), held(reading)) == before
        # "Xyz!" stood there.
        assert report["new_sentences"] == 1
        report = store(reading, "d", "Entirely new. Xyz!", replace=True)

        assert report["shared"] == pytest.approx(4 / 18)
        assert (label_counts(reading), held(reading)) == expected
        assert one(reading, "SELECT hypercube.document_text('d')") == "Entirely new. Xyz!"
        assert one(reading, "SELECT metadata FROM hypercube.document WHERE name = 'd'") is None
        assert one(reading, "SELECT count(*) FROM hypercube.document") == 2
        assert unhealthy(reading) == {}

    def test_the_same_text_again_changes_nothing(self, reading):
        store(reading, "d", "Waab waac. Xyz!")
        before = label_counts(reading), held(reading)
        report = store(reading, "d", "Waab waac. Xyz!", replace=True)

        assert (report["new_sentences"], report["shared"]) == (0, 1.0)
        assert (label_counts(reading), held(reading)) == before
        assert one(reading, "SELECT hypercube.verify_document('d')")

    def test_a_name_that_is_free_is_taken(self, own):
        store(own, "d", "Call me.", replace=True)
        assert one(own, "SELECT hypercube.document_text('d')") == "Call me."


class TestGone:
    """What is left depends on what is stored, not on how it came about."""

    TEXTS = (
        "Waab waac. Xyz xyz! ",
        "Xyz xyz! Waab waac. ",
        "Xyz xyz! ",
        "xyz",
        "Waab waac. Xyz xyz! Waab waac. Xyz xyz! Unu du.\n\nTri kvar? ",
        "Unu du.\n\n",
        "",
        "Waab waac. Xyz xyz! Waab waac. Xyz xyz! ",
    )

    def test_every_table_has_the_same_rows_whenever_the_same_documents_are_stored(self, reading):
        reading.execute("SELECT hypercube.relate_sequences(window_size => 2, minimum_count => 1)")
        chance = random.Random(11)
        stored, seen, again = {}, {}, 0
        for _ in range(60):
            number = chance.randrange(len(self.TEXTS))
            name = f"d{number % 4}"
            if stored.get(name) == number:
                drop(reading, name)
                del stored[name]
            else:
                store(reading, name, self.TEXTS[number], replace=True)
                stored[name] = number
            now = held(reading), label_counts(reading)
            key = frozenset(stored.items())
            again += key in seen
            assert seen.setdefault(key, now) == now
        assert again > 10
        assert unhealthy(reading) == {}

    def test_words_of_a_vocabulary_and_what_is_kept_stay(self, reading):
        kept = one(reading, "SELECT hypercube.compose('Qrs uvw. ')")
        before = held(reading)
        store(reading, "d", "Waab. Qrs uvw. Qrs waab! ")
        # What was kept may go while a document holds it.
        reading.execute("SELECT hypercube.drop_composition(%s)", (kept,))
        reading.execute("SELECT hypercube.compose('Qrs uvw. ')")
        drop(reading, "d")

        assert held(reading) == before
        assert one(reading, "SELECT hypercube.composition_text(%s)", kept) == "Qrs uvw. "
        assert one(reading, "SELECT hypercube.drop_composition(%s)", kept) == 3
        assert one(reading, "SELECT hypercube.find_composition('waab') IS NOT NULL")

    def test_a_dropped_model_leaves_the_documents(self, reading, sources):
        store(reading, "d", "Waab xyz. Waac!")
        reading.execute("SELECT hypercube.relate_sequences(minimum_count => 1)")
        reading.execute("SELECT hypercube.drop_model('m')")

        assert one(reading, "SELECT hypercube.document_text('d')") == "Waab xyz. Waac!"
        assert one(reading, "SELECT hypercube.verify_document('d')")
        assert one(reading, "SELECT model IS NULL FROM hypercube.document_overview")
        counts = table_counts(reading)
        for table in ("sentence_token", "sentence_vector", "sequence", "text_state", "relation", "token"):
            assert counts[table] == 0, table
        assert counts["sentence_search"] == 2 and unhealthy(reading) == {}
        # Another model reads what comes after it, and a replaced document is read again.
        ingest(reading, write_model(sources / "n", vectors(60), pieces=PIECES), "n")
        assert store(reading, "d", "Waab xyz. Waac!", replace=True)["tokens"] == 5
        assert one(reading, "SELECT count(*) FROM hypercube.sentence_vector") == 2
        reading.execute("SELECT hypercube.drop_model('n')")
        drop(reading, "d")
        assert not any(held(reading).values())

    def test_a_model_that_is_dropped_last_leaves_no_composition(self, reading):
        store(reading, "d", "Waab xyz.")
        drop(reading, "d")
        reading.execute("SELECT hypercube.drop_model('m')")
        assert not any(held(reading).values())
