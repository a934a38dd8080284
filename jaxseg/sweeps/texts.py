"""What a sweep's reports say, as text: tables of cells, and sentences."""

import dataclasses
from collections.abc import Sequence

from jaxseg.sweeps import statistics, status
from jaxseg.sweeps.results import RowResults, Sweep

MARK = "¹"


@dataclasses.dataclass(frozen=True)
class Cells:
    """A table's text; the columns `words` are no numbers."""

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)


def title(sweep: Sweep) -> str:
    return sweep.record["question"].partition("\n")[0] or sweep.record["experiment"]


def unfinished(sweep: Sweep) -> list[str]:
    """A line for each run without a final score."""
    return [_state(found) for found in sweep.unfinished]


def _state(found: status.Status) -> str:
    text = f"{found.task.name}: {found.state}"
    if found.task.trains:
        text += f", step {found.step:,} of {found.task.total_steps:,}"
    if found.state == "finished":
        text += ", but without its final scores"
    return f"{text}: {found.reason}" if found.reason else text


def trials(sweep: Sweep) -> Cells:
    """The trials of a search, the best first."""
    searched = sweep.record["searched"]
    lines = [
        (
            row.name,
            number(row.scores(sweep.metric)[0], score_format(sweep.metric)),
            row.results[0].status.state,
            *(_short(row.planned["overrides"].get(key, "")) for key in searched),
        )
        for row in ranked(sweep)
    ]
    return Cells(("trial", unit(sweep), "status", *searched), lines, words=(0, 2))


def _short(value: str) -> str:
    """A number with few digits; sweep.json and each run's config have them all."""
    try:
        return value if len(value) < 8 else f"{float(value):.4g}"
    except ValueError:
        return value


def ranked(sweep: Sweep) -> list[RowResults]:
    """The trials of a search, the best first, those without a score last."""
    sign = -1 if sweep.record["higher_is_better"] else 1

    def rank(row: RowResults) -> float:
        score = row.scores(sweep.metric)[0]
        return float("inf") if score is None else sign * score

    return sorted(sweep.rows, key=rank)


def summary(sweep: Sweep, table: statistics.Table) -> str:
    """What is compared, and how."""
    seeds = len(sweep.record["seeds"])
    less = "" if sweep.record["higher_is_better"] else " (less is better)"
    return (
        f"{seeds} seeds: {unit(sweep)}{less} on {sweep.record['split']} at the end of training; "
        f"differences from {table.baseline!r} with their {100 * table.confidence:.0f} % intervals, "
        "seeds as blocks, p after Holm's correction."
    )


def unit(sweep: Sweep) -> str:
    if sweep.metric == "miou":
        return "mIoU in %"
    return sweep.metric + " in %" * (sweep.metric in status.PERCENT)


def comparison(sweep: Sweep, table: statistics.Table) -> Cells:
    """Every row's scores, and its difference to the baseline."""
    form = score_format(sweep.metric)
    heading = ("row", "mean", "sd", "each seed", "difference", "interval", "p", "", "published")
    lines = []
    for row, compared in zip(sweep.rows, table.rows, strict=True):
        contrast = compared.contrast
        lines.append(
            (
                row.name + MARK * compared.alone,
                number(compared.mean, form),
                number(compared.deviation, form),
                ", ".join(number(score, form) or "-" for score in row.scores(sweep.metric)),
                number(contrast and contrast.difference, form.replace(":", ":+")),
                _interval(contrast and contrast.interval, form.replace(":", ":+")),
                "" if contrast is None or contrast.p_holm is None else f"{contrast.p_holm:.3f}",
                "baseline" if contrast is None else contrast.verdict,
                number(row.planned["published"], "{:g}"),
            )
        )
    return Cells(heading, lines, words=(0, 7))


def differences(table: statistics.Table) -> list[str]:
    """What each difference means, in words."""
    return [f"{row.name}: {row.contrast.words}" for row in table.rows if row.contrast]


def mark_note(table: statistics.Table) -> str:
    if not any(row.alone for row in table.rows):
        return ""
    return f"{MARK} Tested alone, by a paired t-test: its noise may be over twice the others'."


PUBLISHED_NOTE = "Published numbers, where the protocol differs:"


def protocol_notes(sweep: Sweep) -> list[str]:
    return [f"{row.name}: {row.planned['note']}" for row in sweep.rows if row.planned["note"]]


def costs(sweep: Sweep) -> Cells:
    """What each row took."""
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
                number(_mean([each.seconds for each in trained], 60.0), "{:.1f}"),
                number(_mean([each.images_per_second for each in trained]), "{:.1f}"),
                number(max((e.peak_memory or 0 for e in trained), default=0) / 1e9 or None),
                number(cost and cost.parameters / 1e6, "{:.3g}"),
                number(cost and cost.multiply_adds / 1e9, "{:.3g}"),
            )
        )
    return Cells(heading, lines)


def _mean(values: Sequence[float | None], unit: float = 1.0) -> float | None:
    found = [value / unit for value in values if value is not None]
    return sum(found) / len(found) if found else None


def number(value: float | None, form: str = "{:.2f}") -> str:
    return "" if value is None else form.format(value)


def score_format(metric: str) -> str:
    return "{:.2f}" if metric in status.PERCENT else "{:.4g}"


def _interval(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else " to ".join(map(form.format, interval))
