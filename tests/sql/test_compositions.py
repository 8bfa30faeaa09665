"""Texts as compositions: stored and read bit for bit, asked about, and taken back."""

import numpy as np
import psycopg
import pytest
from blake3 import blake3

from chapters import role
from hypercube import compositions
from rows import ingest, one
from small_models import vectors, write_model

TEXT_OF = "SELECT hypercube.composition_text(%s)"
TEXT = "Call me Ishmael. Some years ago, some years ago!\n\nCall me Ishmael. Whales."


@pytest.fixture(scope="session")
def composing(server):
    with server.connect(dbname="postgres", autocommit=True) as db:
        db.execute("CREATE DATABASE composing TEMPLATE blank")
    return server


@pytest.fixture
def db(composing):
    """A connection to a database without models; rolled back."""
    with composing.connect(dbname="composing") as connection:
        yield connection
        connection.rollback()


def compose(db, text):
    return one(db, "SELECT hypercube.compose(%s)", text)


def told(db, what, *ids):
    return one(db, f"SELECT hypercube.{what}({', '.join(['%s::bytea'] * len(ids))})", *ids)


def every(db):
    """What is stored, but for when."""
    return (
        db.execute("SELECT * FROM hypercube.composition ORDER BY id").fetchall()
        + db.execute("SELECT composition_id, owner FROM hypercube.kept_composition ORDER BY 1, 2").fetchall()
    )


def refused(db, kind, message, statement, *args):
    with pytest.raises(kind, match=message) as refusal, db.transaction():
        db.execute(statement, args)
    return refusal.value.diag.message_hint


class TestBitForBit:
    @pytest.mark.parametrize(
        "text",
        [
            "", " ", "a", "!", "漢", "\n\n", TEXT, "␀", "\ue000\U000f0000\U0010fffd", "\u0378\U000e0fff",
            "\ufffe\uffff", "e\u0301é\u0301\u0301", "\U0001f600\U0001f468\u200d\U0001f469", "\r\n\r\n\t",
            "שלום עולם. مرحبا!", "a" * 101 + " " * 1001 + "." * 2001, "\ufeffbom", "これは鯨。「いいえ。」",
            "I." * 300, "x'" * 60 + "1.5" * 90,
        ],
    )  # fmt: skip
    def test_odd_texts_come_back(self, db, text):
        root = compose(db, text)

        assert told(db, "composition_text", root) == text
        assert told(db, "composition_bytes", root) == text.encode()
        assert root == compose(db, text.encode()) == one(db, "SELECT hypercube.composition_id(%s)", text)
        assert root == compositions.compose([text])[1][0].root

    def test_the_null_character_comes_back_as_bytes(self, db):
        content = b"a\0b. \0\0 C\n\n\xe2\x90\x80" * 40
        root = compose(db, content)

        assert told(db, "composition_bytes", root) == content
        hint = refused(
            db, psycopg.errors.CharacterNotInRepertoire, "holds the null character",
            "SELECT hypercube.composition_text(%s)", root,
        )  # fmt: skip
        assert "hypercube.composition_bytes" in hint
        assert (
            one(db, "SELECT label FROM hypercube.composition WHERE id = %s", root)
            == ("a␀b. ␀␀ C\n\n␀" * 40)[:200]
        )
        word = compose(db, b"\0")
        assert told(db, "composition_bytes", word) == b"\0" and word != compose(db, "␀")

    @pytest.mark.parametrize("kind", ["words", "one letter", "characters", "emoji"])
    def test_long_texts_come_back(self, db, kind):
        random = np.random.default_rng(8)
        if kind == "words":
            words = ["".join(random.choice(list("abcdefghé漢.'"), n)) for n in random.integers(1, 9, 5_000)]
            text = " ".join([words[i] for i in random.integers(0, len(words), 300_000).tolist()])
        elif kind == "one letter":
            text = "a" * 10_000_000
        elif kind == "characters":
            text = random.integers(0x20, 0x900, 500_000).astype("<u4").tobytes().decode("utf-32-le")
        else:
            text = random.integers(0x1F600, 0x1F700, 2_500_000).astype("<u4").tobytes().decode("utf-32-le")
        assert kind not in ("one letter", "emoji") or len(text.encode()) == 10_000_000
        root = compose(db, text)

        assert told(db, "composition_bytes", root) == text.encode()

    @pytest.mark.parametrize(
        "content, place",
        [
            (b"\xff", 0), (b"ab\xc3", 2), (b"\xed\xa0\x80", 0), (b"a\xed\xbf\xbf", 1), (b"\xc0\x80", 0),
            (b"abc\xf4\x90\x80\x80", 3), (b"\x80", 0), ("é".encode("latin-1"), 0),
        ],
    )  # fmt: skip
    def test_what_is_not_utf_8_is_refused(self, db, content, place):
        before = every(db)
        hint = refused(
            db, psycopg.errors.CharacterNotInRepertoire, f"not UTF-8: .* at byte {place}\n",
            "SELECT hypercube.compose(%s::bytea)", content,
        )  # fmt: skip
        assert "convert_from" in hint
        assert every(db) == before

    @pytest.mark.parametrize(
        "call",
        ["compose(NULL::text)", "compose(NULL::bytea)", "composition_id(NULL)", "composition_text(NULL)",
         "composition_bytes(NULL)", "drop_composition(NULL)"],
    )  # fmt: skip
    def test_null_is_refused(self, db, call):
        hint = refused(
            db, psycopg.errors.InvalidParameterValue, "must not be null", f"SELECT hypercube.{call}"
        )
        assert hint

    def test_a_longer_text_than_is_stored_at_once_is_refused(self, db):
        hint = refused(
            db, psycopg.errors.ProgramLimitExceeded, "33554433 characters, at most 33554432",
            "SELECT hypercube.compose(repeat('a', 33554433))",
        )  # fmt: skip
        assert hint == "Store it as several documents."

    def test_again_is_the_same_and_stores_nothing(self, db):
        root, before = compose(db, TEXT), every(db)

        assert compose(db, TEXT) == root and every(db) == before
        compose(db, "Call me Ishmael. ")
        assert len(every(db)) == len(before) + 1, "the sentence was there, only who keeps it is new"

    def test_the_id_of_a_text_is_told_without_storing_it(self, db):
        before = every(db)
        told_id = one(db, "SELECT hypercube.composition_id('Nobody stored this.')")

        assert every(db) == before and compose(db, "Nobody stored this.") == told_id


