"""Scales against quantisation done by hand, and shapes that do not fit."""

import numpy as np
import pytest

from hypercube import scales

NAME = "model.embed_tokens.weight"


def restored(values, name, entries):
    scale = scales.find(NAME, values.shape, {NAME: values.shape, name: entries.shape})
    result = values.astype(np.float32)
    scales.multiply(result, entries.astype(np.float32).ravel(), scale)
    return result, scale


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("model.embed_tokens.weight_scale", (), "the whole"),
        ("model.embed_tokens.weight_scale", (1,), "the whole"),
        ("model.embed_tokens.weight_scale_inv", (6,), "each row"),
        ("model.embed_tokens.scales", (6, 1), "each row"),
        ("model.embed_tokens.scale", (8,), "each column"),
        ("model.embed_tokens_scale", (1, 8), "each column"),
        ("model.embed_tokens.weight_scale", (6, 2), "each block of 1 x 4"),
        ("model.embed_tokens.weight_scale", (2, 2), "each block of 4 x 4"),
        ("model.embed_tokens.weight_scale", (3, 4), "each block of 2 x 2"),
    ],
)
def test_an_entry_scales_what_its_place_covers(name, shape, words):
    random = np.random.default_rng(2)
    values, entries = random.integers(-9, 9, (6, 8)), random.uniform(0.5, 2, shape)
    result, scale = restored(values, name, entries)

    grid = np.broadcast_to(entries, (1, 1)) if len(shape) == 0 else entries
    if len(shape) == 1:
        grid = entries.reshape(-1, 1) if shape[0] in (1, 6) else entries.reshape(1, -1)
    expected = np.empty((6, 8))
    for i in range(6):
        for j in range(8):
            expected[i, j] = values[i, j] * grid[i // scale.rows, j // scale.columns]
    assert np.allclose(result, expected, rtol=1e-6)
    assert scale.rule == f"{words} times {name}"


def test_the_row_maxima_of_llm_int8_stand_for_127():
    original = np.random.default_rng(3).normal(size=(6, 8))
    largest = np.abs(original).max(axis=1)
    quantised = np.rint(original / largest[:, None] * 127).astype(np.int8)

    result, scale = restored(quantised, "model.embed_tokens.SCB", largest)
    assert np.abs(result - original).max() <= largest.max() / 254 + 1e-6
    assert scale.rule.endswith("SCB/127")


def test_published_blocks_of_128_are_found_where_the_matrix_ends_within_one():
    shapes = {NAME: (1000, 384), "model.embed_tokens.weight_scale_inv": (8, 3)}

    assert scales.find(NAME, (1000, 384), shapes)[1:3] == (128, 128)


@pytest.mark.parametrize("shape", [(5,), (7, 8), (6, 9), (2, 2, 2), (0,), (6, 0)])
def test_a_shape_that_covers_nothing_is_no_scale(shape):
    assert scales.find(NAME, (6, 8), {NAME: (6, 8), "model.embed_tokens.weight_scale": shape}) is None


def test_no_tensor_beside_it_is_no_scale():
    assert scales.find(NAME, (6, 8), {NAME: (6, 8), "other.weight_scale": (6,)}) is None


def test_a_square_matrix_is_scaled_by_rows():
    assert scales.find(NAME, (4, 4), {NAME: (4, 4), "model.embed_tokens.scale": (4,)}).rows == 1
