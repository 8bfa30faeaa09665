"""Vectors of texts by a BERT sentence encoder, from its tensors and token ids.

Owns the arithmetic.  It does not know how a text is spelled or where the tensors are kept;
what they mean is told by an `architecture.Architecture`.

The tokens of many texts stand one after the other, without padding: products, norms and
activations do not ask which text a token belongs to.  Only attention does, and texts of
one length are taken through it together, so there is nothing to mask.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from hypercube.errors import InvalidArgument, NotSupported

# Tokens multiplied at a time: enough to keep BLAS busy.  Fewer where a layer is wide, for the memory and
# for the time between two calls of `step`.
_TOKENS = 1024
_WIDE_VALUES = 1 << 22
_PRODUCTS = 1 << 32
# Values of a block that several passes go over, so that they find it in the cache.
_BLOCK = 1 << 16
_SCORES = 1 << 18
# Scores that stay below have an exponential that neither overflows nor vanishes, summed up or alone.
_SAFE_SCORE = 60.0
_LEAST_LENGTH = np.float32(1e-12)

_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
_LINE = np.float32(math.sqrt(2.0 / math.pi))
_CUBE = np.float32(0.044715 * math.sqrt(2.0 / math.pi))
# log(erfc(t / sqrt(2)) / 2) for t >= 0, highest power first; see `_gelu`.
_TAIL = tuple(
    map(np.float32, (-3.2806245e-4, 4.9105748e-3, -3.5923857e-2, -0.3188426, -0.7976653, -0.6931733))
)


class _Layer(NamedTuple):
    """Views of the tensors of one layer; three vectors of their own."""

    projection: np.ndarray
    query_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    output_norm: tuple
    inner: np.ndarray
    inner_bias: np.ndarray
    outer: np.ndarray
    outer_bias: np.ndarray
    outer_norm: tuple


class _Run(NamedTuple):
    """Texts of one length that follow each other: their rows, how many they are, their length."""

    rows: slice
    texts: int
    length: int


def _silent(fraction):
    pass


class Encoder:
    """A sentence encoder over the values of its tensors.

    Parameters
    ----------
    architecture : Architecture
    flat : float32 ndarray of shape (architecture.size,)
        The values of the tensors one after the other, in the order of ``architecture.names``.  Only read,
        and not copied: it may be mapped from a file and shared.

    Raises
    ------
    InvalidArgument
        If `flat` has another size or dtype.
    """

    def __init__(self, architecture, flat):
        if flat.shape != (architecture.size,) or flat.dtype != np.float32:
            raise InvalidArgument(
                f"an encoder of {architecture.size} float32 values cannot be made of others"
            )
        self.architecture = architecture
        hidden, wide = architecture.hidden, architecture.wide
        square, vector = (hidden, hidden), (hidden,)
        # Query, key and value follow each other in the array: one product for the three.
        layer = (
            (3 * hidden, hidden), (3, hidden), square, vector, vector, vector,
            (wide, hidden), (wide,), (hidden, wide), vector, vector, vector,
        )  # fmt: skip
        views = _views(flat, (*architecture.shapes[:5], *layer * architecture.layers))
        self._words, self._positions, types, *norm = itertools.islice(views, 5)
        self._norm = tuple(norm)
        # Nobody says which of two sentences a token is in: it is the first.
        self._first_type = types[0]
        self._layers = [_layer(*itertools.islice(views, len(layer))) for _ in range(architecture.layers)]

    def encode(self, texts, *, step=_silent):
        """Return the vectors of some texts.

        Parameters
        ----------
        texts : sequence of sequences of int
            The token ids of every text, the special ones included.
        step : callable
            ``step(fraction)``, called after every product; it may raise, and the work ends.

        Returns
        -------
        float32 ndarray of shape (len(texts), architecture.dimension)
            In the order of `texts`.

        Raises
        ------
        InvalidArgument
            If a text has no token, more than ``architecture.longest``, or one that is not in the vocabulary.
        NotSupported
            If a vector is not finite, which comes of the weights.

        Notes
        -----
        Equal input gives equal output.  What else is encoded with a text may change its vector in the last
        digits of float32, as the shape of a product does with BLAS.  Takes some tens of MiB beside the
        result, whatever the number of texts.
        """
        kind = self.architecture
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if lengths.size and not 1 <= lengths.min() <= lengths.max() <= kind.longest:
            raise InvalidArgument(f"a text must have between 1 and {kind.longest} tokens")
        found = np.empty((len(texts), kind.dimension), np.float32)
        order = np.argsort(lengths, kind="stable")
        widest = max(kind.wide, 3 * kind.hidden)
        most = max(1, min(_TOKENS, _WIDE_VALUES // widest, _PRODUCTS // (widest * kind.hidden)))
        batches = _batches(lengths[order], most)
        work = _Workspace(kind, max((int(lengths[order[part]].sum()) for part in batches), default=0))
        done, total = 0, lengths.sum()
        # A model may hold any values; what comes of them is looked at in the end.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for part in batches:
                chosen = order[part]
                tokens = int(lengths[chosen].sum())

                def inner_step(fraction, done=done, tokens=tokens):
                    step((done + fraction * tokens) / total)

                found[chosen] = self._encode([texts[i] for i in chosen], lengths[chosen], work, inner_step)
                done += tokens
        return found

    def _encode(self, texts, lengths, work, step):
        """Return the vectors of one batch of texts, which are in the order of their lengths."""
        tokens = int(lengths.sum())
        runs = _runs(lengths)
        x = self._embed(np.fromiter(itertools.chain.from_iterable(texts), np.int64, tokens), runs, work)
        for number, layer in enumerate(self._layers):
            done = number

            def inner_step(part, done=done):
                step((done + part) / len(self._layers))

            self._attend(x, layer, runs, work, inner_step)
            self._feed_forward(x, layer, work, inner_step)
        return self._pool(x, lengths)

    def _embed(self, ids, runs, work):
        """Return the embedding of every token, float32 of shape (tokens, hidden)."""
        # One look at the largest and the smallest: a number beyond the table would be an index all the same.
        if ids.min() < 0 or ids.max() >= self.architecture.vocabulary:
            raise InvalidArgument(f"a token id is not in the vocabulary of {self.architecture.vocabulary}")
        x = work.state[: len(ids)]
        np.take(self._words, ids, axis=0, out=x, mode="clip")
        placed = self._positions[: runs[-1].length] + self._first_type
        for run in runs:
            texts = x[run.rows].reshape(run.texts, run.length, -1)
            texts += placed[: run.length]
        for rows in _blocks(x):
            _normalise(x[rows], self._norm, self.architecture.epsilon, work.average)
        return x

    def _attend(self, x, layer, runs, work, step):
        """Replace the state by what attention makes of it."""
        kind = self.architecture
        projected = work.wide[: len(x) * 3 * kind.hidden].reshape(len(x), 3 * kind.hidden)
        np.matmul(x, layer.projection.T, out=projected)
        step(0.2)
        queries = projected[:, : kind.hidden]
        queries += layer.query_bias
        seen = work.seen[: len(x)]
        for run in runs:
            shape = (run.texts, run.length, 3, kind.heads, -1)
            query, key, value = projected[run.rows].reshape(shape).transpose(2, 0, 3, 1, 4)
            out = seen[run.rows].reshape(run.texts, run.length, kind.heads, -1).transpose(0, 2, 1, 3)
            _attention(query, key.swapaxes(2, 3), value, out, work, lambda: step(0.25))
        step(0.3)
        added = work.added[: len(x)]
        np.matmul(seen, layer.output.T, out=added)
        self._add(x, added, layer.output_bias, layer.output_norm, work)
        step(0.4)

    def _feed_forward(self, x, layer, work, step):
        """Replace the state by what the two outer products of a layer make of it."""
        kind = self.architecture
        activate = _ACTIVATIONS[kind.activation]
        inner = work.wide[: len(x) * kind.wide].reshape(len(x), kind.wide)
        np.matmul(x, layer.inner.T, out=inner)
        step(0.6)
        for rows in _blocks(inner):
            block = inner[rows]
            block += layer.inner_bias
            activate(block, *(scratch[: block.size].reshape(block.shape) for scratch in work.scratch))
        step(0.7)
        added = work.added[: len(x)]
        np.matmul(inner, layer.outer.T, out=added)
        self._add(x, added, layer.outer_bias, layer.outer_norm, work)
        step(1.0)

    def _add(self, x, added, bias, norm, work):
        """Add to the state, and normalise it, while a few rows are in the cache."""
        for rows in _blocks(x):
            block = x[rows]
            block += added[rows]
            block += bias
            _normalise(block, norm, self.architecture.epsilon, work.average)

    def _pool(self, x, lengths):
        """Return one vector a text from those of its tokens."""
        starts = np.cumsum(lengths) - lengths
        counts = lengths.astype(np.float32)[:, None]
        pooled = {
            "cls": lambda: x[starts],
            "max": lambda: np.maximum.reduceat(x, starts, axis=0),
            "mean": lambda: np.add.reduceat(x, starts, axis=0) / counts,
            "mean_sqrt_len_tokens": lambda: np.add.reduceat(x, starts, axis=0) / np.sqrt(counts),
        }
        vectors = np.concatenate([pooled[name]() for name in self.architecture.pooling], axis=1)
        if self.architecture.normalised:
            length = np.sqrt(np.vecdot(vectors, vectors))
            vectors /= np.maximum(length, _LEAST_LENGTH)[:, None]
        if not np.isfinite(vectors).all():
            raise NotSupported("the weights of the model give vectors that are not finite")
        return vectors


class _Workspace:
    """Memory for one batch of at most so many tokens, used over and over."""

    def __init__(self, kind, tokens):
        self.state = np.empty((tokens, kind.hidden), np.float32)
        self.seen = np.empty_like(self.state)
        self.added = np.empty_like(self.state)
        # Of the three projections first, of the inner product then.
        self.wide = np.empty(tokens * max(kind.wide, 3 * kind.hidden), np.float32)
        self.scores = np.empty(max(_SCORES, kind.heads * kind.longest), np.float32)
        self.scratch = [np.empty(max(_BLOCK, kind.wide), np.float32) for _ in range(2)]
        self.average = np.full(kind.hidden, 1.0 / kind.hidden, np.float32)
        self.ones = np.ones(kind.longest, np.float32)
        self.scale = np.float32(1.0 / math.sqrt(kind.hidden // kind.heads))


def _views(flat, shapes):
    start = 0
    for shape in shapes:
        size = math.prod(shape)
        yield flat[start : start + size].reshape(shape)
        start += size


def _layer(projection, biases, output, output_bias, *others):
    """Return the layer that some views are of.

    The bias of the keys adds the same to all scores of a query, and their softmax stays as it is without.
    That of the values is added to every mean of values, so it goes through the output product once for all.
    """
    weight, bias, inner, inner_bias, outer, outer_bias, *norm = others
    query_bias, _, value_bias = biases
    with np.errstate(over="ignore", invalid="ignore"):
        output_bias = output_bias + output @ value_bias
    output_norm, outer_norm = (weight, bias), tuple(norm)
    return _Layer(
        projection, query_bias, output, output_bias, output_norm, inner, inner_bias, outer, outer_bias,
        outer_norm,
    )  # fmt: skip


def _batches(lengths, tokens):
    """Cut texts that are in the order of their lengths into slices of about equally many tokens."""
    ends = np.cumsum(lengths)
    if not ends.size:
        return []
    count = -(-int(ends[-1]) // tokens)
    numbers = (ends - 1) * count // ends[-1]
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(lengths)]
    return [slice(first, last) for first, last in itertools.pairwise(bounds)]


def _runs(lengths):
    runs, row = [], 0
    for length, group in itertools.groupby(lengths.tolist()):
        texts = sum(1 for _ in group)
        runs.append(_Run(slice(row, row + texts * length), texts, length))
        row += texts * length
    return runs


def _blocks(x):
    rows = max(1, _BLOCK // x.shape[1])
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def _normalise(x, norm, epsilon, average):
    """Normalise rows in place, and scale and shift what they become."""
    weight, bias = norm
    x -= (x @ average)[:, None]
    variance = np.vecdot(x, x)
    variance /= np.float32(x.shape[1])
    variance += np.float32(epsilon)
    x /= np.sqrt(variance)[:, None]
    x *= weight
    x += bias


def _attention(query, keys, value, out, work, step):
    """Write the means of values that the softmax of the scores weighs.

    Of shape (texts, heads, length, width) all but `keys`, which is of (texts, heads, width, length).
    """
    texts, heads, length, _ = query.shape
    together = max(1, _SCORES // (heads * length * length))
    rows = length if together > 1 else max(1, min(length, _SCORES // (heads * length)))
    for first in range(0, texts, together):
        part = slice(first, first + together)
        for start in range(0, length, rows):
            asked = query[part, :, start : start + rows]
            shape = (*asked.shape[:3], length)
            scores = work.scores[: math.prod(shape)].reshape(shape)
            np.matmul(asked, keys[part], out=scores)
            scores *= work.scale
            _softmax(scores.reshape(-1, length), work.ones[:length])
            np.matmul(scores, value[part], out=out[part, :, start : start + rows])
            step()


def _softmax(scores, ones):
    """Replace every row by its softmax."""
    # The largest of every short row costs more than all the rest; the largest of all is next to nothing.
    if not -_SAFE_SCORE <= scores.min() <= scores.max() <= _SAFE_SCORE:
        scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= (scores @ ones)[:, None]


def _gelu(x, t, p):
    """Replace x by x Phi(x), with an error below 1e-6; t and p are scratch of its shape.

    The logarithm of Phi(-t) is close to a polynomial: fitted so that the largest error of t Phi(-t),
    4.4e-7, is as small as it gets.  It falls for all t >= 0, so its exponential does not overflow.  With
    q = x Phi(-|x|) the result is x - q above 0 and q below, each time the larger one of the two.
    """
    np.abs(x, out=t)
    np.multiply(t, _TAIL[0], out=p)
    for coefficient in _TAIL[1:-1]:
        p += coefficient
        p *= t
    p += _TAIL[-1]
    np.exp(p, out=p)
    p *= x
    x -= p
    np.maximum(x, p, out=x)


def _gelu_tanh(x, t, p):
    """Replace x by x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    np.multiply(x, x, out=t)
    t *= _CUBE
    t += _LINE
    t *= x
    np.tanh(t, out=t)
    t += _ONE
    t *= _HALF
    x *= t


def _relu(x, t, p):
    np.maximum(x, _ZERO, out=x)


_ACTIVATIONS = {"gelu": _gelu, "gelu_tanh": _gelu_tanh, "relu": _relu}
