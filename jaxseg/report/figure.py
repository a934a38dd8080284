"""A picture of the curves of one or several runs: loss, mIoU, and the IoU of every class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxseg.errors import UserError, suggest
from jaxseg.report.curves import Number, Points, Run

WIDTH = 7.0  # inches, so that text is readable where a page scales the picture down
DPI = 200
PANELS = 3  # of classes, beside each other
MOST_PANELS = 24  # of classes, unless they are asked for
ONE_PANEL = 10  # classes of one run share a panel up to this many
# Okabe, Ito 2008, without its yellow: distinct to the colour-blind too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY, DASHES = "#555555", (0, (3, 1.2))
SMOOTHED = 60  # logged steps from which the loss is smoothed
FONT_SIZE = 8.0  # points


def draw(runs: Sequence[Run], classes: Sequence[str] = ()) -> Figure:
    """The figure: losses and mIoU on top, the IoU of the classes below.

    Args:
      runs: each has a colour.
      classes: which; empty for all, of which at most `MOST_PANELS` are drawn.

    Raises:
      UserError: no run has a class of that name.
    """
    shown, note = _choose(runs, classes)
    together = len(runs) == 1 and len(shown) <= ONE_PANEL
    rows = 1 if together else -(-len(shown) // PANELS)
    panels = (2.4 if together else 1.5) * rows * bool(shown)  # inches, as all of these
    legend_rows = len(runs) / _columns(runs) if len(runs) > 1 else 0
    height = 2.9 + panels + 0.17 * legend_rows + 0.25 * bool(note)
    with matplotlib.rc_context({"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE}):
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        top, below = figure, None
        if shown:
            top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.6, panels])[:, 0]
        _draw_top(top, runs)
        if below is not None and together:
            _draw_classes(below.subplots(), runs[0], shown)
        elif below is not None:
            _draw_panels(below, runs, shown, rows)
        last = max(x for run in runs for steps, _ in run.all_points() for x in steps)
        for axes in figure.axes:
            axes.set_xlim(0, 1.02 * last)
        if note:
            figure.supxlabel(note, fontsize=FONT_SIZE)
        if len(runs) > 1:
            _name_runs(figure, runs)
        else:
            best = f", best mIoU {runs[0].best:.2f} %" if runs[0].miou[1] else ""
            figure.suptitle(runs[0].name + best, fontsize=FONT_SIZE + 2)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write it in the format that the path's suffix names, the same bytes each time."""
    metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "jaxseg"}):
        figure.savefig(path, metadata=metadata)


def smooth(values: Sequence[Number]) -> np.ndarray:
    """Means over a thirtieth of all values about each, over fewer at the ends."""
    half = len(values) // SMOOTHED
    sums = np.cumsum([0.0, *values])
    index = np.arange(len(values))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _choose(runs: Sequence[Run], classes: Sequence[str]) -> tuple[list[str], str]:
    """The classes to draw, and a note if some are left out."""
    known = list(dict.fromkeys(name for run in runs for name in run.iou))
    if unknown := [name for name in classes if name not in known]:
        raise UserError(f"--classes: no class {unknown[0]!r}; {suggest(unknown[0], known)}")
    if classes:
        return list(classes), ""
    if len(known) <= MOST_PANELS:
        return known, ""
    lowest = set(sorted(known, key=lambda name: _last(runs, name))[:MOST_PANELS])
    note = f"{MOST_PANELS} of {len(known)} classes, with the lowest IoU: --classes chooses others"
    return [name for name in known if name in lowest], note


def _last(runs: Sequence[Run], name: str) -> float:
    values = [run.iou[name][1][-1] for run in runs if name in run.iou and len(run.iou[name][1])]
    return float(np.mean(values)) if values else float("inf")


def _draw_top(part: Any, runs: Sequence[Run]) -> None:
    if not any(len(run.miou[0]) for run in runs):
        _draw_losses(part.subplots(), runs)
        return
    left, right = part.subplots(1, 2)
    _draw_losses(left, runs)
    right.set_title("validation mIoU, %")
    for run, colour in zip(runs, colours(len(runs)), strict=True):
        _line(right, run.miou, colour, len(runs))
    _finish(right)


