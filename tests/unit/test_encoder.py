"""Encoders: the published implementation's vectors, and a plain float64 reading of the same arithmetic."""

import base64
import json
import math
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import erf, ndtr
from tokenizers import Tokenizer

from hypercube import architecture, encoder
from hypercube.errors import InvalidArgument, NotSupported

MODEL = Path(__file__).parents[2] / ".local" / "models" / "all-MiniLM-L6-v2"
PUBLISHED = json.loads((Path(__file__).parent / "sentences.json").read_text(encoding="utf-8"))["sentences"]
ACTIVATIONS = {
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
}
POOLINGS = {
    "cls": lambda x: x[0],
    "max": lambda x: x.max(axis=0),
    "mean": lambda x: x.mean(axis=0),
    "mean_sqrt_len_tokens": lambda x: x.sum(axis=0) / math.sqrt(len(x)),
}


def small(seed=0, scale=1.0, **changes):
    """Return a small Architecture and random values of its tensors."""
    hidden, wide, layers, vocabulary, positions = 24, 40, 2, 50, 30
    tensors = architecture._tensors(hidden, wide, layers, vocabulary, positions, 2)
    names, shapes = zip(*tensors, strict=True)
    kind = architecture.Architecture(
        names=names, shapes=shapes, hidden=hidden, wide=wide, heads=3, layers=layers, epsilon=1e-12,
        activation="gelu", vocabulary=vocabulary, longest=positions, pooling=("mean",), normalised=True,
        lower_case=False,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    flat = scale * random.normal(size=kind.size) / np.sqrt(hidden)
    return kind._replace(**changes), flat.astype(np.float32)


def texts_of(kind, lengths, seed=1):
    random = np.random.default_rng(seed)
    return [random.integers(0, kind.vocabulary, length).tolist() for length in lengths]


def plainly(kind, flat, texts):
    """Encode one text after the other in float64, nothing left out and nothing put together."""
    values = iter(np.split(flat.astype(np.float64), np.cumsum([math.prod(s) for s in kind.shapes])[:-1]))
    tensor = {name: value.reshape(s) for name, value, s in zip(kind.names, values, kind.shapes, strict=True)}

    def linear(name, x):
        return x @ tensor[name + ".weight"].T + tensor[name + ".bias"]

    def norm(name, x):
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + kind.epsilon)
        return x * tensor[name + ".weight"] + tensor[name + ".bias"]

    def one(ids):
        words, places, types = (
            tensor[f"embeddings.{what}_embeddings.weight"] for what in ("word", "position", "token_type")
        )
        x = norm("embeddings.LayerNorm", words[ids] + places[: len(ids)] + types[0])
        for number in range(kind.layers):
            layer = f"encoder.layer.{number}."
            q, k, v = (
                linear(f"{layer}attention.self.{what}", x).reshape(len(ids), kind.heads, -1).swapaxes(0, 1)
                for what in ("query", "key", "value")
            )
            scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[2])
            weights = np.exp(scores - scores.max(axis=2, keepdims=True))
            weights /= weights.sum(axis=2, keepdims=True)
            seen = (weights @ v).swapaxes(0, 1).reshape(len(ids), -1)
            x = norm(f"{layer}attention.output.LayerNorm", x + linear(f"{layer}attention.output.dense", seen))
            inner = ACTIVATIONS[kind.activation](linear(f"{layer}intermediate.dense", x))
            x = norm(f"{layer}output.LayerNorm", x + linear(f"{layer}output.dense", inner))
        vector = np.concatenate([POOLINGS[name](x) for name in kind.pooling])
        return vector / np.linalg.norm(vector) if kind.normalised else vector

    return np.array([one(ids) for ids in texts])


