"""Texts in tokens: as the tokenizers library cuts and joins them, for every kind of tokenizer."""

import json
import random
from pathlib import Path

import numpy as np
import psycopg
import pytest
import tokenizers
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from chapters import chapter, copied, open_folder
from rows import MODELS, ingest
from small_models import vectors, write_model

TEXTS = (
    "",
    " ",
    "\n\t \r\n",
    "whale",
    "Call me Ishmael.",
    "  two  spaces\tand a tab ",
    "don't can't o'clock \u2018quoted\u2019 \u201cwords\u201d \u2014 dash\u2026",
    "1,851 whales in 3.5 years; $20.00 (twenty) = 100 %!",
    "Na\u00efve caf\u00e9 \u2014 Na\u0308ive cafe\u0301 \u0130stanbul stra\u00dfe \ufb01sh",
    "\u6349\u9be8\u306f\u6d77\u3067\u3059\u3002 \u041a\u0438\u0442 \u03c6\u03ac\u03bb\u03b1\u03b9",
    "\u05dc\u05d5\u05d9\u05d9\u05ea\u05df \u0e27\u0e32\u0e2c \u0939\u094d\u0935\u0947\u0932",
    "\U0001f40b\U0001f433 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1f3\U0001f1f4 \u2764\ufe0f",
    "\x01\x7f\x85\xa0\xad\u200b\u2028\u2029\ufeff\ufffd\ue000\U0010ffff",
    "[CLS] and [MASK] and [SEP] <s> and </s> <unk> <0x41> ##ing \u2581under \u0120",
    "a" * 150 + " " + "supercalifragilisticexpialidocious" * 4,
    " ".join(["the"] * 600),
)
ALPHABETS = (
    "etaoin shrdlu",
    "\u00e9\u0301\u00df\u0130\u01c5\ufb03 ",
    "\u9be8\u6d77\u306f\u30ab\uac00\u0e33 ",
    "\U0001f40b\u200d\ufe0f\U0001f3fd\U0001f1e6",
    "\x01\x1f\x7f\x9f\xa0\u2003\u3000\n\r\t ",
    ".,;:!?'\"-_()[]{}<>/\\@#$%^&*+=|~`",
    "0123456789,. ",
    "\u2581\u0120\u010a##<unk></s>[SEP] ",
)


def random_texts(count, seed=1851):
    """Return texts in which everything stands next to everything."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        pieces = []
        for _ in range(chance.randrange(1, 12)):
            pieces.append("".join(chance.choices(chance.choice(ALPHABETS), k=chance.randrange(1, 9))))
            anything = chance.randrange(1, 0x110000)
            pieces.append(chr(anything) if not 0xD800 <= anything < 0xE000 else " ")
        found.append("".join(pieces))
    return found


ALL_TEXTS = [*TEXTS, *random_texts(150)]


def byte_level():
    """Return a byte-level BPE tokenizer that begins and ends a text with tokens of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([chapter(1)], trainer)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]),
    ])  # fmt: skip
    return tokenizer


def unigram():
    """Return a Unigram tokenizer in the way of SentencePiece."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([chapter(1)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return tokenizer


@pytest.fixture(scope="module")
def libraries():
    """The library's own tokenizers, without truncation and padding, by the names of the models."""
    found = {
        name: Tokenizer.from_file(str(MODELS / folder / "tokenizer.json"))
        for name, folder in (
            ("minilm", "all-MiniLM-L6-v2"), ("wordllama", "wordllama"), ("glassllm", "glassllm"),
        )
    }  # fmt: skip
    found |= {"bytelevel": byte_level(), "unigram": unigram()}
    for tokenizer in found.values():
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return found


@pytest.fixture(scope="module")
def readers(server, loaded, libraries):
    """A connection to a database with a model of every kind of tokenizer."""
    with copied(server, "loaded", "tokenizing") as name, open_folder() as folder:
        with server.connect(dbname=name, autocommit=True) as db:
            db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
            for kind in ("bytelevel", "unigram"):
                settings = json.loads(libraries[kind].to_str())
                table = vectors(libraries[kind].get_vocab_size())
                ingest(db, write_model(folder / kind, table, tokenizer_json=settings), kind)
            yield db


KINDS = pytest.mark.parametrize("model", ["minilm", "wordllama", "glassllm", "bytelevel", "unigram"])
SPECIAL = pytest.mark.parametrize("special_tokens", [False, True])


def cut(db, texts, model, special_tokens=False):
    """Return the rows of tokenize for each of some texts."""
    found = db.execute(
        "SELECT asked.place, t.* FROM unnest(%s::text[]) WITH ORDINALITY AS asked (content, place)"
        " CROSS JOIN LATERAL hypercube.tokenize(asked.content, %s, %s) AS t ORDER BY 1, 2",
        (texts, model, special_tokens),
    ).fetchall()
    rows = [[] for _ in texts]
    for place, *row in found:
        rows[place - 1].append(tuple(row))
    return rows


