"""Vectors of texts: as published, and as the paper of the mean says."""

import base64
import json
import math
from pathlib import Path

import numpy as np
import psycopg
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from rows import MODELS, ingest, one
from small_models import vectors, write_model

PUBLISHED = json.loads((Path(__file__).parents[1] / "unit" / "sentences.json").read_text(encoding="utf-8"))
NOT_READY = psycopg.errors.ObjectNotInPrerequisiteState


def vector(db, text, model=None, method=None):
    return np.array(one(db, "SELECT hypercube.embed(%s, %s, %s)", text, model, method))


def test_the_vector_of_an_example_is_the_one_that_everybody_knows(db):
    found = vector(db, "This is an example sentence")

    assert [round(one, 4) for one in found[:5]] == [0.0677, 0.0635, 0.0487, 0.0793, 0.0374]
    assert len(found) == 384 and np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_vectors_are_the_published_ones(db):
    texts = [sentence["text"] for sentence in PUBLISHED["sentences"]]
    rows = db.execute(
        "SELECT hypercube.embed(content, method => 'encoder') FROM unnest(%s::text[]) AS content",
        (texts,),
    ).fetchall()
    expected = [np.frombuffer(base64.b64decode(one["vector"]), "<f4") for one in PUBLISHED["sentences"]]

    np.testing.assert_allclose(np.array([row[0] for row in rows]), np.array(expected), atol=1e-5)


@pytest.mark.parametrize("text", ["the white whale", "Unbelievable! 42 caf\u00e9s \U0001f40b", "a", "!"])
def test_smooth_inverse_frequency_is_that_of_the_paper(db, text):
    """The frequencies are Zipf's of the place of a token among those of several characters."""
    library = Tokenizer.from_file(str(MODELS / "wordllama" / "tokenizer.json"))
    table = load_file(MODELS / "wordllama" / "model.safetensors")["embedding.weight"].astype(np.float64)
    tokens = db.execute(
        "SELECT token_id, label FROM hypercube.token_overview WHERE model = 'wordllama' AND usable"
        " AND kind <> 'special' ORDER BY token_id"
    ).fetchall()
    harmonic = math.log(len(tokens)) + 0.5772156649015329
    weight, place = {}, 1
    for token_id, label in tokens:
        place += len(label) > 1
        weight[token_id] = 1e-3 / (1e-3 + 1 / ((place if len(label) > 1 else 1) * harmonic))
    ids = [one for one in library.encode(text, add_special_tokens=False).ids if one in weight]
    mean = np.mean([weight[token_id] * table[token_id] for token_id in ids], axis=0)
    expected = mean / np.linalg.norm(mean)

    np.testing.assert_allclose(vector(db, text, "wordllama", "sif"), expected, atol=1e-6)
    np.testing.assert_allclose(vector(db, text, "wordllama"), expected, atol=1e-6)


def test_a_model_that_is_no_encoder_uses_the_mean_and_says_why(own, sources):
    ingest(own, write_model(sources / "m", vectors(60)))
    np.testing.assert_array_equal(vector(own, "waab waac"), vector(own, "waab waac", method="sif"))
    with pytest.raises(NOT_READY, match="is not a sentence encoder: .") as refusal:
        vector(own, "waab", method="encoder")
    assert "'sif'" in refusal.value.diag.message_hint


@pytest.mark.parametrize(
    ("call", "error", "problem", "hint"),
    [
        ("embed(NULL)", "InvalidParameterValue", "must not be null", "Give a sentence."),
        (
            "embed('a', method => 'magic')",
            "InvalidParameterValue",
            '"magic" is not known',
            "'encoder' or",
        ),
        ("embed('', method => 'sif')", "InvalidParameterValue", "no token of the text", "with words"),
        ("embed('\U0001f40b', method => 'sif')", "InvalidParameterValue", "no token of", "with words"),
        ("embed('a', 'no')", "UndefinedObject", 'model "no" does not exist', "List the loaded models"),
        (
            "embed(repeat('a', 250001))",
            "ProgramLimitExceeded",
            "250001 characters",
            "cut it into parts",
        ),
    ],
)
def test_what_has_no_vector_is_refused(db, call, error, problem, hint):
    with pytest.raises(getattr(psycopg.errors, error), match=problem) as refusal:
        db.execute(f"SELECT hypercube.{call}")
    assert hint in refusal.value.diag.message_hint
