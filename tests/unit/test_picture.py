"""Pictures read back as XML, and labels against all that they must keep off."""

import itertools
import re
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from hypercube import picture
from hypercube.picture import Highlight

KINDS = ["word", "continuation", "byte", "special", "unused"]


def cloud(n, seed=0, spread=0.25):
    """A vocabulary: points, labels and kinds."""
    rng = np.random.default_rng(seed)
    letters = rng.integers(97, 123, (n, 8)).astype(np.uint8)
    labels = [bytes(row[: 2 + i % 7]).decode() for i, row in enumerate(letters)]
    return rng.normal(0, spread, (n, 2)).clip(-1, 1), labels, rng.choice(KINDS, n).tolist()


def words(count, each=8, start=100):
    rows = itertools.count(start)
    return [Highlight(f"word{i}", i, list(itertools.islice(rows, each))) for i in range(count)]


def plotted(points, labels, kinds, highlights, *, zoom=False):
    """What stands where, in a frame of the usual size."""
    frame = picture._Frame(66, 70, 996, 746, *picture._view(points, highlights, zoom))
    return picture._Plot(frame, points, labels, kinds, highlights, picture._silent)


def drawn(*arguments, **told):
    return ElementTree.fromstring(picture.draw(*arguments, **told).encode())


def named(root, tag, role=None):
    found = root.iter("{" + picture._NAMESPACE + "}" + tag)
    return [element for element in found if role is None or element.get("class") == role]


def texts(root):
    return [element.text for element in named(root, "text")]


def overlap(one, other):
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def dots(root):
    """The pixels of all dots, each path walked from its start."""
    group = next(element for element in named(root, "g", "dots"))
    paths = [re.findall(r"m(-?\d+) (-?\d+)h0", path.get("d")) for path in group]
    return np.vstack([np.cumsum(np.array(path, np.int64), axis=0) for path in paths]) / 10


def check_labels(plot):
    """Fail if a label is on another one, on a marked word or neighbour, or leaves the frame."""
    frame, marks = plot.frame, [mark for mark in plot.marked if mark.role != "context"]
    for number, (_, text, box, _) in enumerate(plot.labelled):
        assert frame.left < box[0] and box[2] < frame.right, text
        assert frame.top < box[1] and box[3] < frame.bottom, text
        assert not [other for other in plot.labelled[:number] if overlap(box, other.box)], text
        assert not [mark for mark in marks if overlap(box, mark.box)], text


@pytest.mark.parametrize("zoom", [False, True])
@pytest.mark.parametrize("spread", [0.003, 0.05, 0.4])
def test_labels_keep_off_each_other_and_markers_and_stay_in_the_frame(spread, zoom):
    points, labels, kinds = cloud(3000, spread=spread)
    points[-1] = 1.0
    plot = plotted(points, labels, kinds, words(5), zoom=zoom)

    check_labels(plot)
    roles = [label.mark.role for label in plot.labelled]
    assert roles.count("highlight") == 5 and roles.count("neighbor") > 20


def test_every_highlight_has_a_label_even_if_all_are_in_one_place():
    points = np.zeros((200, 2))
    plot = plotted(points, ["some"] * 200, ["word"] * 200, words(40, each=2))

    check_labels(plot)
    assert [label.text for label in plot.labelled[:40]] == [f"word{i}" for i in range(40)]


def test_in_a_full_plot_highlights_cover_markers_but_not_each_other():
    points, labels, kinds = cloud(1500, spread=0.3)
    plot = plotted(points, labels, kinds, words(30, each=40))
    boxes = [label.box for label in plot.labelled if label.mark.role == "highlight"]

    assert len(boxes) == 30
    assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]


def test_a_label_that_is_not_beside_its_marker_has_a_line_to_it():
    plot = plotted(*cloud(3000, spread=0.003), words(3))
    for label in plot.labelled:
        nearest = np.clip([label.mark.x, label.mark.y], label.box[:2], label.box[2:])
        assert label.leader or np.hypot(*(nearest - [label.mark.x, label.mark.y])) < 20
    assert any(label.leader for label in plot.labelled)


def test_landmarks_are_words_of_letters_with_a_free_place():
    points, labels, kinds = cloud(400)
    labels[7], labels[8] = "7th", "x"
    plot = plotted(points, labels, kinds, words(2))
    rows = [label.mark.row for label in plot.labelled if label.mark.role == "context"]

    assert rows and rows == [mark.row for mark in plot.marked if mark.role == "context"]
    assert all(kinds[row] == "word" and labels[row].isalpha() and len(labels[row]) > 1 for row in rows)
    assert not {row for word in words(2) for row in (word.index, *word.neighbors)} & set(rows)