@KINDS
@SPECIAL
def test_a_text_is_cut_as_the_library_cuts_it(readers, libraries, model, special_tokens):
    texts = [*ALL_TEXTS, chapter(42)[:20_000]]
    labels = dict(
        readers.execute(
            "SELECT token_id, label FROM hypercube.token_overview WHERE model = %s", (model,)
        ).fetchall()
    )
    for text, rows in zip(texts, cut(readers, texts, model, special_tokens), strict=True):
        encoding = libraries[model].encode(text, add_special_tokens=special_tokens)
        expected = [
            (place, token_id, piece, labels[token_id], start, end)
            for place, (token_id, piece, (start, end)) in enumerate(
                zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True), start=1
            )
        ]
        assert rows == expected, text


@KINDS
@SPECIAL
def test_tokens_are_counted_as_they_are_cut(readers, libraries, model, special_tokens):
    found = readers.execute(
        "SELECT hypercube.count_tokens(content, %s, %s) FROM unnest(%s::text[]) AS asked (content)",
        (model, special_tokens, ALL_TEXTS),
    ).fetchall()
    encodings = libraries[model].encode_batch(ALL_TEXTS, add_special_tokens=special_tokens)

    assert [count for (count,) in found] == [len(encoding.ids) for encoding in encodings]


@KINDS
@pytest.mark.parametrize("skip", [False, True])
def test_tokens_are_joined_as_the_library_joins_them(readers, libraries, model, skip):
    library = libraries[model]
    chance = random.Random(7)
    size = library.get_vocab_size()
    lists = [encoding.ids for encoding in library.encode_batch(ALL_TEXTS)]
    # Also what no text is cut into; the null character has a test of its own.
    lists += [[chance.randrange(size) for _ in range(chance.randrange(1, 9))] for _ in range(100)]
    lists = [ids for ids in lists if "\0" not in library.decode(ids, skip_special_tokens=skip)]
    assert len(lists) > 200
    found = [
        readers.execute("SELECT hypercube.detokenize(%s::int[], %s, %s)", (ids, model, skip)).fetchone()[0]
        for ids in lists
    ]

    assert found == [library.decode(ids, skip_special_tokens=skip) for ids in lists]


@pytest.mark.parametrize("model", ["wordllama", "bytelevel"])
def test_what_spells_everything_gives_a_text_back_bit_for_bit(readers, model):
    text = chapter(36)[:5000]
    ids = [row[1] for row in cut(readers, [text], model)[0]]

    assert readers.execute("SELECT hypercube.detokenize(%s, %s)", (ids, model)).fetchone()[0] == text


@pytest.mark.parametrize("model", ["minilm", "glassllm", "bytelevel", "unigram"])
def test_offsets_count_characters_also_where_a_character_has_four_bytes(readers, model):
    text = "\U0001f40b\U0001f40b the whale"
    rows = cut(readers, [text], model)[0]
    spelled = [text[start:end].strip() for *_, start, end in rows]

    assert rows[-1][-1] == len(text)
    assert "".join(spelled[-2:]).endswith("whale") or "whale".endswith(spelled[-1])


def test_the_real_models_cut_a_known_sentence(db):
    found = db.execute(
        "SELECT piece FROM hypercube.tokenize('This is an example sentence', special_tokens => true)"
    ).fetchall()

    assert [piece for (piece,) in found] == ["[CLS]", "this", "is", "an", "example", "sentence", "[SEP]"]


def test_the_model_of_the_session_is_taken(db):
    assert db.execute("SELECT hypercube.count_tokens('unbelievable whaling')").fetchone() == (
        len(cut(db, ["unbelievable whaling"], "minilm")[0]),
    )
    db.execute("SET hypercube.model = 'glassllm'")
    assert cut(db, ["whaling"], None) == cut(db, ["whaling"], "glassllm")
    db.execute("RESET hypercube.model")
    with pytest.raises(psycopg.errors.UndefinedObject, match="more than one is loaded") as refusal:
        db.execute("SELECT * FROM hypercube.tokenize('whale')")
    assert "minilm" in refusal.value.diag.message_hint


def test_the_longest_text_is_cut_and_a_longer_one_refused(db):
    text = "a whale " * 31_250
    assert db.execute("SELECT hypercube.count_tokens(%s)", (text,)).fetchone() == (62_500,)
    for function in ("count_tokens", "tokenize"):
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="has 250001 characters") as refusal:
            db.execute(f"SELECT * FROM hypercube.{function}(%s)", (text + "!",))
        assert "ingest_text" in refusal.value.diag.message_hint
        db.rollback()


