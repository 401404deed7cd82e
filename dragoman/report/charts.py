"""Line charts as inline SVG: readable on paper, on a phone, in the light and in the dark."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 34
POINTS = 150  # a line is averaged down to this many; more could not be told apart
COLOURS = 8  # .c0 to .c7 in the style sheet; further lines are dashed
LOG_FROM = 25.0  # ratio of largest to smallest value from which the scale is logarithmic

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A scale from values to 0..1 and its ticks. cut: the frame leaves out some extreme values."""

    place: Callable[[float], float]
    ticks: list[float]
    log: bool = False
    cut: bool = False


def chart(title: str, lines: dict[str, Points], marks: dict[str, float] | None = None) -> str:
    """Return a <figure> with one line per name over the steps of a run.

    lines: points (step, value), finite, by name. marks: named steps (where a stage begins), drawn
    as upright lines. Names are escaped. With less than two points a line is a dot.
    """
    thinned = {name: thin(points) for name, points in lines.items() if points}
    if not thinned:
        return ""
    first = min(x for points in lines.values() for x, _ in points)
    last = max(x for points in lines.values() for x, _ in points)
    across = linear(min(0.0, first), last if last > min(0.0, first) else first + 1)
    upright = scale([y for points in thinned.values() for _, y in points])
    body = grid(across, upright)
    for name, step in (marks or {}).items():
        body += mark(name, across, step)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    # An inner picture cuts off what leaves the frame.
    body += (
        f'<svg x="{LEFT}" y="{TOP}" width="{width}" height="{height}" '
        f'viewBox="{LEFT} {TOP} {width} {height}">'
    )
    body += "".join(curve(i, p, across, upright) for i, p in enumerate(thinned.values()))
    body += "</svg>"
    notes = ["logarithmic scale"] if upright.log else []
    notes += ["extreme values are outside the frame"] if upright.cut else []
    caption = f"<figcaption>{escape(title)}" + (
        f" <small>({'; '.join(notes)})</small></figcaption>" if notes else "</figcaption>"
    )
    ends = {name: points[-1][1] for name, points in lines.items() if points}
    return (
        f'<figure class="chart">{caption}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{body}</svg>{legend(ends)}</figure>"
    )


def legend(ends: dict[str, float]) -> str:
    """Return the names with their colours and latest values."""
    items = "".join(
        f'<li><svg viewBox="0 0 22 8" class="key"><line x1="0" y1="4" x2="22" y2="4" '
        f'class="{line_class(i)}"/></svg>{escape(name)} <b>{label(value)}</b></li>'
        for i, (name, value) in enumerate(ends.items())
    )
    return f'<ul class="legend">{items}</ul>'


def line_class(index: int) -> str:
    """Return the style of the line of that index."""
    return f"c{index % COLOURS}" + (" dashed" if index >= COLOURS else "")


def curve(index: int, points: Points, across: Axis, upright: Axis) -> str:
    """Return a line, or a dot for a single point."""
    places = [(x_of(across, x), y_of(upright, y)) for x, y in points]
    style = line_class(index)
    if len(places) == 1:
        x, y = places[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{style} dot"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" class="{style}"/>'


def grid(across: Axis, upright: Axis) -> str:
    """Return tick lines with their numbers, and the name of the horizontal axis."""
    parts = []
    names = [label(tick) for tick in upright.ticks]
    if not upright.log and all(name.lstrip("-").replace(".", "").isdigit() for name in names):
        digits = max(len(name.partition(".")[2]) for name in names)  # 0.10 beside 0.11
        names = [f"{tick:.{digits}f}" for tick in upright.ticks]
    for tick, name in zip(upright.ticks, names, strict=True):
        y = y_of(upright, tick)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
        )
    floor = HEIGHT - BOTTOM
    for tick in across.ticks:
        x = x_of(across, tick)
        anchor = "end" if x > WIDTH - RIGHT - 14 else "middle"
        parts.append(
            f'<line x1="{x:.1f}" y1="{floor}" x2="{x:.1f}" y2="{floor + 4}" class="axis"/>'
            f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="{anchor}">{label(tick)}</text>'
        )
    parts.append(f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}" class="axis"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">step</text>')
    return "".join(parts)


def mark(name: str, across: Axis, step: float) -> str:
    """Return an upright line where something named begins."""
    x = x_of(across, step)
    return (
        f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" class="mark"/>'
        f'<text x="{x + 3:.1f}" y="{TOP + 11}">{escape(name)}</text>'
    )


def x_of(axis: Axis, value: float) -> float:
    """Return the pixel across of a value."""
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def y_of(axis: Axis, value: float) -> float:
    """Return the pixel down of a value, at most a frame away from the frame."""
    share = min(2.0, max(-1.0, axis.place(value)))
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def thin(points: Points, most: int = POINTS) -> Points:
    """Average neighbouring points until at most `most` are left; the last one stays as it is."""
    if len(points) <= most:
        return points
    size = -(-(len(points) - 1) // (most - 1))
    buckets = [points[i : i + size] for i in range(0, len(points) - 1, size)]
    means = [
        (sum(x for x, _ in bucket) / len(bucket), sum(y for _, y in bucket) / len(bucket))
        for bucket in buckets
    ]
    return [*means, points[-1]]


def scale(values: list[float]) -> Axis:
    """Return the scale on which values can be read best.

    Logarithmic for positive values of very different sizes; else linear, without the far end of a
    few extreme values such as a loss's first steps.
    """
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    if low > 0 and high / low >= LOG_FROM:
        return logarithmic(low, high)
    first, last = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    span = last - first
    cut_high, cut_low = high - last > 3 * span > 0, first - low > 3 * span > 0
    low, high = first - span / 4 if cut_low else low, last + span / 4 if cut_high else high
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
        room = abs(high) / 10 or 1.0
        low, high = low - room, high + room
    margin = (high - low) * 0.04
    begin = 0.0 if 0 <= low <= 0.3 * high else low - margin
    axis = linear(begin, high + margin)
    return Axis(axis.place, axis.ticks, cut=cut_high or cut_low)


def linear(low: float, high: float) -> Axis:
    """Return a linear scale with about five ticks at 1, 2 or 5 times a power of ten."""
    span = high - low
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    begin, end = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(lambda value: (value - low) / span, [i * step for i in range(begin, end + 1)])


def logarithmic(low: float, high: float) -> Axis:
    """Return a logarithmic scale with ticks at powers of ten, and between them if they are few."""
    bottom, top = math.log10(low) - 0.05, math.log10(high) + 0.05
    powers = range(math.floor(bottom), math.ceil(top) + 1)
    steps = (1, 2, 5) if top - bottom < 2.5 else (1,)
    every = max(1, len(powers) // 7)
    ticks = [m * 10.0**p for p in powers if p % every == 0 for m in steps]
    ticks = [tick for tick in ticks if bottom <= math.log10(tick) <= top]
    return Axis(lambda value: (math.log10(value) - bottom) / (top - bottom), ticks, log=True)


def label(value: float) -> str:
    """Write a number briefly: 0.05, 12.5, 4000, 20k, 3M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.4g}{unit}"
    return f"{value:.4g}"
