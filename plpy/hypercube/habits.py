"""The naming habits of published models: tables that tell what a tensor is for.

This room knows names and shapes and no architecture: a habit is a row.  It
never sees a value of a tensor.  How the tables are read stands in ``classify``.
"""

import enum
import functools
import re


class Role(enum.StrEnum):
    """What a tensor is for; OTHER is an honest answer."""

    TOKEN_EMBEDDING = "token_embedding"
    POSITION_EMBEDDING = "position_embedding"
    TYPE_EMBEDDING = "type_embedding"
    PATCH_EMBEDDING = "patch_embedding"
    ATTENTION_QUERY = "attention_query"
    ATTENTION_KEY = "attention_key"
    ATTENTION_VALUE = "attention_value"
    ATTENTION_QKV = "attention_qkv"
    ATTENTION_OUTPUT = "attention_output"
    ATTENTION_OTHER = "attention_other"
    FEED_FORWARD_UP = "feed_forward_up"
    FEED_FORWARD_GATE = "feed_forward_gate"
    FEED_FORWARD_GATE_UP = "feed_forward_gate_up"
    FEED_FORWARD_DOWN = "feed_forward_down"
    ROUTER = "router"
    RECURRENT = "recurrent"
    NORM = "norm"
    CONVOLUTION = "convolution"
    POOLER = "pooler"
    PROJECTION = "projection"
    OUTPUT_HEAD = "output_head"
    BUFFER = "buffer"
    SCALE = "scale"
    OTHER = "other"


# The conditions of the rules.  Each takes a tensor with its layer's name (`own`), what follows it (`leaf`:
# ".weight", ".bias", ... or ""), `shape`, `weight` (the shape of the weight that it is or belongs to, ()
# where there is none), and the names and shapes around it.


def _beside(pattern):
    """Return the condition that the name of a sibling matches."""
    named = functools.lru_cache(maxsize=1024)(re.compile(pattern).fullmatch)
    return lambda tensor: any(named(own) for own in tensor.siblings())


_near_experts = _beside(r".*experts?|.*moe.*")
_scanning = _beside(r"a_log|dt|dt_proj|x_proj|time_decay|ssm_a")
_attending = _beside(
    r"(to_|w_?|linear_)?(q|k|qkv|kv)(_?(proj|lin|linear|head))?"
    r"|query|key|keys|queries|query_key_value|queries_keys_values|keys_values|key_proj"
)


def _vector(tensor):
    return len(tensor.weight) == 1 and tensor.weight[0] > 1


def _matrix(tensor):
    return len(tensor.weight) == 2


def _kernel(tensor):
    return len(tensor.weight) > 2 and not _bare(tensor)


def _no_window(tensor):
    """Not a convolution that looks at more than one place."""
    return not (_kernel(tensor) and max(tensor.weight[2:]) > 1)


def _pixels(tensor):
    """A convolution over large squares of a picture."""
    return _kernel(tensor) and tensor.weight[1] == 3 and min(tensor.weight[-2:]) >= 14


def _bare(tensor):
    """Not the weight or bias of a layer."""
    return tensor.leaf == ""


def _layer_vector(tensor):
    return not _bare(tensor) and _vector(tensor)


def _layer(tensor):
    return not _bare(tensor) and len(tensor.weight) != 1


def _square_bias(tensor):
    """Named a bias, but a square table without a weight: the mask of an attention."""
    shape = tensor.shape
    return tensor.leaf == ".bias" and not tensor.weight and len(shape) > 2 and shape[-1] == shape[-2]


def _chooses(tensor):
    """Far fewer outputs than inputs, or experts next to it."""
    return _near_experts(tensor) or (_matrix(tensor) and tensor.weight[0] * 2 <= tensor.weight[1])


def _widens(tensor):
    return len(tensor.weight) > 1 and tensor.weight[-2] > tensor.weight[-1]


def _narrows(tensor):
    return len(tensor.weight) > 1 and tensor.weight[-2] < tensor.weight[-1]


def _doubled(tensor):
    """Twice as many outputs as the layer that reads them has inputs."""
    if len(tensor.weight) < 2:
        return False
    outputs, inputs = tensor.weight[:2]
    return any(outputs == 2 * other[1] and inputs == other[0] for other in tensor.block())


