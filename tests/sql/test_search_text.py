"""Search by words as PostgreSQL ranks them, and by words and meaning together."""

import re

import psycopg
import pytest

from chapters import drop, reports, role, show_all, store
from rows import ingest, one
from small_models import vectors, words, write_model

QUERIES = (
    "white whale", '"white whale"', "whale or ship", "whale -white", '"moby dick" or "sperm whale" -boat',
    "whiteness", "running", "Ahab's leg", "of the", "zyxwvut", '-whale', 'captain ahab starbuck',
)  # fmt: skip
FUSION = "SELECT score, document, sentence, meaning, words FROM hypercube.{}"


def by_words(db, query, k):
    """Return document, sentence, score, start and text as PostgreSQL itself ranks the sentences."""
    return db.execute(
        "SELECT s.document, s.ordinal, ts_rank_cd(to_tsvector(d.language::regconfig, s.text), q.asked, 1),"
        "  s.start, rtrim(s.text, E' \\t\\r\\n'),"
        "  ts_headline(d.language::regconfig, rtrim(s.text, E' \\t\\r\\n'), q.asked, 'HighlightAll=true')"
        " FROM hypercube.sentence_overview AS s JOIN hypercube.document_overview AS d USING (document)"
        " CROSS JOIN LATERAL (SELECT websearch_to_tsquery(d.language::regconfig, %s)) AS q (asked)"
        " WHERE to_tsvector(d.language::regconfig, s.text) @@ q.asked"
        " ORDER BY 3 DESC, 1, 2 LIMIT %s",
        (query, k),
    ).fetchall()


