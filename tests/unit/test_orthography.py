"""The distance of two spellings, beside the textbook's table filled cell by cell."""

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercube import atoms, orthography

LETTERS = "abAÉéeß1١- 漢字\U0001f600\0"
WORDS = st.text(
    st.one_of(st.sampled_from(LETTERS), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=9
)


def point(character):
    return atoms.atom_points([ord(character)])[0]


def letter(character):
    return unicodedata.normalize("NFKD", character)[:1].casefold()[:1]


def replacing(one, other):
    """What is a tenth of the radius apart is another letter; forms of one letter cost a quarter."""
    cost = min(float(np.linalg.norm(point(one) - point(other))) / 0.1, 1.0)
    return cost / 4 if letter(one) == letter(other) else cost


def slow(one, other):
    table = np.zeros((len(one) + 1, len(other) + 1))
    table[:, 0] = range(len(one) + 1)
    table[0] = range(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + replacing(one[i - 1], other[j - 1]),
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[-1, -1]


@given(WORDS, st.lists(WORDS, max_size=8))
@example("ab", ["ba", "abab", "a", "b", "bab"])
@settings(max_examples=150, deadline=None)
def test_paths_are_those_of_the_textbook(text, words):
    found = orthography.paths(text, words)

    assert found.shape == (len(words),) and found.dtype == np.float64
    np.testing.assert_allclose(found, [slow(text, word) for word in words], atol=1e-12)


@given(WORDS, WORDS)
@settings(max_examples=150, deadline=None)
def test_a_path_is_as_long_the_other_way_and_zero_to_itself_alone(one, other):
    there, itself = orthography.paths(one, [other, one])

    np.testing.assert_allclose(there, orthography.paths(other, [one])[0], atol=1e-12)
    assert itself == 0 and (there > 0) == (one != other)
    assert abs(len(one) - len(other)) - 1e-12 <= there <= max(len(one), len(other)) + 1e-12


@given(WORDS, WORDS, WORDS)
@settings(max_examples=60, deadline=None)
def test_without_exchanged_neighbors_a_detour_is_no_shorter(one, two, three):
    """An exchange is what the triangle can fail by: between words in alphabetical order there is none."""
    one, two, three = ("".join(sorted(word)) for word in (one, two, three))

    straight, first = orthography.paths(one, [three, two])
    assert straight <= first + orthography.paths(two, [three])[0] + 1e-9


@pytest.mark.parametrize("other", ["whales", "hale", "wahle", "awhale", "whae"])
def test_insertions_deletions_and_exchanges_cost_one(other):
    assert orthography.paths("whale", [other])[0] == 1


def test_an_exchange_is_not_edited_again():
    """Without that it would be two changes; these three characters have nothing to do with each other."""
    assert orthography.paths("漢a", ["a漢", "a\U0001f600漢"]).tolist() == [1, 3]


@pytest.mark.parametrize("variant", ["Whale", "whalé", "WHALE", "whåle", "ｗhale"])
def test_case_and_accents_are_nearer_than_another_letter(variant):
    form, other = orthography.paths("whale", [variant, "whane"])

    assert 0 < form < other <= 1
    changed = sum(one != another for one, another in zip("whale", variant, strict=True))
    assert form <= changed / 4


def test_a_word_has_the_path_it_has_alone_whatever_stands_beside_it():
    random = np.random.default_rng(2)
    words = ["".join(random.choice(list("abcéZ'"), random.integers(1, 30))) for _ in range(300)]
    together = orthography.paths("abéc'Z", words)

    assert together.tolist() == [orthography.paths("abéc'Z", [word])[0] for word in words]


def test_the_longest_text_is_as_long_as_it_may_be():
    text = "ab" * (orthography.LIMIT // 2)

    assert orthography.paths(text, [text, text + "ab", "ba" * 50, "c"])[:2].tolist() == [0, 2]
    assert orthography.paths(text, [text[::-1]])[0] == 2


def test_there_are_no_paths_to_no_words():
    assert orthography.paths("a", []).shape == (0,)
    assert orthography.centroid_distances("a", []) == []


def test_centroids_are_apart_as_the_means_of_the_points_are():
    means = {word: np.mean([point(one) for one in word], axis=0) for word in ("whale", "hawel", "Ahab")}
    same, other = orthography.centroid_distances("whale", ["hawel", "Ahab"])

    assert same == pytest.approx(0, abs=1e-15)
    assert other == pytest.approx(np.linalg.norm(means["whale"] - means["Ahab"]))


def test_a_step_is_taken_for_every_character_and_can_stop_the_work():
    fractions = []
    orthography.paths("whale", ["a", "bc"], step=fractions.append)
    assert fractions == [0, 0.2, 0.4, 0.6, 0.8]

    class Stop(Exception):
        pass

    def stop(fraction):
        if fraction == 0.4:
            raise Stop

    with pytest.raises(Stop):
        orthography.paths("whale", ["a", "bc"], step=stop)
