"""Tensor names of published models get the role that the model's own classes give them."""

import collections
import functools
import gzip
import json
import pathlib
import statistics
import time

import pytest

from hypercube.classify import Context, classify, layer_of
from hypercube.habits import Role

_DATA = pathlib.Path(__file__).parent.parent / "data" / "tensor_names.jsonl.gz"

# role, shape, name: the names of real files, a model or a library each, from outside the data.
_HABITS = {
    "the files of a language model's authors": """
    token_embedding      32000x4096    tok_embeddings.weight
    attention_query      4096x4096     layers.0.attention.wq.weight
    attention_key        1024x4096     layers.0.attention.wk.weight
    attention_value      1024x4096     layers.0.attention.wv.weight
    attention_output     4096x4096     layers.0.attention.wo.weight
    feed_forward_gate    11008x4096    layers.0.feed_forward.w1.weight
    feed_forward_down    4096x11008    layers.0.feed_forward.w2.weight
    feed_forward_up      11008x4096    layers.0.feed_forward.w3.weight
    norm                 4096          layers.0.attention_norm.weight
    norm                 4096          norm.weight
    output_head          32000x4096    output.weight
    buffer               64            rope.freqs
    """,
    "files converted for another runtime": """
    token_embedding      32000x4096    token_embd.weight
    position_embedding   1024x4096     position_embd.weight
    type_embedding       2x4096        token_types.weight
    norm                 4096          blk.0.attn_norm.weight
    attention_query      4096x4096     blk.0.attn_q.weight
    attention_value      1024          blk.0.attn_v.bias
    attention_output     4096x4096     blk.0.attn_output.weight
    attention_other      64            blk.0.attn_sinks.weight
    feed_forward_gate    11008x4096    blk.0.ffn_gate.weight
    feed_forward_down    4096x11008    blk.0.ffn_down.weight
    router               8x4096        blk.1.ffn_gate_inp.weight
    feed_forward_gate    8x14336x4096  blk.1.ffn_gate_exps.weight
    feed_forward_up      8x14336x4096  blk.1.ffn_up_exps.weight
    attention_qkv        6144x4096     blk.2.attn_qkv.weight
    recurrent            16x128        blk.3.ssm_a
    convolution          8192x4        blk.3.ssm_conv1d.weight
    norm                 4096          output_norm.weight
    output_head          32000x4096    output.weight
    buffer               64            rope_freqs.weight
    """,
    "a vision transformer of an image library": """
    other                1x1x768       cls_token
    position_embedding   1x197x768     pos_embed
    patch_embedding      768x3x16x16   patch_embed.proj.weight
    patch_embedding      768           patch_embed.proj.bias
    norm                 768           blocks.0.norm1.weight
    attention_qkv        2304x768      blocks.0.attn.qkv.weight
    attention_qkv        2304          blocks.0.attn.qkv.bias
    attention_output     768x768       blocks.0.attn.proj.weight
    attention_other      732x12        blocks.0.attn.relative_position_bias_table
    buffer               197x197       blocks.0.attn.relative_position_index
    other                768           blocks.0.ls1.gamma
    feed_forward_up      3072x768      blocks.0.mlp.fc1.weight
    feed_forward_down    768x3072      blocks.0.mlp.fc2.weight
    feed_forward_down    768           blocks.0.mlp.fc2.bias
    output_head          1000x768      head.weight
    """,
    "a convolutional net of an image library": """
    convolution          64x3x7x7      conv1.weight
    norm                 64            bn1.weight
    norm                 64            bn1.running_var
    buffer               -             bn1.num_batches_tracked
    convolution          256x64x1x1    layer1.0.downsample.0.weight
    norm                 256           layer1.0.downsample.1.weight
    norm                 256           layer1.0.downsample.1.bias
    feed_forward_up      384x96        stages.0.blocks.0.pwconv1.weight
    feed_forward_down    96x384        stages.0.blocks.0.pwconv2.weight
    output_head          1000x2048     fc.weight
    """,
    "a diffusion model": """
    convolution          320x4x3x3     conv_in.weight
    projection           1280x320      time_embedding.linear_1.weight
    projection           320x320x1x1   down.0.attentions.0.proj_in.weight
    attention_query      320x320       down.0.attentions.0.transformer_blocks.0.attn1.to_q.weight
    attention_value      320x768       down.0.attentions.0.transformer_blocks.0.attn2.to_v.weight
    attention_output     320x320       down.0.attentions.0.transformer_blocks.0.attn2.to_out.0.weight
    attention_output     320           down.0.attentions.0.transformer_blocks.0.attn2.to_out.0.bias
    feed_forward_gate_up 2560x320      down.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight
    feed_forward_gate_up 2560          down.0.attentions.0.transformer_blocks.0.ff.net.0.proj.bias
    feed_forward_down    320x1280      down.0.attentions.0.transformer_blocks.0.ff.net.2.weight
    convolution          320x320x3x3   down.0.resnets.0.conv1.weight
    projection           320x1280      down.0.resnets.0.time_emb_proj.weight
    attention_query      1536x1536     transformer_blocks.0.attn.add_q_proj.weight
    norm                 64            transformer_blocks.0.attn.norm_q.weight
    projection           9216x1536     transformer_blocks.0.norm1.linear.weight
    """,
    "decoders with fused projections": """
    attention_qkv        6144x2048     gpt_neox.layers.0.attention.query_key_value.weight
    attention_output     2048x2048     gpt_neox.layers.0.attention.dense.weight
    buffer               1x1x2048x2048 gpt_neox.layers.0.attention.bias
    buffer               -             gpt_neox.layers.0.attention.masked_bias
    feed_forward_up      8192x2048     gpt_neox.layers.0.mlp.dense_h_to_4h.weight
    feed_forward_down    2048x8192     gpt_neox.layers.0.mlp.dense_4h_to_h.weight
    output_head          50432x2048    embed_out.weight
    attention_qkv        4672x4544     transformer.h.0.self_attention.query_key_value.weight
    norm                 4544          transformer.h.0.ln_attn.weight
    attention_qkv        12288x4096    transformer.blocks.0.attn.Wqkv.weight
    attention_output     4096x4096     transformer.blocks.0.attn.out_proj.weight
    feed_forward_up      16384x4096    transformer.blocks.0.ffn.up_proj.weight
    attention_qkv        12288x4096    model.layers.0.self_attn.W_pack.weight
    feed_forward_gate_up 27392x4096    encoder.layers.0.mlp.dense_h_to_4h.weight
    feed_forward_down    4096x13696    encoder.layers.0.mlp.dense_4h_to_h.weight
    """,
    "a model of time mixing": """
    token_embedding      65536x2048    emb.weight
    recurrent            2048          blocks.0.att.time_decay
    recurrent            1x1x2048      blocks.0.att.time_mix_k
    attention_key        2048x2048     blocks.0.att.key.weight
    norm                 2048          blocks.0.att.ln_x.weight
    feed_forward_up      7168x2048     blocks.0.ffn.key.weight
    feed_forward_down    2048x7168     blocks.0.ffn.value.weight
    output_head          65536x2048    head.weight
    """,
    "a state space model": """
    token_embedding      50280x768     backbone.embedding.weight
    recurrent            3072x768      backbone.layers.0.mixer.in_proj.weight
    convolution          1536x1x4      backbone.layers.0.mixer.conv1d.weight
    recurrent            1536          backbone.layers.0.mixer.dt_proj.bias
    recurrent            1536x16       backbone.layers.0.mixer.A_log
    recurrent            1536          backbone.layers.0.mixer.D
    recurrent            768x1536      backbone.layers.0.mixer.out_proj.weight
    recurrent            2048x512      lstm.weight_ih_l0
    """,
    "an encoder and decoder": """
    token_embedding      32128x512     shared.weight
    attention_query      384x512       encoder.block.0.layer.0.SelfAttention.q.weight
    attention_output     512x384       encoder.block.0.layer.0.SelfAttention.o.weight
    attention_other      32x6          encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight
    feed_forward_gate    1024x512      encoder.block.0.layer.1.DenseReluDense.wi_0.weight
    feed_forward_up      1024x512      encoder.block.0.layer.1.DenseReluDense.wi_1.weight
    feed_forward_down    512x1024      encoder.block.0.layer.1.DenseReluDense.wo.weight
    """,
    "a model of pictures and text": """
    patch_embedding      768x3x32x32   visual.conv1.weight
    position_embedding   50x768        visual.positional_embedding
    attention_qkv        2304x768      visual.transformer.resblocks.0.attn.in_proj_weight
    feed_forward_up      3072x768      visual.transformer.resblocks.0.mlp.c_fc.weight
    feed_forward_down    768x3072      visual.transformer.resblocks.0.mlp.c_proj.weight
    projection           512x512       text_projection
    other                -             logit_scale
    """,
    "a sentence encoder in a pipeline": """
    token_embedding      30522x384     0.auto_model.embeddings.word_embeddings.weight
    type_embedding       2x384         0.auto_model.embeddings.token_type_embeddings.weight
    buffer               1x512         0.auto_model.embeddings.position_ids
    attention_output     384x384       0.auto_model.encoder.layer.3.attention.output.dense.weight
    norm                 384           0.auto_model.encoder.layer.3.attention.output.LayerNorm.gamma
    feed_forward_up      1536x384      0.auto_model.encoder.layer.3.intermediate.dense.weight
    feed_forward_down    384x1536      0.auto_model.encoder.layer.3.output.dense.weight
    pooler               384x384       0.auto_model.pooler.dense.weight
    projection           768x384       2.linear.weight
    """,
    "a table of static embeddings": """
    token_embedding      29528x256     embeddings
    """,
    "experts": """
    attention_query      1536x7168     layers.0.attn.wq_a.weight
    scale                12x56         layers.0.attn.wq_a.scale
    attention_qkv        576x7168      layers.0.attn.wkv_a.weight
    router               256x7168      layers.0.ffn.gate.weight
    router               256           layers.0.ffn.gate.bias
    feed_forward_gate    2048x7168     layers.0.ffn.experts.0.w1.weight
    feed_forward_up      2048x7168     layers.0.ffn.experts.0.w3.weight
    feed_forward_gate_up 32x5760x90x16 layers.1.mlp.experts.gate_up_proj_blocks
    scale                32x5760x90    layers.1.mlp.experts.gate_up_proj_scales
    feed_forward_gate_up 32x5760       layers.1.mlp.experts.gate_up_proj_bias
    """,
    "quantised weights and adapters": """
    attention_query      4096x4096     model.layers.0.self_attn.q_proj.weight
    scale                4096x1        model.layers.0.self_attn.q_proj.weight_scale
    scale                32x32         model.layers.0.self_attn.q_proj.weight_scale_inv
    scale                -             model.layers.0.self_attn.q_proj.input_scale
    scale                -             model.layers.0.self_attn.k_scale
    scale                4096          model.layers.0.self_attn.k_proj.SCB
    attention_value      512x4096      model.layers.0.self_attn.v_proj.qweight
    scale                32x512        model.layers.0.self_attn.v_proj.qzeros
    scale                32x4096       model.layers.0.self_attn.v_proj.scales
    buffer               4096          model.layers.0.self_attn.v_proj.g_idx
    feed_forward_up      11008x512     model.layers.0.mlp.up_proj.weight_packed
    scale                11008x1       model.layers.0.mlp.up_proj.weight_zero_point
    scale                704512        model.layers.0.mlp.down_proj.weight.absmax
    attention_query      8x4096        base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight
    """,
    "a model of speech": """
    convolution          1x1x128       wav2vec2.encoder.pos_conv_embed.conv.weight_g
    convolution          768x48x128    speech.encoder.pos_conv_embed.conv.parametrizations.weight.original1
    convolution          512x1x10      wav2vec2.feature_extractor.conv_layers.0.conv.weight
    projection           768x512       wav2vec2.feature_projection.projection.weight
    attention_query      384x384       encoder.blocks.0.attn.query.weight
    norm                 384           encoder.blocks.0.attn_ln.weight
    feed_forward_up      1536x384      encoder.blocks.0.mlp.0.weight
    feed_forward_up      1536          encoder.blocks.0.mlp.0.bias
    feed_forward_down    384x1536      encoder.blocks.0.mlp.2.weight
    feed_forward_down    384           encoder.blocks.0.mlp.2.bias
    """,
}