def _paired(tensor):
    """One of two numbered layers of a block: fc1 and fc2, linear_1 and linear_2."""
    other = tensor.own.translate(str.maketrans("12", "21"))
    return other != tensor.own and other in tensor.siblings()


def _last(tensor):
    """The last matrix of a list of several."""
    listed = [own for own in tensor.siblings() if own.isdecimal() and len(tensor.beside(own)) > 1]
    return len(listed) > 1 and tensor.own == max(listed, key=lambda own: (len(own), own))


def _tall(tensor):
    """A row for each token: as many as the vocabulary, or many more rows than columns."""
    if not _matrix(tensor):
        return False
    rows, columns = tensor.weight
    return rows == tensor.context.vocabulary or (rows > 4096 and rows >= 8 * columns)


def _quantised(tensor):
    """Named after a layer or a parameter that stands next to it."""
    return re.sub(r"_(scales?|scale_inv|zero_points?)$", "", tensor.own) in tensor.siblings()


def _scaled_layer(tensor):
    """A scale beside the weight of the same layer."""
    return len(tensor.context.weight(tensor.parent)) > 1


# The nearest ancestor with one of these names says which part of the network a tensor is in.
ZONES = [
    ("relative", r"rel(ative)?_(pos|bias|emb)|relative_attention|(position|pos)_bias|(bias|cpb)_mlp"),
    ("position", r"pos(ition)?(al)?_?(emb|enc)|embed_pos|rotary|rope|^wpe$"),
    ("norm", r"norm|^ln(_|\d|$)|_ln$|^bn\d*$|adaln"),
    ("router", r"router|^gate$|^gating$"),
    ("patch", r"patch(es)?_?(embed|conv|proj)|^to_patch|tubelet"),
    ("pooler", r"(^|_)pooler$|summary$|att(n|ention)?_?pool"),
    ("attention", r"attn|attention|_att$|^att$|^[sc]a$|^mha$"),
    ("recurrent", r"mamba|(^|_)ssm|(^|_)([ms]?lstm|rnn|gru)|rg_?lru|recurrent|time_mix"),
    ("head", r"hypernet|mask_embedder|parameter_projection|^pred(ict)?_"),
    ("feed_forward", r"mlps?(_|\d|$)|ffns?|feed_?forward|^ff(_|$|\d)|_ff$|reludense|glu$|channel_mix"),
    ("feed_forward", r"expert|moe"),
    ("codebook", r"codebook|quantize"),
    ("head", r"heads?$|classifier|^cls$|predict(ions?|or)$|(class|bbox|box|mask)_embed|^scores?$|confidence"),
    ("projection", r"project(or|ion)|connector|aligner|adapt[eo]r|merger|resampler|_proj$"),
    ("embedding", r"embed|(^|_)emb$"),
]

