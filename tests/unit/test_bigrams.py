"""Pairs of tokens, beside a loop over sentences, places and windows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercube.bigrams import count_pairs

SENTENCES = st.lists(st.tuples(st.lists(st.integers(0, 6), max_size=12), st.integers(1, 5)), max_size=8)


def slow(sentences, window, excluded=None):
    found = Counter()
    for tokens, times in sentences:
        for here, source in enumerate(tokens):
            for target in tokens[here + 1 : here + 1 + window]:
                if excluded not in (source, target):
                    found[source, target] += times
    return [(*pair, count) for pair, count in sorted(found.items())]


def fast(sentences, window, size=7, excluded=None):
    ids = [token for tokens, _ in sentences for token in tokens]
    lengths = [len(tokens) for tokens, _ in sentences]
    times = [times for _, times in sentences]
    columns = count_pairs(ids, lengths, times, window=window, size=size, excluded=excluded)
    assert all(column.dtype == np.int64 for column in columns)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(SENTENCES, st.integers(1, 16), st.none() | st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_counts_are_those_of_a_slow_loop(sentences, window, excluded):
    assert fast(sentences, window, excluded=excluded) == slow(sentences, window, excluded)


def test_a_pair_has_a_direction_and_a_sentence_its_end():
    assert fast([([1, 2, 1], 1), ([3], 9), ([2, 1], 2)], 1) == [(1, 2, 1), (2, 1, 3)]


def test_a_window_counts_every_distance_up_to_it():
    assert fast([([1, 2, 3], 2)], 2) == [(1, 2, 2), (1, 3, 2), (2, 3, 2)]
    assert fast([([1, 1, 1], 1)], 2) == [(1, 1, 3)]


def test_what_is_excluded_still_takes_its_place():
    assert fast([([1, 0, 2], 1)], 1, excluded=0) == []
    assert fast([([1, 0, 2], 1)], 2, excluded=0) == [(1, 2, 1)]


@pytest.mark.parametrize("sentences", [[], [([], 3)], [([5], 3)], [([5], 1), ([], 1), ([6], 1)]])
def test_less_than_two_tokens_are_no_pair(sentences):
    assert fast(sentences, 16) == []


def test_sums_are_exact_beyond_32_bits_and_the_largest_vocabulary_does_not_overflow():
    size = 2**31 - 1
    assert fast([([size - 1, size - 2], 2**40 + 1), ([size - 1, size - 2], 1)], 1, size=size) == [
        (size - 1, size - 2, 2**40 + 2)
    ]


def test_many_sentences_have_the_counts_of_the_loop():
    random = np.random.default_rng(9)
    lengths = random.integers(0, 60, 6000)
    ids = random.integers(0, 500, lengths.sum())
    ends = np.cumsum(lengths)
    sentences = [
        (ids[end - length : end].tolist(), int(times))
        for end, length, times in zip(ends, lengths, random.integers(1, 4, 6000), strict=True)
    ]
    assert fast(sentences, 3, size=500, excluded=7) == slow(sentences, 3, 7)
