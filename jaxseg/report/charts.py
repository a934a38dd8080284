"""Charts as SVG: lines with bands. Everything on a chart is readable by keyboard, see page.js.

A chart is a `<figure>` with an SVG, whose elements of class "mark" carry their value as a label,
and an `<output>` in which page.js shows the label of the mark under the pointer or the focus.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from html import escape

Number = int | float

WIDTH, HEIGHT = 440, 270  # in CSS pixels at the size of a phone's screen
LEFT, RIGHT, TOP, BOTTOM = 58, 28, 12, 44  # margins around the plot
COLOURS = 8  # that page.css has for series
DOTS = 60  # a line of more points shows none of them


@dataclasses.dataclass(frozen=True)
class Series:
    """A named line.

    Attributes:
      name: in the legend.
      x: of its points.
      y: of its points.
      low: the lower border of a band around it, if it has one.
      high: the upper border.
      colour: a number; None: its place among the series.
      dotted: a faint line that is not in the legend.
    """

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()
    colour: int | None = None
    dotted: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    name: str,
    title: str,
    x_label: str,
    y_label: str,
    value: Callable[[Number], str] = "{:.4g}".format,
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
    plot = _Plot(scale(x_ticks, LEFT, WIDTH - RIGHT), scale(y_ticks, HEIGHT - BOTTOM, TOP))
    series = [
        line if line.colour is not None else dataclasses.replace(line, colour=i)
        for i, line in enumerate(series)
    ]
    parts = [plot.x_axis(x_ticks, x_label), plot.y_axis(y_ticks, y_label)]
    parts += [plot.band(line) for line in series if len(line.low)]
    parts += [plot.line(line) for line in series]
    first = next(line for line in series if len(line.x))
    for line in series:
        said = plot.marks(line, lambda x, y: f"{x_label} {x:,g}: {value(y)}", line is first)
        parts.append(said)
    named = [line for line in series if not line.dotted]
    names = ", ".join(line.name for line in named)
    return figure(
        "".join(parts),
        name=name,
        title=title,
        description=f"{names}: {y_label} by {x_label}.",
        size=(WIDTH, HEIGHT),
        below=_legend(named) if len(named) > 1 else "",
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
        f'{below}<output aria-live="polite">Point, or focus and use the arrow keys, to read '
        "values.</output></figure>"
    )


def mark(shape: str, label: str, first: bool = False) -> str:
    """An element of a chart, such as `circle cx="1"`, that says `label`; the `first` takes Tab."""
    return (
        f'<{shape} role="img" tabindex="{0 if first else -1}" aria-label="{escape(label)}"></'
        f"{shape.split()[0]}>"
    )


def ticks(low: Number, high: Number, count: int = 5) -> list[float]:
    """About `count` round numbers that enclose `low` and `high`."""
    if low == high:
        low, high = low - abs(low) / 2 - 0.5 * (not low), high + abs(high) / 2 + 0.5 * (not high)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def thin(x: Sequence[Number], y: Sequence[Number], name: str, most: int = 300) -> Series:
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


def scale(marks: Sequence[Number], start: int, end: int) -> Callable[[Number], float]:
    """From the range of an axis's ticks to the drawing's coordinates."""
    low, high = marks[0], marks[-1]
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


@dataclasses.dataclass(frozen=True)
class _Plot:
    """Draws in the coordinates of the data: `across` and `up` turn them into the drawing's."""

    across: Callable[[Number], float]
    up: Callable[[Number], float]

    def x_axis(self, marks: Sequence[Number], label: str) -> str:
        bottom, end, parts = HEIGHT - BOTTOM, WIDTH - RIGHT, []
        texts, unit = tick_texts(marks)
        for tick, text in zip(marks, texts, strict=True):
            x = self.across(tick)
            parts.append(f'<line class="axis" x1="{x}" y1="{bottom}" x2="{x}" y2="{bottom + 4}"/>')
            parts.append(f'<text class="middle" x="{x}" y="{bottom + 17}">{text}</text>')
        parts.append(f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{end}" y2="{bottom}"/>')
        place = f'x="{(LEFT + end) / 2}" y="{HEIGHT - 8}"'
        parts.append(f'<text class="label middle" {place}>{escape(label)}{unit}</text>')
        return "".join(parts)

    def y_axis(self, marks: Sequence[Number], label: str) -> str:
        end, parts = WIDTH - RIGHT, []
        texts, unit = tick_texts(marks)
        for tick, text in zip(marks, texts, strict=True):
            y = self.up(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{end}" y2="{y}"/>')
            parts.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4}">{text}</text>')
        place = f'transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
        parts.append(f'<text class="label middle" {place}>{escape(label)}{unit}</text>')
        return "".join(parts)

    def line(self, line: Series) -> str:
        path = "L".join(self._points(line.x, line.y))
        return f'<path class="line {_style(line)}" d="M{path}"/>' if path else ""

    def band(self, line: Series) -> str:
        border = [*self._points(line.x, line.low), *reversed(self._points(line.x, line.high))]
        return f'<path class="band {_style(line)}" d="M{"L".join(border)}Z"/>'

    def marks(self, line: Series, label: Callable[[Number, Number], str], first: bool) -> str:
        is_quiet = len(line.x) > (1 if line.dotted else DOTS)
        kind = "mark quiet" if is_quiet else "mark"
        parts = []
        for n, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
            place = f'cx="{self.across(x)}" cy="{self.up(y)}" r="3.5"'
            shape = f'circle class="{kind} {_style(line)}" {place}'
            parts.append(mark(shape, f"{line.name}, {label(x, y)}", first=first and n == 0))
        return "".join(parts)

    def _points(self, x: Sequence[Number], y: Sequence[Number]) -> list[str]:
        return [f"{self.across(a)} {self.up(b)}" for a, b in zip(x, y, strict=True)]


def tick_texts(marks: Sequence[Number]) -> tuple[list[str], str]:
    """The numbers of an axis; small and large ones without a power of ten, which the label gets."""
    largest = max(map(abs, marks))
    if 0.01 <= largest < 1e6:
        return [f"{mark:,.6g}" for mark in marks], ""
    power = math.floor(math.log10(largest))
    exponent = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return [f"{mark / 10.0**power:.4g}" for mark in marks], f" (10{exponent})"


def _legend(series: Sequence[Series]) -> str:
    entries = (
        '<li><svg viewBox="0 0 26 8" aria-hidden="true">'
        f'<path class="line {_style(line)}" d="M0 4L26 4"/></svg>{escape(line.name)}</li>'
        for line in series
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _style(line: Series) -> str:
    return style(line.colour or 0) + " dotted" * line.dotted


def style(i: int) -> str:
    """The classes of series `i`: a colour and, once all colours are taken, dashes."""
    return f"s{i % COLOURS}" + " dashed" * (i >= COLOURS)