def test_neighbours_are_marked_in_the_colour_of_their_word_with_a_line_to_it():
    points, labels, kinds = cloud(300)
    root = drawn(points, labels, kinds, words(2, each=5))
    circles = named(root, "circle", "neighbor")

    assert [circle[0].text for circle in named(root, "circle", "highlight")] == ["word1", "word0"]
    assert sorted(circle[0].text for circle in circles) == sorted(labels[100:110])
    for i, (mark, _) in enumerate(picture._INKS[:2]):
        assert len([circle for circle in circles if circle.get("fill") == mark]) == 5
        lines = [line for line in named(root, "path", "line") if line.get("stroke") == mark]
        place = named(root, "circle", "highlight")[1 - i]
        assert len(lines) == 5
        assert all(line.get("d").endswith(f"L{place.get('cx')} {place.get('cy')}") for line in lines)


def test_a_neighbour_of_two_words_is_marked_once_and_a_highlighted_one_not_at_all():
    points, labels, kinds = cloud(50)
    root = drawn(points, labels, kinds, [Highlight("one", 0, [10, 11, 1]), Highlight("two", 1, [11, 12, 0])])

    assert len(named(root, "circle", "neighbor")) == 3
    assert len(named(root, "circle", "highlight")) == 2
    assert len(named(root, "path", "line")) == 6


def test_a_colour_of_a_highlight_comes_back_after_eight():
    root = drawn(*cloud(100), words(9, each=0))
    colors = [circle.get("fill") for circle in named(root, "circle", "highlight")][::-1]
    assert len(set(colors)) == 8 and colors[8] == colors[0]


def test_texts_can_be_read_on_white():
    def light(color):
        parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [
            0.2126, 0.7152, 0.0722,
        ]  # fmt: skip

    assert all(1.05 / (light(ink) + 0.05) >= 4.5 for _, ink in picture._INKS)


def test_a_picture_tells_its_size_and_what_it_shows():
    points, labels, kinds = cloud(1234)
    root = drawn(points, labels, kinds, words(1), axes=(1, 3), title="A title", subtitle="more", width=900)

    assert [root.get(name) for name in ("width", "height", "viewBox", "role")] == [
        "900", "800", "0 0 900 800", "img",
    ]  # fmt: skip
    assert root[0].text == "A title" and root[1].text.startswith("1,234 tokens by axis 1 and axis 3")
    assert {"A title", "more", "axis 1", "axis 3", "1,234 points", "word0", "8 neighbours"} <= {*texts(root)}
    for kind in KINDS:
        assert texts(root)[texts(root).index(kind) + 1] == str(kinds.count(kind))


def test_nothing_runs_and_nothing_is_fetched():
    text = picture.draw(*cloud(200), words(2))
    assert not re.search(r"<script|<foreignObject|href|url\(|@import|\bon\w+=", text)
    assert text.count("//") == 1


def test_markup_and_characters_that_xml_cannot_hold_are_only_text():
    points, labels, kinds = cloud(60)
    spelt = ["<b>&\"'", "bell\x07", "lone\ud800", "\uffff", "line\nbreak", "]]>"]
    told = [Highlight(text, i, [10 + i]) for i, text in enumerate(spelt)]
    labels[10:16] = spelt
    root = drawn(points, labels, kinds, told, title="<i>\x00", subtitle="&amp;")

    shown = ["<b>&\"'", "bell\ufffd", "lone\ufffd", "\ufffd", "line\ufffdbreak", "]]>"]
    for role in ("highlight", "neighbor"):
        assert sorted(text.text for text in named(root, "text", role)) == sorted(shown)
    assert root[0].text == "<i>\ufffd" and "&amp;" in texts(root)


def test_a_label_of_spaces_can_be_seen():
    points, labels, kinds = cloud(10)
    assert "\u2423\u2423" in texts(drawn(points, labels, kinds, [Highlight("  ", 0, [])]))


def test_right_to_left_labels_are_isolated():
    root = drawn(*cloud(50), [Highlight("\u05e9\u05dc\u05d5\u05dd", 0, [])])
    (label,) = named(root, "text", "highlight")
    assert label.get("unicode-bidi") == "isolate"


def test_long_labels_end_in_an_ellipsis():
    points, labels, kinds = cloud(50)
    labels[5] = "i" * 41
    shown = texts(
        drawn(points, labels, kinds, [Highlight("l" * 40, 0, [5]), Highlight("\u6f22" * 41, 1, [])])
    )

    assert "i" * 39 + "\u2026" in shown and "l" * 40 in shown
    # Wide letters end where their room does.
    assert re.search("\n\u6f22{10,20}\u2026\n", "\n".join(shown))


def test_estimated_widths_follow_the_letters():
    def width(text):
        return picture._width(text, 10, False)

    assert width("il") < width("ab") < width("AB") < width("mW") < width("\u6f22\u5b57")
    assert width("\u00e9") == width("e") and width("\U0001f600") > width("\u6f22")
    assert picture._width("ab", 10, True) > width("ab")


def test_every_point_has_a_dot_nearby_and_no_pixel_has_two_of_a_kind():
    points, labels, kinds = cloud(2000, spread=0.1)
    kinds = ["word"] * 2000
    plot = plotted(points, labels, kinds, [])
    found = dots(drawn(points, labels, kinds, [], title="t", subtitle="s"))

    assert len(found) < 2000
    away = np.abs(plot.pixels[:, None] - found[None]).max(axis=2).min(axis=1)
    assert away.max() <= 1.05
    assert len(np.unique(np.floor(found), axis=0)) > 0.9 * len(found)