class TestWords:
    @pytest.mark.parametrize("query", QUERIES)
    @pytest.mark.parametrize("k", [3, 1000])
    def test_sentences_are_ranked_as_postgresql_ranks_them(self, searched, query, k):
        found = reports(searched, "SELECT * FROM hypercube.search_text(%s, %s)", query, k)

        assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
        told = [
            tuple(row[name] for name in ("document", "sentence", "score", "start", "text", "highlighted"))
            for row in found
        ]
        assert told == by_words(searched, query, k)
        assert (len(told) == 0) == (query in ("of the", "zyxwvut"))

    @pytest.mark.parametrize("query", QUERIES)
    def test_documents_are_ranked_as_postgresql_ranks_them(self, searched, query):
        expected = searched.execute(
            "SELECT name, ts_rank_cd(words, asked, 1) FROM"
            " (SELECT name, to_tsvector('english', hypercube.document_text(name)) FROM hypercube.document)"
            "  AS d (name, words) CROSS JOIN websearch_to_tsquery('english', %s) AS q (asked)"
            " WHERE words @@ asked ORDER BY 2 DESC, 1",
            (query,),
        ).fetchall()
        found = reports(searched, "SELECT * FROM hypercube.search_text(%s, 10, 'document')", query)

        assert [(row["document"], row["score"]) for row in found] == expected
        assert all(row["sentence"] is None and row["start"] == 0 for row in found)

    def test_a_phrase_an_alternative_and_an_exclusion_mean_what_they_say(self, searched):
        def texts(query):
            rows = searched.execute("SELECT text FROM hypercube.search_text(%s, 1000)", (query,)).fetchall()
            return {" ".join(re.findall("[a-z]+", text.lower())) for (text,) in rows}

        assert all("white whale" in text for text in texts('"white whale"'))
        assert len(texts('"white whale"')) < len(texts("white whale"))
        assert texts("harpoon or lance") == texts("harpoon") | texts("lance") != texts("harpoon")
        assert texts("whale -white") == texts("whale") - texts("white")

    def test_words_found_are_marked(self, searched):
        rows = reports(searched, "SELECT * FROM hypercube.search_text('whales', 50)")
        for row in rows:
            assert re.search("<b>[Ww]hal", row["highlighted"])
            assert re.sub("</?b>", "", row["highlighted"]) == row["text"]
        [row] = reports(searched, "SELECT * FROM hypercube.search_text('albatross', 1, 'document')")
        assert "<b>albatross</b>" in row["highlighted"] and len(row["highlighted"]) < 2000

    def test_documents_are_read_in_their_own_languages(self, own):
        store(own, "de", "Der Pott lief. Die Wale laufen schnell.", language="german")
        store(own, "en", "The whales are running. Die Wale laufen schnell.", language="english")
        store(own, "plain", "The whales are running.", language="simple")
        ask = "SELECT document, sentence, highlighted FROM hypercube.search_text(%s)"

        assert ("de", 2, "Die <b>Wale</b> laufen schnell.") in own.execute(ask, ("Wal",)).fetchall()
        assert own.execute(ask, ("runs",)).fetchall() == [("en", 1, "The whales are <b>running</b>.")]
        found = own.execute(ask + " ORDER BY document", ("laufen",)).fetchall()
        assert [row[:2] for row in found] == [("de", 2), ("en", 2)]
        assert own.execute(ask, ("running",)).fetchall()[-1][0] in ("en", "plain")
        assert {row[0] for row in own.execute(ask, ("the",)).fetchall()} == {"plain"}
        # A sentence in two languages goes with the last document of each.
        drop(own, "en")
        assert [row[:2] for row in own.execute(ask, ("laufen",)).fetchall()] == [("de", 2)]
        assert own.execute(ask, ("runs",)).fetchall() == []

    @pytest.mark.parametrize("quoting", ["on", "off"])
    def test_a_configuration_of_ones_own_is_found_however_the_session_spells_names(
        self, server, own, sources, quoting
    ):
        pieces = ["[UNK]", ".", "who", "run", "runs", "running", *words(54)]
        ingest(own, write_model(sources / "m", vectors(60), pieces=pieces), "m")
        own.execute("CREATE SCHEMA texts")
        own.execute("GRANT USAGE ON SCHEMA texts TO PUBLIC")
        own.execute("CREATE TEXT SEARCH CONFIGURATION texts.mine (COPY = english)")
        store(own, "named", "Waab is running.", language="texts.mine")
        own.execute(f"SET quote_all_identifiers = {quoting}")
        own.execute("SET default_text_search_config = 'texts.mine'")
        store(own, "by default", "Waac runs.")
        store(own, "english", "Waad run.", language="english")
        own.execute("SET default_text_search_config = 'english'")
        store(own, "english by default", "Waae run.")
        two = ("english", "english by default")
        with server.connect(dbname=own.info.dbname, autocommit=True) as plain:
            for db in (own, plain):
                for ask in ("search_text('run')", "search_text('run', 10, 'document')", "ask('who runs')"):
                    found = db.execute(f"SELECT document FROM hypercube.{ask}").fetchall()
                    assert {name for (name,) in found} == {"named", "by default", *two}
                assert one(db, "SELECT count(words) FROM hypercube.hybrid_search('run')") == 4
        assert drop(own, "by default")["sentences"] == 1

    @pytest.mark.parametrize("of", ["hypercube_reader", "hypercube_ingest"])
    def test_nobody_reads_all_compositions_to_find_a_few(self, searched, of):
        """Row-level security must not keep the planner from the indexes."""
        scans = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = 'hypercube'"
        with role(searched, "seeker", of), searched.transaction(force_rollback=True):
            searched.execute("RESET ROLE")
            show_all(searched, "seeker")
            searched.execute("SET ROLE seeker")
            before = dict(searched.execute(scans).fetchall())
            for scope in ("sentence", "document"):
                ask = "SELECT * FROM hypercube.search_text('white whale', 10, %s)"
                assert searched.execute(ask, (scope,)).fetchall()
            after = dict(searched.execute(scans).fetchall())
        # Of the small tables the planner may take all.
        assert after["composition"] == before["composition"]

    def test_a_repeated_sentence_is_found_at_each_place(self, own):
        store(own, "a", "Call me. Go on. Call me. ")
        store(own, "b", "Call me. ")
        found = own.execute("SELECT document, sentence, start FROM hypercube.search_text('call')").fetchall()
        assert found == [("a", 1, 0), ("a", 3, 16), ("b", 1, 0)]

    def test_words_that_mark_themselves_are_only_text(self, own):
        store(own, "a", "'); DROP TABLE hypercube.document; -- & | ! <-> :* \\ %s {0}")
        for query in ("drop table", "'); DROP TABLE", "a & | ! b", "<-> :*", "\\", '"', "%s drop"):
            own.execute("SELECT * FROM hypercube.search_text(%s)", (query,))
        assert one(own, "SELECT document FROM hypercube.search_text('drop table')") == "a"

    @pytest.mark.parametrize("function", ["search_text", "hybrid_search", "ask"])
    @pytest.mark.parametrize(
        ("arguments", "error", "problem", "hint"),
        [
            ("NULL", "InvalidParameterValue", "the query is empty", "Give a sentence"),
            ("''", "InvalidParameterValue", "the query is empty", "Give a sentence"),
            ("'a', 0", "InvalidParameterValue", "k is out of range: 0", "at least 1 row"),
            ("'a', NULL", "InvalidParameterValue", "k is out of range: null", "at least 1 row"),
            ("'a', 1001", "ProgramLimitExceeded", "1001 rows were asked for", "hypercube.max_k"),
            ("repeat('a', 10001)", "InvalidParameterValue", "has 10001 characters", "at most 10000"),
        ],
    )
    def test_what_cannot_be_asked_is_refused(self, searched, function, arguments, error, problem, hint):
        with pytest.raises(getattr(psycopg.errors, error), match=problem) as refusal:
            searched.execute(f"SELECT * FROM hypercube.{function}({arguments})")
        assert hint in refusal.value.diag.message_hint

    @pytest.mark.parametrize("scope", ["word", "", None])
    def test_an_unknown_scope_is_refused(self, searched, scope):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="scope .* is not known") as refusal:
            searched.execute("SELECT * FROM hypercube.search_text('a', 1, %s)", (scope,))
        assert refusal.value.diag.message_hint == "Use 'sentence' or 'document'."


