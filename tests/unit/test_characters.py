"""Characters: the file is what its generator makes, and the order puts like by like."""

import bisect
import importlib.util
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hypercube import characters
from hypercube.errors import CorruptFile

ROOT = Path(__file__).parents[2]
FILE = ROOT / "plpy" / "hypercube" / "characters.txt"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("scripts_characters", ROOT / "scripts" / "characters.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def regenerated(generator):
    return generator.written()


@pytest.fixture
def file_with(monkeypatch, tmp_path):
    """Let the room read another file, and forget what it read."""
    readers = (characters.positions, characters.is_word, characters.is_lower)

    def replace(text):
        (tmp_path / "characters.txt").write_text(text, encoding="ascii")
        monkeypatch.setattr(characters, "_FILE", tmp_path / "characters.txt")
        for reader in readers:
            reader.cache_clear()

    yield replace
    for reader in readers:
        reader.cache_clear()


def section(text, name):
    lines = text.split("\n")
    begin = lines.index(name) + 1
    for line in lines[begin : lines.index("", begin)]:
        if not line.startswith("#"):
            for part in line.split():
                first, _, last = part.partition("-")
                yield from range(int(first, 16), int(last or first, 16) + 1)


def not_assigned(text):
    return set(section(text[text.index("# not assigned") :].replace("# not assigned", "order"), "order"))


def test_the_file_is_what_its_generator_makes(generator, regenerated):
    """With the Unicode of the file to the last byte; with another, what both know is in the same order."""
    text = FILE.read_text(encoding="ascii")
    if unicodedata.unidata_version == generator.UNICODE:
        assert regenerated == text
        return
    unknown = not_assigned(text) | not_assigned(regenerated)
    place = {point: at for at, point in enumerate(section(text, "order"))}
    both = [place[point] for point in section(regenerated, "order") if point not in unknown]
    # How many characters would have to move: all but the longest run of places that grow.
    ends = []
    for at in both:
        where = bisect.bisect_left(ends, at)
        ends[where : where + 1] = [at]
    assert len(both) > 270_000
    assert len(both) - len(ends) < 50
    for name in ("word", "lower"):
        changed = set(section(text, name)) ^ set(section(regenerated, name))
        assert len(changed - unknown) < 50


def test_every_character_has_one_place_and_surrogates_have_none():
    positions = characters.positions()
    assert positions.shape == (0x110000,) and positions.dtype == np.int32
    assert (positions[0xD800:0xE000] == -1).all()
    rest = np.delete(positions, np.arange(0xD800, 0xE000))
    np.testing.assert_array_equal(np.sort(rest), np.arange(1_112_064))


def places(text):
    return characters.positions()[list(map(ord, text))]


@pytest.mark.parametrize(
    ("together", "after"),
    [
        ("aAⓐªａＡ𝐀àÀäÅȺɐ", "bB"),  # forms, accents, strokes, and what is turned
        ("oOóøØ", "pP"),
        ("lLłŁľ", "mM"),
        ("fF\N{LATIN SMALL LIGATURE FI}ƒ", "gG"),
        ("0０⁰₀⓪𝟎٠", "1１¹"),
        ("1¹①１١१", "2２²"),
        ("かが", "きぎ"),
        ("бБ", "вВ"),
        ("אﬡℵ", "ב"),
        ("가각", "힣"),
        ("ᄀㄱﾡ", "ᄂㄴ"),
        ("一⼀", "丁"),
        ("豈\uf900", "豉"),
    ],
)
def test_variants_stand_together(together, after):
    assert places(together).max() < places(after).min()


@pytest.mark.parametrize(
    "kinds",
    [
        ("\t\u200d", " \u3000", ".,،。-", "+€☂", "0٠1५9", "½ⅧⅠ", "aZß", "αΩ", "бЯ", "את", "\ue000", "\u0378"),
        ("あん", "アンｱ", "ㄅ", "ꀀ", "\U000f0000", "\uffff\U000e0fff"),
        ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "½", "z"),
        ("。", "z", "б", "ა", "가", "中\U00020000", "あ"),
    ],
)
def test_kinds_and_scripts_follow_one_another(kinds):
    found = [places(members) for members in kinds]
    for one, other in pairwise(found):
        assert one.max() < other.min()


def test_syllables_and_ideographs_keep_their_own_order():
    positions = characters.positions()
    for first, last in ((0xAC00, 0xD7A3), (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF)):
        assert (np.diff(positions[first : last + 1]) > 0).all()


def test_words_are_made_of_letters_marks_and_numbers():
    word = characters.is_word()
    assert word.shape == (0x110000,) and word.dtype == bool
    assert word[list(map(ord, "aZé中가1²½Ⅷ\u0301\u093f"))].all()
    assert not word[list(map(ord, " .,-_'€+ⓐ\u200d\ue000\u0378\U0001f40b"))].any()
    assert not word[0xD800:0xE000].any()


def test_small_letters_are_small():
    lower = characters.is_lower()
    assert lower[list(map(ord, "azéßяωªº𝐚"))].all()
    assert not lower[list(map(ord, "AZÉЯΩǅ中א1ʰ.ⓐⅷ"))].any()
    assert not (lower & ~characters.is_word()).any()


def test_what_is_shared_cannot_be_written_to():
    for array in (characters.positions(), characters.is_word(), characters.is_lower()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("found", "other", "reason"),
    [
        ("0061 ", "0062 ", "every character once"),
        ("0061 ", "", "it has 1112063 characters"),
        ("0061 ", "d800 ", "every character once"),
        ("0061 ", "110000 ", "a range that is none"),
        ("0061 ", "0061-0060 ", "a range that is none"),
        ("0061 ", "what ", "cannot be read"),
        ("0061 ", "ffffffffffffffffffff ", "cannot be read"),
        ("order\n", "", "cannot be read"),
    ],
)
def test_an_order_that_is_not_whole_is_refused(file_with, found, other, reason):
    file_with(FILE.read_text(encoding="ascii").replace(found, other, 1))
    with pytest.raises(CorruptFile, match='section "order"') as refusal:
        characters.positions()
    assert reason in refusal.value.detail


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        ("0061-0063 0063", "not in order"),
        ("0061 0062", "not in order"),
        ("0063 0061", "not in order"),
        ("d7ff-e000", "surrogates"),
        ("dfff", "surrogates"),
        ("0061--0063", "a range that is none"),
        ("", "cannot be read"),
    ],
)
def test_a_property_that_is_not_in_order_is_refused(file_with, ranges, reason):
    file_with(f"word\n{ranges}\n\nlower\n0061\n")
    with pytest.raises(CorruptFile, match='section "word"') as refusal:
        characters.is_word()
    assert reason in refusal.value.detail
    assert np.flatnonzero(characters.is_lower()).tolist() == [0x61]
