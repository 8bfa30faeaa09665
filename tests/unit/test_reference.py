"""reference: the plain answers, against scipy and by hand; what counts as a difference."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hypercube import neighbors, reference


def unit(rows, columns=8, seed=3):
    random = np.random.default_rng(seed)
    return neighbors.unit_rows(random.normal(size=(rows, columns)))[0]


def test_the_nearest_are_those_of_scipy():
    matrix = unit(5000)
    vector = matrix[17].astype(np.float64)
    expected = np.argsort(cdist(vector[None], matrix.astype(np.float64), "cosine")[0], kind="stable")

    ids, scores = reference.nearest(matrix, vector, 7, excluded=[17], ineligible=[int(expected[1])])

    assert ids == expected[2:9].tolist()
    assert scores == pytest.approx((matrix[ids].astype(np.float64) @ vector).tolist(), abs=1e-12)


def test_equal_scores_come_by_number_and_fewer_rows_are_fewer_answers():
    matrix = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.float32)

    assert reference.nearest(matrix, np.array([1.0, 0.0]), 9, excluded=[2]) == ([0, 3, 1], [1.0, 1.0, 0.0])


def test_the_nearest_points_are_those_of_scipy():
    points = np.random.default_rng(5).uniform(-1, 1, size=(400, 4))
    distances = cdist(points[9][None], points)[0]

    places, found = reference.nearest_points(points, 9, 6)

    assert places == np.argsort(distances)[1:7].tolist()
    assert found == pytest.approx(np.sort(distances)[1:7].tolist())


@pytest.mark.parametrize(
    ("found", "asked", "told"),
    [
        (([1, 2, 3], [0.9, 0.5, 0.1]), 3, None),
        (([1, 2, 3], [0.90005, 0.49996, 0.1]), 3, None),
        (([1, 2, 3], [0.9002, 0.5, 0.1]), 3, "score 0.900200 at rank 1"),
        (([1, 2, 3], [float("nan"), 0.5, 0.1]), 3, "score nan at rank 1"),
        (([2, 1, 3], [0.9, 0.5, 0.1]), 3, "token 2 at rank 1, expected 1"),
        # The last may stand for others with its score, unless there are no more.
        (([1, 2, 4], [0.9, 0.5, 0.1]), 3, None),
        (([1, 2, 4], [0.9, 0.5, 0.1]), 4, "token 4 at rank 3, expected 3"),
        (([1, 2], [0.9, 0.5]), 3, "2 answers, expected 3"),
        (([], []), 3, "0 answers, expected 3"),
    ],
)
def test_answers_differ_where_they_are_not_a_matter_of_rounding(found, asked, told):
    problem = reference.difference("nearest", ([1, 2, 3], [0.9, 0.5, 0.1]), found, asked)

    assert (problem is None) == (told is None)
    assert told is None or problem.startswith(told)


def test_answers_of_nearly_one_score_may_change_places():
    expected = [1, 2, 3, 4], [0.9, 0.500004, 0.5, 0.1]

    assert reference.difference("nearest", expected, ([1, 3, 2, 4], [0.9, 0.5, 0.5, 0.1]), 4) is None
    assert reference.difference("nearest", expected, ([1, 3, 5, 4], [0.9, 0.5, 0.5, 0.1]), 4) is not None
    # Distances on a map are told apart more finely.
    assert reference.difference("map", expected, ([1, 3, 2, 4], [0.9, 0.5, 0.5, 0.1]), 4) is not None


def test_tokens_have_an_order_and_vectors_no_tokens():
    assert reference.difference("tokenize", ([4, 4, 2], []), ([4, 4, 2], [])) is None
    assert reference.difference("tokenize", ([4, 4, 2], []), ([4, 2, 4], [])) is not None
    assert reference.difference("embed", ([], [0.6, 0.8]), ([], [0.60001, 0.8])) is None
    assert reference.difference("embed", ([], [0.6, 0.8]), ([], [0.61, 0.8])) is not None
