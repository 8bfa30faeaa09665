"""What a tokenizer adds to a text: little, or it is left out; and texts cut and joined again."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from hypercube import spelling
from hypercube.errors import CorruptFile

VOCAB = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "whale": 4, "##s": 5}
CLS, SEP = ("[CLS]", 1), ("[SEP]", 2)


def wordpiece(processor=None):
    """Return the files of a model whose tokenizer has a post-processor."""
    tokenizer = Tokenizer(models.WordPiece(VOCAB, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if processor is not None:
        tokenizer.post_processor = processor
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    return {"tokenizer.json": tokenizer.to_str().encode()}


def template(single, special=(CLS, SEP)):
    return processors.TemplateProcessing(single=single, special_tokens=list(special))


def ids(files, text, special_tokens):
    [encoding] = spelling.encode(spelling.load(files), [text], special_tokens)
    return encoding.ids


def test_truncation_and_padding_of_the_file_are_switched_off():
    assert ids(wordpiece(), "the whales the whales", False) == [3, 4, 5, 3, 4, 5]


def test_a_text_has_the_same_tokens_each_time_whatever_dropout_the_file_asks_for():
    vocab = {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}
    model = models.BPE(vocab, [("a", "b"), ("ab", "c")], dropout=0.5)
    files = {"tokenizer.json": Tokenizer(model).to_str().encode()}
    assert b'"dropout":0.5' in files["tokenizer.json"]
    tokenizer = spelling.load(files)
    assert {tuple(spelling.encode(tokenizer, ["abc"])[0].ids) for _ in range(64)} == {(4,)}


@pytest.mark.parametrize(
    "processor",
    [
        template("[CLS] $A [SEP]"),
        processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
        processors.Sequence([processors.ByteLevel(), template("[CLS] $A [SEP]")]),
    ],
    ids=["template", "bert", "sequence"],
)
def test_what_a_model_adds_comes_on_request_only(processor):
    files = wordpiece(processor)

    assert ids(files, "the whale", False) == [3, 4]
    assert ids(files, "the whale", True) == [1, 3, 4, 2]


@pytest.mark.parametrize(
    "processor",
    [
        template("[CLS] $A $A [SEP]"),
        template(" ".join(["[CLS]"] * 20 + ["$A"])),
        processors.Sequence([template("$A [SEP]")] * 5),
    ],
    ids=["repeats the text", "adds much", "many"],
)
def test_a_template_that_could_add_much_is_left_out(processor):
    assert ids(wordpiece(processor), "the whale", True) == [3, 4]


def test_a_special_token_of_many_ids_is_left_out():
    settings = json.loads(wordpiece(template("[CLS] $A", (CLS,)))["tokenizer.json"])
    settings["post_processor"]["special_tokens"]["[CLS]"] |= {"ids": [1] * 50, "tokens": ["[CLS]"] * 50}

    assert ids({"tokenizer.json": json.dumps(settings).encode()}, "the", True) == [3]


def test_tokens_are_joined_to_a_text():
    tokenizer = spelling.load(wordpiece())

    assert spelling.decode(tokenizer, [3, 4, 5], True) == "the whales"


def test_a_failure_of_the_library_is_a_refusal():
    with pytest.raises(CorruptFile, match="cannot be loaded"):
        spelling.load({"tokenizer.json": b"{}"})
