"""How tokens are read in each style of tokenizer, and vocabularies that lie."""

import json

import pytest

from hypercube import vocabulary
from hypercube.errors import CorruptFile, HypercubeError, NotSupported, SourceMissing


def files(model, *, added=(), **settings):
    return {"tokenizer.json": json.dumps({"model": model, "added_tokens": list(added), **settings}).encode()}


def read(model, *, added=(), **settings):
    return {piece.piece: piece for piece in vocabulary.parse(files(model, added=added, **settings)).values()}


def test_wordpiece_marks_later_parts_of_words():
    found = read(
        {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "vocab": {"[UNK]": 0, "[unused7]": 1, "whale": 2, "##ing": 3, "##,": 4},
        },
        added=[{"id": 0, "content": "[UNK]", "special": True}],
    )

    assert [(piece.label, piece.kind, piece.text) for piece in found.values()] == [
        ("[UNK]", "special", "[UNK]"),
        ("[unused7]", "unused", "[unused7]"),
        ("whale", "word", "whale"),
        ("##ing", "continuation", "ing"),
        (",", "word", ","),
    ]


def test_a_metaspace_begins_a_word():
    found = read(
        {
            "type": "BPE",
            "vocab": {"▁whale": 0, "ale": 1, "▁": 2, "<0x0A>": 3, ".": 4, "▁▁": 5},
        }
    )

    assert found["▁whale"][1:] == ("whale", "word", "whale")
    assert found["ale"][1:] == ("##ale", "continuation", "ale")
    assert found["▁"][1:] == ("▁", "word", "▁")
    assert found["<0x0A>"].kind == "byte"
    assert found["."][1:] == (".", "word", ".")


def test_byte_level_pieces_are_read_as_the_bytes_they_stand_for():
    found = read(
        {"type": "BPE", "vocab": {"Ġwhale": 0, "ale": 1, "ĠcafÃ©": 2, "Ġ": 3, "Ã": 4, "Ċ": 5, "Ā": 6}},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]},
    )

    assert found["Ġwhale"][1:] == ("whale", "word", "whale")
    assert found["ale"].kind == "continuation"
    assert found["ĠcafÃ©"].label == "café"
    assert found["Ã"][1:3] == ("<0xC3>", "byte")
    assert found["Ċ"].text == "\n"
    assert "\0" not in found["Ā"].text


def test_the_byte_alphabet_is_that_of_the_tokenizers_library():
    import tokenizers

    assert set(vocabulary._byte_alphabet()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert sorted(vocabulary._byte_alphabet().values()) == list(range(256))


def test_an_end_of_word_suffix_ends_a_word():
    found = read({"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"whale</w>": 0, "wh": 1}})

    assert found["whale</w>"][1:] == ("whale", "word", "whale")
    assert found["wh"].kind == "continuation"


def test_a_unigram_vocabulary_is_numbered_by_its_place():
    parsed = vocabulary.parse(
        files({"type": "Unigram", "vocab": [["<unk>", 0.0], ["▁a", -1.5], ["b", -2.0]]})
    )

    assert [parsed[token_id].label for token_id in range(3)] == ["<unk>", "a", "##b"]


def test_vocab_txt_stands_in_for_a_missing_tokenizer_json():
    content = {"vocab.txt": b"[PAD]\n[UNK]\nwhale\n##s\n"}

    assert [piece.label for piece in vocabulary.parse(content).values()] == ["[PAD]", "[UNK]", "whale", "##s"]
    tokenizer = vocabulary.load(content)
    assert vocabulary.spell(tokenizer, "Whales") == [2, 3]
    assert vocabulary.unknown_id(content, tokenizer) == 1


def test_no_tokenizer_is_a_missing_file_with_a_hint():
    with pytest.raises(SourceMissing, match="no tokenizer") as refusal:
        vocabulary.parse({"config.json": b"{}"})

    assert "tokenizer.json" in refusal.value.hint


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        (b"\xff", CorruptFile, "not JSON"),
        (b"[" * 100_000, CorruptFile, "not JSON"),
        (b"[]", CorruptFile, "has no model"),
        (b'{"model": {}}', NotSupported, "neither a map nor a list"),
        (b'{"model": {"vocab": {"a": -1}}}', CorruptFile, "an entry 'a' with the id -1"),
        (b'{"model": {"vocab": {"a": 1.0}}}', CorruptFile, "with the id 1.0"),
        (b'{"model": {"vocab": {"a": true}}}', CorruptFile, "with the id True"),
        (b'{"model": {"vocab": {"a": 9999999999}}}', CorruptFile, "with the id 9999999999"),
        (b'{"model": {"vocab": {"a": 1, "b": 1}}}', CorruptFile, "two tokens"),
        (b'{"model": {"vocab": [["a", 0], 5]}}', CorruptFile, "an entry None"),
        (b'{"model": {"vocab": {"\\ud800": 1}}}', CorruptFile, "not valid Unicode"),
        (b'{"model": {"vocab": {}}, "added_tokens": 5}', CorruptFile, "not a list of objects"),
        (b'{"model": {"vocab": {}}, "added_tokens": [{}]}', CorruptFile, "an entry None"),
    ],
)
def test_a_vocabulary_that_lies_is_refused(content, kind, problem):
    with pytest.raises(kind) as refusal:
        vocabulary.parse({"tokenizer.json": content})

    assert problem in str(refusal.value)


def test_a_tokenizer_that_the_library_cannot_load_is_refused():
    with pytest.raises(HypercubeError, match="cannot be loaded"):
        vocabulary.load({"tokenizer.json": b'{"model": {"vocab": {}}}'})