class TestRows:
    def test_every_id_is_the_digest_of_its_children(self, db):
        root = compose(db, TEXT)
        rows = db.execute("SELECT id, children, child_count FROM hypercube.composition").fetchall()
        digests = {its_id for (its_id,) in db.execute("SELECT id FROM hypercube.atom").fetchall()}

        assert root in {its_id for its_id, _, _ in rows}
        for its_id, children, count in rows:
            assert its_id == blake3(b"hypercube composition 1\n" + children).digest()
            parts = [children[start : start + 32] for start in range(0, len(children), 32)]
            assert len(parts) == count and digests.union(one for one, _, _ in rows).issuperset(parts)
        for codepoint, its_id in db.execute("SELECT codepoint, id FROM hypercube.atom").fetchall():
            assert its_id == blake3(chr(codepoint).encode()).digest()

    def test_the_view_tells_children_a_row_each(self, db):
        root = compose(db, TEXT)
        in_view = db.execute(
            "SELECT ordinal, child_id FROM hypercube.composition_child WHERE composition_id = %s ORDER BY 1",
            (root,),
        ).fetchall()
        children = db.execute("SELECT * FROM hypercube.children(%s)", (root,)).fetchall()

        assert [row[:2] for row in children] == in_view
        assert [row[0] for row in children] == [0, 1, 2, 3]
        assert [row[2:] for row in children] == [
            ("Call me Ishmael. ", 2), ("Some years ago, some years ago!\n\n", 2),
            ("Call me Ishmael. ", 2), ("Whales.", 2),
        ]  # fmt: skip
        letters = db.execute(
            "SELECT label, depth FROM hypercube.children(%s)", (compose(db, "aé"),)
        ).fetchall()
        assert letters == [("a", 0), ("é", 0)]
        assert db.execute("SELECT * FROM hypercube.children(%s)", (compose(db, ""),)).fetchall() == []
        assert db.execute("SELECT label FROM hypercube.children(%s)", (compose(db, b"\0"),)).fetchall() == [
            ("␀",)
        ]

    def test_depth_and_counts_grow_from_the_atoms(self, db):
        depths = {text: told(db, "depth", compose(db, text)) for text in ("", "!", "ab", "ab.", "Ab. Cd.")}
        assert depths == {"": 0, "!": 1, "ab": 1, "ab.": 2, "Ab. Cd.": 3}
        assert told(db, "depth", blake3(b"a").digest()) == 0
        assert one(
            db, "SELECT atom_count FROM hypercube.composition WHERE id = %s", compose(db, TEXT)
        ) == len(TEXT)

    def test_a_centroid_is_the_mean_of_atoms_and_a_distance_between_two(self, db):
        roots = [compose(db, text) for text in (TEXT, "whale")]
        means = []
        for root, text in zip(roots, (TEXT, "whale"), strict=True):
            axes = ", ".join(f"avg(cube_ll_coord(a.point, {axis}))" for axis in range(1, 5))
            mean = db.execute(
                f"SELECT {axes} FROM unnest(%s::int[]) AS c (codepoint)"
                " JOIN hypercube.atom AS a USING (codepoint)",
                ([ord(character) for character in text],),
            ).fetchone()
            axes = ", ".join(f"cube_ll_coord(hypercube.centroid(%(root)s), {axis})" for axis in range(1, 5))
            assert db.execute(f"SELECT {axes}", {"root": root}).fetchone() == pytest.approx(mean, abs=1e-12)
            means.append(np.array(mean))
        distance = told(db, "distance", *roots)
        assert (
            distance
            == told(db, "distance", *roots[::-1])
            == pytest.approx(np.linalg.norm(means[0] - means[1]))
        )
        assert told(db, "distance", roots[0], roots[0]) == 0
        assert one(db, "SELECT hypercube.centroid(%s) = '(0,0,0,0)'", compose(db, ""))

    def test_parents_hold_a_child_and_tell_how_often(self, db):
        compose(db, TEXT)
        sentence, word = (
            one(db, "SELECT hypercube.composition_id(%s)", text) for text in ("Call me Ishmael. ", "years")
        )
        labels = "SELECT label, depth, times FROM hypercube.parents(%s)"

        assert db.execute(labels, (sentence,)).fetchall() == [(TEXT, 3, 2)]
        assert db.execute(labels, (word,)).fetchall() == [("Some years ago, some years ago!\n\n", 2, 2)]
        assert db.execute(labels, (blake3(b"m").digest(),)).fetchall() == [
            ("Ishmael", 1, 1), ("Some", 1, 1), ("me", 1, 1), ("some", 1, 1),
        ]  # fmt: skip
        # An atom that is no word stands in sentences itself.
        assert db.execute(labels, (blake3(b"!").digest(),)).fetchall() == [
            ("Some years ago, some years ago!\n\n", 2, 1)
        ]
        assert db.execute(labels, (compose(db, TEXT),)).fetchall() == []

    def test_a_whole_contains_its_parts_at_any_depth_and_not_itself(self, db):
        root, other = compose(db, TEXT), compose(db, "Nothing of it: xyz")
        parts = [
            one(db, "SELECT hypercube.composition_id(%s)", text)
            for text in ("Call me Ishmael. ", "years", "\n\n")
        ]
        parts += [blake3(letter.encode()).digest() for letter in "m,\n"]

        for part in parts:
            assert told(db, "contains", root, part) is True
            assert told(db, "contains", part, root) is False
        assert told(db, "contains", root, root) is False and told(db, "contains", root, other) is False
        assert told(db, "contains", root, blake3(b"z").digest()) is False
        assert told(db, "contains", other, blake3(b"z").digest()) is True

    def test_a_composition_is_found_by_its_label(self, db):
        long = " ".join([TEXT] * 4)
        root, tall = compose(db, TEXT), compose(db, long)

        assert told_by(db, TEXT) == root and told_by(db, "Ishmael") == compose(db, "Ishmael")
        assert told_by(db, long[:200]) == tall and told_by(db, long) is None
        assert told_by(db, "Nobody") is None and told_by(db, None) is None
        # The whole text is meant before what only begins with it.
        assert told_by(db, long[:200]) == tall and compose(db, long[:200]) == told_by(db, long[:200]) != tall

    @pytest.mark.parametrize(
        "call", ["depth", "centroid", "children", "parents", "composition_text", "composition_bytes"]
    )
    @pytest.mark.parametrize("unknown", [bytes(32), b"", b"\1"])
    def test_unknown_ids_are_undefined_objects(self, db, call, unknown):
        statement = f"SELECT hypercube.{call}(%s::bytea)"
        message = rf"composition \\x{unknown.hex()} does not exist"
        assert "find_composition" in refused(db, psycopg.errors.UndefinedObject, message, statement, unknown)

    @pytest.mark.parametrize("call", ["distance", "contains"])
    def test_both_of_two_ids_must_be_known(self, db, call):
        known = compose(db, TEXT)
        for pair in ((known, bytes(32)), (bytes(32), known), (known, None), (None, known)):
            statement = f"SELECT hypercube.{call}(%s::bytea, %s::bytea)"
            refused(db, psycopg.errors.UndefinedObject, "does not exist", statement, *pair)


