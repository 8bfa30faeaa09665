"""Which token follows which: counted here once more from the library's tokens, in plain Python."""

import json
import math
import time
from collections import Counter, defaultdict

import psycopg
import pytest
from tokenizers import Tokenizer

from chapters import chapter, copied, drop, role, show_all, store, unhealthy
from rows import MODELS, one

READ = (1, 2, 36)
UNKNOWN = 100


@pytest.fixture(scope="module")
def library():
    """The tokenizer of minilm, without truncation and padding."""
    tokenizer = Tokenizer.from_file(str(MODELS / "all-MiniLM-L6-v2" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture(scope="module")
def chapters_read(server, loaded):
    """A connection to a database in which minilm has read three chapters, one of them twice."""
    with copied(server, "loaded", "sequences") as name:
        with server.connect(dbname=name, autocommit=True) as db:
            db.execute("SET hypercube.model = 'minilm'")
            for number in READ:
                store(db, f"chapter {number}", chapter(number), vectors=False)
            store(db, "chapter 1 again", chapter(1), vectors=False)
            store(db, "of another model", chapter(3), vectors=False, model="glassllm")
            yield db


@pytest.fixture
def reading(chapters_read):
    """The same, and whatever a test does is rolled back."""
    with chapters_read.transaction(force_rollback=True):
        yield chapters_read


def pairs_of(db, library, window=1):
    """Return a Counter of the pairs in the documents of minilm, from the texts of their sentences."""
    sentences = db.execute(
        "SELECT s.text FROM hypercube.sentence_overview AS s"
        " JOIN hypercube.document_overview AS d USING (document) WHERE d.model = 'minilm'"
    ).fetchall()
    counted = Counter()
    for (sentence,) in sentences:
        ids = library.encode(sentence, add_special_tokens=False).ids
        for place, source in enumerate(ids):
            for target in ids[place + 1 : place + 1 + window]:
                if UNKNOWN not in (source, target):
                    counted[source, target] += 1
    return counted


def stored_pairs(db):
    """Return the counts of all documents together."""
    rows = db.execute(
        "SELECT source, target, sum(count)::int FROM hypercube.sequence JOIN hypercube.model ON id = model_id"
        " WHERE name = 'minilm' GROUP BY source, target"
    )
    return {(source, target): count for source, target, count in rows.fetchall()}


def information(counted):
    """Return log2(c N / (c_source c_target)) of every pair."""
    total, sources, targets = sum(counted.values()), Counter(), Counter()
    for (source, target), count in counted.items():
        sources[source] += count
        targets[target] += count
    return {
        (source, target): math.log2(count * total / (sources[source] * targets[target]))
        for (source, target), count in counted.items()
    }


def stored_relations(db, kind="S", model="minilm"):
    return db.execute(
        "SELECT source, target, rank, weight FROM hypercube.relation JOIN hypercube.model ON id = model_id"
        " WHERE name = %s AND kind = %s ORDER BY source, rank",
        (model, kind),
    ).fetchall()


def check_relations(db, counted, minimum_count):
    """Compare the relations of kind S with those of counted pairs."""
    pmi = information(counted)
    wanted = {pair for pair, count in counted.items() if count >= minimum_count}
    rows = stored_relations(db)
    assert {(source, target) for source, target, _, _ in rows} == wanted
    assert [row[3] for row in rows] == pytest.approx([pmi[row[0], row[1]] for row in rows], abs=1e-5)
    of_source = defaultdict(list)
    for row in rows:
        of_source[row[0]].append(row)
    for source, mine in of_source.items():
        assert [row[2] for row in mine] == list(range(1, len(mine) + 1))
        order = [(-row[3], -counted[source, row[1]], row[1]) for row in mine]
        assert order == sorted(order)
    return len(rows)


def test_every_pair_is_counted_as_often_as_it_stands_in_the_documents(reading, library):
    counted = pairs_of(reading, library)
    assert len(counted) > 5000 and max(counted.values()) > 50

    assert stored_pairs(reading) == counted
    assert stored_relations(reading) == []


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("minimum_count", [1, 2, 7])
def test_relations_are_the_pairs_with_their_information(reading, library, window, minimum_count):
    found = one(reading, "SELECT hypercube.relate_sequences(NULL, %s, %s)", window, minimum_count)
    counted = pairs_of(reading, library, window)

    assert stored_pairs(reading) == counted
    assert found == check_relations(reading, counted, minimum_count) > 100


def test_counts_follow_every_change_and_relations_when_they_are_made_again(reading, library):
    again = "SELECT hypercube.relate_sequences(window_size => 3, minimum_count => 2)"
    current = (
        "SELECT relations_current FROM hypercube.text_state JOIN hypercube.model AS m ON m.id = model_id"
        " WHERE m.name = 'minilm'"
    )
    reading.execute(again)
    for change, complete in (
        (lambda: store(reading, "more", chapter(42)[:6000], vectors=False), True),
        (lambda: drop(reading, "chapter 1 again"), False),
        (lambda: store(reading, "chapter 2", chapter(41)[:6000], vectors=False, replace=True), False),
        (
            lambda: store(reading, "chapter 2", chapter(2), vectors=False, model="wordllama", replace=True),
            False,
        ),
        (lambda: [drop(reading, name) for name in ("more", "chapter 1")], False),
    ):
        before = stored_relations(reading)
        began = time.monotonic()
        change()
        # It took more than half a minute when the new relations were read for every pair.
        assert time.monotonic() - began < 15
        counted = pairs_of(reading, library, 3)
        assert stored_pairs(reading) == counted
        # What went went at once, what came waits.
        relations = stored_relations(reading)
        assert {row[:2] for row in relations} <= {pair for pair, n in counted.items() if n >= 2}
        assert reading.execute(current).fetchall() == [(complete,)]
        assert (relations == before) is complete
        reading.execute(again)
        check_relations(reading, counted, 2)
        assert reading.execute(current).fetchall() == [(True,)]
    drop(reading, "chapter 36")
    assert stored_pairs(reading) == {} and stored_relations(reading) == []
    assert unhealthy(reading) == {}


def test_a_window_can_be_made_smaller_again_and_relations_removed(reading, library):
    before = stored_pairs(reading)
    reading.execute("SELECT hypercube.relate_sequences(window_size => 16)")
    assert sum(stored_pairs(reading).values()) > 5 * sum(before.values())
    assert one(reading, "SELECT hypercube.relate_sequences(minimum_count => NULL)") == 0

    assert stored_pairs(reading) == before and stored_relations(reading) == []
    store(reading, "more", chapter(42)[:3000], vectors=False)
    assert stored_relations(reading) == []


def test_a_pair_with_what_cannot_be_spelled_does_not_count(reading, library):
    before = stored_pairs(reading)
    store(reading, "odd", "whale \U0001f40b whale \U0001f40b ship", vectors=False)
    assert stored_pairs(reading) == before

    store(reading, "even", "whale ship", vectors=False)
    whale, ship = library.encode("whale ship", add_special_tokens=False).ids
    assert stored_pairs(reading)[whale, ship] == before.get((whale, ship), 0) + 1


def test_relations_of_other_kinds_stay_as_they_are(reading):
    before = stored_relations(reading, "E"), stored_relations(reading, "M", "glassllm")
    reading.execute("SELECT hypercube.relate_sequences(minimum_count => 1)")
    assert (stored_relations(reading, "E"), stored_relations(reading, "M", "glassllm")) == before
    assert unhealthy(reading) == {}


@pytest.mark.parametrize(("label", "k"), [("the", 10), ("whale", 25), ("captain", 3), ("and", 1000)])
def test_continuations_are_what_follows_most_often(reading, library, label, k):
    counted = pairs_of(reading, library)
    pmi = information(counted)
    [token] = library.encode(label, add_special_tokens=False).ids
    following = {target: count for (source, target), count in counted.items() if source == token}
    best = sorted(following, key=lambda target: (-following[target], target))[:k]
    rows = reading.execute(
        "SELECT rank, token_id, count, probability, pmi, model FROM hypercube.continuations(%s, %s)",
        (label, k),
    ).fetchall()

    assert [row[:3] for row in rows] == [
        (rank, target, following[target]) for rank, target in enumerate(best, start=1)
    ]
    total = sum(following.values())
    assert [row[3] for row in rows] == pytest.approx([following[target] / total for target in best])
    assert [row[4] for row in rows] == pytest.approx([pmi[token, target] for target in best])
    assert {row[5] for row in rows} == {"minilm"} and len(rows) > 2


def test_continuations_have_the_labels_of_the_vocabulary(reading):
    found = reading.execute("SELECT label, token_id FROM hypercube.continuations('white')").fetchall()
    assert ("whale", one(reading, "SELECT hypercube.token_id('whale')")) in found


@pytest.mark.parametrize(("a", "b"), [("white", "whale"), ("the", "whale"), ("of", "the"), ("the", "man")])
def test_cooccurs_counts_both_ways(reading, library, a, b):
    counted = pairs_of(reading, library)
    pmi = information(counted)
    first, second = (library.encode(word, add_special_tokens=False).ids[0] for word in (a, b))
    total = sum(count for (source, _), count in counted.items() if source == first)
    forth, back, probability, information_of = reading.execute(
        "SELECT * FROM hypercube.cooccurs(%s, %s)", (a, b)
    ).fetchone()

    assert (forth, back) == (counted[first, second], counted[second, first]) and forth > 0
    assert probability == pytest.approx(forth / total)
    assert information_of == pytest.approx(pmi[first, second])


def test_what_never_follows_has_no_information(reading):
    assert reading.execute("SELECT * FROM hypercube.cooccurs('whale', 'zinc')").fetchone() == (
        0,
        0,
        0.0,
        None,
    )
    # Nothing follows it at all.
    assert reading.execute("SELECT * FROM hypercube.cooccurs('zinc', 'whale')").fetchone() == (
        0, 0, None, None,
    )  # fmt: skip
    assert reading.execute("SELECT * FROM hypercube.continuations('zinc')").fetchall() == []


def test_merges_are_those_of_the_tokenizer(db):
    model = json.loads((MODELS / "wordllama" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    pairs, met = [], Counter()
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        pairs.append((model["vocab"][left], model["vocab"][right]))
    rows = []
    for place, (left, right) in enumerate(pairs):
        met[left] += 1
        rows.append((left, right, met[left], pytest.approx(1 - place / len(pairs), abs=1e-6)))
    assert len(set(pairs)) == len(pairs) > 50_000

    assert stored_relations(db, "M", "wordllama") == sorted(rows, key=lambda row: (row[0], row[2]))
    assert stored_relations(db, "M") == []


class TestBadInput:
    @pytest.mark.parametrize(
        ("call", "problem", "hint"),
        [
            ("relate_sequences(window_size => 0)", "window_size is out of range: 0", "1 (the next token)"),
            ("relate_sequences(window_size => 17)", "window_size is out of range: 17", "to 16"),
            ("relate_sequences(window_size => NULL)", "window_size is out of range: null", "to 16"),
            ("relate_sequences(minimum_count => 0)", "minimum_count is out of range: 0", "at least 1"),
            ("relate_sequences(minimum_count => -1)", "minimum_count is out of range: -1", "at least 1"),
            ("continuations('the', 0)", "k is out of range", "at least 1 row"),
            ("continuations('the', NULL)", "k is out of range", "at least 1 row"),
            ("continuations(NULL)", "null", "whale"),
            ("cooccurs('the', NULL)", "null", "whale"),
            ("cooccurs(NULL, 'the')", "null", "whale"),
        ],
    )
    def test_what_is_out_of_range_is_refused(self, db, call, problem, hint):
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refusal:
            db.execute(f"SELECT * FROM hypercube.{call}")
        assert problem in str(refusal.value)
        assert hint in refusal.value.diag.message_hint

    @pytest.mark.parametrize(
        "call",
        [
            "continuations('unbelievable whaling')", "continuations('queequegs')",
            "cooccurs('whale', 'queequegs')", "cooccurs('queequegs', 'whale')",
        ],
    )  # fmt: skip
    def test_a_word_of_several_tokens_is_refused(self, db, call):
        with pytest.raises(
            psycopg.errors.UndefinedObject, match='is not a token of model "minilm"'
        ) as refusal:
            db.execute(f"SELECT * FROM hypercube.{call}")
        assert "hypercube.tokenize" in refusal.value.diag.message_hint
        assert refusal.value.diag.message_detail == "Sequences are counted between single tokens."

    @pytest.mark.parametrize(
        "call", ["relate_sequences('no')", "continuations('the', 5, 'no')", "cooccurs('the', 'a', 'no')"]
    )
    def test_an_unknown_model_is_refused(self, db, call):
        with pytest.raises(psycopg.errors.UndefinedObject, match='model "no" does not exist') as refusal:
            db.execute(f"SELECT * FROM hypercube.{call}")
        assert refusal.value.diag.message_hint.startswith("List the loaded models")

    def test_relations_are_for_the_owner_of_the_model(self, reading):
        db = reading
        counted = db.execute("SELECT * FROM hypercube.continuations('whale')").fetchall()
        db.execute("SELECT hypercube.grant_model('minilm', 'public')")
        with role(db, "sequence_reader"):
            with (
                pytest.raises(
                    psycopg.errors.InsufficientPrivilege,
                    match='"sequence_reader" does not own model "minilm"',
                ) as refusal,
                db.transaction(),
            ):
                db.execute("SELECT hypercube.relate_sequences()")
            told = "Its owner postgres can do it, or a member of hypercube_admin."
            assert refusal.value.diag.message_hint == told
            # What is counted in documents that are not seen is not counted.
            assert db.execute("SELECT * FROM hypercube.continuations('whale')").fetchall() == []
            assert one(db, "SELECT a_then_b FROM hypercube.cooccurs('the', 'whale')") == 0
            # Whoever stores a document counts its pairs, also where the model is another's.
            store(db, "mine", "whale zinc", vectors=False)
            assert one(db, "SELECT a_then_b FROM hypercube.cooccurs('whale', 'zinc')") == 1
            drop(db, "mine")
            assert one(db, "SELECT a_then_b FROM hypercube.cooccurs('whale', 'zinc')") == 0
            db.execute("RESET ROLE")
            show_all(db)
            db.execute("SET ROLE sequence_reader")
            assert db.execute("SELECT * FROM hypercube.continuations('whale')").fetchall() == counted
            assert len(counted) == 10
            assert one(db, "SELECT a_then_b FROM hypercube.cooccurs('the', 'whale')") > 0
