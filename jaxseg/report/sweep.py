"""The page of a sweep."""

import math
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from jaxseg.data.source import Classes
from jaxseg.report import seed_curves
from jaxseg.report.charts import Series, line_chart
from jaxseg.report.dots import DotRow, dot_plot
from jaxseg.report.origins import origins
from jaxseg.report.page import Section, bullets, document, now, paragraph
from jaxseg.report.side_by_side import Gallery, side_by_side
from jaxseg.report.tables import percent_table, text_table
from jaxseg.sweeps import statistics, status, texts
from jaxseg.sweeps.results import Sweep


def sweep_page(
    sweep: Sweep,
    *,
    images: int = 8,
    data_dir: str = "",
    announce: Callable[[str], None] = print,
) -> str:
    """The page of a sweep, finished or not, as HTML; nothing in its folder is changed.

    Args:
      sweep: what its folders say.
      images: how many the rows are compared on at most; 0 computes nothing. A search has none.
      data_dir: where prepared data lives, if not where the runs had it.
      announce: is told what is predicted and what compiles, and what is left out.
    """
    curves = Section("curves", "Learning curves", _curves(sweep))
    cost = Section("cost", "Cost", _cost(sweep))
    if sweep.table is None:
        sections = [Section("trials", "Trials", _trials(sweep)), curves, cost]
    else:
        shown = _gallery(sweep, images, data_dir, announce)
        sections = [
            Section("comparison", "Comparison", _comparison(sweep, sweep.table)),
            curves,
            Section("by-class", "Classes", _classes(sweep, shown.classes)),
            cost,
            Section("images", "Images", shown.content),
        ]
    if sweep.unfinished:
        about = paragraph("Without final scores, and in no mean:") + bullets(
            texts.unfinished(sweep)
        )
        sections.insert(1, Section("unfinished", "Not finished", about))
    sections.append(Section("reproduce", "Reproduce", origins(sweep)))
    return document(
        texts.title(sweep),
        _heading(sweep),
        sections,
        f"Written by jaxseg sweep report from {sweep.workdir.resolve()} on {now()}.",
    )


def _heading(sweep: Sweep) -> str:
    """How many runs are finished, and the experiment's docstring below its title."""
    states = [each.status.state for row in sweep.rows for each in row.results]
    done = len(states) - len(sweep.unfinished)
    text = f"{done} of {len(states)} runs finished"
    kind = "running" if "running" in states else "ended" if sweep.unfinished else "finished"
    source = escape(sweep.record["experiment"])
    rest = re.split(r"\n\s*\n", sweep.record["question"].partition("\n")[2].strip())
    about = "".join(paragraph(" ".join(part.split()), "note") for part in rest if part)
    return f'<p><span class="status {kind}">{text}</span> {source}</p>{about}'


def _comparison(sweep: Sweep, table: statistics.Table) -> str:
    cells = texts.comparison(sweep, table)
    words = "<h3>In words</h3>" + bullets(texts.differences(table))
    parts = [
        paragraph(texts.summary(sweep, table)),
        f'<div class="charts">{_dots(sweep, table)}<div>{words}</div></div>',
    ]
    parts.append(text_table(cells.heads, cells.lines, caption="Rows", words=cells.words))
    if note := texts.mark_note(table):
        parts.append(paragraph(note, "note"))
    if notes := texts.protocol_notes(sweep):
        parts.append(f"<h3>Published numbers</h3>{paragraph(texts.PUBLISHED_NOTE)}{bullets(notes)}")
    return "".join(parts)


def _dots(sweep: Sweep, table: statistics.Table) -> str:
    rows = [
        DotRow(
            row.name,
            row.scores(sweep.metric),
            compared.mean,
            compared.interval,
            row.planned["published"],
        )
        for row, compared in zip(sweep.rows, table.rows, strict=True)
    ]
    if not any(row.mean is not None for row in rows):
        return paragraph("No run has its final scores yet.")
    less = "" if sweep.record["higher_is_better"] else ", less is better"
    return dot_plot(
        rows,
        name="dots",
        title=f"{texts.unit(sweep)} by row{less}",
        label=texts.unit(sweep),
        baseline=table.baseline,
        value=texts.score_format(sweep.metric).format,
        limits=(0.0, 100.0) if sweep.metric in status.PERCENT else (-math.inf, math.inf),
    )


