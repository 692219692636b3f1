"""Timelines as SVG: lines and bars over a span of time, the fault's time shaded; values in, text out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

Points = Sequence[tuple[float, float]]  # Unix time, value

WIDTH, HEIGHT, LEFT, FOOT = 900, 130, 60, 20
ROW = 22  # pixels of an alert's bar
COLOURS = ("#2563a8", "#c2571a", "#2e7d4f", "#7b4fa3", "#a03050")
SHADE, GREY = "#f3e3c3", "#999"
GAP_S = 5.0  # longer silence is a gap in the line


@dataclass(frozen=True)
class Frame:
    """The span that is drawn, and the times within it that are shaded (Unix time)."""

    begin: float
    end: float
    shaded: Sequence[tuple[float, float]] = ()

    def x(self, at: float) -> float:
        return LEFT + (WIDTH - LEFT) * (at - self.begin) / max(1.0, self.end - self.begin)

    def svg(self, drawn: Iterable[str], height: int) -> str:
        """What was drawn, over the shades, with the time below."""
        shades = "".join(
            box(self.x(one), 0, max(2.0, self.x(other) - self.x(one)), height - FOOT, SHADE)
            for one, other in self.shaded
        )
        ticks = [self.begin + (self.end - self.begin) * n / 6 for n in range(6)]
        times = "".join(text(self.x(at), height - 4, f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}") for at in ticks)
        return f"<svg viewBox='0 0 {WIDTH} {height}' role='img'>{shades}{''.join(drawn)}{times}</svg>"


def chart(frame: Frame, title: str, series: Mapping[str, Points], limit: float = 0.0) -> str:
    """One line a series; `limit` is dashed."""
    top = max([value for points in series.values() for _, value in points] + [limit, 1.0])
    floor = HEIGHT - FOOT

    def y(value: float) -> float:
        return floor - (floor - 10) * value / top

    drawn = [text(0, 14, f"{top:,.0f}"), text(0, floor, "0")]
    if limit:
        ends = f"x1='{LEFT}' x2='{WIDTH}' y1='{y(limit):.1f}' y2='{y(limit):.1f}'"
        drawn.append(f"<line {ends} stroke='{GREY}' stroke-dasharray='4'/>")
    shown = {name: points for name, points in series.items() if points}
    for colour, points in zip(COLOURS, shown.values(), strict=False):
        for part in unbroken(points):
            path = " ".join(f"{frame.x(at):.1f},{y(value):.1f}" for at, value in part)
            drawn.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.5'/>")
    named = zip(COLOURS, shown, strict=False)
    legend = " ".join(f"<span style='color:{colour}'>■ {escape(name)}</span>" for colour, name in named)
    return f"<h2>{escape(title)} <small>{legend}</small></h2>{frame.svg(drawn, HEIGHT)}"


def bars(frame: Frame, rows: Mapping[str, Iterable[tuple[float, str]]], width_s: float = 0.7) -> str:
    """One row a name: a mark in its colour at each of its times."""
    drawn = []
    for n, (name, marks) in enumerate(rows.items()):
        drawn += [
            box(frame.x(at), n * ROW + 12, frame.x(at + width_s) - frame.x(at), 6, colour) for at, colour in marks
        ]
        drawn.append(text(LEFT, n * ROW + 10, name))
    return frame.svg(drawn, len(rows) * ROW + FOOT + 4)


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(1.0, width):.1f}' height='{height}' fill='{colour}'/>"


def text(x: float, y: float, words: str) -> str:
    return f"<text x='{x:.1f}' y='{y}'>{escape(words)}</text>"


def unbroken(points: Points) -> list[list[tuple[float, float]]]:
    """The points in parts without a gap."""
    parts: list[list[tuple[float, float]]] = []
    for point in points:
        if parts and point[0] - parts[-1][-1][0] <= GAP_S:
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts
