"""Architectures: what a sentence encoder's files say, and the reason for every one that is none."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from hypercube import architecture

MODEL = Path(__file__).parents[2] / ".local" / "models" / "all-MiniLM-L6-v2"
FILES = ("config", "modules", "pooling", "sentence")
HIDDEN = 8
TRANSFORMER, POOLING, NORMALIZE = (
    {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
    for place, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling"), ("2", "Normalize")))
)
SMALL = {
    "config": {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN, "intermediate_size": 12,
        "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 20, "max_position_embeddings": 16,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute",
    },
    "modules": [TRANSFORMER, POOLING, NORMALIZE],
    "pooling": {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True},
    "sentence": {"max_seq_length": 10, "do_lower_case": False},
}  # fmt: skip
FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def read(files=None, shapes=None):
    files = SMALL if files is None else files
    return architecture.read(*(files[file] for file in FILES), SHAPES if shapes is None else shapes)


def changed(file, **entries):
    """Return the small model's files with other entries in one of them; None takes one away."""
    files = copy.deepcopy(SMALL)
    files[file].update(entries)
    files[file] = {key: value for key, value in files[file].items() if value is not None}
    return files


def replaced(file, content):
    return {**copy.deepcopy(SMALL), file: content}


def wanted():
    tensors = architecture._tensors(HIDDEN, 12, 2, 20, 16, 2)
    return {name: ("F32", shape) for name, shape in tensors}


SHAPES = wanted()


def test_the_real_model_is_read_as_it_is():
    content = {
        file: json.loads((MODEL / name).read_text())
        for file, name in zip(
            FILES,
            ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"),
            strict=True,
        )
    }
    with safe_open(MODEL / "model.safetensors", "numpy") as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}
        shapes = {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
        values = sum(np.prod(shape, dtype=int) for dtype, shape in shapes.values() if dtype == "F32")

    kind = read(content, shapes)

    assert (kind.hidden, kind.wide, kind.heads, kind.layers, kind.vocabulary) == (384, 1536, 12, 6, 30522)
    assert (kind.longest, kind.epsilon, kind.activation) == (256, 1e-12, "gelu")
    assert (kind.pooling, kind.normalised, kind.lower_case) == (("mean",), True, False)
    # All but the pooler, which is not asked.
    assert kind.size == values - 384 * 385
    assert kind.dimension == 384


def test_query_key_and_value_follow_each_other():
    names = read().names
    for number in range(2):
        place = names.index(f"encoder.layer.{number}.attention.self.query.weight")
        endings = [name.split("self.")[1] for name in names[place : place + 3]]
        assert endings == ["query.weight", "key.weight", "value.weight"]


@pytest.mark.parametrize("prefix", ["bert.", "0.auto_model.", "encoder."])
def test_names_may_have_a_prefix(prefix):
    kind = read(shapes={prefix + name: shape for name, shape in SHAPES.items()})
    assert kind.names == tuple(prefix + name for name in read().names)


def test_norms_may_have_their_first_names():
    renamed = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): shape
        for name, shape in SHAPES.items()
    }
    assert set(read(shapes=renamed).names) == set(renamed)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_other_floats_will_do(dtype):
    assert read(shapes={name: (dtype, shape) for name, (_, shape) in SHAPES.items()}) == read()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("gelu", "gelu"), ("gelu_new", "gelu_tanh"), ("gelu_pytorch_tanh", "gelu_tanh"), ("relu", "relu")],
)
def test_activations_have_one_name_here(name, meant):
    assert read(changed("config", hidden_act=name)).activation == meant


@pytest.mark.parametrize(
    ("pooling", "meant"),
    [
        ({}, ("mean",)),
        ({"pooling_mode_cls_token": True}, ("cls",)),
        ({f"pooling_mode_{flag}": True for flag in FLAGS}, ("cls", "max", "mean", "mean_sqrt_len_tokens")),
        ({"pooling_mode": "max"}, ("max",)),
        ({"pooling_mode": ["mean", "cls"]}, ("mean", "cls")),
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, ("cls",)),
    ],
)
@pytest.mark.parametrize("width", ["word_embedding_dimension", "embedding_dimension"])
def test_poolings_of_older_and_newer_files(pooling, meant, width):
    kind = read(replaced("pooling", {width: HIDDEN, **pooling}))
    assert kind.pooling == meant
    assert kind.dimension == HIDDEN * len(meant)


def test_normalising_is_a_module():
    assert read().normalised
    assert not read(replaced("modules", [TRANSFORMER, POOLING])).normalised


def test_modules_may_be_where_newer_releases_have_them():
    types = (
        "sentence_transformers.base.modules.transformer.Transformer",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    )
    modules = [{**module, "type": kind} for module, kind in zip((TRANSFORMER, POOLING), types, strict=True)]
    assert read(replaced("modules", modules)).pooling == ("mean",)


@pytest.mark.parametrize(
    ("sentence", "longest"),
    [(None, 16), ({}, 16), ({"max_seq_length": None}, 16), ({"max_seq_length": 16}, 16),
     ({"max_seq_length": 512}, 16), ({"max_seq_length": 3}, 3)],
)  # fmt: skip
def test_the_longest_text_has_a_position_for_every_token(sentence, longest):
    assert read(replaced("sentence", sentence)).longest == longest


def test_texts_are_lowered_where_the_files_say_so():
    assert not read().lower_case
    assert read(changed("sentence", do_lower_case=True)).lower_case