def _trials(sweep: Sweep) -> str:
    cells = texts.trials(sweep)
    less = "" if sweep.record["higher_is_better"] else ", less is better"
    about = (
        f"A search: {len(sweep.rows)} trials of one seed each, the best first{less}. The best of "
        f"many is flattered by {sweep.record['split']}, which chose it. A trial that stopped was "
        "pruned after an evaluation, or goes on with the next start."
    )
    table = text_table(cells.heads, cells.lines, caption="Trials", words=cells.words)
    return paragraph(about) + table


def _curves(sweep: Sweep) -> str:
    def lines(points: Any) -> list[Series]:
        found = {row.name: [points(result) for result in row.results] for row in sweep.rows}
        if sweep.table is None:
            return seed_curves.by_trial(texts.ranked(sweep), found)
        return seed_curves.by_row(sweep.rows, found)

    scores, losses = lines(seed_curves.score_points), lines(seed_curves.loss_points)
    charts = []
    if any(len(line.x) > 1 for line in scores):
        charts.append(
            line_chart(
                scores,
                name="by-step",
                title=f"{texts.unit(sweep)} on {sweep.record['split']}",
                x_label="step",
                y_label=texts.unit(sweep),
                value=texts.score_format(sweep.metric).format,
            )
        )
    if any(line.x for line in losses):
        charts.append(
            line_chart(losses, name="loss", title="Training loss", x_label="step", y_label="loss")
        )
    if not charts:
        return paragraph("No step was logged yet.")
    return f'<div class="charts">{"".join(charts)}</div>' + paragraph(
        _about_curves(sweep, scores, losses), "note"
    )


def _about_curves(sweep: Sweep, scores: list[Series], losses: list[Series]) -> str:
    said = []
    if sweep.table is None:
        said.append("The best trials have colours; the others, finished or not, are dotted grey.")
    else:
        said.append("Lines are means over finished seeds; bands go from the lowest to the highest.")
        if any(line.dotted for line in [*scores, *losses]):
            said.append("Dotted: single runs that are not finished, which no mean contains.")
    if not any(len(line.x) > 1 for line in scores):
        said.append("Scores have no curve: no run was evaluated more than once.")
    return " ".join(said)


def _classes(sweep: Sweep, classes: Classes | None) -> str:
    """The mean IoU over seeds of each class, by row."""
    done = {
        row.name: [each.scores for each in row.results if each.scores is not None]
        for row in sweep.rows
    }
    done = {name: scores for name, scores in done.items() if scores}
    if not done:
        return paragraph("No run has its final scores yet.")
    names = list(next(iter(done.values()))[0]["iou"])
    rows = [
        (name, [_mean(each["iou"].get(name) for each in scores) for scores in done.values()])
        for name in names
    ]
    means = [_mean(each["miou"] for each in scores) for scores in done.values()]
    table = percent_table(
        ("class", *done),
        rows,
        caption=f"IoU by class in %, mean over seeds, {sweep.record['split']}",
        bars=range(len(done)),
        colours=classes.palette if classes is not None else (),
        last=("mean", means),
        best=len(done) > 1,
    )
    note = "The highest of each class is bold, however small the difference: no test is made here."
    return table + paragraph(note, "note") * (len(done) > 1)


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _cost(sweep: Sweep) -> str:
    cells = texts.costs(sweep)
    note = (
        "Of finished runs. Minutes and images/s are means over seeds, with compiling and "
        "evaluations in the minutes; peak memory is the highest, of the device if it tells, else "
        "of the process; multiply-adds are for one training crop. A row without steps has no "
        "finished run, or evaluates another row's."
    )
    table = text_table(cells.heads, cells.lines, caption="Cost by row", words=cells.words)
    return table + paragraph(note, "note")


def _gallery(sweep: Sweep, images: int, data_dir: str, announce: Callable[[str], None]) -> Gallery:
    tasks = [row.results[0].status.task for row in sweep.rows]
    split = sweep.record["split"]
    return side_by_side(tasks, split, images=images, data_dir=data_dir, announce=announce)
