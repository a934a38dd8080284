"""Learning curves of a sweep: the mean over a row's seeds, with a band."""

from collections.abc import Mapping, Sequence

from jaxseg.report import folder
from jaxseg.report.charts import COLOURS, Number, Series, thin
from jaxseg.sweeps.results import Result, RowResults

Points = Mapping[int, Number]  # a value by step


def score_points(result: Result) -> Points:
    """The sweep's metric after each evaluation."""
    return dict(result.curve)


def loss_points(result: Result) -> Points:
    """The training loss, as it was logged."""
    if not result.status.task.trains:
        return {}
    lines = folder.rows(result.status.task.workdir)
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def by_row(rows: Sequence[RowResults], points: Mapping[str, Sequence[Points]]) -> list[Series]:
    """A line for each row, and a dotted one for each run of it that is not finished.

    Args:
      rows: in the order of their colours.
      points: of each row's runs, by the row's name.
    """
    series = []
    for i, row in enumerate(rows):
        pairs = list(zip(row.results, points[row.name], strict=True))
        if not any(found for _, found in pairs):  # nothing was trained
            continue
        done = [found for result, found in pairs if result.scores is not None and found]
        series.append(mean_curve(row.name, done, i))
        for result, found in pairs:
            if result.scores is None and found:
                name = f"{result.status.task.name} ({result.status.state})"
                series.append(_dotted(name, found, i))
    return series


def by_trial(trials: Sequence[RowResults], points: Mapping[str, Sequence[Points]]) -> list[Series]:
    """A line for each trial of a search: the best ones, which come first, have colours."""
    series = []
    for i, row in enumerate(trials):
        (found,) = points[row.name]
        if found and i < COLOURS - 1 and row.results[0].scores is not None:
            series.append(mean_curve(row.name, [found], i))
        elif found:
            series.append(_dotted(f"{row.name} ({row.results[0].status.state})", found))
    return series


def mean_curve(name: str, curves: Sequence[Points], colour: int) -> Series:
    """The mean over seeds at the steps that all have; the band is from the lowest to the highest.

    A long one is thinned, see `charts.thin`. Without curves it is empty.
    """
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    values = [[curve[step] for curve in curves] for step in steps]
    line = thin(steps, [sum(v) / len(v) for v in values], name)
    if len(curves) < 2:
        return Series(name, line.x, line.y, line.low, line.high, colour=colour)
    lowest = thin(steps, [min(v) for v in values], name)
    highest = thin(steps, [max(v) for v in values], name)
    low, high = lowest.low or lowest.y, highest.high or highest.y
    return Series(name, line.x, line.y, low, high, colour=colour)


def _dotted(name: str, points: Points, colour: int = COLOURS - 1) -> Series:
    steps = sorted(points)
    line = thin(steps, [points[step] for step in steps], name)
    return Series(name, line.x, line.y, colour=colour, dotted=True)
