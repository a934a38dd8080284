"""A chart of scores by row: every seed, the mean with its interval, and a published number."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from html import escape

from jaxseg.report.charts import (
    RIGHT,
    TOP,
    WIDTH,
    Number,
    figure,
    mark,
    scale,
    style,
    tick_texts,
    ticks,
)

LEFT, BOTTOM, ROW = 14, 44, 46  # margins and the height of a row, in CSS pixels
SPREAD = 14  # of the dots of a row, from the first seed to the last


@dataclasses.dataclass(frozen=True)
class DotRow:
    """A row's scores, one per seed; None where there is none."""

    name: str
    scores: Sequence[float | None]
    mean: float | None = None
    interval: tuple[float, float] | None = None
    published: Number | None = None


def dot_plot(
    rows: Sequence[DotRow],
    *,
    name: str,
    title: str,
    label: str,
    baseline: str,
    value: Callable[[Number], str],
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    """Rows below each other over a common axis, which the seeds' scores decide.

    The axis reaches beyond the scores by no more than they are apart. An interval that goes
    further ends in an arrow, and a published number out there is written at the border: otherwise
    an interval of two seeds, or a number from other data, would leave no room for the scores.

    Args:
      rows: at least one score in all.
      name: a unique id on the page.
      title: of the chart.
      label: what the scores are, with their unit.
      baseline: the row whose mean is a line through all rows.
      value: writes a score for the reader.
      limits: between which all scores lie by their nature.
    """
    bottom = TOP + ROW * len(rows)
    marks = ticks(*_range(rows, limits))
    across = scale(marks, LEFT, WIDTH - RIGHT)
    parts = [_axis(marks, across, bottom, label)]
    for row in rows:
        if row.name == baseline and row.mean is not None:
            x = across(row.mean)
            parts.append(f'<path class="reference" d="M{x} {TOP}V{bottom}"/>')
    drawing = _Rows(across, (marks[0], marks[-1]), value)
    for i, row in enumerate(rows):
        parts.append(drawing.row(row, i, TOP + ROW * i, is_baseline=row.name == baseline))
    return figure(
        "".join(parts).replace('tabindex="-1"', 'tabindex="0"', 1),  # one stop for Tab
        name=name,
        title=title,
        description=f"{label} of {', '.join(row.name for row in rows)}.",
        size=(WIDTH, bottom + BOTTOM),
        below=_LEGEND,
    )


def _range(rows: Sequence[DotRow], limits: tuple[float, float]) -> tuple[float, float]:
    scores = [score for row in rows for score in row.scores if score is not None]
    others = [x for row in rows for x in row.interval or ()]
    others += [row.published for row in rows if row.published is not None]
    low, high = min(scores), max(scores)
    reach = high - low or abs(high) / 10 or 1.0
    return (
        max(min([low, *others]), low - reach, limits[0]),
        min(max([high, *others]), high + reach, limits[1]),
    )


def _axis(
    marks: Sequence[Number], across: Callable[[Number], float], bottom: int, label: str
) -> str:
    texts, unit = tick_texts(marks)
    parts = []
    for tick, text in zip(marks, texts, strict=True):
        x = across(tick)
        parts.append(f'<path class="grid" d="M{x} {TOP}V{bottom}"/>')
        parts.append(f'<text class="middle" x="{x}" y="{bottom + 17}">{text}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>')
    place = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + BOTTOM - 8}"'
    return "".join(parts) + f'<text class="label middle" {place}>{escape(label)}{unit}</text>'


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Draws rows: `across` turns a score into a place, `ends` are the axis's."""

    across: Callable[[Number], float]
    ends: tuple[float, float]
    value: Callable[[Number], str]

    def row(self, row: DotRow, i: int, top: int, *, is_baseline: bool) -> str:
        y, kind = top + 31, style(i)
        title = row.name + " (baseline)" * is_baseline
        parts = [f'<text class="label name" x="{LEFT}" y="{top + 15}">{escape(title)}</text>']
        if row.interval:
            parts.append(self._interval(row.interval, y, kind))
        if row.mean is not None:
            shape = f'path class="mark mean {kind}" d="M{self.across(row.mean)} {y - 9}v18"'
            parts.append(mark(shape, self._mean(row)))
        for seed, score in enumerate(row.scores):
            if score is not None:
                place = f'cx="{self.across(score)}" cy="{y + _offset(seed, len(row.scores))}"'
                shape = f'circle class="mark seed {kind}" {place} r="3.5"'
                parts.append(mark(shape, f"{row.name}, seed {seed}: {self.value(score)}"))
        if row.published is not None:
            parts.append(self._published(row.name, row.published, y))
        return "".join(parts)

    def _mean(self, row: DotRow) -> str:
        count = sum(score is not None for score in row.scores)
        text = f"{row.name}, mean of {count}: {self.value(row.mean or 0.0)}"
        if row.interval is None:
            return text
        low, high = map(self.value, row.interval)
        return f"{text}, 95 % interval {low} to {high}"

    def _interval(self, interval: tuple[float, float], y: int, kind: str) -> str:
        low, high = (min(max(x, self.ends[0]), self.ends[1]) for x in interval)
        left, right = self.across(low), self.across(high)
        path = f"M{left} {y}H{right}"
        path += f"M{left} {y - 5}v10" if low == interval[0] else f"M{left + 6} {y - 5}l-6 5l6 5"
        path += f"M{right} {y - 5}v10" if high == interval[1] else f"M{right - 6} {y - 5}l6 5l-6 5"
        return f'<path class="interval {kind}" d="{path}"/>'

    def _published(self, name: str, published: Number, y: int) -> str:
        said, (low, high) = f"{name}, published: {published:g}", self.ends
        if low <= published <= high:
            x = self.across(published)
            return mark(f'path class="mark published" d="M{x - 6} {y}l6 -6l6 6l-6 6z"', said)
        text = f"published {published:g} →" if published > high else f"← published {published:g}"
        end = WIDTH - RIGHT
        return f'<text class="end" x="{end}" y="{y - 16}">{text}</text>'


def _offset(seed: int, count: int) -> float:
    """A seed's dots stand at one height in every row, so that blocks can be seen."""
    return round(SPREAD * (seed / (count - 1) - 0.5), 1) if count > 1 else 0.0


_LEGEND = (
    '<ul class="legend">'
    + "".join(
        f'<li><svg viewBox="0 0 26 14" class="s7" aria-hidden="true">{shape}</svg>{text}</li>'
        for shape, text in (
            ('<circle class="mark seed" cx="13" cy="7" r="3.5"/>', "a seed"),
            ('<path class="mark mean" d="M13 0v14"/>', "mean"),
            (
                '<path class="interval" d="M2 7H24M2 3v8M24 3v8"/>',
                "95 % interval of the mean (arrow: it goes on)",
            ),
            ('<path class="mark published" d="M7 7l6 -6l6 6l-6 6z"/>', "published"),
            ('<path class="reference" d="M13 0v14"/>', "mean of the baseline"),
        )
    )
    + "</ul>"
)