def told_by(db, label):
    return one(db, "SELECT hypercube.find_composition(%s)", label)


class TestDropping:
    def test_a_drop_takes_back_what_nothing_else_holds(self, own, sources):
        pieces = ["[UNK]", "whale", "ishmael", "!", "##s", *(f"w{i}x" for i in range(30))]
        ingest(own, write_model(sources / "m", vectors(len(pieces)), pieces=pieces), "m")
        compose(own, "Call me Ishmael. The whale!")
        own.execute(
            "SELECT hypercube.ingest_text('d', 'A sentence of a document. The ship sank.', vectors => false)"
        )
        before = every(own)

        text = "Call me Ishmael. The whale! The whale! A sentence of a document. Only here. w7x w8x"
        root = compose(own, text)
        added = len(every(own)) - len(before) - 1
        assert added > 3 and told(own, "composition_text", root) == text
        assert told(own, "drop_composition", root) == added
        assert every(own) == before
        refused(own, psycopg.errors.UndefinedObject, "does not exist", "SELECT hypercube.depth(%s)", root)
        assert one(own, "SELECT hypercube.document_text('d')") == "A sentence of a document. The ship sank."
        assert one(own, "SELECT bool_and(ok) FROM hypercube.health()")

    @pytest.mark.parametrize("text", ["", "a", "!", TEXT, "漢", "\n\n", "No. 漢。\n\n" * 700 + "a" * 5000])
    def test_nothing_is_left_of_anything(self, db, text):
        before = every(db)
        root = compose(db, text)
        made = len(every(db)) - len(before) - 1

        assert told(db, "drop_composition", root) == made == len(compositions.compose([text])[0].ids)
        assert every(db) == before

    def test_a_part_that_is_kept_stays_and_a_part_of_what_is_kept_stays(self, db):
        whole, part = compose(db, TEXT), compose(db, "Call me Ishmael. ")
        assert told(db, "drop_composition", part) == 0
        assert told(db, "composition_text", whole) == TEXT
        compose(db, "Call me Ishmael. ")
        assert told(db, "drop_composition", whole) > 0
        assert told(db, "composition_text", part) == "Call me Ishmael. "
        # Three words and the sentence.
        assert told(db, "drop_composition", part) == 4 and every(db) == []

    def test_a_word_of_a_vocabulary_is_the_word_of_a_text(self, own, sources):
        pieces = ["[UNK]", "whale", "ship", *(f"w{i}x" for i in range(30))]
        ingest(own, write_model(sources / "m", vectors(len(pieces)), pieces=pieces), "m")
        before = one(own, "SELECT count(*) FROM hypercube.composition")
        root = compose(own, "whale")

        assert one(own, "SELECT composition_id FROM hypercube.token WHERE label = 'whale'") == root
        assert one(own, "SELECT count(*) FROM hypercube.composition") == before
        sentence = compose(own, "the whale")
        assert told(own, "contains", sentence, root) is True
        # The vocabulary holds it still, and then the sentence.
        assert told(own, "drop_composition", root) == 0 and told(own, "composition_text", root) == "whale"
        own.execute("SELECT hypercube.drop_model('m')")
        assert told(own, "composition_text", sentence) == "the whale" and told_by(own, "ship") is None
        assert told(own, "drop_composition", sentence) == 3 and every(own) == []

    def test_only_who_keeps_a_composition_drops_it(self, own):
        root = compose(own, TEXT)
        held = len(every(own)) - 1
        drop = "SELECT hypercube.drop_composition(%s)"
        with role(own, "composer"):
            hint = refused(own, psycopg.errors.UndefinedObject, 'is not kept for role "composer"', drop, root)
            assert "kept_composition" in hint
            assert every(own) == []
            assert compose(own, TEXT) == root
            assert [row[1] for row in every(own)[held:]] == ["composer"]
            # Somebody else keeps it, which is not for the composer to know.
            assert told(own, "drop_composition", root) == held and every(own) == []
            refused(own, psycopg.errors.UndefinedObject, "is not kept", drop, root)
            refused(own, psycopg.errors.UndefinedObject, "does not exist", TEXT_OF, root)
            compose(own, TEXT)
        assert [row[1] for row in every(own)[held:]] == ["composer", "postgres"]
        assert told(own, "composition_text", root) == TEXT
        assert told(own, "drop_composition", root) == 0, "a superuser sees what somebody else keeps"

    def test_what_was_never_kept_cannot_be_dropped(self, db):
        compose(db, TEXT)
        before = every(db)
        for unknown in (bytes(32), b"", one(db, "SELECT hypercube.composition_id('Ishmael')")):
            refused(
                db, psycopg.errors.UndefinedObject, f'{unknown.hex()} is not kept for role "postgres"',
                "SELECT hypercube.drop_composition(%s::bytea)", unknown,
            )  # fmt: skip
        assert every(db) == before
