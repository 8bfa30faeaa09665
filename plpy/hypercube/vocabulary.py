"""Vocabularies: what each token is, and how a person reads it.

The vocabulary is read from tokenizer.json (WordPiece, BPE, Unigram, WordLevel) or from vocab.txt.
"""

import functools
import json
import re
from typing import NamedTuple

from hypercube.components import HINT, PIECE_LIMIT, components, require_bounded, require_merges
from hypercube.errors import CorruptFile, NotSupported, SourceMissing, TooMany

ENTRIES_LIMIT = 4_000_000
_BYTE_PIECE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNUSED_PIECE = re.compile(r"[\[<]unused_?\d+[\]>]")
_STEP_ENTRIES = 4096


class Piece(NamedTuple):
    """One token: as it is spelled, as it is read, what it is, and its bare text."""

    piece: str
    label: str
    kind: str
    text: str


def _silent(fraction):
    pass


def files_of(files, tokenizer):
    """Return those of the files of a model that its vocabulary is read from, under their usual names.

    `tokenizer` is the path of the one that counts, or None.
    """
    found = {}
    if tokenizer is not None:
        usual = "vocab.txt" if tokenizer == "vocab.txt" else "tokenizer.json"
        found[usual] = files[tokenizer]
    if "tokenizer_config.json" in files:
        found["tokenizer_config.json"] = files["tokenizer_config.json"]
    return found


def parse(files, step=_silent):
    """Return the vocabulary as a dict of token id to Piece.

    Parameters
    ----------
    files : dict of str to bytes
        The small files of the model.
    step : callable, optional
        Called every few thousand entries, but not while JSON is read: `apart` is for strangers' files.

    Raises
    ------
    SourceMissing
        Neither tokenizer.json nor vocab.txt is there.
    CorruptFile
        The file is not JSON, an id is not a count, two tokens have one id, or a merge
        is not one of two tokens of the vocabulary into a third.
    TooMany
        An id, a piece or what a normalizer makes of a text would be too large.
    """
    if "tokenizer.json" in files:
        settings = _read_json(files["tokenizer.json"])
        entries = _entries(settings)
        require_bounded(settings)
        require_merges(settings["model"], step)
        style = _style(settings, entries)
        special = {
            token["content"]
            for token in settings.get("added_tokens") or []
            if isinstance(token, dict)
            and token.get("special") is True
            and isinstance(token.get("content"), str)
        }
    elif "vocab.txt" in files:
        style, special = "wordpiece", {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
        entries = [(piece, token_id) for token_id, piece in enumerate(lines(files["vocab.txt"]))]
    else:
        raise SourceMissing(
            "the model has a token embedding but no tokenizer",
            hint="Put its tokenizer.json (or vocab.txt) beside the .safetensors file.",
        )
    pieces = {}
    for place, (piece, token_id) in enumerate(_checked(entries, step)):
        if place % _STEP_ENTRIES == 0:
            step(0.5 + 0.5 * place / len(entries))
        pieces[token_id] = _read_piece(piece, style, special)
        longest = max(pieces[token_id].piece, pieces[token_id].text, key=len)
        if len(longest) * 4 > PIECE_LIMIT and len(longest.encode()) > PIECE_LIMIT:
            raise TooMany(
                f"token {token_id} of the tokenizer has {len(longest.encode())} bytes,"
                f" at most {PIECE_LIMIT} are read"
            )
    return pieces


def merges(files):
    """Return the merges of a BPE tokenizer as pairs of token ids, the first to be made first.

    `files` are those that `parse` has read.  Other tokenizers have none.
    """
    if "tokenizer.json" not in files:
        return []
    model = _read_json(files["tokenizer.json"])["model"]
    if (model.get("type") or "BPE") != "BPE" or not isinstance(model.get("vocab"), dict):
        return []
    vocab = model["vocab"]
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges") or ())
    return list(dict.fromkeys((vocab[left], vocab[right]) for left, right in pairs))


def _read_json(content):
    try:
        settings = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise CorruptFile("tokenizer.json is not JSON in UTF-8", hint=HINT) from None
    if not isinstance(settings, dict) or not isinstance(settings.get("model"), dict):
        raise CorruptFile("tokenizer.json has no model", hint=HINT)
    return settings


def lines(content):
    try:
        return content.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise CorruptFile("vocab.txt is not UTF-8", hint=HINT) from None


def _entries(settings):
    """Return (piece, id) pairs of a tokenizer.json, added tokens after the rest."""
    vocab = settings["model"].get("vocab")
    if isinstance(vocab, dict):
        entries = list(vocab.items())
    elif isinstance(vocab, list):
        entries = [
            (pair[0] if isinstance(pair, list) and pair else None, position)
            for position, pair in enumerate(vocab)
        ]
    else:
        raise NotSupported(
            "the vocabulary in tokenizer.json is neither a map nor a list",
            hint="WordPiece, BPE, Unigram and WordLevel models are read.",
        )
    added = settings.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise CorruptFile("added_tokens in tokenizer.json is not a list of objects", hint=HINT)
    return entries + [(token.get("content"), token.get("id")) for token in added]


def _checked(entries, step):
    if len(entries) > ENTRIES_LIMIT:
        raise TooMany(f"the tokenizer has {len(entries)} entries, at most {ENTRIES_LIMIT} are read")
    owner = {}
    for place, (piece, token_id) in enumerate(entries):
        if place % _STEP_ENTRIES == 0:
            step(0.25 + 0.25 * place / len(entries))
        if not isinstance(piece, str) or type(token_id) is not int or token_id < 0:
            raise CorruptFile(
                f"the tokenizer has an entry {piece!r:.60} with the id {token_id!r:.30}", hint=HINT
            )
        if token_id >= ENTRIES_LIMIT:
            raise TooMany(
                f"the tokenizer has the token id {token_id!r:.30}, at most {ENTRIES_LIMIT} tokens are read"
            )
        if owner.setdefault(token_id, piece) != piece:
            raise CorruptFile(
                f"two tokens have the id {token_id}: {owner[token_id]!r:.60} and {piece!r:.60}",
                hint=HINT,
            )
        if not piece.isascii() and _SURROGATE.search(piece):
            raise CorruptFile(f"token {token_id} of the tokenizer is not valid Unicode", hint=HINT)
    return [(piece, token_id) for token_id, piece in owner.items()]


def _style(settings, entries):
    """Say how the tokenizer marks where words begin, or "plain" where it does not."""
    model = settings["model"]
    parts = [settings.get("pre_tokenizer"), settings.get("decoder"), settings.get("normalizer")]
    types = {str(part.get("type")) for part in components(parts)}
    if model.get("type") == "WordPiece" or model.get("continuing_subword_prefix") == "##":
        return "wordpiece"
    if "ByteLevel" in types:
        return "byte_level"
    if isinstance(model.get("end_of_word_suffix"), str) and model["end_of_word_suffix"]:
        return "end_of_word"
    marked = sum(1 for piece, _ in entries if isinstance(piece, str) and piece.startswith("▁"))
    return "metaspace" if marked * 100 >= len(entries) > 0 else "plain"


@functools.lru_cache(maxsize=1)
def _byte_alphabet():
    """Return the characters that byte-level BPE writes for the 256 bytes, as a dict to the byte.

    Printable Latin-1 characters stand for themselves, the rest for 256 and on
    (Radford et al., 2019).
    """
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(themselves)]
    alphabet = {chr(byte): byte for byte in themselves}
    alphabet.update({chr(256 + place): byte for place, byte in enumerate(others)})
    return alphabet


