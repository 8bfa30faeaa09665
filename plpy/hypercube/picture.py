"""The map of a vocabulary as a picture: points, highlighted words, labels.

Owns the drawing (SVG) and where a label finds room.  It does not know where points
come from or what makes a neighbour.
"""

import html
import itertools
import math
import re
import unicodedata
from typing import NamedTuple

import numpy as np

# Every kind of token with the colour of its points.
_KINDS = {"word": "#8d9db0", "continuation": "#c4a06a", "byte": "#7fb08f", "special": "#c2727f",
          "unused": "#c3c3c3"}  # fmt: skip
# Colours that all kinds of eyes tell apart (Okabe and Ito, 2008, with two for yellow and black), each
# with a shade that can be read as text on white (contrast 4.9 or more); the last is for landmarks.
_INKS = (("#0072b2", "#0072b2"), ("#d55e00", "#b95200"), ("#009e73", "#00805d"), ("#cc79a7", "#9b5c7f"),
         ("#e69f00", "#956700"), ("#56b4e9", "#39779a"), ("#882255", "#882255"), ("#333333", "#333333"),
         ("#5f6773", "#676e7a"))  # fmt: skip
_GREY = _INKS[-1][1]
_NAMESPACE = "http:" + "//www.w3.org/2000/svg"  # a name, nothing is fetched by it
_LEGEND = 204  # pixels of the column at the right
_LONGEST = 40  # characters of a label
_LEAST_EXTENT = 1e-3  # of a view
_STRAY = 20  # times the median distance: a neighbour that a zoom does not follow
_MOST_DOTS, _MOST_LABELS = 80_000, 300  # labels of neighbours
_ROWS = 1 << 13  # between two calls of step, some ms of work
# Size of type, radius and halo of a marker; what comes later lies on top.
_STYLE = {"context": (11, 1.8, 0.0), "neighbor": (12, 3.6, 1.2), "highlight": (16, 6.5, 2.5)}
# Upper bounds of advance widths in em, from wide faces (DejaVu Sans, Verdana); bold adds _BOLD.
_WIDTHS = {" ijl'|.,:;I": 0.34, "ftr()[]-/\\!": 0.42, "ABCDEFGHJKLNOPQRSTUVXYZ#+<=>~^&": 0.85, "mwMW@%": 1.02}
_ADVANCE = {char: width for chars, width in _WIDTHS.items() for char in chars}
_BOLD = 0.09
# What XML 1.0 does not allow, and what would break a line.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


class Highlight(NamedTuple):
    """A word to be shown: its label, its row of points, and rows of neighbours, best first."""

    label: str
    index: int
    neighbors: list[int]


class _Frame(NamedTuple):
    """Where the plot is, in pixels, and what part of the map it shows."""

    left: float
    top: float
    right: float
    bottom: float
    low: np.ndarray
    high: np.ndarray

    def place(self, points):
        """Return the pixels of points."""
        share = (points - self.low) / (self.high - self.low)
        corner = np.array([self.left, self.bottom])
        return corner + share * (np.array([self.right, self.top]) - corner)


class _Mark(NamedTuple):
    """A marked point: its row, pixels, role and text, and the number of its colours."""

    row: int
    x: float
    y: float
    role: str
    text: str
    ink: int

    @property
    def box(self):
        radius = _STYLE[self.role][1] + 1
        return self.x - radius, self.y - radius, self.x + radius, self.y + radius


class _Label(NamedTuple):
    """The text of a mark as it is shown, the box that it does not leave, and the line to it or None."""

    mark: _Mark
    text: str
    box: list
    leader: list | None


def _silent(fraction):
    pass