@pytest.mark.parametrize(
    ("file", "entries", "reason"),
    [
        ("config", {"model_type": "roberta"}, "model_type is 'roberta'"),
        ("config", {"model_type": None}, "model_type is missing"),
        ("config", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ("config", {"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ("config", {"hidden_act": ["gelu"]}, "hidden_act is a value of the type list"),
        ("config", {"is_decoder": True}, "is_decoder is true"),
        ("config", {"is_decoder": 0}, "is_decoder is 0"),
        ("config", {"add_cross_attention": True}, "add_cross_attention"),
        ("config", {"hidden_size": None}, "hidden_size is missing"),
        ("config", {"hidden_size": True}, "hidden_size is true"),
        ("config", {"hidden_size": 8.0}, "hidden_size is 8.0"),
        ("config", {"hidden_size": 10**400}, "hidden_size is a value of the type int"),
        ("config", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ("config", {"num_hidden_layers": 2**30}, "1073741824 layers"),
        ("config", {"num_hidden_layers": 3}, "'encoder.layer.2.attention.self.query.weight' is missing"),
        ("config", {"num_attention_heads": 3}, "3 attention heads do not divide a hidden size of 8"),
        ("config", {"intermediate_size": 13}, "config.json tells [13, 8]"),
        ("config", {"intermediate_size": 2**30}, "too much memory"),
        ("config", {"hidden_size": 2**15}, "too long between two looks"),
        ("config", {"vocab_size": 21}, "has the shape [20, 8], config.json tells [21, 8]"),
        ("config", {"type_vocab_size": -2}, "type_vocab_size is -2"),
        ("config", {"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
        ("config", {"layer_norm_eps": 0.0}, "layer_norm_eps is 0.0"),
        ("config", {"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12'"),
        ("pooling", {"word_embedding_dimension": 9}, "is for 9 dimensions, the model has 8"),
        ("pooling", {"word_embedding_dimension": None}, "word_embedding_dimension is missing"),
        ("pooling", {"pooling_mode_lasttoken": True}, "unknown pooling 'lasttoken'"),
        ("pooling", {"pooling_mode_mean_tokens": 1}, "pooling_mode_mean_tokens is 1"),
        ("pooling", {"pooling_mode": "weightedmean"}, "unknown pooling 'weightedmean'"),
        ("pooling", {"pooling_mode": [["mean"]]}, "unknown pooling a value of the type list"),
        ("pooling", {"pooling_mode": []}, "no pooling"),
        ("pooling", {"pooling_mode": ["max", "max"]}, "twice"),
        ("sentence", {"max_seq_length": "256"}, "max_seq_length is '256'"),
        ("sentence", {"max_seq_length": 1}, "no room"),
        ("sentence", {"do_lower_case": "yes"}, "do_lower_case is 'yes'"),
        ("sentence", {"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask'"),
    ],
)
def test_an_entry_that_is_not_understood_is_a_reason(file, entries, reason):
    assert reason in read(changed(file, **entries))


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config", None, "it has no config.json"),
        ("config", [], "config.json is not a JSON object"),
        ("modules", None, "it has no modules.json"),
        ("modules", {}, "modules.json is not a list"),
        ("modules", [TRANSFORMER, "Pooling"], "modules.json is not a list of modules"),
        ("modules", [], "other modules"),
        ("modules", [TRANSFORMER], "other modules"),
        ("modules", [POOLING, TRANSFORMER], "other modules"),
        ("modules", [TRANSFORMER, POOLING, NORMALIZE, NORMALIZE], "other modules"),
        ("modules", [TRANSFORMER, POOLING, {"type": "sentence_transformers.models.Dense"}], "models.Dense'"),
        ("modules", [{"type": "os.Transformer"}], "unknown type 'os.Transformer'"),
        ("modules", [{}], "unknown type missing"),
        ("modules", [{**TRANSFORMER, "path": "0_Transformer"}, POOLING], "in '0_Transformer', not in ''"),
        ("modules", [TRANSFORMER, {**POOLING, "path": "2_Pooling"}], "in '2_Pooling', not in '1_Pooling'"),
        ("pooling", None, "it has no 1_Pooling/config.json"),
        ("pooling", "mean", "1_Pooling/config.json is not a JSON object"),
        ("sentence", 256, "sentence_bert_config.json is not a JSON object"),
    ],
)
def test_a_file_that_is_not_understood_is_a_reason(file, content, reason):
    assert reason in read(replaced(file, content))


@pytest.mark.parametrize("name", list(SHAPES))
def test_every_tensor_has_to_be_there_in_its_shape(name):
    without = {other: shape for other, shape in SHAPES.items() if other != name}
    flat = {**SHAPES, name: ("F32", (int(np.prod(SHAPES[name][1])), 1))}

    assert isinstance(read(shapes=without), str)
    assert "has the shape" in read(shapes=flat)


def test_other_tensors_are_reasons():
    whole_numbers = {name: ("I8", shape) for name, (_, shape) in SHAPES.items()}
    twice = {**SHAPES, **{"bert." + name: shape for name, shape in SHAPES.items()}}

    assert "of the dtype I8" in read(shapes=whole_numbers)
    assert "2 tensors called embeddings.word_embeddings.weight" in read(shapes=twice)
    assert "no tensors called" in read(shapes=dict.fromkeys(map(str, range(9)), ("F32", (1,))))


def test_a_reason_is_short_whatever_the_files_hold():
    for file, entries in ("config", {"model_type": "b" * 10**6}), ("config", {"hidden_size": 10**10**4}):
        assert len(read(changed(file, **entries))) < 200
