"""What one user does to texts, by mistake or not, must not spoil them for the others."""

import itertools
import time
from pathlib import Path

import psycopg
import pytest

from chapters import role, store, unhealthy
from rows import ingest, one
from small_models import vectors, words, write_model

DEEP = "('{\"a\":' || repeat('[', 3000) || repeat(']', 3000) || '}')::jsonb"
LONG = "jsonb_build_object('a', repeat('9', 5000)::numeric)"


@pytest.fixture
def small(own, sources):
    ingest(own, write_model(sources / "m", vectors(60), pieces=["[UNK]", "the", *words(58)]), "m")
    store(own, "a", "Waab waac. Waad waae.", language="english")
    return own


def said(db):
    """Return a list that grows by every notice."""
    notices = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    return notices


def texts_files(server, db):
    number = one(db, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    return sorted(
        path.name for path in (server.data_folder / "pgsql_tmp_hypercube" / str(number)).glob("texts1-*")
    )


class TestLanguages:
    def test_one_that_is_dropped_hides_its_documents_only(self, small):
        small.execute("CREATE SCHEMA mine")
        small.execute("GRANT USAGE ON SCHEMA mine TO PUBLIC")
        small.execute("CREATE TEXT SEARCH CONFIGURATION mine.plain (COPY = pg_catalog.simple)")
        store(small, "b", "Waab, the waaf.", language="mine.plain")
        ask = "SELECT document FROM hypercube.{}('waab') ORDER BY document"
        assert small.execute(ask.format("search_text")).fetchall() == [("a",), ("b",)]
        assert unhealthy(small) == {}

        small.execute("DROP TEXT SEARCH CONFIGURATION mine.plain")
        assert small.execute(ask.format("search_text")).fetchall() == [("a",)]
        for function in ("hybrid_search", "ask"):
            assert ("a",) in small.execute(ask.format(function)).fetchall()
        assert "mine.plain" in unhealthy(small)["languages"]

    @pytest.mark.parametrize("schema", ["hidden", "pg_temp"])
    def test_one_that_is_not_for_everybody_is_refused(self, small, schema):
        if schema == "hidden":
            small.execute("CREATE SCHEMA hidden")
        small.execute(f"CREATE TEXT SEARCH CONFIGURATION {schema}.plain (COPY = pg_catalog.simple)")
        real = one(
            small,
            "SELECT n.nspname FROM pg_ts_config AS c JOIN pg_namespace AS n ON n.oid = c.cfgnamespace"
            " WHERE c.cfgname = 'plain'",
        )
        with pytest.raises(psycopg.errors.UndefinedObject, match="not for everybody") as refusal:
            store(small, "b", "Waaf.", language=f"{real}.plain")
        assert "pg_ts_config" in refusal.value.diag.message_hint

    def test_stop_words_are_told_of_once_at_most(self, small):
        notices = said(small)
        small.execute("SELECT * FROM hypercube.ask('the')")
        small.execute("SELECT * FROM hypercube.hybrid_search('the')")
        assert sum("stop words" in message for message in notices) <= 1


class TestVectors:
    @pytest.mark.parametrize(
        "damage", ["substring(vector FROM 1 FOR 20)", "decode(repeat('0000c07f', 16), 'hex')"]
    )
    def test_a_damaged_one_is_said(self, small, damage):
        small.execute(
            f"UPDATE hypercube.sentence_vector SET vector = {damage} WHERE composition_id ="
            " (SELECT min(composition_id::text)::bytea FROM hypercube.sentence_vector)"
        )
        for scope in ("sentence", "document"):
            with pytest.raises(
                psycopg.errors.DataCorrupted, match="sentences of model .* is damaged"
            ) as refusal:
                small.execute("SELECT * FROM hypercube.search('waab', scope => %s)", (scope,))
            assert "embed_documents()" in refusal.value.diag.message_hint

    def test_one_of_another_length_is_seen_by_health(self, small):
        store(small, "b", "Waaf. Waag. Waah.")
        small.execute(
            "UPDATE hypercube.sentence_vector SET vector = vector || '\\x00000000' WHERE composition_id IN"
            " (SELECT composition_id FROM hypercube.sentence LIMIT 1)"
        )
        assert "another length: 1" in unhealthy(small)["vectors of sentences"]

    def test_the_file_is_the_same_for_every_time_zone(self, server, small):
        small.execute("SELECT * FROM hypercube.search('waab')")
        before = texts_files(server, small)
        for zone in ("Asia/Tokyo", "America/Caracas"):
            small.execute(f"SET TimeZone = '{zone}'")
            small.execute("SELECT * FROM hypercube.search('waab')")
        assert len(before) == 1 and texts_files(server, small) == before

    def test_who_sees_other_rows_has_another_file(self, server, small):
        """As many rows for each, so that the size of the file tells nothing."""
        store(small, "b", "Waaf waag. Waah waai.")
        everything = small.execute("SELECT text, score FROM hypercube.search('waab')").fetchall()
        small.execute("SELECT hypercube.grant_model('m', 'public')")
        for name, reader in (("a", "first"), ("b", "second")):
            with role(small, reader, "hypercube_reader"):
                small.execute("RESET ROLE")
                small.execute("SELECT hypercube.grant_document(%s, %s)", (name, reader))
                small.execute(f"SET ROLE {reader}")
                found = small.execute("SELECT text, score FROM hypercube.search('waab')").fetchall()
            assert len(found) == 2 and set(found) <= set(everything)
        assert len(texts_files(server, small)) == 3


class TestSizes:
    def test_a_text_of_few_tokens_repeated_takes_little(self, small):
        """The mean of a quarter of a million characters, not a row for each token of them."""
        pid = small.info.backend_pid
        small.execute("SELECT hypercube.embed('waab waac', method => 'sif')")
        small.execute("SELECT hypercube.embed(%s, method => 'sif')", ("waab " * 1_000,))
        long = one(small, "SELECT hypercube.embed(%s, method => 'sif')", "waab waac " * 25_000)
        assert long == pytest.approx(
            one(small, "SELECT hypercube.embed('waab waac', method => 'sif')"), abs=1e-6
        )
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) >> 10
        assert peak < 500, f"{peak} MiB"

    def test_a_composition_of_very_many_children_is_read_in_one_go(self, small):
        text = "Waab waac. " * 50_000
        began = time.monotonic()
        root = one(small, "SELECT hypercube.compose(%s)", text)
        assert one(small, "SELECT count(*) FROM hypercube.children(%s)", root) == 50_000
        assert (
            one(small, "SELECT count(*) FROM hypercube.composition_child WHERE composition_id = %s", root)
            == 50_000
        )
        assert one(small, "SELECT hypercube.contains(%s, hypercube.find_composition('waac'))", root) is True
        # It took twenty seconds when every child took the whole value apart.
        assert time.monotonic() - began < 10

    def test_counts_are_right_across_the_parts_they_are_made_in(self, small):
        """More pairs than one part holds: the tokens of a sentence of n give n - d pairs at distance d."""
        known = words(40)
        sentences = [
            " ".join(chosen) + ". " for chosen in itertools.islice(itertools.permutations(known, 5), 13_000)
        ]
        small.execute("SELECT hypercube.relate_sequences(window_size => 16, minimum_count => 1)")
        store(small, "many", "".join(sentences).replace(". w", ". W"), vectors=False)
        counted = one(small, "SELECT sum(count) FROM hypercube.sequence AS s WHERE s.model_id ="
                             " (SELECT id FROM hypercube.model)")  # fmt: skip
        lengths = small.execute(
            "SELECT cardinality(array_remove(t.token_ids, 0)), count(*) FROM hypercube.sentence AS s"
            " JOIN hypercube.sentence_token AS t USING (composition_id) GROUP BY 1"
        ).fetchall()
        # A full stop cannot be spelled: it ends the sentence, and its pairs do not count.
        assert counted == sum(n * times * (n - 1) // 2 for n, times in lengths) > 100_000


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("ingest_texts(ARRAY['x'], ARRAY[['a', 'b']])", "one dimension"),
        ("ingest_texts(ARRAY['x'], ARRAY['a'], metadata => ARRAY[['{}'::jsonb, '{}']])", "one dimension"),
    ],
)
def test_arrays_in_arrays_are_refused(small, call, problem):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem):
        small.execute(f"SELECT * FROM hypercube.{call}")


@pytest.mark.parametrize("metadata", [LONG, DEEP], ids=["long number", "deep"])
def test_metadata_are_kept_whatever_they_hold(small, metadata):
    small.execute(f"SELECT hypercube.ingest_text('b', 'waaf', metadata => {metadata})")
    assert one(small, f"SELECT metadata = {metadata} FROM hypercube.document WHERE name = 'b'")