def cosines(one, other):
    one, other = one.astype(np.float64), other.astype(np.float64)
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.fixture(scope="module")
def real():
    files = (
        json.loads((MODEL / name).read_text())
        for name in ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
    )
    tensors = load_file(MODEL / "model.safetensors")
    kind = architecture.read(*files, {name: ("F32", tensor.shape) for name, tensor in tensors.items()})
    flat = np.concatenate([tensors[name].ravel() for name in kind.names])
    flat.flags.writeable = False
    return encoder.Encoder(kind, flat)


@pytest.fixture(scope="module")
def spelled(real):
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(real.architecture.longest)
    return [tokenizer.encode(sentence["text"]).ids for sentence in PUBLISHED]


def test_the_published_vectors_are_those_that_everybody_knows():
    first = np.frombuffer(base64.b64decode(PUBLISHED[0]["vector"]), "<f4")
    assert PUBLISHED[0]["text"] == "This is an example sentence"
    np.testing.assert_allclose(first[:5], [0.0677, 0.0635, 0.0487, 0.0793, 0.0374], atol=5e-5)


def test_vectors_of_the_real_model_are_the_published_ones(real, spelled):
    published = np.array([np.frombuffer(base64.b64decode(one["vector"]), "<f4") for one in PUBLISHED])

    found = real.encode(spelled)

    assert [len(ids) for ids in spelled] == [sentence["tokens"] for sentence in PUBLISHED]
    assert found.dtype == np.float32
    assert cosines(found, published).min() >= 1 - 1e-9
    np.testing.assert_allclose(found, published, atol=2e-6)


def test_a_text_has_the_same_vector_alone_and_among_others(real, spelled):
    together = real.encode(spelled)
    backwards = real.encode(spelled[::-1])[::-1]
    alone = np.concatenate([real.encode([ids]) for ids in spelled])

    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_allclose(backwards, together, atol=1e-6)
    np.testing.assert_array_equal(real.encode(spelled), together)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(
    "pooling", [*((name,) for name in POOLINGS), ("cls", "max", "mean"), ("mean", "cls")]
)
def test_every_kind_is_as_in_float64(pooling, activation, normalised):
    kind, flat = small(pooling=pooling, activation=activation, normalised=normalised)
    texts = texts_of(kind, [5, 1, 30, 5, 2, 17, 5, 30])

    found = encoder.Encoder(kind, flat).encode(texts)

    assert found.shape == (8, kind.dimension)
    np.testing.assert_allclose(found, plainly(kind, flat, texts), atol=2e-5)


def test_more_layers_other_heads_and_a_large_epsilon_are_as_in_float64():
    for changes in {"heads": 1}, {"heads": 24}, {"epsilon": 0.1}:
        kind, flat = small(**changes)
        texts = texts_of(kind, [3, 9, 9])
        np.testing.assert_allclose(
            encoder.Encoder(kind, flat).encode(texts), plainly(kind, flat, texts), atol=2e-5
        )


def test_scores_beyond_the_range_of_exp_are_as_in_float64():
    # Large enough for softmax to be all or nothing; float32 tells only so much then.
    kind, flat = small(scale=6.0)
    texts = texts_of(kind, [12, 7, 30])
    assert cosines(encoder.Encoder(kind, flat).encode(texts), plainly(kind, flat, texts)).min() > 0.99999


def test_where_the_work_is_cut_does_not_matter(monkeypatch):
    kind, flat = small()
    texts = texts_of(kind, np.random.default_rng(3).integers(1, 31, 60))
    found = encoder.Encoder(kind, flat).encode(texts)
    for name, value in ("_TOKENS", 1), ("_TOKENS", 64), ("_BLOCK", 1), ("_SCORES", 1), ("_SCORES", 500):
        with monkeypatch.context() as patch:
            patch.setattr(encoder, name, value)
            np.testing.assert_allclose(encoder.Encoder(kind, flat).encode(texts), found, atol=1e-6)


def test_texts_come_back_in_their_order():
    kind, flat = small()
    texts = texts_of(kind, np.random.default_rng(4).integers(1, 31, 500))
    found = encoder.Encoder(kind, flat).encode(texts)
    for place in 0, 123, 499:
        np.testing.assert_allclose(
            encoder.Encoder(kind, flat).encode([texts[place]])[0], found[place], atol=1e-6
        )


