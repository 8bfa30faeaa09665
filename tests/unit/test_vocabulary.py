"""How tokens are read in each style of tokenizer, and vocabularies that lie."""

import base64
import json

import pytest

from hypercube import spelling, vocabulary
from hypercube.errors import CorruptFile, HypercubeError, NotSupported, SourceMissing, TooMany


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
    tokenizer = spelling.load(content)
    assert spelling.spell(tokenizer, "Whales") == [2, 3]
    assert spelling.unknown_id(content, tokenizer) == 1


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
        (b'{"model": {"vocab": {"a": 4000000}}}', TooMany, "at most 4000000"),
        (b'{"model": {"vocab": {"a": 9999999999}}}', TooMany, "at most 4000000"),
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
        spelling.load({"tokenizer.json": b'{"model": {"vocab": {}}}'})


def bpe(merges, *, vocab="a|b|c|ab|abc|##b|##c", **settings):
    vocab = {piece: token_id for token_id, piece in enumerate(vocab.split("|"))}
    return files({"type": "BPE", "vocab": vocab, "merges": merges, **settings}, version="1.0")


@pytest.mark.parametrize(
    ("merges", "settings"),
    [
        ([], {}),
        (["a b", "ab c"], {}),
        ([["a", "b"], ["ab", "c"]], {}),
        (["#version: 0.2", "a b"], {}),
        (["a b"], {"continuing_subword_prefix": ""}),
        (["a b"], {"continuing_subword_prefix": None}),
        (["a ##b", "ab ##c"], {"continuing_subword_prefix": "##"}),
        ([["x y", "z"]], {"vocab": "x|x y|z|x yz"}),
    ],
)
def test_merges_that_the_library_loads_are_read(merges, settings):
    content = bpe(merges, **settings)

    assert vocabulary.parse(content)
    assert spelling.load(content)


@pytest.mark.parametrize(
    ("merges", "settings"),
    [
        (5, {}),
        (None, {}),
        ({"a": "b"}, {}),
        ([5], {}),
        (["ab"], {}),
        (["a b c"], {}),
        (["a "], {}),
        ([["a"]], {}),
        ([["a", "b", "c"]], {}),
        ([["a", 5]], {}),
        (["a x"], {}),
        (["x a"], {}),
        (["b c"], {}),
        (["a b"], {"continuing_subword_prefix": "##"}),
        (["a ##b"], {"vocab": "a|##b|ab"}),
        (["a b"], {"type": None, "continuing_subword_prefix": "longer"}),
        (["a é"], {"vocab": "a|é|aé|b", "continuing_subword_prefix": "a"}),
    ],
)
def test_merges_that_the_library_would_trip_over_are_refused(merges, settings):
    with pytest.raises(CorruptFile, match="merge") as refusal:
        vocabulary.parse(bpe(merges, **settings))

    assert refusal.value.hint


def replace(content, **pattern):
    return {"type": "Replace", "pattern": pattern, "content": content}


def normalized(*normalizers):
    sequence = {"type": "Sequence", "normalizers": list(normalizers)}
    return files(
        {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0}}, version="1.0", normalizer=sequence
    )


def charsmap(text):
    content = (4).to_bytes(4, "little") + bytes(4) + text.encode() + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    "normalizers",
    [
        [replace("a" * 10, String="a")] * 9,
        [replace("a" * 1_001, String="a")],
        [replace("a" * 1_000, Regex="a*")],
        [replace("a", Regex="")] * 10,
        [replace("a", String="")] * 10,
        [{"type": "Prepend", "prepend": "a" * 1_001}],
        [{"pattern": {"String": "a"}, "content": "a" * 1_001}],
        [{"type": "Sequence", "normalizers": [replace("aaaa", String="a")] * 3}] * 2,
        [{"type": "ByteLevel"}] * 10,
        [{"type": "NFKD"}, replace("\ufdfa", String="\u0644")] * 4,
        [charsmap("a" * 18_019)],
        [{"type": "Prepend", "prepend": "aa"}] * 5_000,
    ],
)
def test_normalizers_that_make_a_text_too_long_are_refused(normalizers):
    with pytest.raises(TooMany, match="too long"):
        vocabulary.parse(normalized(*normalizers))


@pytest.mark.parametrize(
    "normalizers",
    [
        [{"type": "Prepend", "prepend": "▁"}, replace("▁", String=" ")],
        [replace('"', String="``"), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]
        + [charsmap("صلى الله عليه وسلم"), replace(" ", Regex=" {2,}")],
        [replace("\n", Regex="[\r\u2028]+"), replace(" ", Regex="\\s+"), replace(" ", Regex="\t")] * 9,
        [replace("", Regex="x*")] * 20,
    ],
)
def test_normalizers_as_published_are_read(normalizers):
    assert vocabulary.parse(normalized(*normalizers))


