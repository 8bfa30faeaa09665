"""Texts cut into tokens and joined again by the tokenizers library.

Owns what stands between a stranger's file and the library: a panic becomes a refusal, and
no part of the file may make a text much longer.
"""

import json
import re

from hypercube.components import HINT
from hypercube.errors import CorruptFile, TooMany
from hypercube.vocabulary import lines

_SETTINGS_LIMIT = 4 << 20
# Post-processors one after the other, and what a template may add to a text.
_PROCESSORS = 4
_TEMPLATE = 16
_NO_UNKNOWN_TOKEN = re.compile(
    r"Missing .* token from the vocabulary|`unk_id` is missing|Unk token .* not found", re.DOTALL
)


def _ask_library(failure, call, *args, **options):
    """Call the tokenizers library; what it raises is a refusal.

    A panic arrives as a BaseException.  No statement runs in there whose cancel could be lost.
    """
    try:
        return call(*args, **options)
    except BaseException as problem:
        if not isinstance(problem, Exception) and type(problem).__name__ != "PanicException":
            raise
        raise CorruptFile(failure, detail=str(problem).replace("\0", "")[:500], hint=HINT) from None


def load(files):
    """Return the tokenizers.Tokenizer of a model, without truncation and padding.

    Raises
    ------
    CorruptFile
        The library cannot load the file.
    """
    import tokenizers

    failure = "the tokenizer cannot be loaded"
    if "tokenizer.json" in files:
        tokenizer = _ask_library(failure, tokenizers.Tokenizer.from_buffer, files["tokenizer.json"])
    else:
        pieces = lines(files["vocab.txt"])
        tokenizer = _ask_library(failure, _wordpiece, pieces, _says_lower(files, pieces))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # For training: merges are left out at random, and a text has other tokens each time.
    if getattr(tokenizer.model, "dropout", None) is not None:
        tokenizer.model.dropout = None
    # A template could repeat a text any number of times.
    if not _adds_little(tokenizer.post_processor):
        tokenizer.post_processor = None
    return tokenizer


def _adds_little(processor):
    """Return whether a post-processor repeats no text and adds a few special tokens at most."""
    if processor is None:
        return True
    return _is_small(json.loads(_ask_library("the tokenizer cannot be loaded", processor.__getstate__)))


def _is_small(settings):
    """Return whether the settings of a post-processor are of a kind that adds little."""
    if settings["type"] == "Sequence":
        inner = settings["processors"]
        return len(inner) <= _PROCESSORS and all(
            one["type"] != "Sequence" and _is_small(one) for one in inner
        )
    if settings["type"] == "TemplateProcessing":
        single = settings["single"]
        added = settings["special_tokens"].values()
        return (
            len(single) <= _TEMPLATE
            and sum("Sequence" in part for part in single) == 1
            and all(len(token["ids"]) <= _TEMPLATE for token in added)
        )
    return settings["type"] in ("ByteLevel", "RobertaProcessing", "BertProcessing")


def _says_lower(files, pieces):
    """Return whether a vocab.txt is of lower-case text, as tokenizer_config.json says or as it looks."""
    settings = files.get("tokenizer_config.json", b"{}")
    if len(settings) > _SETTINGS_LIMIT:
        raise TooMany(f"tokenizer_config.json has {len(settings)} bytes, at most {_SETTINGS_LIMIT} are read")
    try:
        said = json.loads(settings).get("do_lower_case")
    except (ValueError, AttributeError, RecursionError):
        said = None
    looks = not any(piece != piece.lower() and not piece.startswith("[") for piece in pieces)
    return said if isinstance(said, bool) else looks


def _wordpiece(pieces, lower):
    """Return the tokenizer of a BERT-like vocab.txt."""
    import tokenizers

    vocab = {piece: token_id for token_id, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def unknown_id(files, tokenizer):
    """Return the id that stands for what cannot be spelled, or None."""
    model = tokenizer.model
    if hasattr(model, "unk_token"):
        return tokenizer.token_to_id(model.unk_token) if model.unk_token is not None else None
    # Unigram shows it only in its state, which unlike the file holds nothing else that could be large.
    state = _ask_library("the tokenizer cannot be loaded", model.__getstate__)
    return json.loads(state)["unk_id"]


def encode(tokenizer, texts, special_tokens=False):
    """Return the tokenizers.Encoding of each text of a list.

    Raises
    ------
    CorruptFile
        The library fails at one of them.
    """
    return _ask_library(
        "the tokenizer cannot cut a text into tokens",
        tokenizer.encode_batch,
        texts,
        add_special_tokens=special_tokens,
    )


def complete(tokenizer, encoding):
    """Return the token ids of a tokenizers.Encoding with the tokens that the model adds."""
    return _ask_library("the tokenizer cannot cut a text into tokens", tokenizer.post_process, encoding).ids


def decode(tokenizer, ids, skip_special_tokens):
    """Return the text of token ids, which the vocabulary holds.

    Raises
    ------
    CorruptFile
        The library fails.
    """
    return _ask_library(
        "the tokenizer cannot join tokens", tokenizer.decode, ids, skip_special_tokens=skip_special_tokens
    )


def spell(tokenizer, word):
    """Return the token ids of a word as it stands inside a sentence, after a space.

    Empty where the word cannot be spelled and the vocabulary has no unknown token.

    Raises
    ------
    CorruptFile
        The library fails at the word.
    """
    ids, begins_word = _encode(tokenizer, word)
    if ids and not begins_word:
        after_space, begins_word = _encode(tokenizer, " " + word)
        if begins_word:
            ids = after_space
    return ids


def _encode(tokenizer, text):
    """Return the token ids of a text, and whether its first piece is marked as the beginning of a word."""
    failure = "the tokenizer cannot spell a word"
    try:
        encoding = _ask_library(failure, tokenizer.encode, text, add_special_tokens=False)
    except CorruptFile as refusal:
        if _NO_UNKNOWN_TOKEN.search(refusal.detail):
            return [], False
        raise
    return encoding.ids, bool(encoding.tokens) and encoding.tokens[0][:1] in ("▁", "Ġ")
