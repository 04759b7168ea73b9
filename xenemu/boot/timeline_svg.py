"""A recovery's timeline as an SVG drawing: lanes, phases, packets, one axis in milliseconds.

Everything is placed by two rules: bars that overlap take rows of their own, and so do labels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from xml.sax.saxutils import escape

from xenemu.boot.timeline import LANES, Mark, RecoveryTimeline

WIDTH, LEFT, RIGHT, TOP = 1280, 128, 150, 64
BAR, ROW, LABEL, PAD = 18, 22, 15, 10
CLIENT_ROW = 20
INDENT = 4
GLYPH = 6.1  # mean width of a character at 11 px
MS = 1_000_000
INK, FAINT, RED = "#1f2933", "#d9dfe5", "#c92a2a"
COLOURS = {
    "detection": "#f08c00",
    "fence + switch": "#e03131",
    "remap": "#7048e8",
    "replay": "#1c7ed6",
    "first byte": "#2f9e44",
    "renewal": "#5c7080",
}
# Of a packet without payload, with bytes that were sent before, with new bytes.
STROKES = ((6, "#868e96"), (13, "#e8890c"), (CLIENT_ROW, "#2b8a3e"))
LEGEND = ("no payload", "bytes again", "new bytes")
# Events that a bar's ends show already, or that say nothing by themselves.
BEGIN = attrgetter("start")
SHOWN = {"fault", "backup-woken", "replay-started", "recovery-done", "first-byte", "protected"}
HIDDEN = SHOWN | {"log-remapped", "console"}


def bar_rows(bars: list[tuple[float, float]]) -> list[int]:
    """For each (start, end), in order of start: the first row in which it covers no other."""
    ends: list[float] = []
    rows = []
    for start, end in bars:
        row = next((row for row, taken in enumerate(ends) if taken <= start + 0.5), len(ends))
        ends[row : row + 1] = [end]
        rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class Label:
    """Words to the right of a leader that comes down at x from y."""

    x: float
    y: float
    words: str
    colour: str

    @property
    def end(self) -> float:
        """Where the words end, and some room."""
        return self.x + len(self.words) * GLYPH + 12


def label_rows(labels: list[Label]) -> list[int]:
    """For each label: a row in which no words meet other words or a leader.

    From right to left: a label that would reach others goes below them. Leaders less than
    INDENT apart do not reach each other's words; those keep their order.
    """
    rows: dict[int, int] = {}
    for i in sorted(range(len(labels)), key=lambda i: (-(labels[i].x // INDENT), i)):
        reached = [row for j, row in rows.items() if labels[j].x < labels[i].end]
        rows[i] = max(reached, default=-1) + 1
    return [rows[i] for i in range(len(labels))]


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, more: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def milliseconds(time: int) -> str:
    """With as many digits as help."""
    value = time / MS
    return f"{value:.0f} ms" if abs(value) >= 100 else f"{value:.3g} ms" if value else "0 ms"


def step_of(span: int, most: int = 14) -> int:
    """A round distance of at most that many axis ticks, ns."""
    step = 1000
    while True:
        for factor in (1, 2, 5):
            if span <= step * factor * most:
                return step * factor
        step *= 10


class Drawing:
    """One drawing; `draw` makes it."""

    def __init__(self, timeline: RecoveryTimeline) -> None:
        self._timeline = timeline
        self._scale = (WIDTH - LEFT - RIGHT) / (timeline.end - timeline.start)
        self._parts: list[str] = []
        self._width = float(WIDTH)  # as far as labels reach

    def draw(self) -> str:
        """The SVG document."""
        timeline = self._timeline
        y = float(TOP)
        lanes: dict[str, Callable[[float], float]] = {"client": self._client}
        edges = [y]
        for lane in LANES:
            y = lanes[lane](y) if lane in lanes else self._lane(lane, y)
            edges.append(y)
        behind = self._axis(y)
        width = math.ceil(self._width)
        for lane, start, end in zip(LANES, edges, edges[1:], strict=False):
            style = 'font-weight="bold" font-size="13"'
            behind.append(_text(12, (start + end) / 2 + 4, lane, style))
            behind.append(_line(0, end, width, end, f'stroke="{FAINT}"'))
        height = y + 46
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" '
            f'viewBox="0 0 {width} {height:.0f}" font-family="DejaVu Sans, Verdana, sans-serif" '
            f'font-size="11" fill="{INK}">'
        )
        title = f"Recovery {timeline.number} of {timeline.of}: {timeline.title}"
        return "\n".join(
            [
                head,
                f"<title>{escape(title)}</title>",
                f'<rect width="{width}" height="{height:.0f}" fill="white"/>',
                _text(12, 24, title, 'font-size="16" font-weight="bold"'),
                _text(12, 44, self._summary(), 'fill="#52606d"'),
                *self._legend(),
                *behind,
                *self._parts,
                "</svg>\n",
            ]
        )

    def _summary(self) -> str:
        timeline = self._timeline
        words = ["milliseconds since the crash"]
        if timeline.gap:
            gap = milliseconds(timeline.gap.end - timeline.gap.start)
            words.append(f"longest gap at a client {gap} ({timeline.gap.connection})")
        if timeline.log:
            words.append(f"log use at most {max(use for _, use in timeline.log):.1f} %")
        if timeline.overrun or timeline.left_out:
            words.append("some packets are missing")
        return "  ·  ".join(words)

    def _legend(self) -> list[str]:
        parts, x = [], float(WIDTH - 28)
        for words, (height, colour) in zip(reversed(LEGEND), reversed(STROKES), strict=True):
            parts.append(_text(x, 44, words, 'text-anchor="end" fill="#52606d"'))
            x -= len(words) * GLYPH + 6
            parts.append(_line(x, 45, x, 45 - height, f'stroke="{colour}" stroke-width="1.5"'))
            x -= 16
        return parts

    def _x(self, time: int) -> float:
        return LEFT + (time - self._timeline.start) * self._scale

    def _axis(self, bottom: float) -> list[str]:
        timeline = self._timeline
        parts = []
        step = step_of(timeline.end - timeline.start)
        time = -(-timeline.start // step) * step
        while time <= timeline.end:
            x = self._x(time)
            parts.append(_line(x, TOP, x, bottom, f'stroke="{FAINT}"'))
            parts.append(_text(x, bottom + 16, f"{time / MS:g}", 'text-anchor="middle"'))
            time += step
        zero = self._x(0)
        parts.append(_line(zero, TOP - 6, zero, bottom, f'stroke="{RED}" stroke-width="1.5"'))
        parts.append(_text(WIDTH - RIGHT, bottom + 34, "ms", 'text-anchor="end"'))
        return parts

    # lanes: each draws itself from y down and returns where it ends

    def _client(self, y: float) -> float:
        y += PAD + 4
        for title, sent in (("sent", True), ("received", False)):
            self._parts.append(_text(LEFT - 6, y + 13, title, 'text-anchor="end" font-size="9"'))
            self._packets(y, sent)
            y += CLIENT_ROW + 4
        gap = self._timeline.gap
        if gap:
            start, end = self._x(gap.start), self._x(gap.end)
            middle = y + 6
            edge = f'stroke="{RED}" stroke-width="1.2"'
            self._parts += [
                _line(start, middle, end, middle, edge),
                _line(start, middle - 5, start, middle + 5, edge),
                _line(end, middle - 5, end, middle + 5, edge),
            ]
            words = f"{milliseconds(gap.end - gap.start)} without new bytes"
            half = len(words) * GLYPH / 2
            at = min(max((start + end) / 2, LEFT + half), WIDTH - RIGHT - half)
            style = f'text-anchor="middle" fill="{RED}" font-weight="bold"'
            self._parts.append(_text(at, middle + 17, words, style))
            y += 26
        return y + PAD

    def _packets(self, y: float, sent: bool) -> None:
        """One stroke for each half pixel, of the most that is there."""
        most: dict[int, int] = {}
        for packet in self._timeline.packets:
            if packet.sent == sent and packet.time <= self._timeline.end:
                at = round(self._x(packet.time) * 2)
                rank = 0 if packet.payload == 0 else 2 if packet.new else 1
                most[at] = max(most.get(at, 0), rank)
        for rank, (height, colour) in enumerate(STROKES):
            path = "".join(
                f"M{at / 2:g} {y + CLIENT_ROW:g}v-{height}"
                for at, found in sorted(most.items())
                if found == rank
            )
            if path:
                style = f'stroke="{colour}" stroke-width="0.6" fill="none"'
                self._parts.append(f'<path d="{path}" {style}/>')

    def _lane(self, lane: str, y: float) -> float:
        y += PAD
        labels: list[Label] = []
        phases = sorted((p for p in self._timeline.phases if p.lane == lane), key=BEGIN)
        bars = [(x := self._x(p.start), max(self._x(p.end), x + 2)) for p in phases]
        rows = bar_rows(bars)
        for phase, (start, end), row in zip(phases, bars, rows, strict=True):
            top = y + row * ROW
            colour = COLOURS[phase.name]
            words = f"{phase.name} {milliseconds(phase.end - phase.start)}"
            self._parts.append(
                f'<rect x="{start:.1f}" y="{top:.1f}" width="{end - start:.1f}" height="{BAR}" '
                f'rx="2" fill="{colour}"><title>{escape(words)}</title></rect>'
            )
            if len(words) * GLYPH + 8 <= end - start:
                style = 'text-anchor="middle" fill="white"'
                self._parts.append(_text((start + end) / 2, top + 13, words, style))
            else:
                labels.append(Label((start + end) / 2, top + BAR, words, colour))
        y += (max(rows, default=-1) + 1) * ROW
        for mark in self._marks(lane):
            x = self._x(mark.time)
            dot = f'<circle cx="{x:.1f}" cy="{y + 4:.1f}" r="2.6" fill="{INK}">'
            self._parts.append(f"{dot}<title>{escape(mark.text)}</title></circle>")
            labels.append(Label(x, y + 6, mark.text, INK))
        return self._labels(labels, y + 10) + PAD

    def _labels(self, labels: list[Label], y: float) -> float:
        rows = label_rows(labels)
        for label, row in zip(labels, rows, strict=True):
            at = y + (row + 1) * LABEL - 3
            leader = f'stroke="{label.colour}" stroke-width="0.7"'
            self._parts.append(_line(label.x, label.y, label.x, at, leader))
            self._parts.append(_text(label.x + INDENT, at, label.words, f'fill="{label.colour}"'))
            self._width = max(self._width, label.end)
        return y + (max(rows, default=-1) + 1) * LABEL

    def _marks(self, lane: str) -> list[Mark]:
        """Of a lane, those that no bar shows."""
        timeline = self._timeline
        return [
            mark
            for mark in timeline.marks
            if mark.lane == lane and mark.name not in HIDDEN and mark.time <= timeline.end
        ]


def svg(timeline: RecoveryTimeline) -> str:
    """The drawing."""
    return Drawing(timeline).draw()
