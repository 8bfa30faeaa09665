"""Puts all characters of Unicode into a semantic order and writes it down as a file of ranges.

What Python's unicodedata knows differs from version to version; the file is the same
for every machine.  It is made once, from one version, and read by hypercube.characters.
"""

import argparse
import sys
import unicodedata
from fractions import Fraction
from itertools import groupby
from pathlib import Path

UNICODE = "14.0.0"
_SCALARS = [*range(0xD800), *range(0xE000, 0x110000)]
_WIDTH = 100

# Groups of the order; only what is in a script is sorted by script.
_CONTROL, _SPACE, _PUNCTUATION, _SYMBOL, _DIGIT, _NUMBER, _SCRIPT, _PRIVATE, _UNASSIGNED = range(9)
_TITLES = ("controls", "spaces", "punctuation", "symbols", "digits", "other numbers")
_LAST_TITLES = {_PRIVATE: "private use", _UNASSIGNED: "not assigned"}
_GROUPS = {
    "C": _CONTROL,
    "Z": _SPACE,
    "P": _PUNCTUATION,
    "S": _SYMBOL,
    "N": _NUMBER,
    "L": _SCRIPT,
    "M": _SCRIPT,
}
# Brackets and quotation marks stand by their partners, whichever way they open.
_PAIRED = {"Ps": "Ps", "Pe": "Ps", "Pi": "Pi", "Pf": "Pi"}
# Scripts are called by the first word of their characters' names; with these it takes two.
_FIRST_OF_TWO = {"OLD", "TAI", "LINEAR", "INSCRIPTIONAL", "MEROITIC"}
_OTHER_NAMES = {
    "CARON": "MODIFIER",
    "HALFWIDTH": "KATAKANA",
    "HENTAIGANA": "HIRAGANA",
    "IDEOGRAPHIC": "CJK",
    "MASU": "CJK",
    "NEW": "NEW TAI LUE",
    "PHAGS": "PHAGS-PA",
    "TURNED": "LATIN",
}
# What comes before the script in the names of marks and modifiers, if a script comes at all.
_BEFORE_SCRIPT = ("COMBINING ", "MODIFIER LETTER ", "SMALL ")
_SYLLABLES = range(0xAC00, 0xD7A4)


def name(character):
    """Return the name of a character, which no version of Unicode changes."""
    # unicodedata of this version forgets the names of one script, which are made of its code points.
    return unicodedata.name(character, "TANGUT IDEOGRAPH")


def is_mark(character):
    return unicodedata.category(character)[0] == "M"


def words_of_script(text):
    """Return the word or words that a name begins with and that say its script."""
    words = text.replace("-", " ").split()
    first = " ".join(words[: 2 if words[0] in _FIRST_OF_TWO else 1])
    return _OTHER_NAMES.get(first, first)