def draw(
    points, labels, kinds, highlights, *,
    axes=(1, 2), title="", subtitle="", width=1200, height=800, zoom=False, step=_silent,
):  # fmt: skip
    """Draw a map with some of its words and their neighbours as an SVG document.

    Equal input gives equal text.  Widths of texts are estimated from above, so labels keep apart.

    Parameters
    ----------
    points : float64 ndarray of shape (n, 2)
        Finite; n is at least 1.
    labels, kinds : list of str
        Of every point; the first ones are preferred as landmarks.
    highlights : list of Highlight
        Their labels always have a place, those of neighbours if there is room.
    axes, title, subtitle, width, height
        Numbers of the two coordinates, two lines of text, and a size in pixels, at least 400 x 300.
    zoom : bool
        Show only highlights and neighbours, but for those very much farther away than most.
    step : callable
        ``step(fraction)``, called about every 10 ms.
    """
    top = 24 + 26 * bool(title) + 20 * bool(subtitle)
    frame = _Frame(66, top, width - _LEGEND, height - 54, *_view(points, highlights, zoom))
    plot = _Plot(frame, points, labels, kinds, highlights, step)
    told = f"{len(points):,} tokens by axis {axes[0]} and axis {axes[1]} of their map."
    for word in highlights:
        near = ", ".join(_clean(labels[row]) for row in word.neighbors)
        told += f" {_clean(word.label)}, near it: {near or 'none'}."
    title = _shorten(_clean(title), 20, True, width - 86, 200)
    subtitle = _shorten(_clean(subtitle), 13, False, width - 86, 200)
    lines = [
        f'<svg xmlns="{_NAMESPACE}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" font-family="sans-serif" xml:space="preserve">',
        f"<title>{html.escape(title or 'Map of a vocabulary')}</title><desc>{html.escape(told)}</desc>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(66, 38, title, 'font-size="20" font-weight="bold" fill="#1f2937"') * bool(title),
        _text(66, top - 12, subtitle, f'font-size="13" fill="{_GREY}"') * bool(subtitle),
        *_axes(frame, axes), *plot.dots(step), *plot.marks(), *plot.labels(),
        *_legend(plot, highlights, width, height), "</svg>\n",
    ]  # fmt: skip
    return "\n".join(lines)


