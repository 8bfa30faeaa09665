"""Test sets as they are published, and correlations against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hypercube import benchmarks
from hypercube.errors import InvalidArgument, TooMany


def test_sections_and_questions_are_read():
    text = ": family\nman king woman queen\r\n\n  boy girl son daughter\n:empty\n: capital cities\na b c d\n"
    assert benchmarks.read_analogies(text) == [
        ("family", [["man", "king", "woman", "queen"], ["boy", "girl", "son", "daughter"]]),
        ("empty", []),
        ("capital cities", [["a", "b", "c", "d"]]),
    ]


def test_lines_are_as_good_as_a_text_and_questions_need_no_section():
    assert benchmarks.read_analogies(["a b c d", "e f g h"]) == [
        ("", [["a", "b", "c", "d"], ["e", "f", "g", "h"]])
    ]


@pytest.mark.parametrize("text", ["man king woman", "a b c d e", ": x\na b c d\nq"])
def test_a_line_that_is_no_question_is_refused_by_its_number(text):
    with pytest.raises(InvalidArgument, match=f"line {len(text.splitlines())} of the questions") as refusal:
        benchmarks.read_analogies(text)
    assert "four words" in refusal.value.hint


@pytest.mark.parametrize("text", [None, "", "\n\n", ": only a section", []])
def test_no_question_is_refused(text):
    with pytest.raises(InvalidArgument, match="no question"):
        benchmarks.read_analogies(text)


@pytest.mark.parametrize("line", [None, ["a b c d"]])
def test_a_line_that_is_no_text_is_refused(line):
    with pytest.raises(InvalidArgument, match="null or an array"):
        benchmarks.read_analogies([line])


def test_only_line_feeds_end_lines():
    assert benchmarks.read_analogies("a\u2028 b c d") == [("", [["a", "b", "c", "d"]])]


def test_more_lines_than_anybody_asks_are_refused():
    with pytest.raises(TooMany, match="1000001 lines"):
        benchmarks.read_analogies("a b c d\n" * 1_000_001)


def test_pairs_come_with_comments_headers_tabs_and_spaces():
    text = (
        "Word 1\tWord 2\tHuman (mean)\n# a comment\nlove\tsex\t6.77\ntiger cat 7.35\nmy dog\tyour cat\t1e1\n"
    )
    assert benchmarks.read_pairs(text) == [
        ("love", "sex", 6.77), ("tiger", "cat", 7.35), ("my dog", "your cat", 10.0),
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["tiger cat", "tiger cat many", "\tcat\t1", "a b nan", "a b inf"])
def test_a_line_that_is_no_pair_is_refused_by_its_number(line):
    with pytest.raises(InvalidArgument, match="line 2 of the pairs"):
        benchmarks.read_pairs("a b 1\n" + line)


@pytest.mark.parametrize("text", [None, "", "# nothing"])
def test_no_pair_is_refused(text):
    with pytest.raises(InvalidArgument, match="no pair"):
        benchmarks.read_pairs(text)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_ranks_are_those_of_scipy(values):
    np.testing.assert_array_equal(benchmarks.mean_ranks(np.array(values)), stats.rankdata(values))


def test_correlations_are_those_of_scipy():
    random = np.random.default_rng(0)
    left, right = random.normal(size=50).round(1), random.normal(size=50).round(1)
    ranks = benchmarks.correlation(benchmarks.mean_ranks(left), benchmarks.mean_ranks(right))

    assert ranks == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)
    assert benchmarks.correlation(left, right) == pytest.approx(
        stats.pearsonr(left, right).statistic, abs=1e-12
    )


@pytest.mark.parametrize(("left", "right"), [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_what_does_not_vary_has_no_correlation(left, right):
    assert benchmarks.correlation(np.array(left), np.array(right)) is None
