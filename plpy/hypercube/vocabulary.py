"""Vocabularies: what each token is, how a person reads it, how a word is spelled.

The vocabulary is read from tokenizer.json (WordPiece, BPE, Unigram, WordLevel) or
from vocab.txt; words are cut into tokens by the tokenizers library.
"""

import functools
import json
import re
from typing import NamedTuple

from hypercube.errors import CorruptFile, NotSupported, SourceMissing, TooMany

ENTRIES_LIMIT = 4_000_000
_BYTE_PIECE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_UNUSED_PIECE = re.compile(r"[\[<]unused_?\d+[\]>]")
_HINT = "Fetch the file again; it has to be one that the tokenizers library loads."


class Piece(NamedTuple):
    """One token: as it is spelled, as it is read, what it is, and its bare text."""

    piece: str
    label: str
    kind: str
    text: str


def parse(files):
    """Return the vocabulary as a dict of token id to Piece.

    Parameters
    ----------
    files : dict of str to bytes
        The small files of the model.

    Raises
    ------
    SourceMissing
        Neither tokenizer.json nor vocab.txt is there.
    CorruptFile
        The file is not JSON, an id is not a count, or two tokens have one id.
    """
    if "tokenizer.json" in files:
        settings = _read_json(files["tokenizer.json"])
        entries = _entries(settings)
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
        entries = list(zip(_lines(files["vocab.txt"]), range(ENTRIES_LIMIT), strict=False))
    else:
        raise SourceMissing(
            "the model has a token embedding but no tokenizer",
            hint="Put its tokenizer.json (or vocab.txt) beside the .safetensors file.",
        )
    return {token_id: _read_piece(piece, style, special) for piece, token_id in _checked(entries)}


def _read_json(content):
    try:
        settings = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise CorruptFile("tokenizer.json is not JSON in UTF-8", hint=_HINT) from None
    if not isinstance(settings, dict) or not isinstance(settings.get("model"), dict):
        raise CorruptFile("tokenizer.json has no model", hint=_HINT)
    return settings


def _lines(content):
    try:
        return content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise CorruptFile("vocab.txt is not UTF-8", hint=_HINT) from None


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
        raise CorruptFile("added_tokens in tokenizer.json is not a list of objects", hint=_HINT)
    return entries + [(token.get("content"), token.get("id")) for token in added]


def _checked(entries):
    if len(entries) > ENTRIES_LIMIT:
        raise TooMany(f"the tokenizer has {len(entries)} entries, at most {ENTRIES_LIMIT} are read")
    owner = {}
    for piece, token_id in entries:
        if not isinstance(piece, str) or type(token_id) is not int or not 0 <= token_id < 2**31:
            raise CorruptFile(
                f"the tokenizer has an entry {piece!r:.60} with the id {token_id!r:.30}", hint=_HINT
            )
        if owner.setdefault(token_id, piece) != piece:
            raise CorruptFile(
                f"two tokens have the id {token_id}: {owner[token_id]!r:.60} and {piece!r:.60}",
                hint=_HINT,
            )
        if any(0xD800 <= ord(character) < 0xE000 for character in piece):
            raise CorruptFile(f"token {token_id} of the tokenizer is not valid Unicode", hint=_HINT)
    return [(piece, token_id) for token_id, piece in owner.items()]


def _types(node):
    """Return the types of a component of tokenizer.json and of those inside it."""
    found = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            found.add(str(node.get("type")))
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return found


def _style(settings, entries):
    """Say how the tokenizer marks where words begin, or "plain" where it does not."""
    model = settings["model"]
    types = _types([settings.get("pre_tokenizer"), settings.get("decoder"), settings.get("normalizer")])
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


def load(files):
    """Return the tokenizers.Tokenizer of a model, without truncation and padding.

    Raises
    ------
    CorruptFile
        The library cannot load the file.
    """
    import tokenizers

    try:
        if "tokenizer.json" in files:
            tokenizer = tokenizers.Tokenizer.from_buffer(files["tokenizer.json"])
        else:
            tokenizer = _wordpiece(_lines(files["vocab.txt"]), files)
    # The library raises plain Exception; there is no statement in here whose cancel could be lost.
    except Exception as problem:  # noqa: BLE001
        raise CorruptFile("the tokenizer cannot be loaded", detail=str(problem)[:500], hint=_HINT) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _wordpiece(pieces, files):
    """Return the tokenizer of a BERT-like vocab.txt."""
    import tokenizers

    lower = not any(piece != piece.lower() and not piece.startswith("[") for piece in pieces)
    try:
        said = json.loads(files.get("tokenizer_config.json", b"{}")).get("do_lower_case")
    except (ValueError, AttributeError, RecursionError):
        said = None
    lower = said if isinstance(said, bool) else lower
    vocab = {piece: token_id for token_id, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def unknown_id(files, tokenizer):
    """Return the id that stands for what cannot be spelled, or None."""
    if "tokenizer.json" not in files:
        return tokenizer.token_to_id("[UNK]")
    model = _read_json(files["tokenizer.json"])["model"]
    if type(model.get("unk_id")) is int:
        return model["unk_id"]
    return tokenizer.token_to_id(model["unk_token"]) if isinstance(model.get("unk_token"), str) else None


def spell(tokenizer, word):
    """Return the token ids of a word as it stands inside a sentence, after a space."""
    encoding = tokenizer.encode(word, add_special_tokens=False)
    if encoding.tokens and encoding.tokens[0][:1] not in ("▁", "Ġ"):
        after_space = tokenizer.encode(" " + word, add_special_tokens=False)
        if after_space.tokens and after_space.tokens[0][:1] in ("▁", "Ġ"):
            encoding = after_space
    return encoding.ids
