"""A sweep's tables: Markdown for a paper or README, CSV and JSON for other programs."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from jaxseg.sweeps import statistics, texts
from jaxseg.sweeps.results import Result, RowResults, Sweep


def markdown(sweep: Sweep) -> str:
    """The question, the rows compared, what they cost, and what is not finished."""
    if sweep.table is None:
        about = [_table(texts.trials(sweep))]
    else:
        source = sweep.record["experiment"]
        about = [f"`{source}`, {texts.summary(sweep, sweep.table)}"]
        about += [_table(texts.comparison(sweep, sweep.table))]
        about += _notes(sweep, sweep.table)
    parts = [f"# {texts.title(sweep)}", *about, _table(texts.costs(sweep))]
    if sweep.unfinished:
        parts.append("Not finished, and in no mean:\n\n" + _list(texts.unfinished(sweep)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _notes(sweep: Sweep, table: statistics.Table) -> list[str]:
    """In words: what each difference means, and how the published numbers differ in protocol."""
    notes = texts.protocol_notes(sweep)
    found = [_list(texts.differences(table)), texts.mark_note(table)]
    if notes:
        found.append(f"{texts.PUBLISHED_NOTE}\n\n{_list(notes)}")
    return found


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(cells: texts.Cells) -> str:
    """In Markdown; columns of numbers to the right."""
    rule = ["---" if i in cells.words else "---:" for i in range(len(cells.heads))]
    lines = (cells.heads, rule, *cells.lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    keys = (
        "experiment", "question", "metric", "higher_is_better", "split", "seeds", "searched",
    )  # fmt: skip
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
