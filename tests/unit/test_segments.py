"""Words and sentences: the rules by example, and every cut beside that of a loop over the characters."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercube import characters, segments

SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
LINE_ENDS = "\n\x0b\x0c\x85\u2028\u2029"
CLOSERS = "\"')]}»’”」』）"
CAPITALS = "ABCDEFGHJKLMNOPQRSTUVWXYZÉÀÞΑΩЀЯЁ"
WIDE_ENDS = "。！？｡"
ODD = "aB éßÉ09.,'’\"!?…‽。！？｡」』)]} \n\r\t\u2028\u3000漢字ひラ\u0301\U0001f600ªⅷ\0\ue000\u0378"
# Everything, and more often what the rules speak of.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from(ODD), max_size=60),
    st.lists(
        st.sampled_from(["Mr", "St", "A", "I", "a", "No", "vs", "Ms", "1", ". ", ".", "\n", " ", "”"])
    ).map("".join),
)


def cut(text):
    """The sentences of a text, each a list of its pieces."""
    found = segments.segments(text)
    bounds = found.pieces.tolist()
    pieces = [text[begin:end] for begin, end in zip(bounds, bounds[1:], strict=False)]
    firsts = found.sentences.tolist()
    return [pieces[first:last] for first, last in zip(firsts, firsts[1:], strict=False)]


def sentences(text):
    return ["".join(pieces) for pieces in cut(text)]


def is_word(character):
    return bool(characters.is_word()[ord(character)])


def is_ideograph(character):
    ranges = ((0x3041, 0x3096), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x31FFF))
    return is_word(character) and any(first <= ord(character) <= last for first, last in ranges)


def slow_pieces(text):
    """Where pieces begin, character by character."""

    def in_word(place):
        if is_word(text[place]):
            return True
        around = text[place - 1 : place] + text[place + 1 : place + 2]
        if place == 0 or len(around) < 2:
            return False
        if text[place] in "'’":
            return all(map(is_word, around))
        return text[place] in ".," and all(one in "0123456789" for one in around)

    starts = []
    for place, character in enumerate(text):
        goes_on = False
        if place:
            before = text[place - 1]
            words = in_word(place) and in_word(place - 1)
            goes_on = words and not is_ideograph(character) and not is_ideograph(before)
            goes_on |= character in SPACES and before in SPACES
        if not goes_on or place - starts[-1] == 100:
            starts.append(place)
    return starts


def slow_sentences(text):
    """Where sentences begin, but for the limit of pieces."""
    cuts = {0}
    for place in range(1, len(text)):
        begin = place
        while begin and text[begin - 1] in SPACES:
            begin -= 1
        if text[place] in SPACES or begin == place or not begin:
            continue
        if sum(one in LINE_ENDS for one in text[begin:place]) > 1:
            cuts.add(place)
            continue
        last = begin - 1
        while last >= 0 and text[last] in CLOSERS:
            last -= 1
        if last >= 0 and text[last] in ".!?…‽" and not characters.is_lower()[ord(text[place])]:
            start = last
            while start and is_word(text[start - 1]):
                start -= 1
            word = text[start:last]
            short = word in segments._ABBREVIATIONS or (len(word) == 1 and word in CAPITALS)
            if text[last] != "." or not short:
                cuts.add(place)
    for place in (place for place, one in enumerate(text) if one in WIDE_ENDS):
        while place < len(text) and text[place] in SPACES + CLOSERS + WIDE_ENDS + ".!?…‽":
            place += 1
        cuts.add(place)
    return sorted(cuts - {len(text)})


@given(TEXTS)
@settings(max_examples=400, deadline=None)
@example("")
@example("a" * 101 + " " * 205 + "'" * 3)
@example("x'" * 70 + "1.5" * 50)
@example("“Now.” He went. “No!” he said.")
def test_every_cut_is_that_of_a_loop_over_the_characters(text):
    found = segments.segments(text)

    assert found.pieces.tolist() == [*slow_pieces(text), len(text)]
    begins = found.pieces[found.sentences].tolist()
    assert begins == ([*slow_sentences(text), len(text)] if text else [0])


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_pieces_join_to_the_text_and_none_is_empty(text):
    found = segments.segments(text)
    bounds = found.pieces

    assert bounds[0] == 0 and bounds[-1] == len(text)
    assert (np.diff(bounds) >= 1).all() and (np.diff(bounds) <= segments.WORD_LIMIT).all()
    assert found.sentences[-1] == len(bounds) - 1 == len(found.words)
    if text:
        assert found.sentences[0] == 0 and (np.diff(found.sentences) >= 1).all()
        assert (np.diff(found.sentences) <= segments.SENTENCE_LIMIT).all()
    assert "".join(sentences(text)) == text


def test_all_characters_of_unicode_at_once_join_to_the_text():
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))

    assert "".join(sentences(text)) == text
    np.testing.assert_array_equal(segments.code_points(text), [ord(character) for character in text])


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("the whale's way", ["the", " ", "whale's", " ", "way"]),
        ("the whale’s way", ["the", " ", "whale’s", " ", "way"]),
        ("'tis ours'", ["'", "tis", " ", "ours", "'"]),
        ("1,000.50 3. 4,", ["1,000.50", " ", "3", ".", " ", "4", ","]),
        ("e.g", ["e", ".", "g"]),
        ("x2 ½ Ⅷ", ["x2", " ", "½", " ", "Ⅷ"]),
        ("cafe\u0301!", ["cafe\u0301", "!"]),
        ("a  b\t\nc", ["a", "  ", "b", "\t\n", "c"]),
        ("漢字ひら x", ["漢", "字", "ひ", "ら", " ", "x"]),
        ("a漢b", ["a", "漢", "b"]),
        ("--😀😀", ["-", "-", "😀", "😀"]),
        ("snake_case", ["snake", "_", "case"]),
        ("\0\ue000\u0378", ["\0", "\ue000", "\u0378"]),
        ("\u00a0\u3000", ["\u00a0\u3000"]),
        ("zero\u200bwidth", ["zero", "\u200b", "width"]),
    ],
)
def test_pieces_by_example(text, pieces):
    assert [piece for sentence in cut(text) for piece in sentence] == pieces


@pytest.mark.parametrize(
    "parts",
    [
        ["Call me Ishmael. ", "Some years ago."],
        ["What? ", "No! ", "Well… ", "Really‽ ", "Yes."],
        ["“Go.” ", "He went."],
        ["(He went.) ", "'Now!' ", "[Yes?]}» ", "So."],
        ["He had 3.5 of them.5 or so. ", "Then none."],
        ["Mr. Starbuck met Dr. Bunger, Capt. Ahab and St. Elmo of No. 5."],
        ["J. R. Smith said so."],
        ["So did I. ", "You too."],
        ["He said eg. Ishmael, etc. And more."],
        ["Stop! he cried, and left."],
        ["It ended... and went on. ", "Or so... ", "It did."],
        ["A title\n\n", "and text\nover two lines\r\n\r\n", "and the next"],
        ["One\u2029\u2029", "two\x0b\x0c", "three"],
        ["One.\n", "Two\nthree"],
        ["\n\n  Leading space is of the first. ", "So it is.  \n\n"],
        ["これは鯨。", "「いいえ。」", "はい！？ ", "そう｡", "終"],
        ["Sr.a b"],
        ["SrSt. ", "Not an abbreviation."],
        [" . ", "A"],
        ["No end"],
    ],
)
def test_sentences_by_example(parts):
    assert sentences("".join(parts)) == parts


def test_an_empty_text_has_no_pieces_and_no_sentences():
    found = segments.segments("")

    assert found.pieces.tolist() == found.sentences.tolist() == [0] and found.words.tolist() == []


@pytest.mark.parametrize("character", ["a", " ", "\u0301"])
def test_a_run_is_cut_after_a_hundred_characters(character):
    [pieces] = cut(character * 250)

    assert [len(piece) for piece in pieces] == [100, 100, 50]


def test_a_sentence_is_cut_after_a_thousand_pieces():
    assert [len(pieces) for pieces in cut("-" * 2500)] == [1000, 1000, 500]
    assert [len(pieces) for pieces in cut("-" * 1000)] == [1000]
    # It counts from where a sentence began, not from where the text did.
    assert [len(pieces) for pieces in cut("Now. " + "-" * 1200 + ". A")] == [3, 1000, 202, 1]


def test_only_words_are_words():
    found = segments.segments("a b, 漢 1.5 ''  !")

    pieces = [piece for sentence in cut("a b, 漢 1.5 ''  !") for piece in sentence]
    assert [piece for piece, word in zip(pieces, found.words, strict=True) if word] == ["a", "b", "漢", "1.5"]


def test_words_do_not_depend_on_the_unicode_of_the_interpreter():
    """A small letter goes on with a sentence if the file of the characters says so."""
    lower = np.flatnonzero(characters.is_lower())
    rest = np.flatnonzero(characters.is_word() & ~characters.is_lower())
    for codepoint in lower[::97].tolist():
        assert len(cut(f"So. {chr(codepoint)}")) == 1
    for codepoint in rest[::997].tolist():
        assert len(cut(f"So. {chr(codepoint)}")) == 2


def test_equal_texts_are_cut_equally_and_progress_grows():
    text = "Call me Ishmael. Some years ago — never mind how long… 漢。" * 500
    fractions = []
    first, second = segments.segments(text), segments.segments(text, step=fractions.append)

    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] <= 1 and len(fractions) > 4
    assert all(column.dtype == np.int64 for column in first[:2]) and first.words.dtype == bool


def test_a_step_that_raises_stops_the_work():
    class Stop(Exception):
        pass

    def stop(fraction):
        if fraction > 0.5:
            raise Stop

    with pytest.raises(Stop):
        segments.segments("a b. C", step=stop)
