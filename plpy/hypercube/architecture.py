"""Whether a model's files describe a BERT sentence encoder, and which tensors it is made of.

Owns the reading of config.json, modules.json and what stands beside them; these files come
from strangers, and nothing in them is believed before it is looked at.  It computes nothing:
`encoder` does.
"""

import math
import re
from typing import NamedTuple

# Names in config.json, and the function that each means.
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens")
_DTYPES = ("F16", "BF16", "F32", "F64")
_WORDS = "embeddings.word_embeddings.weight"
_MODULE = re.compile(r"sentence_transformers\.(?:\w+\.)*(Transformer|Pooling|Normalize)")
_POOLING_FOLDER = "1_Pooling"
# The flags of older files, in the order in which the library concatenates what they stand for.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# What the longest text may take: float32 values of one intermediate, 32 MiB, and multiplications of one
# product, about 0.1 s.  A BERT of the large size takes a quarter of each.
_VALUES_LIMIT = 1 << 23
_PRODUCT_LIMIT = 1 << 33
_COUNT_LIMIT = 1 << 31
_SHOWN = 60


class Architecture(NamedTuple):
    """A BERT sentence encoder; `names` and `shapes` are those of its tensors, in the order of `encoder`.

    `longest` is in tokens with the special ones; a longer text is cut by whoever spells it.  `pooling` has
    names of POOLINGS, whose results stand one after the other in a vector.  `lower_case` tells whether
    texts are lowered before they are spelled, whatever the tokenizer does.
    """

    names: tuple
    shapes: tuple
    hidden: int
    wide: int
    heads: int
    layers: int
    epsilon: float
    activation: str
    vocabulary: int
    longest: int
    pooling: tuple
    normalised: bool
    lower_case: bool

    @property
    def dimension(self):
        """Numbers of a vector."""
        return self.hidden * len(self.pooling)

    @property
    def size(self):
        """Values of all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes)


class _Unfit(Exception):
    """Ends the reading; its text is the reason."""


def read(config, modules, pooling, sentence, shapes):
    """Return the Architecture of a model, or the reason why it is no sentence encoder known here.

    Parameters
    ----------
    config, modules, pooling, sentence : object
        What config.json, modules.json, 1_Pooling/config.json and sentence_bert_config.json hold, parsed;
        None where there is no such file.  Only the last may be missing.
    shapes : dict of str to (str, tuple of int)
        Dtype and shape of every tensor of the model by its name.  There may be others than those needed.

    Returns
    -------
    Architecture or str
        A reason is a lower-case phrase that goes on from "the model is not a sentence encoder: ".
    """
    try:
        return _read(config, modules, pooling, sentence, shapes)
    except _Unfit as unfit:
        return str(unfit)


def _read(config, modules, pooling, sentence, shapes):
    normalised = _read_modules(modules)
    config = _table(config, "config.json")
    _require(config, "model_type", ("bert",), None)
    _require(config, "position_embedding_type", ("absolute",), "absolute")
    _require(config, "is_decoder", (False,), False)
    _require(config, "add_cross_attention", (False,), False)
    activation = ACTIVATIONS[_require(config, "hidden_act", tuple(ACTIVATIONS), "gelu")]
    hidden, wide, heads, layers, vocabulary, positions, types = (
        _count(config, "config.json", key)
        for key in (
            "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers",
            "vocab_size", "max_position_embeddings", "type_vocab_size",
        )
    )  # fmt: skip
    if hidden % heads:
        raise _Unfit(f"{heads} attention heads do not divide a hidden size of {hidden}")
    longest, lower_case = _read_sentence(sentence, positions)
    if longest < 2:
        raise _Unfit("a text of one token has no room for words")
    if longest * max(wide, 3 * hidden) > _VALUES_LIMIT:
        raise _Unfit(f"texts of {longest} tokens would take too much memory")
    if longest * max(wide, 3 * hidden) * hidden > _PRODUCT_LIMIT:
        raise _Unfit(f"texts of {longest} tokens would take too long between two looks at a cancel")
    # Before names are made for every layer: a tensor has to be there for each.
    if layers > len(shapes):
        raise _Unfit(f"it would have {layers} layers, but has {len(shapes)} tensors")
    wanted = _tensors(hidden, wide, layers, vocabulary, positions, types)
    return Architecture(
        names=_find(wanted, shapes),
        shapes=tuple(shape for _, shape in wanted),
        hidden=hidden,
        wide=wide,
        heads=heads,
        layers=layers,
        epsilon=_epsilon(config),
        activation=activation,
        vocabulary=vocabulary,
        longest=longest,
        pooling=_read_pooling(pooling, hidden),
        normalised=normalised,
        lower_case=lower_case,
    )


def _read_modules(modules):
    """Return whether vectors are normalised at the end."""
    if modules is None:
        raise _Unfit("it has no modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise _Unfit("modules.json is not a list of modules")
    kinds = []
    for module in modules:
        kind = module.get("type")
        found = _MODULE.fullmatch(kind) if isinstance(kind, str) else None
        if found is None:
            raise _Unfit(f"modules.json has a module of the unknown type {_shown(kind)}")
        kinds.append(found[1])
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _Unfit("modules.json has other modules than Transformer, Pooling and perhaps Normalize")
    # The files that are read are the ones that the modules mean.
    for module, folder in zip(modules, ("", _POOLING_FOLDER), strict=False):
        if module.get("path") != folder:
            raise _Unfit(f"modules.json has a module in {_shown(module.get('path'))}, not in {folder!r}")
    return len(kinds) == 3


def _read_pooling(pooling, hidden):
    """Return which poolings are asked for; newer files name them, older ones have a flag for each."""
    file = f"{_POOLING_FOLDER}/config.json"
    if pooling is None:
        raise _Unfit(f"it has no {file}")
    pooling = _table(pooling, file)
    width = "embedding_dimension" if "embedding_dimension" in pooling else "word_embedding_dimension"
    if _count(pooling, file, width) != hidden:
        raise _Unfit(f"{file} is for {pooling[width]} dimensions, the model has {hidden}")
    if "pooling_mode" in pooling:
        named = pooling["pooling_mode"]
        named = named if isinstance(named, list) else [named]
    else:
        for flag in _FLAGS:
            if type(pooling.get(flag, False)) is not bool:
                raise _Unfit(f"{flag} is {_shown(pooling[flag])} in {file}, not true or false")
        named = [mode for flag, mode in _FLAGS.items() if pooling.get(flag, False)] or ["mean"]
    for mode in named:
        if mode not in POOLINGS:
            raise _Unfit(f"{file} asks for the unknown pooling {_shown(mode)}")
    if not named or len(set(named)) != len(named):
        raise _Unfit(f"{file} asks for no pooling, or twice for one")
    return tuple(named)


def _read_sentence(sentence, positions):
    """Return the tokens of the longest text, and whether texts are lowered."""
    file = "sentence_bert_config.json"
    sentence = _table({} if sentence is None else sentence, file)
    longest = positions
    if sentence.get("max_seq_length") is not None:
        longest = min(positions, _count(sentence, file, "max_seq_length"))
    lower_case = sentence.get("do_lower_case", False)
    if type(lower_case) is not bool:
        raise _Unfit(f"do_lower_case is {_shown(lower_case)} in {file}, not true or false")
    task = sentence.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise _Unfit(f"transformer_task is {_shown(task)} in {file}")
    return longest, lower_case


def _tensors(hidden, wide, layers, vocabulary, positions, types):
    """Return (name, shape) of every tensor, in the order in which they are stored.

    The matrices of query, key and value follow each other: together they are one of three times the rows.
    """
    square, vector = (hidden, hidden), (hidden,)
    entries = [
        (_WORDS, (vocabulary, hidden)),
        ("embeddings.position_embeddings.weight", (positions, hidden)),
        ("embeddings.token_type_embeddings.weight", (types, hidden)),
        ("embeddings.LayerNorm.weight", vector),
        ("embeddings.LayerNorm.bias", vector),
    ]
    for number in range(layers):
        entries += [
            (f"encoder.layer.{number}.{name}", shape)
            for name, shape in (
                ("attention.self.query.weight", square),
                ("attention.self.key.weight", square),
                ("attention.self.value.weight", square),
                ("attention.self.query.bias", vector),
                ("attention.self.key.bias", vector),
                ("attention.self.value.bias", vector),
                ("attention.output.dense.weight", square),
                ("attention.output.dense.bias", vector),
                ("attention.output.LayerNorm.weight", vector),
                ("attention.output.LayerNorm.bias", vector),
                ("intermediate.dense.weight", (wide, hidden)),
                ("intermediate.dense.bias", (wide,)),
                ("output.dense.weight", (hidden, wide)),
                ("output.dense.bias", vector),
                ("output.LayerNorm.weight", vector),
                ("output.LayerNorm.bias", vector),
            )
        ]
    return entries


def _find(wanted, shapes):
    """Return the full names of the tensors in the model, checked against their shapes."""
    prefixes = [name.removesuffix(_WORDS) for name in shapes if name == _WORDS or name.endswith("." + _WORDS)]
    if len(prefixes) != 1:
        raise _Unfit(f"it has {len(prefixes) or 'no'} tensors called {_WORDS}")
    return tuple(_find_one(prefixes[0] + name, shape, shapes) for name, shape in wanted)


def _find_one(name, shape, shapes):
    # The first BERT models called the two vectors of a layer norm otherwise.
    older = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    found = next((spelled for spelled in (name, older) if spelled in shapes), None)
    if found is None:
        raise _Unfit(f"tensor {_shown(name)} is missing")
    dtype, present = shapes[found]
    if tuple(present) != shape:
        raise _Unfit(f"tensor {_shown(found)} has the shape {list(present)}, config.json tells {list(shape)}")
    if dtype not in _DTYPES:
        raise _Unfit(f"tensor {_shown(found)} is of the dtype {dtype}")
    return found


def _table(value, file):
    if value is None:
        raise _Unfit(f"it has no {file}")
    if not isinstance(value, dict):
        raise _Unfit(f"{file} is not a JSON object")
    return value


def _require(config, key, allowed, default):
    """Return a setting of config.json that has to be one of some values."""
    value = config.get(key, default)
    # 0 equals False, and a list cannot be looked up in a dict.
    if not any(type(value) is type(one) and value == one for one in allowed):
        raise _Unfit(f"{key} is {_shown(value)} in config.json, not {' or '.join(map(str, allowed))}")
    return value


def _count(table, file, key):
    value = table.get(key)
    # bool is an int to Python.
    if type(value) is not int or not 0 < value < _COUNT_LIMIT:
        raise _Unfit(f"{key} is {_shown(value)} in {file}, not a count")
    return value


def _epsilon(config):
    value = config.get("layer_norm_eps", 1e-12)
    # Smaller ones have no square root in float32; NaN is in no range.
    if type(value) is not float or not 1e-30 <= value <= 0.1:
        raise _Unfit(f"layer_norm_eps is {_shown(value)} in config.json")
    return value


def _shown(value):
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    # Cut before it is spelled: a stranger's value may be as long as its file.
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 64):
        return repr(value)
    return f"a value of the type {type(value).__name__}"