def _parse(table):
    """Return (name, shape, role) of each line of a table."""
    parsed = []
    for line in table.split("\n"):
        if line.strip():
            role, shape, name = line.split()
            parsed.append((name, () if shape == "-" else tuple(map(int, shape.split("x"))), role))
    return parsed


@functools.cache
def _classified():
    """Return (row, role) for every row of the data, each architecture in its own context."""
    architectures = collections.defaultdict(list)
    with gzip.open(_DATA, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            architectures[row["architecture"]].append(row)
    pairs = []
    for rows in architectures.values():
        context = Context.of((row["name"], row["shape"]) for row in rows)
        pairs.extend((row, classify(row["name"], row["shape"], context)) for row in rows)
    return pairs


def _certain():
    return [(row, role) for row, role in _classified() if row["certain"]]


def test_parameters_of_a_known_part_are_not_left_over():
    known = [role for row, role in _certain() if row["kind"] == "parameter" and row["label"] != Role.OTHER]
    assert sum(role is not Role.OTHER for role in known) >= 0.9997 * len(known)


def test_roles_agree_with_the_classes_that_own_the_tensors():
    agreed = [row["label"] == role for row, role in _certain()]
    assert len(agreed) > 20_000
    assert statistics.fmean(agreed) >= 0.998


@pytest.mark.parametrize(("group", "mean"), [("label", 0.995), ("architecture", 0.998)])
def test_no_label_and_no_architecture_is_left_behind(group, mean):
    agreed = collections.defaultdict(list)
    for row, role in _certain():
        agreed[row[group]].append(row["label"] == role)
    shares = {name: statistics.fmean(each) for name, each in agreed.items()}
    assert statistics.fmean(shares.values()) >= mean
    assert min(shares.values()) >= 0.93, sorted(shares, key=shares.get)[:5]


def test_most_doubtful_labels_are_met_too():
    agreed = [row["label"] == role for row, role in _classified() if not row["certain"]]
    assert statistics.fmean(agreed) >= 0.9


@pytest.mark.parametrize("habit", _HABITS)
@pytest.mark.parametrize("prefix", ["", "model.", "0.auto_model."])
def test_habits_of_other_libraries_are_known_under_any_prefix(habit, prefix):
    tensors = [(prefix + name, shape, role) for name, shape, role in _parse(_HABITS[habit])]
    context = Context.of((name, shape) for name, shape, _ in tensors)
    assert [(name, str(classify(name, shape, context)), role) for name, shape, role in tensors] == [
        (name, role, role) for name, _, role in tensors
    ]


def test_the_order_of_the_tensors_does_not_matter():
    tensors = _parse(_HABITS["a diffusion model"])
    forward = Context.of((name, shape) for name, shape, _ in tensors)
    backward = Context.of((name, shape) for name, shape, _ in reversed(tensors))
    for name, shape, _ in tensors:
        assert classify(name, shape, forward) is classify(name, shape, backward)


def test_a_gate_is_a_router_only_where_it_chooses():
    router, gate = "layers.0.mlp.gate.weight", "layers.1.mlp.gate.weight"
    context = Context.of([(router, (8, 4096)), (gate, (11008, 4096))])
    assert classify(router, (8, 4096), context) is Role.ROUTER
    assert classify(gate, (11008, 4096), context) is Role.FEED_FORWARD_GATE


def test_a_configuration_tells_the_vocabulary_and_may_hold_anything():
    table = [("w.weight", (300, 64))]
    for config in ({"vocab_size": 300}, {"text_config": {"vocab_size": 300}, "vocab_size": "many"}):
        assert classify(*table[0], Context.of(table, config)) is Role.TOKEN_EMBEDDING
    for config in (None, [], "x", 7, {}, {"vocab_size": [300]}, {"vocab_size": True}, {"text_config": [1]}):
        assert classify(*table[0], Context.of(table, config)) is Role.PROJECTION


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "\0.weight",
        "\ud800.weight",
        "layers.٣.weight\n",
        "a" * 10_000,
        "." * 10_000,
        "\n" * 10_000,
        "9" * 10_000,
        "1." * 5_000,
        "q_proj_kv_proj_" * 700 + "!",
        "_norm_in_up_out" * 700 + "!",
        "layers." * 1_500 + "9" * 100,
    ],
)
def test_hostile_names_end_soon_and_quietly(name):
    started = time.process_time()
    context = Context.of([(name, (1, 2)), (name + ".weight", (3, 4)), (None, None)])
    assert classify(name, (1, 2), context) in Role
    assert layer_of(name) is None or 0 <= layer_of(name) <= 32767
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("shape", [None, "x", [None], [-1, 2], [1.5], [10**30] * 9, {}, [[1]], (0, 0, 0)])
def test_shapes_that_are_none_do_no_harm(shape):
    for name in ("h.0.mlp.0.weight", "h.0.attn.bias", "conv.weight", "x"):
        assert classify(name, shape, Context.of([(name, shape)])) in Role


def test_thousands_of_siblings_do_not_slow_a_name_down():
    tensors = [(f"mlp.{number}.weight", (4, 4)) for number in range(20_000)]
    started = time.process_time()
    context = Context.of(tensors)
    for name, shape in tensors:
        classify(name, shape, context)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.self_attn.q_proj.weight", 3),
        ("transformer.h.11.mlp.c_fc.weight", 11),
        ("blk.7.attn_q.weight", 7),
        ("0.auto_model.encoder.layer.5.output.dense.weight", 5),
        ("encoder.block.2.layer.1.DenseReluDense.wi.weight", 2),
        ("model.layers.4.mlp.experts.60.up_proj.weight", 4),
        ("visual.transformer.resblocks.9.ln_1.bias", 9),
        ("transformer.attentions.6.q_lin.weight", 6),
        ("layer1.0.conv1.weight", 0),
        ("model.layers.32767.norm.weight", 32767),
        ("model.layers.32768.norm.weight", None),
        ("model.embed_tokens.weight", None),
        ("fc1.weight", None),
    ],
)
def test_the_layer_is_the_number_after_the_list_of_layers(name, layer):
    assert layer_of(name) == layer