class _Plot:
    """What stands where in the frame, and how it is written."""

    def __init__(self, frame, points, labels, kinds, highlights, step):
        n = len(points)
        self.frame, self.codes, landmark = frame, np.empty(n, np.int64), np.empty(n, bool)
        number = {kind: code for code, kind in enumerate(_KINDS)}
        for start in range(0, n, _ROWS):
            step(0.3 * start / n)
            part = slice(start, start + _ROWS)
            self.codes[part] = [number[kind] for kind in kinds[part]]
            landmark[part] = [len(label) > 1 and label.isalpha() for label in labels[part]]
        step(0.3)
        self.pixels = frame.place(points)
        inside = ((points >= frame.low) & (points <= frame.high)).all(axis=1)
        self.shown = np.flatnonzero(inside)
        self.marked = [self._mark(row, "highlight", text, i) for i, (text, row, _) in enumerate(highlights)]
        self.seen = [[row for row in word.neighbors if inside[row]] for word in highlights]
        ranked = sorted((rank, i, row) for i, rows in enumerate(self.seen) for rank, row in enumerate(rows))
        known = {word.index for word in highlights}
        # The nearest neighbours of all words come before the second nearest of any.
        for _, i, row in ranked:
            if row not in known:
                known.add(row)
                self.marked.append(self._mark(row, "neighbor", labels[row], i))
        ends = [(row, self.marked[i]) for _, i, row in ranked]
        self.lines = [(*self.pixels[row].tolist(), mark.x, mark.y, mark.ink, "line") for row, mark in ends]
        landmark &= inside & (self.codes == number["word"])
        landmark[list(known)] = False
        self._boxes = np.array([mark.box for mark in self.marked]).reshape(-1, 4)
        self._strokes = np.array([line[:4] for line in self.lines]).reshape(-1, 4).view(complex)
        step(0.4)
        wanted = self.marked[: len(highlights) + _MOST_LABELS]
        # Landmarks are spread over the plot: the first of each cell of a grid.
        rows = np.flatnonzero(landmark)
        column, line = ((self.pixels[rows] - frame[:2]) / (92, 46)).astype(np.int64).T
        rows = np.sort(rows[np.unique((line << 20) + column, return_index=True)[1]]).tolist()
        wanted += [self._mark(row, "context", labels[row], -1) for row in rows]
        self.labelled = []
        for place, mark in enumerate(wanted):
            step(0.4 + 0.4 * place / len(wanted))
            self._settle(mark)

    def _mark(self, row, role, text, owner):
        ink = owner if owner < 0 else owner % (len(_INKS) - 1)
        return _Mark(row, *self.pixels[row].tolist(), role, _clean(text), ink)

    def _settle(self, mark):
        """Put the label of a mark at the best free place, if there is one."""
        frame, size, context, bold = self.frame, _STYLE[mark.role][0], mark.ink < 0, mark.role == "highlight"
        if context and len(_free(np.array([mark.box]), self._boxes)) == 0:
            return
        text = _shorten(mark.text, size, bold, min(330, frame.right - frame.left - 10))
        extent = np.array([_width(text, size, bold) + 4, 1.25 * size + 2])
        taken = np.vstack([self._boxes, mark.box]) if context else self._boxes
        # A highlight looks farther if it has to, and in a full plot it rather covers markers.
        for reach, first in ((220 * (not context), 0), (800, 0), (800, len(self.marked)))[: 1 + 2 * bold]:
            boxes, cost = _candidates(frame, mark, extent, reach)
            free = _free(boxes, taken[first:])[:80]
            if len(free):
                break
        if len(free) == 0 and not bold:
            return
        boxes, cost = boxes[free if len(free) else [0]], cost[free if len(free) else [0]]
        ends = np.clip([mark.x, mark.y], boxes[:, :2] + 2, boxes[:, 2:] - 2)
        leaders = np.hstack([np.full_like(ends, [mark.x, mark.y]), ends])
        # What runs through a box crosses a diagonal of it.
        strokes = np.stack([leaders, boxes, boxes[:, [0, 3, 2, 1]]], axis=1).view(complex)
        crossed = _crossings(strokes, self._strokes)
        best = np.argmin(cost + (4 if bold else 20) * crossed)
        if context and crossed[best]:
            return
        self._boxes = np.vstack([taken, boxes[best]])
        self._strokes = np.vstack([self._strokes, strokes[best]])
        line = leaders[best].tolist()
        long = math.dist(line[:2], line[2:]) > _STYLE[mark.role][1] + 13
        self.labelled.append(_Label(mark, text, boxes[best].tolist(), line if long else None))
        self.marked += [mark] * context

    def dots(self, step):
        """Write the points, of a kind one for nearly the same pixel: in tenths of it, from point to point."""
        pixels, codes = self.pixels[self.shown], self.codes[self.shown]
        for cell in 1.5 ** np.arange(30):
            column, line = ((pixels - self.frame[:2]) / cell).astype(np.int64).T
            place = (codes << 40) + (line << 20) + column
            step(0.8)
            _, first, count = np.unique(place, return_index=True, return_counts=True)
            if len(first) <= _MOST_DOTS:
                break
        pixels, codes, density, done = pixels[first], codes[first], np.searchsorted((1, 4), count), 0
        radius = min(2.6, max(1.1, 110 / math.sqrt(max(1, len(first)))))
        look = f'stroke-linecap="round" stroke-width="{20 * radius:.0f}" transform="scale(.1)"'
        yield f'<g class="dots" fill="none" {look}>'
        # The rarest kind comes last and is on top.
        order = np.argsort(-np.bincount(codes, minlength=len(_KINDS)), kind="stable")
        for code, (level, opacity) in itertools.product(order, enumerate((0.4, 0.6, 0.85))):
            group = np.rint(10 * pixels[(codes == code) & (density == level)]).astype(np.int64)
            for start in range(0, len(group), _ROWS):
                step(0.85 + 0.15 * (done + start) / len(codes))
                place = group[start : start + _ROWS]
                place[1:] -= place[:-1].copy()
                path = "".join([f"m{x} {y}h0" for x, y in place.tolist()])
                yield f'<path stroke="{[*_KINDS.values()][code]}" stroke-opacity="{opacity}" d="{path}"/>'
            done += len(group)
        yield "</g>"
        step(1.0)

    def marks(self):
        """Write the frame, the lines to neighbours and labels, and the markers."""
        left, top, right, bottom = self.frame[:4]
        yield f'<g fill="none"><path d="M{left} {top}H{right}V{bottom}H{left}Z" stroke="#9ca3af"/>'
        leaders = [(*label.leader, label.mark.ink, "leader") for label in self.labelled if label.leader]
        for x, y, to_x, to_y, ink, role in self.lines + leaders:
            look = 'stroke-opacity=".55"' if role == "line" else 'stroke-width=".8" stroke-dasharray="2 2"'
            color = _INKS[ink][role == "leader"]
            yield f'<path class="{role}" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{color}" {look}/>'
        yield '</g><g stroke="#fff">'
        for mark in reversed(self.marked):
            _, radius, halo = _STYLE[mark.role]
            look = f'r="{radius}" fill="{_INKS[mark.ink][0]}" stroke-width="{halo}"'
            tip = f"<title>{html.escape(mark.text)}</title>"
            yield f'<circle class="{mark.role}" cx="{mark.x:.1f}" cy="{mark.y:.1f}" {look}>{tip}</circle>'
        yield "</g>"

    def labels(self):
        """Write the labels, each in a white seam and with a direction of its own."""
        look = 'stroke-width="3" stroke-linejoin="round" paint-order="stroke" direction="ltr"'
        yield f'<g stroke="#fff" {look}>'
        for mark, text, (x0, y0, x1, _), _ in self.labelled:
            size, ink, middle = _STYLE[mark.role][0], _INKS[mark.ink][1], (x0 + x1) / 2
            x, anchor = (x0 + 2, "start") if middle > mark.x else (x1 - 2, "end")
            if abs(middle - mark.x) < (x1 - x0) / 4:
                x, anchor = middle, "middle"
            look = f'class="{mark.role}" font-size="{size}" fill="{ink}" text-anchor="{anchor}"'
            look += ' unicode-bidi="isolate"' + ' font-weight="bold"' * (mark.role == "highlight")
            yield _text(x, y0 + 1 + 0.97 * size, text, look)
        yield "</g>"