def test_a_map_of_characters_that_is_no_base64_is_refused():
    with pytest.raises(CorruptFile, match="not base64"):
        vocabulary.parse(normalized({"type": "Precompiled", "precompiled_charsmap": "é"}))


@pytest.mark.parametrize("name", ["continuing_subword_prefix", "end_of_word_suffix", "unk_token"])
def test_texts_that_are_added_to_every_part_are_short(name):
    with pytest.raises(TooMany, match=f"{name} of the tokenizer has 2001 characters"):
        vocabulary.parse(files({"type": "WordPiece", "vocab": {"a": 0}, name: "a" * 2_001}))


def test_a_piece_has_at_most_2000_bytes():
    assert len(read({"vocab": {"a" * 2_000: 0, "é" * 1_000: 1}})) == 2
    for piece in ("a" * 2_001, "é" * 1_001, "\0" * 667):
        with pytest.raises(TooMany, match=r"token 7 .* at most 2000"):
            read({"vocab": {piece: 7}})


def test_lines_that_end_as_on_windows_are_read():
    assert vocabulary.parse({"vocab.txt": b"[UNK]\r\nwhale\r\n"}) == vocabulary.parse(
        {"vocab.txt": b"[UNK]\nwhale\n"}
    )


def test_parsing_can_be_stopped():
    shares = []
    vocab = {f"a{number}": number for number in range(20_000)} | {"a": 20_000, "b": 20_001, "ab": 20_002}
    content = files({"type": "BPE", "vocab": vocab, "merges": ["a b"] * 9_000})
    vocabulary.parse(content, shares.append)
    assert len(shares) > 10 and shares == sorted(shares) and 0 <= shares[0] and shares[-1] <= 1

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vocabulary.parse(content, stop)


@pytest.mark.parametrize(
    "model",
    [
        {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": {"a": 0}}
        | {"max_input_chars_per_word": 100},
        {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"a": 0}},
        {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]]},
        {"type": "BPE", "unk_token": "[UNK]", "vocab": {"a": 0}, "merges": []},
    ],
)
def test_a_word_without_a_spelling_is_empty_where_there_is_no_unknown_token(model):
    content = files(model, version="1.0")
    tokenizer = spelling.load(content)

    assert spelling.spell(tokenizer, "z") == []
    assert spelling.spell(tokenizer, "a") == [0]
    assert spelling.unknown_id(content, tokenizer) is None


@pytest.mark.parametrize(
    "model",
    [
        {"type": "WordLevel", "unk_token": "?", "vocab": {"a": 0, "?": 1}},
        {"type": "Unigram", "unk_id": 1, "vocab": [["a", 0.0], ["?", 0.0]]},
        {"type": "BPE", "unk_token": "?", "vocab": {"a": 0, "?": 1}, "merges": []},
    ],
)
def test_the_unknown_token_is_that_of_the_model(model):
    content = files(model, version="1.0")
    tokenizer = spelling.load(content)

    assert spelling.unknown_id(content, tokenizer) == 1
    assert spelling.spell(tokenizer, "z") == [1]


def test_a_panic_of_the_library_is_a_refusal():
    with pytest.raises(CorruptFile, match="cannot be loaded"):
        spelling.load(normalized({"type": "Precompiled", "precompiled_charsmap": "AAAA"}))
    tokenizer = spelling.load(normalized(replace("", Regex="(a+)+$")))
    with pytest.raises(CorruptFile, match="cannot spell") as refusal:
        spelling.spell(tokenizer, "a" * 40 + "b")

    assert "retry-limit" in refusal.value.detail


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_the_library_did_not_raise_is_let_through(kind):
    class Interrupted:
        def encode(self, *_, **__):
            raise kind

    with pytest.raises(kind):
        spelling.spell(Interrupted(), "a")


def test_a_template_does_not_repeat_a_word():
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [sequence] * 3, "special_tokens": {}}
    template["pair"] = [sequence, {"Sequence": {"id": "B", "type_id": 0}}]
    content = files(
        {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0}}, version="1.0", post_processor=template
    )

    assert spelling.spell(spelling.load(content), "a") == [0]


def test_settings_beside_vocab_txt_are_short():
    content = {"vocab.txt": b"a\n", "tokenizer_config.json": b" " * (5 << 20)}

    with pytest.raises(TooMany, match="tokenizer_config.json"):
        spelling.load(content)
