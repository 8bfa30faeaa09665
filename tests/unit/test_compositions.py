"""Compositions: equal content has one id, and no atom has the id of a composition."""

import time

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercube import atoms, compositions, segments


def test_an_id_is_the_digest_of_the_ordered_children_behind_a_domain():
    a, b = atoms.atom_digest(ord("a")), atoms.atom_digest(ord("b"))

    assert compositions.composition_id([a, b]) == blake3(b"hypercube composition 1\n" + a + b).digest()
    assert compositions.composition_id([a, b]) != compositions.composition_id([b, a])
    assert compositions.composition_id([a]) != a


def test_texts_are_spelled_once_each_in_their_order():
    found = compositions.spell(["ba", "a", "ba", "é"])

    assert found.labels == ["ba", "a", "é"]
    a, b, e = atoms.atom_digests([97, 98, 233])
    assert found.children == [b + a, a, e]
    assert found.depths.tolist() == [1, 1, 1] and found.atom_counts.tolist() == [2, 1, 1]
    assert found.atoms == [97, 98, 233]
    assert len(set(found.ids)) == 3


def test_a_centroid_is_the_mean_of_the_points_of_the_atoms():
    found = compositions.spell(["abb"])
    points = atoms.atom_points(np.array([97, 98, 98]))

    assert np.allclose(found.centroids[0], points.mean(axis=0), atol=1e-15)


def test_nothing_is_spelled_from_nothing():
    found = compositions.spell([])

    assert found.ids == [] and found.centroids.shape == (0, 4)


TEXT = "Call me Ishmael. Some years ago, some years ago - never mind how long!\n\nCall me Ishmael. Whales."
ODD = "aA é.!'\n\u0301\0␀漢。\U0001f600\ue000\u0378"


def rebuilt(found, root):
    """The text of a composition from its children alone, and its depth and atoms as they follow from them."""
    rows = {its_id: row for row, its_id in enumerate(found.ids)}
    characters = dict(zip(atoms.atom_digests(found.atoms), found.atoms, strict=True))

    def read(one):
        if one in characters:
            return chr(characters[one]), 0
        parts = [read(child) for child in compositions.child_ids(found.children[rows[one]])]
        depth = 1 + max((depth for _, depth in parts), default=-1)
        text = "".join(text for text, _ in parts)
        assert found.depths[rows[one]] == depth and found.atom_counts[rows[one]] == len(text)
        if text:
            mean = atoms.atom_points([ord(character) for character in text]).mean(axis=0)
            assert np.allclose(found.centroids[rows[one]], mean, atol=1e-12)
        return text, depth

    return read(root)[0]


def root_of(text):
    return compositions.compose([text])[1][0].root


@given(
    st.lists(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(ODD))), max_size=5)
)
@example(["", "a", "!", "a. B", "\0", "a. B. a. B"])
@settings(max_examples=200, deadline=None)
def test_texts_are_rebuilt_from_children_and_everything_follows_from_them(texts):
    found, made = compositions.compose(texts)

    assert [rebuilt(found, one.root) for one in made] == texts
    assert len(set(found.ids)) == len(found.ids) == len(found.labels) == len(found.depths)
    assert found.atoms == sorted({ord(character) for text in texts for character in text})
    assert not set(found.ids) & set(atoms.atom_digests(found.atoms))
    known = set(atoms.atom_digests(found.atoms))
    for its_id, children in zip(found.ids, found.children, strict=True):
        assert its_id == compositions.composition_id([children])
        assert known.issuperset(compositions.child_ids(children)), "children come before their parents"
        known.add(its_id)
    # Whoever brings a text, alone or among others.
    assert [one.root for one in made] == [root_of(text) for text in texts]


@given(st.lists(st.text(st.sampled_from(ODD), min_size=1), max_size=4))
@settings(max_examples=100, deadline=None)
def test_what_is_told_of_a_text_are_its_sentences(texts):
    found, made = compositions.compose(texts)

    for text, one in zip(texts, made, strict=True):
        cut = segments.segments(text)
        assert one.starts == cut.pieces[cut.sentences[:-1]].tolist() and one.pieces == len(cut.words)
        parts = [text[a:b] for a, b in zip(one.starts, [*one.starts[1:], len(text)], strict=True)]
        assert [rebuilt(found, sentence) for sentence in one.sentences] == parts


@pytest.mark.parametrize("at_the_cut", ["'b", "’b", "'b c. D"])
def test_the_id_of_a_text_does_not_depend_on_what_is_composed_with_it(at_the_cut):
    """Where a limit cuts a word, equal characters are two words in one text and one in another."""
    long = "a" * (segments.WORD_LIMIT * segments.SENTENCE_LIMIT) + at_the_cut
    alone = [root_of(at_the_cut), root_of(long)]

    assert [one.root for one in compositions.compose([at_the_cut, long])[1]] == alone
    assert [one.root for one in compositions.compose([long, at_the_cut])[1]] == alone[::-1]


@pytest.mark.parametrize("text", ["whale", "漢", "  ", "it's", "1,000.5"])
def test_a_text_of_one_word_is_that_word(text):
    found, [made] = compositions.compose([text])

    assert found.ids == [made.root] == made.sentences == compositions.spell([text]).ids
    assert found.depths.tolist() == [1] and found.labels == [text]