def _bytes_of(piece):
    alphabet = _byte_alphabet()
    try:
        return bytes(alphabet[character] for character in piece)
    except KeyError:
        return None


def _read_piece(piece, style, special):
    shown = piece.replace("\0", "\N{SYMBOL FOR NULL}")
    if piece in special:
        return Piece(shown, shown, "special", shown)
    if _UNUSED_PIECE.fullmatch(piece):
        return Piece(shown, shown, "unused", shown)
    if _BYTE_PIECE.fullmatch(piece):
        return Piece(shown, shown, "byte", shown)

    text, begins = shown, True
    if style == "wordpiece":
        begins = not piece.startswith("##")
        text = shown.removeprefix("##")
    elif style == "metaspace":
        begins = piece.startswith("▁")
        text = shown.lstrip("▁").replace("▁", " ")
    elif style == "end_of_word":
        begins = piece.endswith("</w>")
        text = shown.removesuffix("</w>")
    elif style == "byte_level":
        raw = _bytes_of(piece)
        if raw is not None:
            try:
                decoded = raw.decode("utf-8").replace("\0", "\N{SYMBOL FOR NULL}")
            except UnicodeDecodeError:
                label = f"<0x{raw.hex().upper()}>"
                return Piece(shown, label, "byte", label)
            begins = decoded.startswith(" ")
            text = decoded.lstrip(" ")
    if not text:
        text, begins = shown, True
    # Punctuation follows a word without a space, and is no part of it.
    if begins or not text[0].isalnum():
        return Piece(shown, text, "word", text)
    return Piece(shown, "##" + text, "continuation", text)