def _view(points, highlights, zoom):
    """Return the lowest and highest coordinates that are shown."""
    margin = 0.03
    if zoom and highlights:
        margin = 0.1
        pairs = [(word.index, row) for word in highlights for row in word.neighbors]
        words, rows = np.array(pairs, np.int64).reshape(-1, 2).T
        away = np.abs(points[rows] - points[words])
        limit = _STRAY * np.median(away, axis=0) if pairs else np.zeros(2)
        followed = rows[((away <= limit) | (limit == 0)).all(axis=1)]
        points = points[[*(word.index for word in highlights), *followed]]
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    half = np.maximum((high - low) * (0.5 + margin), _LEAST_EXTENT / 2)
    return middle - half, middle + half


def _free(boxes, taken):
    """Return the numbers of the boxes that no other touches."""
    (x0, y0, x1, y1), (left, top, right, bottom) = boxes.T[:, :, None], taken.T
    return np.flatnonzero(~((x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top)).any(axis=1))


def _candidates(frame, mark, extent, reach):
    """Return boxes on circles around a mark, near ones first, and what each costs."""
    near, ring = [0, 180, -90, 90, -45, 45, -135, 135, -20, 20, 160, 200], np.arange(0, 360, 10)
    far = np.repeat(np.arange(16.0, reach, max(11, reach // 40)), len(ring))
    angles = np.radians([*near, *np.resize(ring, len(far))])
    radii = np.concatenate([np.full(len(near), _STYLE[mark.role][1] + 3), far])
    turn = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corner = (mark.x, mark.y) + radii[:, None] * turn - extent * (1 - turn) / 2
    corner = np.clip(corner, (frame.left + 3, frame.top + 3), (frame.right - 3, frame.bottom - 3) - extent)
    return np.hstack([corner, corner + extent]), np.concatenate([np.arange(len(near)) * 0.7, far])


def _crossings(strokes, others):
    """Count the others that cross one of each row of strokes; a point is a complex number."""
    (a, b), (c, d) = np.moveaxis(strokes, -1, 0)[..., None], others.T
    ab, cd = (b - a).conj(), (d - c).conj()
    apart = (ab * (c - a)).imag * (ab * (d - a)).imag < 0
    return (apart & ((cd * (a - c)).imag * (cd * (b - c)).imag < 0)).sum(axis=(1, 2))


def _clean(text):
    """Return a text that XML can hold and a person can see."""
    return _UNFIT.sub("\ufffd", text) if text.strip(" ") else "\u2423" * len(text)


def _width(text, size, bold):
    """Estimate from above how wide a text is."""
    # An accent needs no room; signs, wide letters and unknown scripts do.
    bases = [unicodedata.normalize("NFD", char)[0] for char in text]
    wide = (0.66 if base.isascii() else 1.3 if unicodedata.category(base) == "So" else 1.1 for base in bases)
    return size * sum(_ADVANCE.get(base, ems) + _BOLD * bold for base, ems in zip(bases, wide, strict=True))


def _shorten(text, size, bold, room, longest=_LONGEST):
    """Cut a text, with an ellipsis, to a number of characters and a width."""
    short = text if len(text) <= longest else text[: longest - 1] + "\u2026"
    while len(short) > 2 and _width(short, size, bold) > room:
        short = short[:-2] + "\u2026"
    return short


def _text(x, y, text, look=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{html.escape(text)}</text>'


def _axes(frame, axes):
    """Write grid, numbers and names of the axes."""
    left, top, right, bottom, low, high = frame
    grid = numbers = ""
    for value, spelt in _ticks(low[0], high[0], (right - left) / 110):
        x = frame.place(np.full(2, value))[0]
        grid += f"M{x:.1f} {top}V{bottom}"
        numbers += _text(x, bottom + 16, spelt, 'text-anchor="middle"')
    for value, spelt in _ticks(low[1], high[1], (bottom - top) / 80):
        y = frame.place(np.full(2, value))[1]
        grid += f"M{left} {y:.1f}H{right}"
        numbers += _text(left - 7, y + 4, spelt, 'text-anchor="end"')
    turned = f'transform="translate(18 {(top + bottom) / 2:.1f}) rotate(-90)"'
    yield f'<path d="{grid}" stroke="#eceff3" fill="none"/><g font-size="11" fill="{_GREY}">{numbers}</g>'
    yield '<g font-size="13" fill="#374151" text-anchor="middle">'
    yield _text((left + right) / 2, bottom + 40, f"axis {axes[0]}")
    yield _text(0, 0, f"axis {axes[1]}", turned) + "</g>"


def _ticks(low, high, number):
    """Return round values between two limits, about `number` of them, and how they are written."""
    raw = (high - low) / max(number, 2)
    exponent = math.floor(math.log10(raw))
    unit = next(10.0**exponent * factor for factor in (1, 2, 5, 10) if 10.0**exponent * factor >= raw)
    places = max(0, -exponent - (unit > 9 * 10.0**exponent))
    values = (unit * count for count in range(math.ceil(low / unit), math.floor(high / unit) + 1))
    return [(value, f"{value:.{places}f}".replace("-", "\u2212")) for value in values]


def _legend(plot, highlights, width, height):
    """Write what the colours mean, as much of it as the height allows."""
    x, y, n = width - _LEGEND + 22, plot.frame.top + 12, len(plot.codes)
    yield '<g class="legend" font-size="12" fill="#374151">'
    shown = f"{len(plot.shown):,} of " * (len(plot.shown) < n)
    yield _text(x, y, f"{shown}{n:,} point{'s' * (n != 1)}", 'font-weight="bold"')
    for (kind, color), count in zip(_KINDS.items(), np.bincount(plot.codes, minlength=5), strict=True):
        if count:
            y += 19
            yield f'<circle cx="{x + 6}" cy="{y - 4}" r="4" fill="{color}"/>{_text(x + 19, y, kind)}'
            yield _text(width - 16, y, f"{count:,}", f'text-anchor="end" fill="{_GREY}"')
    for i, (word, seen) in enumerate(zip(highlights, plot.seen, strict=True)):
        if y + 74 > height:
            yield _text(x, y + 32, f"and {len(highlights) - i} more", f'fill="{_GREY}"')
            break
        mark, ink = _INKS[i % (len(_INKS) - 1)]
        label = _shorten(_clean(word.label), 13, True, _LEGEND - 60)
        look = f'font-size="13" font-weight="bold" fill="{ink}" unicode-bidi="isolate"'
        yield f'<circle cx="{x + 6}" cy="{y + 30}" r="6" fill="{mark}"/>{_text(x + 19, y + 34, label, look)}'
        count, outside = len(word.neighbors), len(word.neighbors) - len(seen)
        told = f"{outside} of {count} outside" if outside else f"{count} neighbour{'s' * (count != 1)}"
        yield _text(x + 19, y + 49, told, f'font-size="11" fill="{_GREY}"')
        y += 35
    yield "</g>"
