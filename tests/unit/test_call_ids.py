"""Ids of calls: what is taken from a client, and what is not."""

import pytest

from hypercube.call_ids import LENGTH, given, made


@pytest.mark.parametrize("text", ["a", "req-17_B", "0" * LENGTH, "01890a5d-ac96-774b-bcce-b302099a"])
def test_letters_digits_hyphens_and_underscores_are_taken(text):
    assert given(text) == text


def test_of_a_traceparent_the_trace_is_taken():
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert given(f"00-{trace}-00f067aa0ba902b7-01") == trace


@pytest.mark.parametrize(
    "text", [None, "", "a b", "a\n", "\nERROR:  x", "a'b", "é", "٣", "x" * (LENGTH + 1), "%m", "00-4bf9-01"]
)
def test_nothing_else_is_taken_but_what_could_be_one(text):
    assert given(text) == (text if text == "00-4bf9-01" else None)


def test_made_ids_are_twelve_digits_and_differ():
    found = {made() for _ in range(1000)}
    assert len(found) == 1000
    assert all(len(one) == 12 and given(one) == one for one in found)