def _draw_losses(axes: Axes, runs: Sequence[Run]) -> None:
    axes.set_title("loss")
    tops = []
    for run, colour in zip(runs, colours(len(runs)), strict=True):
        steps, values = run.loss
        mean = smooth(values)
        if len(runs) <= 4:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.6)
        _line(axes, (steps, mean), colour, len(runs))
        _line(axes, run.val_loss, colour, len(runs), linestyle=DASHES)
        tops += [*mean[len(mean) // 50 :], *run.val_loss[1]]
    if tops:  # the first steps may lie far above all others
        axes.set_ylim(bottom=0, top=1.1 * max(1.5 * np.quantile(tops, 0.95), tops[-1]))
    smoothed = any(len(run.loss[0]) >= SMOOTHED for run in runs)
    styles: dict[str, Any] = {"training, smoothed" if smoothed else "training": "-"}
    if any(len(run.val_loss[0]) for run in runs):
        styles["validation"] = DASHES
    colour = GREY if len(runs) > 1 else COLOURS[0]
    handles = [Line2D([], [], color=colour, linestyle=s, label=n) for n, s in styles.items()]
    axes.legend(handles=handles, loc="upper right", edgecolor="none")
    _finish(axes)


def _draw_classes(axes: Axes, run: Run, shown: Sequence[str]) -> None:
    """All classes of one run, named from the best down."""
    axes.set_title("validation IoU by class, %")
    styled = dict(zip(shown, colours(len(shown)), strict=True))
    for name in sorted(shown, key=lambda name: -_last([run], name)):
        _line(axes, run.iou[name], styled[name], 4, label=_labelled(name, run.iou[name]))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _finish(axes)


def _labelled(name: str, points: Points) -> str:
    return f"{_short(name)} ({points[1][-1]:.1f})" if len(points[1]) else _short(name)


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _draw_panels(part: Any, runs: Sequence[Run], shown: Sequence[str], rows: int) -> None:
    """A small panel for each class, all with the same axes."""
    columns = min(PANELS, len(shown))
    grid = part.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(grid, shown, strict=False):
        axes.set_title(f"{_short(name)}, IoU %")
        for run, colour in zip(runs, colours(len(runs)), strict=True):
            _line(axes, run.iou.get(name, ([], [])), colour, len(runs))
        _finish(axes, label=False)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[len(shown) - columns : len(shown)]:
        axes.tick_params(labelbottom=True)


def _line(axes: Axes, points: tuple[Any, Any], colour: Any, lines: int, **style: Any) -> None:
    marker = "o" if len(points[0]) <= 15 else ""
    thickness = _thickness(lines)
    axes.plot(
        *points, color=colour, linewidth=thickness, marker=marker, markersize=2 * thickness, **style
    )


def _thickness(lines: int) -> float:
    return 1.6 if lines <= 4 else 1.2 if lines <= 8 else 0.9


def _finish(axes: Axes, *, label: bool = True) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("step" if label else "")


def colours(count: int) -> list[Any]:
    """One for each of `count` lines."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    if count <= 20:
        name = "tab10" if count <= 10 else "tab20"
        return list(matplotlib.colormaps[name].colors[:count])  # pyright: ignore
    return list(matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, count)))


def _named(run: Run) -> str:
    return f"{run.name} ({run.best:.2f})" if run.miou[1] else run.name


def _columns(runs: Sequence[Run]) -> int:
    """How many names stand beside each other in the legend."""
    longest = max(len(_named(run)) for run in runs)
    return max(1, min(5, int(WIDTH / (0.5 + 0.062 * longest))))


def _name_runs(figure: Figure, runs: Sequence[Run]) -> None:
    handles = [
        Line2D([], [], color=colour, linewidth=2, label=_named(run))
        for run, colour in zip(runs, colours(len(runs)), strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=_columns(runs),
        frameon=False,
        title="runs, with their best mIoU in %",
    )