@pytest.mark.parametrize("text", ["!", " ", "...", "--- ", "\U0001f600", "\0"])
def test_a_text_without_words_is_made_of_atoms_and_is_what_a_vocabulary_spells(text):
    found, [made] = compositions.compose([text])

    assert found.ids == [made.root] == compositions.spell([text]).ids
    assert found.depths.tolist() == [1]
    assert compositions.child_ids(found.children[0]) == atoms.atom_digests([ord(one) for one in text])


def test_a_text_of_one_sentence_is_that_sentence():
    found, [made] = compositions.compose(["Call me Ishmael."])

    assert made.sentences == [made.root] and found.depths[found.ids.index(made.root)] == 2
    [word] = compositions.spell(["Ishmael"]).ids
    assert word in compositions.child_ids(found.children[found.ids.index(made.root)])
    both = compositions.compose(["Call me Ishmael. Whales."])[1][0]
    assert len(both.sentences) == 2 and both.root not in both.sentences
    # With the space behind it, it is another sentence.
    assert made.root not in both.sentences and root_of("Call me Ishmael. ") == both.sentences[0]


def test_repeated_words_and_sentences_are_there_once():
    found, [made] = compositions.compose([TEXT])

    assert len(made.sentences) == 4 and made.sentences[0] == made.sentences[2]
    assert len(set(made.sentences)) == 3
    twice, [again] = compositions.compose([" ".join(["Call me Ishmael."] * 50)])
    assert len(again.sentences) == 50 and len(set(again.sentences)) == 2
    # Three words, the sentence with and without a space behind it, and the whole.
    assert len(twice.ids) == 6 and twice.depths.tolist() == [1, 1, 1, 2, 2, 3]
    assert twice.atom_counts[-1] == 50 * 17 - 1


def test_an_empty_text_is_the_composition_of_nothing():
    found, [made] = compositions.compose([""])

    assert found.ids == [made.root] == [blake3(b"hypercube composition 1\n").digest()]
    assert (made.sentences, made.starts, made.pieces) == ([], [], 0)
    assert found.children == [b""] and found.labels == [""] and found.atoms == []
    assert found.depths.tolist() == found.atom_counts.tolist() == [0]
    assert found.centroids.tolist() == [[0, 0, 0, 0]]


def test_no_texts_make_nothing():
    found, made = compositions.compose([])

    assert made == [] and found.ids == found.labels == found.children == found.atoms == []
    assert found.centroids.shape == (0, 4)


def test_the_null_character_is_shown_in_labels_and_kept_in_ids():
    found, [null, shown] = compositions.compose(["a\0b. \0", "a␀b. ␀"])

    assert found.labels[found.ids.index(null.root)] == found.labels[found.ids.index(shown.root)] == "a␀b. ␀"
    assert not any("\0" in label for label in found.labels)
    assert null.root != shown.root and {0, 0x2400} < set(found.atoms)


def test_labels_tell_sentences_whole_and_texts_by_their_beginning():
    sentence = "word " * 400 + "end."
    found, [one, text] = compositions.compose([sentence, f"{sentence} {sentence}"])

    assert found.labels[found.ids.index(one.root)] == sentence
    assert found.labels[found.ids.index(text.root)] == sentence[:200]


def test_a_lone_surrogate_is_no_text():
    with pytest.raises(UnicodeEncodeError):
        compositions.compose(["a\ud800"])


def test_a_text_with_every_character_has_every_atom():
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x20000)]))
    found, [made] = compositions.compose([text])

    assert found.atoms == [ord(character) for character in text]
    assert found.atom_counts[found.ids.index(made.root)] == len(text)


def test_ids_never_change():
    assert root_of(TEXT).hex() == "5fa2e04d9ac40783b2ff024b45e3d1d51cb8bad209b55b2ebf8e63934c7cdb9e"
    assert (
        root_of("漢字。「いいえ」 \U0001f600").hex()
        == "63225cd26a50e61fa2527970dc0c84247b8e47fb1e67481b3d237dc6f6b7f84f"
    )


def test_progress_grows_and_a_step_that_raises_stops_the_work():
    class Stop(Exception):
        pass

    fractions = []

    def step(fraction):
        fractions.append(fraction)
        if len(fractions) > 4000:
            raise Stop

    compositions.compose([TEXT] * 20, step=step)
    assert 0 <= min(fractions) and max(fractions) <= 1 and len(fractions) > 20
    with pytest.raises(Stop):
        compositions.compose([TEXT] * 4000, step=step)


@pytest.mark.parametrize("kind", ["words", "different words", "characters", "one letter", "short sentences"])
def test_a_long_text_is_never_without_a_step_for_long(kind):
    random = np.random.default_rng(5)
    if kind == "words":
        text = " ".join(f"w{i}" for i in random.integers(0, 20_000, 400_000).tolist())
    elif kind == "characters":
        text = random.integers(0xE000, 0x110000, 1_000_000).astype("<u4").tobytes().decode("utf-32-le")
    elif kind == "different words":
        text = " ".join([f"w{i}" for i in range(300_000)])
    else:
        text = "a" * 3_000_000 if kind == "one letter" else "。a" * 400_000
    gaps, last = [], [time.process_time()]

    def step(fraction):
        now = time.process_time()
        gaps.append(now - last[0])
        last[0] = now

    compositions.compose([text], step=step)
    step(1)
    assert max(gaps) < 0.3
