"""Charts as SVG: lines with bands. Everything on a chart is readable by keyboard, see page.js.

A chart is a `<figure>` with an SVG, whose elements of class "mark" carry their value as a label,
and an `<output>` in which page.js shows the label of the mark under the pointer or the focus.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH, HEIGHT = 440, 270  # in CSS pixels at the size of a phone's screen
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44  # margins around the plot
COLOURS = 8  # that page.css has for series
DOTS = 60  # a line of more points shows none of them


@dataclasses.dataclass(frozen=True)
class Series:
    """A named line; `low` and `high` are the borders of a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def line_chart(
    series: Sequence[Series],
    *,
    name: str,
    title: str,
    x_label: str,
    y_label: str,
    value: Callable[[float], str] = "{:.4g}".format,
) -> str:
    """Lines over a common axis, each with its band if it has one.

    Args:
      series: at least one point in all.
      name: a unique id on the page: letters, digits and hyphens.
      title: of the chart.
      x_label: what x is, with its unit.
      y_label: what y is, with its unit.
      value: writes a y for the reader.
    """
    xs = [x for line in series for x in line.x]
    ys = [y for line in series for part in (line.y, line.low, line.high) for y in part]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    across = _scale(x_ticks, LEFT, WIDTH - RIGHT)
    up = _scale(y_ticks, HEIGHT - BOTTOM, TOP)
    parts = [_axes(x_ticks, y_ticks, across, up, x_label, y_label)]
    parts += [_band(line, i, across, up) for i, line in enumerate(series) if len(line.low)]
    parts += [_line(line, i, across, up) for i, line in enumerate(series)]
    for i, line in enumerate(series):
        parts.append(_marks(line, i, across, up, lambda x, y: f"{x_label} {x:,g}: {value(y)}"))
    names = ", ".join(line.name for line in series)
    return figure(
        "".join(parts),
        name=name,
        title=title,
        description=f"{names}: {y_label} by {x_label}.",
        size=(WIDTH, HEIGHT),
        below=_legend(series) if len(series) > 1 else "",
    )


def figure(
    drawing: str,
    *,
    name: str,
    title: str,
    description: str,
    size: tuple[int, int],
    below: str = "",
    columns: int = 0,
) -> str:
    """A chart with its title, and the line in which the value of a mark is read.

    Args:
      drawing: the SVG's content.
      name: a unique id.
      title: text above the chart.
      description: what it shows, for those who hear the page.
      size: width and height of the drawing.
      below: HTML such as a legend.
      columns: of a grid of marks, in which the arrow keys move up and down as well.
    """
    width, height = size
    return (
        f'<figure class="chart" id="{name}"><figcaption>{escape(title)}</figcaption>'
        f'<div class="scroll"><svg viewBox="0 0 {width} {height}" data-columns="{columns}" '
        f'role="group" style="--width:{width}px" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-desc">{escape(description)}</desc>{drawing}</svg></div>'
        f'{below}<output aria-live="polite">Point at the chart, or focus it and use the arrow '
        "keys, to read values.</output></figure>"
    )


def mark(shape: str, label: str, first: bool = False) -> str:
    """An element of a chart, such as `circle cx="1"`, that says `label`; the `first` takes Tab."""
    return (
        f'<{shape} role="img" tabindex="{0 if first else -1}" aria-label="{escape(label)}"></'
        f"{shape.split()[0]}>"
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that enclose `low` and `high`."""
    if low == high:
        low, high = low - abs(low) / 2 - 0.5 * (not low), high + abs(high) / 2 + 0.5 * (not high)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def thin(x: Sequence[float], y: Sequence[float], name: str, most: int = 300) -> Series:
    """A series of at most `most` points; where there are more, means of equal parts of them.

    The band then goes from the lowest to the highest value of each part.
    """
    size = -(-len(x) // most)
    if size <= 1:
        return Series(name, x, y)
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    return Series(
        name,
        [x[part][-1] for part in parts],
        [sum(y[part]) / len(y[part]) for part in parts],
        [min(y[part]) for part in parts],
        [max(y[part]) for part in parts],
    )


def _scale(marks: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    low, high = marks[0], marks[-1]
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def _axes(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    across: Callable[[float], float],
    up: Callable[[float], float],
    x_label: str,
    y_label: str,
) -> str:
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in y_ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4}">{tick:,.6g}</text>')
    for tick in x_ticks:
        x = across(tick)
        parts.append(f'<line class="axis" x1="{x}" y1="{bottom}" x2="{x}" y2="{bottom + 4}"/>')
        parts.append(f'<text class="middle" x="{x}" y="{bottom + 17}">{tick:,.6g}</text>')
    parts.append(
        f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'
    )
    middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + bottom) / 2
    parts.append(f'<text class="label middle" x="{middle[0]}" y="{HEIGHT - 8}">{escape(x_label)}')
    parts.append(
        f'</text><text class="label middle" transform="translate(13 {middle[1]}) rotate(-90)">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _points(
    x: Sequence[float],
    y: Sequence[float],
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> list[str]:
    return [f"{across(a)} {up(b)}" for a, b in zip(x, y, strict=True)]


def _line(
    line: Series, i: int, across: Callable[[float], float], up: Callable[[float], float]
) -> str:
    path = "L".join(_points(line.x, line.y, across, up))
    return f'<path class="line {_style(i)}" d="M{path}"/>' if path else ""


def _band(
    line: Series, i: int, across: Callable[[float], float], up: Callable[[float], float]
) -> str:
    there, back = (_points(line.x, edge, across, up) for edge in (line.low, line.high))
    return f'<path class="band {_style(i)}" d="M{"L".join([*there, *reversed(back)])}Z"/>'


def _marks(
    line: Series,
    i: int,
    across: Callable[[float], float],
    up: Callable[[float], float],
    label: Callable[[float, float], str],
) -> str:
    kind = "mark" if len(line.x) <= DOTS else "mark quiet"
    parts = []
    for n, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        shape = f'circle class="{kind} {_style(i)}" cx="{across(x)}" cy="{up(y)}" r="3.5"'
        parts.append(mark(shape, f"{line.name}, {label(x, y)}", first=i == n == 0))
    return "".join(parts)


def _legend(series: Sequence[Series]) -> str:
    entries = (
        '<li><svg viewBox="0 0 26 8" aria-hidden="true">'
        f'<path class="line {_style(i)}" d="M0 4L26 4"/></svg>{escape(line.name)}</li>'
        for i, line in enumerate(series)
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _style(i: int) -> str:
    """The classes of series `i`: a colour and, once all colours are taken, dashes."""
    return f"s{i % COLOURS}" + " dashed" * (i >= COLOURS)