# (zones, "" for any; pattern searched in the dotted path; condition or None; role)
RULES = [
    # What is saved with a model and was never trained.
    ("", r"num_batches_tracked$|inv_freq$|(position|token_type)_ids$|_idxs?$", None, Role.BUFFER),
    ("", r"\.(g_idx|freqs|stride|offsets|eps|special_tokens|k_idx|k_minus_1|empty)$", None, Role.BUFFER),
    ("", r"position_index$|coords_table$|rope_freqs$|\.(freqs_cis|(cos|sin)(_cached)?)$", None, Role.BUFFER),
    ("", r"(embed_scale|cluster_(size|usage)|inited|initialized|kernel_size)$", _bare, Role.BUFFER),
    ("", r"padding_total$|act_fn\.beta$|num_points_scale$|\.normalizer$", _bare, Role.BUFFER),
    ("", r"(attn|attention|causal)_mask$|\.masked$|mask_value\w*$|\.filter$", None, Role.BUFFER),
    ("", r"(weight|bias)_integer$|scaling_factor$|\.x_(min|max)$|tokens_offsets$", None, Role.BUFFER),
    ("attention", r"slope_rate$|(query|key|diagonal)_decay$", None, Role.BUFFER),
    ("", r"", _square_bias, Role.BUFFER),
    # Scales of quantised weights.
    ("", r"\.(weight|input|output|act\w*)_(global_)?(scale|zero_?point|shape)(_inv|_2)?$", None, Role.SCALE),
    ("", r"\.(scb|qzeros|scales|absmax|quant_map|zero_points?)$", None, Role.SCALE),
    ("", r"\.(quant_state\.\w+|nested_\w+)$", None, Role.SCALE),
    ("", r"_(scales?|scale_inv|zero_points?)$", _quantised, Role.SCALE),
    ("", r"(proj|[._][qkv]|dense|fc\d?|linear|weight)_scales?(_inv)?$", None, Role.SCALE),
    ("", r"\.scale$", _scaled_layer, Role.SCALE),
    # Norms.
    ("", r"running_(mean|var)$", None, Role.NORM),
    ("norm", r"conv\w*$", _kernel, Role.CONVOLUTION),
    ("norm", r"\.(linear|proj|fc|dense|\d+)$", _matrix, Role.PROJECTION),
    ("norm", r"", None, Role.NORM),
    ("", r"norm\d*(_\w+)?$|normalization$|\.ln(_?\w+)?$|_ln$|[._]bn\d*$|\.grn$", None, Role.NORM),
    # Learned tokens and gains.
    ("", r"(no|not_a)_\w+_embed(ding)?$|latent_query$|prompt_emb\w*$", None, Role.OTHER),
    ("", r"(cls|class|mask|register|latent|score|iou|eos)_tokens?$", None, Role.OTHER),
    ("", r"(?<!embed)_tokens?(_\w+)?$|\.alpha_\w+$", _bare, Role.OTHER),
    ("", r"sinks?$", None, Role.ATTENTION_OTHER),
    ("attention", r"(logit_scale|temperature|tau|lambda_\w+)$", None, Role.ATTENTION_OTHER),
    ("", r"class_embedding$|masked_spec_embed$|logit_(scale|bias)(_\w)?$", _bare, Role.OTHER),
    ("", r"\.temperature$|\.latents?$|image_newline$", _bare, Role.OTHER),
    ("", r"\.act(ivation)?(_fn)?(\.\w+)?$|snake\d*\.\w+$|\.lambda_?\w*$|\.gamma(_\d)?$", None, Role.OTHER),
    ("", r"layer_?scale\d*(_parameter\d?)?(\.\w+)?$|\.ls\d?(\.\w+)?$", None, Role.OTHER),
    ("codebook", r"\.(embed\w*|codebook)$", None, Role.OTHER),
    # State spaces and recurrent nets; their queries, keys and values are found further down.
    ("", r"\.(a_log|d|dt|dt_proj|x_proj|(weight|bias)_[ih]h_l\d\w*)$", None, Role.RECURRENT),
    ("", r"\.(time_(decay|first|mix|maa|faaaa)\w*|ssm_(?!conv)\w+)$", None, Role.RECURRENT),
    ("recurrent", r"conv", _kernel, Role.CONVOLUTION),
    ("recurrent", r"\.out_proj$", _attending, Role.ATTENTION_OUTPUT),
    ("recurrent", r"\.(?![qkv](_proj)?$)\w+$", None, Role.RECURRENT),
    # Kernels that cannot be a linear layer of something else.
    ("patch", r"", _kernel, Role.PATCH_EMBEDDING),
    ("", r"patch(es)?_?(embed|conv|proj)\w*$|(vision|image)_embed_tokens$", None, Role.PATCH_EMBEDDING),
    ("embedding", r"\.proj(ection)?$|patch_embeddings?\.", _kernel, Role.PATCH_EMBEDDING),
    ("", r"", _pixels, Role.PATCH_EMBEDDING),
    ("", r"conv\dd$|conv_attn\w*$", None, Role.CONVOLUTION),
    ("", r"(dw_?conv|depthwise|pointwise)(_\w+)?$", _kernel, Role.CONVOLUTION),
    ("", r"(spatial|sequence)_reduction$|\.sr$", _kernel, Role.CONVOLUTION),
    ("position", r"conv", None, Role.CONVOLUTION),
    # Attention.
    ("relative", r"", None, Role.ATTENTION_OTHER),
    ("", r"relative_(pos\w*_bias|attention_bias)\w*$|rel_attn_embed$", None, Role.ATTENTION_OTHER),
    ("", r"attention_(biases|weights)$|sampling_offsets$|_attn\.linear_pos$", None, Role.ATTENTION_OTHER),
    ("attention", r"\.((pos_)?bias_[a-z]|r(_\w+)?|seg_embed)$|indexer", None, Role.ATTENTION_OTHER),
    ("attention", r"\.(gru_|emb_)?rel\w*$", None, Role.ATTENTION_OTHER),
    ("", r"\.(\w*qkvz?|w?qkv_?\w*|query_key_value|queries_keys_values|c_attn)$", None, Role.ATTENTION_QKV),
    ("", r"\.((\w+_)?kv(_\w+)?_proj\w*|(attn_|to_)?kv(_[ab]\w*)?|wkv_[ab])$", None, Role.ATTENTION_QKV),
    ("", r"\.keys?_values?$", None, Role.ATTENTION_QKV),
    ("attention", r"\.(in_proj(_qkvz?)?|qk(_proj)?|query_key|\w+_pack|att_proj)$", None, Role.ATTENTION_QKV),
    ("", r"\.(\w*_)?q(_[a-z]+|content|pos\w*)?_?(proj|lin|head|linear)$", None, Role.ATTENTION_QUERY),
    ("", r"\.(\w*_)?k(_[a-z]+|content|pos\w*)?_?(proj|lin|head|linear)$", None, Role.ATTENTION_KEY),
    ("", r"\.(\w*_)?v(_[a-z]+|content|pos\w*)?_?(proj|lin|head|linear)$", None, Role.ATTENTION_VALUE),
    ("", r"((to|linear|project|projection|attn|lin)_|\.w)q(_[ab])?$", None, Role.ATTENTION_QUERY),
    ("", r"((to|linear|project|projection|attn|lin)_|\.w)k$", None, Role.ATTENTION_KEY),
    ("", r"((to|linear|project|projection|attn|lin)_|\.w)v$", None, Role.ATTENTION_VALUE),
    ("attention", r"\.((\w*_)?(q|query|queries)(_\w+)?|receptance)$", _no_window, Role.ATTENTION_QUERY),
    ("attention", r"\.(\w*_)?(k|keys?)(_\w+)?$", _no_window, Role.ATTENTION_KEY),
    ("attention", r"\.(\w*_)?(v|values?)(_\w+)?$", _no_window, Role.ATTENTION_VALUE),
    ("none recurrent", r"\.(q|query|queries)$", _attending, Role.ATTENTION_QUERY),
    ("none recurrent", r"\.(k|keys?)$", _attending, Role.ATTENTION_KEY),
    ("none recurrent", r"\.(v|values?)$", _attending, Role.ATTENTION_VALUE),
    ("", r"\.(o_(proj|lin|head)|(attn|attention)_out(put)?|post_attention)$", None, Role.ATTENTION_OUTPUT),
    ("attention", r"\.(\w*gate(_proj)?|g_proj)$", None, Role.ATTENTION_OTHER),
    ("attention", r"\.attentions\.\d+\.proj_(in|out)$", None, Role.PROJECTION),
    ("attention", r"\.output\.dense$|\.to_(add_)?out(\.\d+)?$", None, Role.ATTENTION_OUTPUT),
    ("attention", r"\.(final_linear|post_proj|c_proj|wo|output_linear|dense)$", None, Role.ATTENTION_OUTPUT),
    ("attention", r"\.(o|(out|output)(_\w+)?|(\w+_)?out)$", _no_window, Role.ATTENTION_OUTPUT),
    ("attention", r"\.proj(_out|ection(_layer)?)?$", _no_window, Role.ATTENTION_OUTPUT),
    ("none projection", r"\.(o|out|wo|(out(put)?_)?proj(_out|ection)?)$", _attending, Role.ATTENTION_OUTPUT),
    ("none attention", r"", _scanning, Role.RECURRENT),
    # Routers of experts.
    ("router", r"", None, Role.ROUTER),
    ("", r"\.(\w*router\w*|\w*expert_gate|e_score_correction|expert|ffn_gate_inp\w*)$", None, Role.ROUTER),
    ("", r"\.gate$", _chooses, Role.ROUTER),
    # Feed-forward.
    ("feed_forward", r"up_gate$", _beside(r"\w*up"), Role.FEED_FORWARD_GATE),
    ("", r"\.(\w*gate_up\w*|\w*up_gate\w*|w_?1_?3|input_linear)$", None, Role.FEED_FORWARD_GATE_UP),
    ("", r"\.dense_h_to_4h$", _doubled, Role.FEED_FORWARD_GATE_UP),
    ("", r"\.(gate_proj|ffn_gate(_\w+)?|wi_0|fc1_g|fc12|linear_g)$", None, Role.FEED_FORWARD_GATE),
    ("", r"\.w1$", _beside(r"w_?3|v1"), Role.FEED_FORWARD_GATE),
    ("", r"\.w2$", _beside(r"c_proj"), Role.FEED_FORWARD_GATE),
    ("feed_forward", r"\.(gate|receptance|w_0)$", None, Role.FEED_FORWARD_GATE),
    ("", r"\.((ffn|linear)_up(_\w+)?|up_proj|wi_1|w[13]|v1)$", None, Role.FEED_FORWARD_UP),
    ("", r"\.(fc1[1x]|fc1_x|c_fc|dense_h_to_4h)$", None, Role.FEED_FORWARD_UP),
    ("", r"\.((ffn|linear)_down(_\w+)?|down_proj|w2)$", None, Role.FEED_FORWARD_DOWN),
    ("", r"\.(dense_4h_to_h|output_linear)$", None, Role.FEED_FORWARD_DOWN),
    ("none", r"\.ffn$|inter(mediate)?(_\w+)?(\.dense)?$", None, Role.FEED_FORWARD_UP),
    ("none", r"\.ffn_output$|output(_\w+)?\.dense$", None, Role.FEED_FORWARD_DOWN),
    ("none", r"output\.conv1$", _paired, Role.FEED_FORWARD_UP),
    ("none", r"output\.conv2$", _paired, Role.FEED_FORWARD_DOWN),
    ("none projection", r"\.fc$", _beside(r"c_proj"), Role.FEED_FORWARD_UP),
    ("none projection", r"\.c_proj$", None, Role.FEED_FORWARD_DOWN),
    ("none", r"\.output$", _beside(r"intermediate"), Role.FEED_FORWARD_DOWN),
    ("feed_forward", r"(merger|project(or|ion)|connector|aligner|adapter)\.mlp\.\d+$", None, Role.PROJECTION),
    ("feed_forward", r"conv_?1$", _paired, Role.FEED_FORWARD_UP),
    ("feed_forward", r"conv_?2$", _paired, Role.FEED_FORWARD_DOWN),
    ("feed_forward", r"(1|wi|in|up|expand|\.0|intermediate)(\.proj)?$", _doubled, Role.FEED_FORWARD_GATE_UP),
    ("feed_forward", r"\.(wi|\w*_in|in_\w+|\w+_up|up|intermediate\w*)$", None, Role.FEED_FORWARD_UP),
    ("feed_forward", r"\.(expand|key)$", None, Role.FEED_FORWARD_UP),
    ("feed_forward", r"\.(wo|\w*_out|out\w*|\w+_down|down|value|c_proj)$", None, Role.FEED_FORWARD_DOWN),
    ("feed_forward", r"\.[a-z]\w*1(\.proj)?$|\.0\.proj$", None, Role.FEED_FORWARD_UP),
    ("feed_forward", r"\.[a-z]\w*2$", None, Role.FEED_FORWARD_DOWN),
    ("feed_forward", r"\.\d+$", _last, Role.FEED_FORWARD_DOWN),
    ("feed_forward", r"", _widens, Role.FEED_FORWARD_UP),
    ("feed_forward", r"", _narrows, Role.FEED_FORWARD_DOWN),
    ("feed_forward", r"\.\d+$", _matrix, Role.FEED_FORWARD_UP),
    # Embeddings.
    ("", r"[._]pos(ition)?(s|al)?_?(emb|enc)\w*$|embed_positions$", None, Role.POSITION_EMBEDDING),
    ("", r"\.(wpe|pe|pe_k)$", None, Role.POSITION_EMBEDDING),
    ("", r"position_embeds_layer$|level_embed$|(row|col|column)_embed\w*$", None, Role.POSITION_EMBEDDING),
    ("", r"quer(y|ies)_(pos\w*|embed\w*|refpoint\w*)$|queries_embedder$", None, Role.POSITION_EMBEDDING),
    ("", r"embed_timestep$|(rel|relative)_(pos\w*|embeddings)$", None, Role.POSITION_EMBEDDING),
    ("", r"(time|temporal|frame)_emb\w*$|pos_idx_to_embed$", _bare, Role.POSITION_EMBEDDING),
    ("position", r"", None, Role.POSITION_EMBEDDING),
    ("", r"(token_type|segment|seg|type|modality)_?emb\w*$|token_types?$", None, Role.TYPE_EMBEDDING),
    ("patch", r"", None, Role.PATCH_EMBEDDING),
    ("", r"\.(wte|emb|tok_emb\w*|tokens_embed|embed_in|shared)(\.\d+)?$", None, Role.TOKEN_EMBEDDING),
    ("", r"\.embed_(\w+_)?tokens\w*(\.\d+)?$", None, Role.TOKEN_EMBEDDING),
    ("", r"(word|token)_emb\w*$", _matrix, Role.TOKEN_EMBEDDING),
    ("", r"\.(embed|embeddings?|input_embeds\w*|\w*tok_embed\w*)(\.\d+)?$", _matrix, Role.TOKEN_EMBEDDING),
    ("embedding", r"embed(ding)?s?$|embedders\.\d+$", _matrix, Role.TOKEN_EMBEDDING),
    ("", r"embedder_\d+$", _matrix, Role.TOKEN_EMBEDDING),
    # Poolers, heads and projections.
    ("pooler", r"", None, Role.POOLER),
    ("", r"pooler$|\.probe$", None, Role.POOLER),
    ("", r"(transform|lm_head|predictions)\.(dense|fc\w*)$", None, Role.PROJECTION),
    ("", r"conv\w*(\.\d+)?$", _kernel, Role.CONVOLUTION),
    ("none projection", r"\.\d+\.fc1$", _paired, Role.FEED_FORWARD_UP),
    ("none projection", r"\.\d+\.fc2$", _paired, Role.FEED_FORWARD_DOWN),
    ("head", r"\.\d+$", _vector, Role.NORM),
    ("head", r"", _bare, Role.OTHER),
    ("head", r"", None, Role.OUTPUT_HEAD),
    ("", r"head\w*$|classifier\w*$|logits\w*$|embed_out$|vocab_projector$", None, Role.OUTPUT_HEAD),
    ("", r"(class|bbox|mask)_embed$|pred(ictions|ictor)?$|\.predict_\w+$", None, Role.OUTPUT_HEAD),
    ("", r"seq_relationship$|_loss$|^\.(\w+\.){0,2}score$", None, Role.OUTPUT_HEAD),
    ("none", r"^\.(\w+\.){0,2}(output|fc)$|embedding_decoder$|^\.\w+_outputs?$", None, Role.OUTPUT_HEAD),
    ("none", r"\.(decoder|\w*out(put)?(_layer)?|\w*proj(ection)?)$", _tall, Role.OUTPUT_HEAD),
    ("", r"", _kernel, Role.CONVOLUTION),
    ("projection embedding", r"", _matrix, Role.PROJECTION),
    ("", r"proj(ection|ector)?(_layer)?$", _matrix, Role.PROJECTION),
    # Feed-forward layers that stand beside the attention, and what only the shape tells.
    ("", r"(fc|linear|lin|dense|layer|pwconv)_?1$", _paired, Role.FEED_FORWARD_UP),
    ("", r"(fc|linear|lin|dense|layer|pwconv)_?2$", _paired, Role.FEED_FORWARD_DOWN),
    ("attention", r"", None, Role.ATTENTION_OTHER),
    ("none", r"embed(ding)?s?$|_emb$", _matrix, Role.TOKEN_EMBEDDING),
    ("", r"", _tall, Role.TOKEN_EMBEDDING),
    ("", r"", _layer_vector, Role.NORM),
    ("", r"", _layer, Role.PROJECTION),
]

ZONES = [(zone, re.compile(pattern)) for zone, pattern in ZONES]
RULES = [(zones.split(), re.compile(pattern), condition, role) for zones, pattern, condition, role in RULES]