@pytest.mark.parametrize(
    ("call", "problem", "hint"),
    [
        ("tokenize(NULL)", "the text must not be null", "The empty text is ''."),
        ("count_tokens(NULL)", "the text must not be null", "The empty text is ''."),
        ("tokenize('a', special_tokens => NULL)", "special_tokens must not be null", "Give true or false."),
        ("detokenize(NULL)", "the token ids must not be null", "For example ARRAY[1, 2, 3]."),
        ("detokenize('{1}', skip_special_tokens => NULL)", "must not be null", "For example"),
        ("detokenize('{2188,30522}')", 'model "minilm" has no token 30522', "token_overview"),
        ("detokenize('{2147483647}')", "has no token 2147483647", "token_overview"),
        ("detokenize('{-1}')", "has no token -1", "token_overview"),
        ("detokenize('{2188,NULL}')", "has no token null", "token_overview"),
    ],
)
def test_what_is_no_text_and_no_token_is_refused(db, call, problem, hint):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem) as refusal:
        db.execute(f"SELECT * FROM hypercube.{call}")
    assert hint in refusal.value.diag.message_hint


@pytest.mark.parametrize(
    "call", ["tokenize('a', 'no')", "count_tokens('a', 'no')", "detokenize('{1}', 'no')"]
)
def test_an_unknown_model_is_refused(db, call):
    with pytest.raises(psycopg.errors.UndefinedObject, match='model "no" does not exist') as refusal:
        db.execute(f"SELECT * FROM hypercube.{call}")
    assert refusal.value.diag.message_hint.startswith("List the loaded models")


def test_too_many_tokens_at_once_are_refused(db):
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="1000001 token ids") as refusal:
        db.execute("SELECT hypercube.detokenize(array_fill(2188, ARRAY[1000001]))")
    assert refusal.value.diag.message_hint == "Join them in parts."


def test_no_tokens_are_the_empty_text(db):
    assert db.execute("SELECT hypercube.detokenize('{}')").fetchone() == ("",)


@pytest.mark.parametrize("model", ["wordllama", "bytelevel"])
def test_a_null_character_from_tokens_is_refused(readers, libraries, model):
    [null] = libraries[model].encode("\0", add_special_tokens=False).ids[-1:]
    with pytest.raises(psycopg.errors.CharacterNotInRepertoire, match="null character") as refusal:
        readers.execute("SELECT hypercube.detokenize(%s, %s)", ([null], model))
    assert refusal.value.diag.message_hint.startswith("Join the tokens before and after")


def test_a_model_without_a_vocabulary_cuts_nothing(own, sources):
    bare = Path(write_model(sources / "bare", vectors(30), tokenizer_json=False))
    save_file({"encoder.layer.0.attention.self.query.weight": np.eye(16)}, bare / "model.safetensors")
    (bare / "model.safetensors").chmod(0o644)
    ingest(own, str(bare))
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match='"bare" has no vocabulary'
    ) as refusal:
        own.execute("SELECT * FROM hypercube.tokenize('whale')")
    assert "tokenizer.json" in refusal.value.diag.message_hint


def test_truncation_and_padding_of_the_file_are_left_out(own, sources):
    settings = json.loads(unigram().to_str())
    settings["truncation"] = {
        "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    settings["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<unk>",
    }  # fmt: skip
    ingest(own, write_model(sources / "m", vectors(len(settings["model"]["vocab"])), tokenizer_json=settings))
    text = "Call me Ishmael. Some years ago"
    assert len(Tokenizer.from_str(json.dumps(settings)).encode(text).ids) == 50

    expected = unigram().encode(text, add_special_tokens=False).ids
    assert [row[1] for row in cut(own, [text], None)[0]] == expected


def test_a_dropped_model_is_forgotten_by_an_open_session(own, sources):
    """Another model may get its name, and even its vocabulary with other numbers."""
    texts = ["waab waac waad"]
    pieces = ["[UNK]", "waab", "waac", "waad"]
    ingest(own, write_model(sources / "a", vectors(4), pieces=pieces), "m")
    assert [row[1] for row in cut(own, texts, "m")[0]] == [1, 2, 3]
    own.execute("SELECT hypercube.drop_model('m')")
    ingest(own, write_model(sources / "b", vectors(4, seed=8), pieces=[pieces[0], *pieces[:0:-1]]), "m")

    assert [row[1] for row in cut(own, texts, "m")[0]] == [3, 2, 1]
    assert [row[3] for row in cut(own, texts, "m")[0]] == ["waab", "waac", "waad"]


def test_the_library_of_the_tests_is_that_of_the_server(db):
    told = dict(db.execute('SELECT "check", detail FROM hypercube.health()').fetchall())

    assert f"tokenizers {tokenizers.__version__}" in told["python packages"]
