"""What a tokenizer.json is put together from, and what none may hold.

The tokenizers library trusts these parts: it aborts at some merges, and makes a text
as long as its normalizers say.  Types that are unknown here are left to the library.
"""

import base64
import binascii
import re

from hypercube.errors import CorruptFile, TooMany

HINT = "Fetch the file again; it has to be one that the tokenizers library loads."
PIECE_LIMIT = 2_000  # bytes; the index on the labels takes no more than 2,704
_STEP_MERGES = 4096
# How many times longer a text may become in replacements, and with what Unicode does to it at worst.
_GROWTH_LIMIT = 1_000
_WHOLE_GROWTH_LIMIT = 20_000
_UNICODE_GROWTH = {
    "BertNormalizer": 6,
    "Lowercase": 2,
    "NFC": 3,
    "NFD": 4,
    "NFKC": 18,
    "NFKD": 18,
    "Precompiled": 18,
}


# Regular expressions that surely take a character at each match: one atom or several, each at least once.
_CONSUMING = re.compile(r"(?:(?:\\s|\[[^\[\]\\]+\]|[^\\*?+.{}()^$|\[\]])(?:\+|\{[1-9]\d*(?:,\d*)?\})?)+")


def components(node):
    """Yield a component of tokenizer.json and those inside it."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def require_merges(model, step):
    """Refuse merges that the library would trip over: it cuts the prefix off the right part unseen."""
    if (model.get("type") or "BPE") != "BPE" or "merges" not in model or not isinstance(model["vocab"], dict):
        return
    merges, vocab = model["merges"], model["vocab"]
    prefix = model.get("continuing_subword_prefix")
    prefix = prefix if isinstance(prefix, str) else ""
    if not isinstance(merges, list):
        raise CorruptFile("merges in tokenizer.json is not a list", hint=HINT)
    for place, merge in enumerate(merges):
        if place % _STEP_MERGES == 0:
            step(0.25 * place / len(merges))
        if isinstance(merge, str):
            if merge.startswith("#version"):
                continue
            parts = merge.split(" ")
        else:
            parts = merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise CorruptFile(f"merge {place} of the tokenizer is not two pieces: {merge!r:.60}", hint=HINT)
        left, right = parts
        if not left or not right or left not in vocab or right not in vocab:
            raise CorruptFile(
                f"merge {place} of the tokenizer is not of two of its pieces: {merge!r:.60}", hint=HINT
            )
        if not right.startswith(prefix) or left + right[len(prefix) :] not in vocab:
            raise CorruptFile(
                f"merge {place} of the tokenizer does not make one of its pieces: {merge!r:.60}", hint=HINT
            )


def require_bounded(settings):
    """Refuse a tokenizer that can make a text very much longer, or that adds long texts to every part."""
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token"):
        text = settings["model"].get(name)
        if isinstance(text, str) and len(text) > PIECE_LIMIT:
            raise TooMany(
                f"{name} of the tokenizer has {len(text)} characters, at most {PIECE_LIMIT} are read"
            )
    growth = whole = 1.0
    for part in components([settings.get("normalizer"), settings.get("pre_tokenizer")]):
        # Capped, as a product of thousands would be infinite or not a number.
        growth = min(growth * max(1.0, _growth(part)), 1e9)
        whole = min(whole * _UNICODE_GROWTH.get(str(part.get("type")), 1), 1e9)
    if growth > _GROWTH_LIMIT or growth * whole > _WHOLE_GROWTH_LIMIT:
        raise TooMany(
            "the tokenizer can make a text too long",
            detail=f"At most {_GROWTH_LIMIT} times longer by replacing,"
            f" and {_WHOLE_GROWTH_LIMIT} times with Unicode normalization.",
            hint=HINT,
        )


def _growth(part):
    """Return how many times longer a component of tokenizer.json makes a text at worst, 0 for not at all."""
    content, pattern, charsmap = part.get("content"), part.get("pattern"), part.get("precompiled_charsmap")
    if isinstance(content, str) and isinstance(pattern, dict):
        found, expression = pattern.get("String"), pattern.get("Regex")
        if isinstance(found, str) and found:
            return len(content) / len(found)
        consuming = isinstance(expression, str) and _CONSUMING.fullmatch(expression)
        # Where it matches nothing at all, the content comes on top of what is there.
        return len(content) + (0 if consuming or not content else 1)
    if isinstance(part.get("prepend"), str):
        return len(part["prepend"])
    if isinstance(charsmap, str):
        return _longest_of(charsmap) / _UNICODE_GROWTH["Precompiled"]
    return 2 if part.get("type") == "ByteLevel" else 0


def _longest_of(charsmap):
    """Return the length of the longest text in a charsmap: a table, then texts that end in NUL."""
    try:
        content = base64.b64decode(charsmap, validate=True)
    except (binascii.Error, ValueError):
        raise CorruptFile("precompiled_charsmap in tokenizer.json is not base64", hint=HINT) from None
    texts = content[4 + int.from_bytes(content[:4], "little") :].decode("utf-8", "replace")
    return max(map(len, texts.split("\0")))
