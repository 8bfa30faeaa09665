"""Small models made for one test each: real files with known content."""

import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

_TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": ml_dtypes.bfloat16, "I8": np.int8}


def vectors(rows, columns=16, seed=7):
    """Return float32 vectors around a few directions, so that neighbours mean something."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, rows // 20), columns))
    noise = random.normal(size=(rows, columns))
    return (centres[np.arange(rows) % len(centres)] + 0.4 * noise).astype(np.float32)


def words(count):
    """Return that many different lower-case words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["w" + letters[i // 676 % 26] + letters[i // 26 % 26] + letters[i % 26] for i in range(count)]


def tokenizer(pieces, special=("[UNK]",)):
    """Return a WordPiece tokenizer.json over pieces, numbered in their order."""
    vocab = {piece: token_id for token_id, piece in enumerate(pieces)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocab[piece], "content": piece, "special": True, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False,
            }
            for piece in special
            if piece in vocab
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
            "strip_accents": None, "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    }  # fmt: skip


def write_model(folder, table, *, pieces=None, dtype="F32", tensors=None, config=None, tokenizer_json=None):
    """Write a BERT-like model whose token embedding is `table`; return its folder as text.

    `tokenizer_json` False writes none; other tensors are added from `tensors`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    named = {"embeddings.word_embeddings.weight": np.ascontiguousarray(table.astype(_TYPES[dtype]))}
    named["encoder.layer.0.attention.self.query.weight"] = np.eye(table.shape[1], dtype=np.float32)
    named.update(tensors or {})
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    if tokenizer_json is None:
        tokenizer_json = tokenizer(pieces if pieces is not None else ["[UNK]", *words(len(table) - 1)])
    if tokenizer_json is not False:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json), encoding="utf-8")
    told = {"model_type": "bert", "hidden_size": table.shape[1], "vocab_size": len(table)} | (config or {})
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    for path in folder.iterdir():
        os.chmod(path, 0o644)
    os.chmod(folder, 0o755)
    return str(folder)


def write_sparse(path, size, tensors):
    """Write a file of equal F16 tensors of zeros, which takes no space on the disk."""
    each = size // tensors // 2048 * 2048
    header = {
        f"model.layers.{i}.mlp.up_proj.weight": {
            "dtype": "F16", "shape": [each // 2048, 1024], "data_offsets": [i * each, (i + 1) * each],
        }
        for i in range(tensors)
    }  # fmt: skip
    content = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + each * tensors)
    os.chmod(path, 0o644)