def test_tokens_may_be_arrays_and_there_may_be_none():
    kind, flat = small()
    texts = texts_of(kind, [4, 2])
    found = encoder.Encoder(kind, flat).encode([np.array(ids) for ids in texts])

    np.testing.assert_array_equal(found, encoder.Encoder(kind, flat).encode(texts))
    assert encoder.Encoder(kind, flat).encode([]).shape == (0, 24)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_activations_are_within_a_millionth(activation):
    points = np.concatenate([np.linspace(-20, 20, 1_000_001), [0.0, -1e3, 1e3, -1e30, 1e30]])
    x = points.astype(np.float32)
    exact = (
        ACTIVATIONS[activation](x.astype(np.float64)) if activation != "gelu" else x * ndtr(x.astype(float))
    )
    with np.errstate(over="ignore", invalid="ignore"):
        encoder._ACTIVATIONS[activation](x, np.empty_like(x), np.empty_like(x))
    assert np.abs((x - exact) / np.maximum(1, np.abs(exact))).max() < 1e-6


@pytest.mark.parametrize("text", [[], [0] * 31])
def test_a_text_without_tokens_or_with_too_many_is_refused(text):
    kind, flat = small()
    with pytest.raises(InvalidArgument, match="between 1 and 30 tokens"):
        encoder.Encoder(kind, flat).encode([[1, 2], text])


@pytest.mark.parametrize("token_id", [-1, 50, 2**40])
def test_a_token_that_is_not_in_the_vocabulary_is_refused(token_id):
    kind, flat = small()
    with pytest.raises(InvalidArgument, match="not in the vocabulary of 50"):
        encoder.Encoder(kind, flat).encode([[1, token_id]])


def test_other_values_than_the_tensors_have_are_refused():
    kind, flat = small()
    for wrong in flat[:-1], np.append(flat, flat[:1]), flat.astype(np.float64), flat[None]:
        with pytest.raises(InvalidArgument, match="cannot be made of others"):
            encoder.Encoder(kind, wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_vectors_that_are_not_finite_are_refused(value):
    kind, flat = small()
    flat[-60:] = value
    with pytest.raises(NotSupported, match="not finite"):
        encoder.Encoder(kind, flat).encode([[1, 2, 3]])


def test_a_vector_of_zeros_stays_one():
    kind, flat = small()
    flat[-48:] = 0
    np.testing.assert_array_equal(encoder.Encoder(kind, flat).encode([[1, 2]]), np.zeros((1, 24)))


def test_the_tensors_are_looked_at_and_not_copied(real):
    tracemalloc.start()
    try:
        another = encoder.Encoder(real.architecture, real._words.base)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert np.shares_memory(another._layers[5].outer, real._words.base)


def test_memory_does_not_grow_with_the_texts(real):
    texts = texts_of(real.architecture, [40] * 60 + [256] * 8)
    tracemalloc.start()
    try:
        real.encode(texts)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_long_batch_asks_ten_times_a_second_whether_to_go_on(real):
    texts = texts_of(real.architecture, [256] * 8)
    fractions, moments = [], [time.perf_counter()]

    def step(fraction):
        fractions.append(fraction)
        moments.append(time.perf_counter())

    real.encode(texts, step=step)

    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.1
    assert fractions[-1] == pytest.approx(1)
    # The median: what else the machine does is not ours.
    assert np.median(np.diff(moments)) < 0.1
    assert len(fractions) > 4 * real.architecture.layers


def test_a_step_that_raises_ends_the_work():
    class Cancelled(Exception):
        pass

    def step(fraction):
        raise Cancelled

    kind, flat = small()
    with pytest.raises(Cancelled):
        encoder.Encoder(kind, flat).encode([[1, 2]], step=step)
