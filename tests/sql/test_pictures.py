"""map_svg: what is asked for is in the picture, and what cannot be drawn is refused."""

import re
import xml.etree.ElementTree as ElementTree

import psycopg
import pytest

from rows import ingest, one
from small_models import vectors, write_model

SVG = "{" + "http:" + "//www.w3.org/2000/svg}"


def draw(db, arguments=""):
    return one(db, f"SELECT hypercube.map_svg('minilm', {arguments})")


def texts(picture):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_highlighted_words_and_their_neighbors_are_labelled(db):
    picture = draw(db, "'{whale,king}', zoom => true")
    shown = texts(picture)
    for word in ("whale", "king"):
        assert word in shown
        near = db.execute(f"SELECT label FROM hypercube.semantic_neighbors('{word}', 10)").fetchall()
        assert sum(row[0] in shown for row in near) >= 8
    assert "The map of minilm" in shown and "axis 1" in shown and "axis 2" in shown
    assert one(db, "SELECT hypercube.map_svg('minilm', '{whale,king}', zoom => true)") == picture


def test_it_is_one_file_without_scripts_or_references(db):
    picture = draw(db, "'{whale}'")
    root = ElementTree.fromstring(picture)
    assert root.tag == f"{SVG}svg" and root.get("width") == "1200" and root.get("viewBox")
    assert not re.search(r"<script|foreignObject|href|@import|url\(", picture)
    assert len(picture) < 1_500_000


def test_axes_size_and_number_of_neighbors_are_as_asked(db):
    picture = draw(db, "'{whale}', '{3,4}', neighbors => 3, width => 640, height => 480")
    root = ElementTree.fromstring(picture)
    assert (root.get("width"), root.get("height")) == ("640", "480")
    assert {"axis 3", "axis 4", "3 neighbours"} <= set(texts(picture))
    assert draw(db, "'{whale}', '{1,2}'") != draw(db, "'{whale}', '{2,1}'")


def test_no_word_need_be_highlighted(db):
    assert "30,522 points" in texts(draw(db, "'{}'"))
    assert "30,522 points" in texts(draw(db, "NULL"))


@pytest.mark.parametrize(
    ("arguments", "state", "problem"),
    [
        ("'{whale,\U0001f40b,\U0001f433}'", "42704", "words \"\U0001f40b\", \"\U0001f433\" not known"),
        ("'{whale,NULL}'", "22023", "must not be null"),
        ("'{{whale},{king}}'", "22023", "not a list of text"),
        ("'{whale}', '{1,1}'", "22023", "two different ones"),
        ("'{whale}', '{0,1}'", "22023", "two different ones"),
        ("'{whale}', '{1,2,3}'", "22023", "two different ones"),
        ("'{whale}', NULL", "22023", "two different ones"),
        ("'{whale}', '{1,NULL}'", "22023", "two different ones"),
        ("'{whale}', neighbors => -1", "22023", "neighbors is out of range"),
        ("'{whale}', neighbors => 51", "22023", "neighbors is out of range"),
        ("'{whale}', width => 10", "22023", "width is out of range"),
        ("'{whale}', height => NULL", "22023", "height is out of range"),
        ("'{whale}', zoom => NULL", "22023", "zoom must not be null"),
        ("(SELECT array_agg('w' || n) FROM generate_series(1, 51) AS n)", "54000", "51 words"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(db, arguments, state, problem):
    with pytest.raises(psycopg.Error, match=problem) as refusal:
        draw(db, arguments)
    assert refusal.value.sqlstate == state and refusal.value.diag.message_hint


def test_a_model_without_a_map_is_refused(own, sources):
    ingest(own, write_model(sources / "m", vectors(4)))
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has no map") as refusal:
        own.execute("SELECT hypercube.map_svg('m')")
    assert "model_report" in refusal.value.diag.message_hint


def test_labels_of_a_hostile_vocabulary_stay_text(own, sources):
    pieces = ["[UNK]", "</text><script>alert(1)</script>", '"&lt;', "a\u0001b", "\u202eevil", *"defghijklmno"]
    ingest(own, write_model(sources / "m", vectors(len(pieces)), pieces=pieces))
    word = "</text><script>alert(1)</script>"
    picture = one(own, "SELECT hypercube.map_svg('m', %s)", [word])
    assert "<script" not in picture
    assert any(text.startswith("</text><script>") for text in texts(picture))
