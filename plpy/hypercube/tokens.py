"""Texts in the tokens of a model, as the tokenizers library cuts and joins them."""

import functools
import os

from hypercube import boundary, catalog, lexicon, spelling, vocabulary
from hypercube.errors import InvalidArgument, StepMissing, TooMany, Unrepresentable

# Less than a second of the library, which cannot be interrupted, whatever the characters.
TEXT_LIMIT = 250_000
_IDS_LIMIT = 1_000_000


@functools.lru_cache(maxsize=4)
def _load(model_id, created_at, path, caller):
    """Return the tokenizers.Tokenizer of a model, and the id that stands for what cannot be spelled.

    The files of a model never change, and another model has another id or time.  Who may not read
    them does not get what another role loaded.
    """
    # Threads of the library would be left running in a backend.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    files = vocabulary.files_of(
        {name: content for name, (content, _) in catalog.files(model_id).items()}, path
    )
    tokenizer = spelling.load(files)
    return tokenizer, spelling.unknown_id(files, tokenizer)


def find(model):
    """Return the tokenizer and the id of the unknown token of a model from its row.

    Raises
    ------
    StepMissing
        The model was stored without a vocabulary.
    """
    require_vocabulary(model)
    return _load(model["id"], model["created_at"], model["tokenizer"], model["caller"])


def require_vocabulary(model):
    """Refuse a model that was stored without one."""
    if model["tokenizer"] is None:
        raise StepMissing(
            f'model "{model["name"]}" has no vocabulary',
            hint="Put its tokenizer.json beside the weights, and ingest it again.",
        )


@functools.lru_cache(maxsize=4)
def _labels(model_id, created_at):
    # The vocabulary of a model never changes; another model gets another id or another time.
    return lexicon.token_labels(model_id)


def tokenize(text, name, special_tokens):
    """Return the columns of hypercube._tokens: ids, pieces, labels, where each begins and ends."""
    model = catalog.find_model(name)
    encoding = _encode(model, text, special_tokens)
    ids = encoding.ids
    labels = _labels(model["id"], model["created_at"])
    offsets = encoding.offsets
    return {
        "token_id": ids,
        "piece": [_shown(piece) for piece in encoding.tokens],
        "label": [labels.get(token_id) for token_id in ids],
        "start": [start for start, _ in offsets],
        "end": [end for _, end in offsets],
    }


def count_tokens(text, name, special_tokens):
    """Return how many tokens a text is."""
    return len(_encode(catalog.find_model(name), text, special_tokens))


def require_short(text):
    """Refuse a text that the library would take too long for."""
    if len(text) > TEXT_LIMIT:
        raise TooMany(
            f"a text has {len(text)} characters, at most {TEXT_LIMIT} are cut into tokens at once",
            hint="Store it with hypercube.ingest_text(...), or cut it into parts.",
        )


def _encode(model, text, special_tokens):
    if text is None:
        raise InvalidArgument("the text must not be null", hint="The empty text is ''.")
    if special_tokens is None:
        raise InvalidArgument("special_tokens must not be null", hint="Give true or false.")
    require_short(text)
    tokenizer, _ = find(model)
    boundary.tick()
    [encoding] = spelling.encode(tokenizer, [text], special_tokens)
    boundary.tick()
    return encoding


def detokenize(ids, name, skip_special_tokens):
    """Return the text of token ids."""
    if ids is None or skip_special_tokens is None:
        raise InvalidArgument("the token ids must not be null", hint="For example ARRAY[1, 2, 3].")
    if len(ids) > _IDS_LIMIT:
        raise TooMany(
            f"{len(ids)} token ids were given, at most {_IDS_LIMIT} are joined at once",
            hint="Join them in parts.",
        )
    model = catalog.find_model(name)
    tokenizer, _ = find(model)
    wrong = [one for one in ids if not isinstance(one, int) or one < 0 or tokenizer.id_to_token(one) is None]
    if wrong:
        said = "null" if wrong[0] is None else wrong[0]
        raise InvalidArgument(
            f'model "{model["name"]}" has no token {said}',
            hint="SELECT token_id, label FROM hypercube.token_overview WHERE model = '...'.",
        )
    text = spelling.decode(tokenizer, ids, skip_special_tokens)
    if "\0" in text:
        raise Unrepresentable(
            "the tokens spell the null character, which the type text cannot hold",
            hint="Join the tokens before and after it on their own.",
        )
    return text


def _shown(piece):
    return piece.replace("\0", "\N{SYMBOL FOR NULL}") if "\0" in piece else piece
