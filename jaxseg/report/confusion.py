"""A confusion matrix as SVG: each row is a class's pixels, and where the model put them."""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Int

from jaxseg.report.charts import figure, mark

MOST = 40  # classes; with more, the rarest share a row and a column
WRITTEN = 12  # up to so many classes, a cell shows its value
LETTERS = 16  # of a class's name beside the matrix; the whole name is in the cells' labels


def confusion_matrix(
    matrix: Int[np.ndarray, "c c"], class_names: Sequence[str], *, name: str
) -> str:
    """Pixel counts [c, c], rows truth and columns prediction, shown as shares of each row.

    Args:
      matrix: counts of pixels.
      class_names: c of them.
      name: a unique id on the page: letters, digits and hyphens.
    """
    matrix, names = _merged(np.asarray(matrix, np.int64), list(class_names))
    count = len(names)
    cell = 34 if count <= WRITTEN else 15
    shown = [n if len(n) <= LETTERS else n[: LETTERS - 1] + "…" for n in names]
    longest = max(map(len, shown))
    left, side = 34 + 7 * longest, cell * count
    width, height = left + side + 8, 8 + side + 30 + 5 * longest
    parts = []
    for i in range(count):
        middle = 8 + (i + 0.5) * cell
        column, below = left + (i + 0.5) * cell, side + 20
        parts.append(f'<text class="end" x="{left - 5}" y="{middle + 4}">{escape(shown[i])}</text>')
        parts.append(
            f'<text class="end" transform="translate({column} {below}) rotate(-45)">'
            f"{escape(shown[i])}</text>"
        )
        parts += [_cell(matrix, names, i, j, left, cell) for j in range(count)]
    parts.append(
        f'<text class="label middle" transform="translate(13 {8 + side / 2}) rotate(-90)">truth'
        f'</text><text class="label middle" x="{left + side / 2}" y="{height - 4}">prediction'
        "</text>"
    )
    return figure(
        "".join(parts),
        name=name,
        title="Where the pixels of each class went, in % of the row",
        description="One row for each class of the truth, one column for each predicted class.",
        size=(width, height),
        columns=count,
    )


def _cell(matrix: np.ndarray, names: list[str], i: int, j: int, left: int, size: int) -> str:
    x, y = left + j * size, 8 + i * size
    total, pixels = int(matrix[i].sum()), int(matrix[i, j])
    share = pixels / total if total else 0.0
    said = (
        f"truth {names[i]}, predicted {names[j]}: {100 * share:.2f} % of {names[i]}, "
        f"{pixels:,} of {total:,} pixels"
        if total
        else f"{names[i]}: no pixel in the truth"
    )
    kind = "right" if i == j else "wrong"
    opacity = round(share**0.5, 2)  # so that a few percent can be seen
    shape = (
        f'rect class="mark cell {kind}" x="{x}" y="{y}" width="{size - 1}" height="{size - 1}" '
        f'style="fill-opacity:{opacity}"'
    )
    parts = [mark(shape, said, first=i == j == 0)]
    if len(names) <= WRITTEN and share >= 0.005:
        strong = " strong" * (opacity > 0.65)
        parts.append(
            f'<text class="middle value{strong}" x="{x + size / 2 - 0.5}" y="{y + size / 2 + 4}">'
            f"{100 * share:.0f}</text>"
        )
    return "".join(parts)


def _merged(matrix: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """With more than MOST classes, those with the fewest pixels in the truth become one, last."""
    if len(names) <= MOST:
        return matrix, names
    frequent = np.argsort(-matrix.sum(1), kind="stable")[: MOST - 1]
    group = np.full(len(names), MOST - 1)
    group[np.sort(frequent)] = np.arange(MOST - 1)
    merged = np.zeros((MOST, MOST), np.int64)
    np.add.at(merged, (group[:, None], group[None]), matrix)
    rest = len(names) - (MOST - 1)
    return merged, [*(names[i] for i in np.sort(frequent)), f"{rest} rare classes"]
