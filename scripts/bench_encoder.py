"""Vectors of texts, beside the bare products and beside what a notebook would do."""

import itertools
import math

import numpy as np
from bench_tools import take_turns, tell_turns, weigh
from scipy.special import erf

from hypercube.encoder import Encoder

_BATCH = 32
_TOGETHER = 1024


def measure_encoder(kind, flat, texts):
    """Encode the token ids of some texts; `kind` is their model's Architecture, `flat` its values."""
    encoder = Encoder(kind, flat)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    ordered = [texts[place] for place in order]
    batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
    multiply, tokens = products(kind, flat, texts), sum(map(len, texts))
    found = {}

    def encode():
        found["hypercube"] = encoder.encode(texts)

    def notebook():
        found["notebook"] = bare(kind, flat, batches)

    take_turns(1, encode, multiply)
    encoded, multiplied, noted = take_turns(3, encode, multiply, notebook)
    tell_turns({"encode": encoded, "bare products": multiplied, "notebook": noted})
    name = f"{len(texts):,} texts of {tokens / len(texts):.0f} tokens"
    rate = f", {len(texts) / np.median(encoded):.0f} a second"
    yield weigh(f"vectors of {name}", encoded, multiplied, "bare products", more=rate, most=1.5)
    apart = np.abs(found["hypercube"][order] - found["notebook"]).max()
    yield weigh(
        "the same beside a notebook", encoded, noted, f"numpy and scipy, padded by {_BATCH}", most=1.0,
        target="vectors equal to 1e-5", met=bool(apart < 1e-5),
    )  # fmt: skip


def tensors_of(kind, flat):
    """Return the tensors by their names, without what stands before them."""
    prefix = kind.names[0].removesuffix("embeddings.word_embeddings.weight")
    parts = np.split(flat, np.cumsum([math.prod(shape) for shape in kind.shapes])[:-1])
    named = zip(kind.names, parts, kind.shapes, strict=True)
    return {name.removeprefix(prefix): part.reshape(shape) for name, part, shape in named}


def products(kind, flat, texts):
    """Return a task that multiplies every matrix with as many tokens as the texts have."""
    tensors = tensors_of(kind, flat)
    count = max(1, sum(map(len, texts)) // _TOGETHER)
    tokens = -(-sum(map(len, texts)) // count)
    random = np.random.default_rng(0)
    sizes = {size: random.normal(size=(tokens, size)).astype(np.float32) for size in (kind.hidden, kind.wide)}
    tasks = []
    for number in range(kind.layers):
        layer = f"encoder.layer.{number}."
        three = [tensors[f"{layer}attention.self.{what}.weight"] for what in ("query", "key", "value")]
        others = ("attention.output", "intermediate", "output")
        for matrix in np.concatenate(three), *(tensors[f"{layer}{what}.dense.weight"] for what in others):
            tasks.append((sizes[matrix.shape[1]], matrix.T, np.empty((tokens, len(matrix)), np.float32)))

    def multiply():
        for _, (x, matrix, out) in itertools.product(range(count), tasks):
            np.matmul(x, matrix, out=out)

    return multiply


def bare(kind, flat, batches):
    """Encode batches of texts the straightforward way: padded, masked, one line a formula.

    Only for what all-MiniLM-L6-v2 is: gelu, the mean, normalised.
    """
    tensors = tensors_of(kind, flat)

    def linear(name, x):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(kind.epsilon))
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def heads(x):
        return x.reshape(*x.shape[:2], kind.heads, -1).transpose(0, 2, 1, 3)

    vectors = []
    for batch in batches:
        longest = max(map(len, batch))
        ids = np.array([list(text) + [0] * (longest - len(text)) for text in batch])
        mask = np.array([[1] * len(text) + [0] * (longest - len(text)) for text in batch], np.float32)
        hidden = np.float32(-1e9) * (1 - mask)[:, None, None, :]
        words, places, types = (
            tensors[f"embeddings.{what}_embeddings.weight"] for what in ("word", "position", "token_type")
        )
        x = norm("embeddings.LayerNorm", words[ids] + places[:longest] + types[0])
        for number in range(kind.layers):
            layer = f"encoder.layer.{number}."
            q, k, v = (
                heads(linear(f"{layer}attention.self.{what}", x)) for what in ("query", "key", "value")
            )
            scores = q @ k.swapaxes(2, 3) / np.float32(math.sqrt(q.shape[-1])) + hidden
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights = weights / weights.sum(axis=-1, keepdims=True)
            seen = (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape)
            x = norm(f"{layer}attention.output.LayerNorm", x + linear(f"{layer}attention.output.dense", seen))
            inner = linear(f"{layer}intermediate.dense", x)
            inner = inner * (1 + erf(inner / np.float32(math.sqrt(2)))) / 2
            x = norm(f"{layer}output.LayerNorm", x + linear(f"{layer}output.dense", inner))
        mean = (x * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
        vectors.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    return np.concatenate(vectors)