def test_zoom_shows_highlights_and_neighbours_and_little_else():
    points, labels, kinds = cloud(3000)
    told = [Highlight("one", 0, [1, 2, 3]), Highlight("two", 4, [5])]
    points[:6] = 0.3 + np.random.default_rng(1).random((6, 2)) / 50
    plot = plotted(points, labels, kinds, told, zoom=True)

    extent = np.ptp(points[:6], axis=0)
    np.testing.assert_allclose(plot.frame.high - plot.frame.low, 1.2 * extent)
    np.testing.assert_allclose(
        plot.frame.high + plot.frame.low, points[:6].min(axis=0) + points[:6].max(axis=0)
    )
    assert {mark.row for mark in plot.marked if mark.role != "context"} == {*range(6)}
    assert 6 <= len(plot.shown) < 100
    assert f"{len(plot.shown)} of 3,000 points" in texts(drawn(points, labels, kinds, told, zoom=True))


def test_zoom_does_not_follow_a_stray_neighbour_but_counts_it():
    points, labels, kinds = cloud(300)
    points[:10] = np.random.default_rng(1).random((10, 2)) / 100
    points[10] = 0.9
    root = drawn(points, labels, kinds, [Highlight("one", 0, [*range(1, 11)])], zoom=True)

    assert "1 of 10 outside" in texts(root)
    assert len(named(root, "circle", "neighbor")) == len(named(root, "path", "line")) == 9


def test_zoom_without_highlights_is_the_whole_map():
    points, labels, kinds = cloud(100)
    assert picture.draw(points, labels, kinds, [], zoom=True) == picture.draw(points, labels, kinds, [])


@pytest.mark.parametrize("zoom", [False, True])
@pytest.mark.parametrize("n", [1, 50])
def test_points_in_one_place_are_a_picture(n, zoom):
    points = np.full((n, 2), 0.25)
    root = drawn(points, ["same"] * n, ["word"] * n, [Highlight("same", 0, [*range(1, n)][:3])], zoom=zoom)

    assert len(dots(root)) == 1 and len(named(root, "text", "highlight")) == 1
    assert f"{n} point{'s' * (n > 1)}" in texts(root)


def test_the_smallest_picture_holds_its_highlights():
    root = drawn(*cloud(500), words(3, each=3), width=400, height=300, title="small", subtitle="size")
    assert len(named(root, "text", "highlight")) == 3 and "word2" in texts(root)
    assert max(float(text.get("y")) for text in named(root, "text")) < 300


def test_more_highlights_than_the_legend_holds_are_counted():
    assert "and 22 more" in texts(drawn(*cloud(500), words(40, each=1)))


@pytest.mark.parametrize(
    ("low", "high", "spelt"),
    [
        (-0.31, 0.31, ["\u22120.2", "0.0", "0.2"]),
        (-1.0, 1.0, ["\u22121.0", "\u22120.5", "0.0", "0.5", "1.0"]),
        (0.1234, 0.1256, ["0.1235", "0.1240", "0.1245", "0.1250", "0.1255"]),
        (0.02, 4.4, ["1", "2", "3", "4"]),
    ],
)
def test_numbers_at_the_axes_are_round(low, high, spelt):
    assert [text for _, text in picture._ticks(low, high, 4.5)] == spelt


def test_strokes_cross_but_do_not_touch():
    strokes = np.array([[[0, 10 + 10j]], [[0, 5 + 4j]]])
    others = np.array([[10j, 10], [0, 10], [20, 30 + 5j], [5j, 20 + 5.5j]])
    np.testing.assert_array_equal(picture._crossings(strokes, others), [2, 0])


def test_equal_input_gives_equal_text():
    assert picture.draw(*cloud(2000), words(4)) == picture.draw(*cloud(2000), words(4))


@pytest.mark.parametrize(("n", "most", "seconds"), [(30_522, 1.5e6, 2), (300_000, 3e6, 8)])
def test_large_vocabularies_are_drawn_soon_and_not_too_large(n, most, seconds):
    points, labels, kinds = cloud(n, spread=0.5)
    told = []
    text = picture.draw(
        points, labels, kinds, words(3), step=lambda part: told.append((time.monotonic(), part))
    )
    times, parts = np.array(told).T

    assert len(text.encode()) < most and times[-1] - times[0] < seconds
    assert len(told) > 100 and np.diff(times).max() < 0.5
    assert (np.diff(parts) >= 0).all() and parts[0] == 0.0 and parts[-1] == 1.0


@pytest.mark.parametrize("last", [1, 5, 60, 100])
def test_a_step_that_raises_ends_the_work_at_once(last):
    class Cancelled(Exception):
        pass

    calls = []

    def step(fraction):
        calls.append(fraction)
        if len(calls) == last:
            raise Cancelled

    with pytest.raises(Cancelled):
        picture.draw(*cloud(30_000), words(3), step=step)
    assert len(calls) == last
