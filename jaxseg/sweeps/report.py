"""A sweep's tables: Markdown for a paper or README, CSV and JSON for other programs."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from jaxseg.sweeps import statistics
from jaxseg.sweeps.results import Result, RowResults, Sweep

MARK = "¹"


def markdown(sweep: Sweep) -> str:
    """The question, the rows compared, what they cost, and what is not finished."""
    about = [_trials(sweep)] if sweep.table is None else _compared_rows(sweep, sweep.table)
    parts = [f"# {_title(sweep)}", *about, _costs(sweep)]
    if sweep.unfinished:
        lines = (
            f"- {found.task.name}: {found.state}, step {found.step}"
            + (f": {found.reason}" if found.reason else "")
            for found in sweep.unfinished
        )
        parts.append("Not finished, and in no mean:\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(sweep: Sweep) -> str:
    return sweep.record["question"].partition("\n")[0]


def _trials(sweep: Sweep) -> str:
    """The trials of a search, the best first."""
    searched = sweep.record["searched"]
    scored = [(row.scores(sweep.metric)[0], row) for row in sweep.rows]
    scored.sort(key=lambda pair: float("-inf") if pair[0] is None else pair[0], reverse=True)
    lines = [
        (row.name, _number(score), *(row.planned["overrides"].get(key, "") for key in searched))
        for score, row in scored
    ]
    return _table(("trial", _unit(sweep), *searched), lines)


def _compared_rows(sweep: Sweep, table: statistics.Table) -> list[str]:
    return [_about(sweep, table), _comparison(sweep, table), *_notes(sweep, table)]


def _about(sweep: Sweep, table: statistics.Table) -> str:
    seeds = len(sweep.record["seeds"])
    return (
        f"`{sweep.record['experiment']}`, {seeds} seeds: {_unit(sweep)} on {sweep.record['split']} "
        f"at the end of training; differences from {table.baseline!r} with their "
        f"{_confidence(table)} intervals, seeds as blocks, p after Holm's correction."
    )


def _unit(sweep: Sweep) -> str:
    return "mIoU in %" if sweep.metric == "miou" else sweep.metric


def _confidence(table: statistics.Table) -> str:
    return f"{100 * table.confidence:.0f} %"


def _comparison(sweep: Sweep, table: statistics.Table) -> str:
    heading = ("row", "mean", "sd", "each seed", "difference", "interval", "p", "", "published")
    lines = []
    for row, compared in zip(sweep.rows, table.rows, strict=True):
        contrast = compared.contrast
        lines.append(
            (
                row.name + MARK * compared.alone,
                _number(compared.mean),
                _number(compared.deviation),
                ", ".join(map(_number, row.scores(sweep.metric))),
                _number(contrast and contrast.difference, sign=True),
                _interval(contrast and contrast.interval),
                "" if contrast is None or contrast.p_holm is None else f"{contrast.p_holm:.3f}",
                "baseline" if contrast is None else contrast.verdict,
                _number(row.planned["published"], "{:g}"),
            )
        )
    return _table(heading, lines, left=(0, 7))


def _notes(sweep: Sweep, table: statistics.Table) -> list[str]:
    """In words: what each difference means, and how the published numbers differ in protocol."""
    rows = list(zip(sweep.rows, table.rows, strict=True))
    words = [f"- {row.name}: {each.contrast.words}" for row, each in rows if each.contrast]
    notes = [f"- {row.name}: {row.planned['note']}" for row, _ in rows if row.planned["note"]]
    found = ["\n".join(words)]
    if any(each.alone for _, each in rows):
        found.append(
            f"{MARK} Tested alone, by a paired t-test: its noise may be over twice the others'."
        )
    if notes:
        found.append("Published numbers, where the protocol differs:\n\n" + "\n".join(notes))
    return found


def _costs(sweep: Sweep) -> str:
    heading = (
        "row", "steps", "minutes a run", "images/s", "peak memory, GB", "parameters, M",
        "multiply-adds, G",
    )  # fmt: skip
    lines = []
    for row in sweep.rows:
        trained = [each for each in row.results if each.status.task.trains and each.scores]
        cost = row.cost
        lines.append(
            (
                row.name,
                str(trained[0].status.task.total_steps) if trained else "",
                _number(_mean([each.seconds for each in trained], 60.0), "{:.1f}"),
                _number(_mean([each.images_per_second for each in trained]), "{:.1f}"),
                _number(max((e.peak_memory or 0 for e in trained), default=0) / 1e9 or None),
                _number(cost and cost.parameters / 1e6),
                _number(cost and cost.multiply_adds / 1e9),
            )
        )
    return _table(heading, lines)


def _mean(values: Sequence[float | None], unit: float = 1.0) -> float | None:
    found = [value / unit for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _number(value: float | None, form: str = "{:.2f}", *, sign: bool = False) -> str:
    if value is None:
        return ""
    return f"{value:+.2f}" if sign else form.format(value)


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def _table(
    heading: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """A Markdown table; columns of numbers to the right."""
    rule = ["---" if i in left else "---:" for i in range(len(heading))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heading, rule, *lines))


def csv_text(sweep: Sweep) -> str:
    """One line per run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    metric = sweep.metric
    writer.writerow(
        ("row", "seed", "status", "step", metric, "seconds", "images_per_second", "peak_memory")
    )
    for result in _results(sweep):
        found = result.status
        score = result.scores.get(metric) if result.scores else None
        costs = (result.seconds, result.images_per_second, result.peak_memory)
        cells = (found.task.row, found.task.seed, found.state, found.step, score, *costs)
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def _results(sweep: Sweep) -> list[Result]:
    return [result for row in sweep.rows for result in row.results]


def json_record(sweep: Sweep) -> dict[str, Any]:
    """Everything the tables are made of."""
    keys = ("experiment", "question", "metric", "split", "seeds", "searched")
    rows = {row.name: _row(row) for row in sweep.rows}
    record = {key: sweep.record[key] for key in keys}
    if sweep.table is None:
        return {**record, "rows": rows}
    table = sweep.table
    return {
        **record,
        "baseline": table.baseline,
        "confidence": table.confidence,
        "margin": table.margin,
        "pooled_deviation": table.deviation,
        "degrees_of_freedom": table.df,
        "rows": {row.name: {**_compared(row), **rows[row.name]} for row in table.rows},
    }


def _compared(row: statistics.Row) -> dict[str, Any]:
    contrast = row.contrast
    own = {"mean": row.mean, "deviation": row.deviation, "interval": row.interval}
    if contrast is None:
        return own
    return {
        **own,
        "difference": contrast.difference,
        "difference_interval": contrast.interval,
        "p": contrast.p,
        "p_holm": contrast.p_holm,
        "paired": contrast.paired,
        "verdict": contrast.verdict,
        "words": contrast.words,
    }


def _row(row: RowResults) -> dict[str, Any]:
    return {
        **{key: row.planned[key] for key in ("overrides", "published", "note")},
        "parameters": row.cost and row.cost.parameters,
        "multiply_adds": row.cost and row.cost.multiply_adds,
        "runs": [
            {
                "seed": result.status.task.seed,
                "status": result.status.state,
                "step": result.status.step,
                "reason": result.status.reason,
                "digest": result.status.task.digest,
                "scores": result.scores
                and {k: v for k, v in result.scores.items() if k != "confusion"},
                "curve": result.curve,
                "seconds": result.seconds,
                "images_per_second": result.images_per_second,
                "peak_memory": result.peak_memory,
            }
            for result in row.results
        ],
    }


def to_json(sweep: Sweep) -> str:
    return json.dumps(json_record(sweep), indent=1) + "\n"