def fused(db, query, k, any_word=False, reach=100):
    """Return reciprocal rank fusion of search and search_text: score, document, sentence, meaning, words."""
    meaning = db.execute(
        "SELECT rank, document, sentence, score FROM hypercube.search(%s, %s)", (query, reach)
    ).fetchall()
    asked = re.sub(r"(\w) (?=\w)", r"\1 or ", query) if any_word else query
    words = db.execute(
        "SELECT rank, document, sentence, score FROM hypercube.search_text(%s, %s)", (asked, reach)
    ).fetchall()
    scores, near, told = {}, {}, {}
    for found, into in ((meaning, near), (words, told)):
        for rank, document, sentence, score in found:
            scores[document, sentence] = scores.get((document, sentence), 0) + 1 / (60 + rank)
            into[document, sentence] = score
    order = sorted(scores, key=lambda place: (-round(scores[place], 12), -near.get(place, -2), place))
    return [(pytest.approx(scores[place]), *place, near.get(place), told.get(place)) for place in order[:k]]


class TestTogether:
    @pytest.mark.parametrize("query", ["white whale", '"white whale"', "ship sinks", "zyxwvut", "of the"])
    @pytest.mark.parametrize("k", [1, 10, 150])
    def test_hybrid_search_is_reciprocal_rank_fusion(self, searched, query, k):
        found = searched.execute(
            "SELECT score, document, sentence, meaning, words FROM hypercube.hybrid_search(%s, %s)",
            (query, k),
        ).fetchall()
        assert found == fused(searched, query, k, reach=max(100, k))

    def test_ask_takes_any_of_the_words(self, searched):
        query = "what colour frightens sailors"
        found = searched.execute(FUSION.format("ask(%s, 20)"), (query,)).fetchall()
        assert found == fused(searched, query, 20, any_word=True)
        assert any(row[4] is not None for row in found)
        assert searched.execute("SELECT * FROM hypercube.search_text(%s)", (query,)).fetchall() == []

    @pytest.mark.parametrize("function", ["ask", "hybrid_search"])
    def test_only_what_is_stored_is_told(self, searched, function):
        stored = {
            (document, sentence, start): text.rstrip(" \t\r\n")
            for document, sentence, start, text in searched.execute(
                "SELECT document, ordinal, start, text FROM hypercube.sentence_overview"
            ).fetchall()
        }
        for question in (
            "Who is the captain of the Pequod?",
            "Why is whiteness terrible?",
            "quantum computers",
        ):
            rows = reports(searched, f"SELECT * FROM hypercube.{function}(%s, 50)", question)
            assert [row["rank"] for row in rows] == list(range(1, 51))
            for row in rows:
                plain = re.sub("</?b>", "", row["passage"])
                assert plain == stored[row["document"], row["sentence"], row["start"]]

    def test_a_question_is_answered_from_the_book(self, searched):
        found = searched.execute("SELECT passage FROM hypercube.ask('Who lost a leg?', 5)").fetchall()
        assert any("<b>leg</b>" in passage for (passage,) in found)

    def test_the_limit_on_rows_bounds_both_lists(self, searched):
        with searched.transaction(force_rollback=True):
            searched.execute("SET hypercube.max_k = '7'")
            found = searched.execute(FUSION.format("hybrid_search('white whale', 7)")).fetchall()
            assert found == fused(searched, "white whale", 7, reach=7)

    def test_without_vectors_words_alone_decide_and_that_is_said(self, searched):
        said = []
        searched.add_notice_handler(lambda notice: said.append(notice.message_primary))
        for function in ("hybrid_search", "ask"):
            found = searched.execute(
                f"SELECT document, sentence, meaning FROM hypercube.{function}('whale', model => 'wordllama')"
            ).fetchall()
            by_words = searched.execute(
                "SELECT document, sentence FROM hypercube.search_text('whale', 10)"
            ).fetchall()
            assert [row[:2] for row in found] == by_words[: len(found)] and len(found) >= 5
            assert {row[2] for row in found} == {None}
        told = 'no sentence has a vector of model "wordllama": found is what has the words'
        assert said.count(told) == 2