class Order:
    """The order of the characters that this Python's unicodedata knows."""

    def __init__(self):
        letters = (chr(point) for point in _SCALARS if unicodedata.category(chr(point)) in ("Lu", "Ll", "Lo"))
        plain = [character for character in letters if self.base(character) == character]
        # Scripts come in the order of their lowest letter.
        self.scripts = {}
        for character in plain:
            self.scripts.setdefault(words_of_script(name(character)), ord(character))

    def base(self, character):
        """Return what a character is a form of: its compatibility decomposition, small, without marks."""
        if ord(character) in _SYLLABLES:
            return character
        whole = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
        return "".join(part for part in whole if not is_mark(part)).strip() or character

    def script(self, character):
        """Return the script of a letter or a mark as its name says it, and its lowest letter."""
        text = name(character)
        for before in _BEFORE_SCRIPT:
            rest = text.removeprefix(before)
            if rest != text and rest.split()[0] in self.scripts:
                text = rest
        found = words_of_script(text)
        return self.scripts.setdefault(found, ord(character)), found

    def letter(self, character):
        """Return the letter that a letter is a variant of, as a text to sort by, and the variant."""
        text = name(character)
        without, _, variant = text.partition(" WITH ")
        if variant:
            try:
                return self.letter(self.base(unicodedata.lookup(without)))[0], variant
            except KeyError:
                pass
        if words_of_script(text) == "LATIN" and not character.isascii():
            # Turned a, open e, dotless i: the last word is the letter, or how it is called.
            last = without.split()[-1]
            return last.lower(), text if len(last) == 1 else variant
        return character, variant

    def group(self, character, base):
        """Return the group; a symbol made of letters or digits is one of their forms."""
        category = unicodedata.category(character)
        if category in ("Co", "Cn"):
            return _PRIVATE if category == "Co" else _UNASSIGNED
        if category == "So" and base != character and base.isalnum():
            category = unicodedata.category(base[0])
            character = base[0]
        if category[0] == "N" and unicodedata.digit(character, None) is not None:
            return _DIGIT
        return _GROUPS[category[0]]

    def key(self, point):
        """Return what a character is sorted by: a group, a script, and a place in it."""
        character = chr(point)
        base = self.base(character)
        group = self.group(character, base)
        form = unicodedata.decomposition(character).partition(">")[0]
        form = form if form.startswith("<") else ""
        if group in (_CONTROL, _PRIVATE, _UNASSIGNED):
            return (group, 0, ""), point
        if group in (_DIGIT, _NUMBER):
            return (group, 0, ""), *self.value(character, base), form, point
        if group != _SCRIPT:
            category = unicodedata.category(character)
            return (group, 0, ""), _PAIRED.get(category, category), base, form, point
        # An apostrophe or a similar modifier in front is no letter to sort by.
        letters = [part for part in base if unicodedata.category(part) != "Lm"] or list(base)
        marks = [part for part in unicodedata.normalize("NFKD", character) if is_mark(part)]
        plain = [self.letter(part) for part in letters]
        variant = " ".join(said for _, said in plain)
        own_mark = is_mark(character)
        title = (_SCRIPT, *self.script(letters[0]))
        case = {"Lt": 1, "Lu": 2}.get(unicodedata.category(character), 0)
        return title, own_mark, tuple(said for said, _ in plain), variant, marks, form, case, point

    def value(self, character, base):
        """Return the value of a digit or a number, and what it is a form of, ASCII first."""
        for told in (character, base[0]):
            number = unicodedata.numeric(told, None)
            if number is not None:
                return Fraction(number).limit_denominator(1000), not base.isascii(), base
        raise ValueError(f"U+{ord(character):04X} is a number without a value")


def runs(points):
    """Return ranges of consecutive code points as texts, in the order given."""
    found = []
    for point in points:
        if found and found[-1][1] + 1 == point:
            found[-1][1] = point
        else:
            found.append([point, point])
    return [f"{first:04x}" if first == last else f"{first:04x}-{last:04x}" for first, last in found]


def wrapped(texts):
    """Put texts into lines."""
    line, lines = "", []
    for text in texts:
        if line and len(line) + 1 + len(text) > _WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {text}" if line else text
    return [*lines, line]


def written():
    """Return the text of the file."""
    order = Order()
    keys = sorted(map(order.key, _SCALARS))
    lines = [
        "# Characters in a semantic order, in ranges of code points; written by scripts/characters.",
        f"unicode {unicodedata.unidata_version}",
        "",
        "order",
    ]
    # A run may not go over the end of a group, so that every group can be read by itself.
    for (group, _, script), members in groupby(keys, key=lambda key: key[0]):
        title = _LAST_TITLES.get(group) or (script if group == _SCRIPT else _TITLES[group])
        lines += [f"# {title}", *wrapped(runs(key[-1] for key in members))]
    categories = [(point, unicodedata.category(chr(point))) for point in _SCALARS]
    word = [point for point, category in categories if category[0] in "LMN"]
    # The ordinals ª and º are letters without case by their category, but small by Unicode's own property.
    small = [
        point
        for point, category in categories
        if category == "Ll" or category == "Lo" and chr(point).islower()
    ]
    for section, points in (("word", word), ("lower", small)):
        lines += ["", section, *wrapped(runs(points))]
    return "\n".join(lines) + "\n"


def main():
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true")
    wanted = parser.parse_args()
    if unicodedata.unidata_version != UNICODE:
        sys.exit(f"this Python knows Unicode {unicodedata.unidata_version}, the file is made from {UNICODE}")
    text = written()
    if not wanted.check:
        wanted.file.write_text(text, encoding="utf-8")
    elif wanted.file.read_text(encoding="utf-8") != text:
        sys.exit(f"{wanted.file.name} is not what this makes")


if __name__ == "__main__":
    main()
