"""Published test sets of word vectors: their text, and how answers to them are counted.

Questions are in the format of questions-words.txt (Mikolov, Chen, Corrado and Dean,
2013): a line with a colon begins a section, every other line has four words.  Pairs are in
that of wordsim353 (Finkelstein et al., 2002): two words and a number, divided by tabs or
spaces.
"""

from typing import NamedTuple

from hypercube.errors import InvalidArgument, TooMany

_LINES_LIMIT = 1_000_000
_SHOWN = 80


class Section(NamedTuple):
    """A part of a test of analogies: its name, and quadruples of words."""

    name: str
    questions: list


def _lines(text, what):
    """Return (number, line) of the lines of a text or of a list of lines, without empty ones."""
    if isinstance(text, list):
        if not all(isinstance(line, str) for line in text):
            raise InvalidArgument(
                f"a line of the {what} is null or an array", hint="Give a list of lines, or one text."
            )
        text = "\n".join(text)
    lines = text.removesuffix("\n").split("\n") if text else []
    if len(lines) > _LINES_LIMIT:
        raise TooMany(f"the {what} have {len(lines)} lines, at most {_LINES_LIMIT} are read")
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def read_analogies(text):
    """Return the Sections of a test of analogies, in order.

    Parameters
    ----------
    text : str or list of str
        The whole, or its lines.

    Raises
    ------
    InvalidArgument
        A line is neither the name of a section nor four words, or there is no question.
    """
    sections = []
    for number, line in _lines(text, "questions"):
        if line.startswith(":"):
            sections.append(Section(line[1:].strip(), []))
            continue
        words = line.split()
        if len(words) != 4:
            raise InvalidArgument(
                f'line {number} of the questions has {len(words)} words, not 4: "{line[:_SHOWN]}"',
                hint="A question is four words, as in: man king woman queen. A section begins with a colon.",
            )
        if not sections:
            sections.append(Section("", []))
        sections[-1].questions.append(words)
    if not any(section.questions for section in sections):
        raise InvalidArgument(
            "there is no question", hint="Give lines of four words, as in: man king woman queen."
        )
    return sections


def read_pairs(text):
    """Return (word, word, score) of a test of similarities.

    A line that begins with # is a comment; so is a first line whose third field is no number.

    Raises
    ------
    InvalidArgument
        A line is not two words and a number, or there is none.
    """
    pairs = []
    for number, line in _lines(text, "pairs"):
        if line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        try:
            score = float(fields[2])
            if (
                not (len(fields) >= 3 and fields[0] and fields[1])
                or score != score
                or abs(score) == float("inf")
            ):
                raise ValueError
        except (ValueError, IndexError):
            if number == 1 and len(fields) >= 3:
                continue
            raise InvalidArgument(
                f'line {number} of the pairs is not two words and a number: "{line[:_SHOWN]}"',
                hint="A pair is two words and a number, as in: tiger cat 7.35.",
            ) from None
        pairs.append((fields[0], fields[1], score))
    if not pairs:
        raise InvalidArgument(
            "there is no pair", hint="Give lines of two words and a number, as in: tiger cat 7.35."
        )
    return pairs


def mean_ranks(values):
    """Return the ranks of values from 1, float64; equal values share the mean of theirs."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[place]


def correlation(left, right):
    """Return Pearson's correlation, or None where one side does not vary or there are fewer than two."""
    import numpy as np

    if len(left) < 2:
        return None
    left, right = left - np.mean(left), right - np.mean(right)
    spread = np.sqrt((left @ left) * (right @ right))
    return float(np.clip(left @ right / spread, -1.0, 1.0)) if spread > 0 else None
