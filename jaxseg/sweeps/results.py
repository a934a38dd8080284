"""What a sweep has found: every run's scores and costs, and the rows compared."""

import dataclasses
import datetime
import json
import statistics as plain
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxseg import program, runs, zoo
from jaxseg.config import check_config, load_config
from jaxseg.errors import UserError, suggest
from jaxseg.ops.norm import GLOBAL
from jaxseg.overrides import override_config
from jaxseg.report import folder
from jaxseg.sweeps import plan, statistics, status
from jaxseg.sweeps.status import Status


@dataclasses.dataclass(frozen=True)
class Result:
    """One run, or evaluation of a run.

    Attributes:
      status: where it stands.
      scores: the final ones; None unless it is finished.
      curve: the metric after each evaluation in training, (step, score).
      seconds: of all its starts together, compilation and evaluations included.
      images_per_second: the median in training.
      peak_memory: bytes, of the device if it tells, else of the process.
    """

    status: Status
    scores: Mapping[str, Any] | None
    curve: tuple[tuple[int, float], ...] = ()
    seconds: float | None = None
    images_per_second: float | None = None
    peak_memory: int | None = None


@dataclasses.dataclass(frozen=True)
class RowResults:
    """A row: what was planned, its runs by seed, and what its model costs for one image."""

    name: str
    planned: Mapping[str, Any]  # of sweep.json: overrides, published, note
    results: tuple[Result, ...]
    cost: zoo.Cost | None  # None before a run is finished

    def scores(self, metric: str) -> list[float | None]:
        """One per seed, in the unit they are printed in."""
        found = [each.scores.get(metric) if each.scores else None for each in self.results]
        return [None if x is None else x * status.unit(metric) for x in found]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All of it, from the folders alone."""

    workdir: Path
    record: Mapping[str, Any]  # sweep.json
    rows: tuple[RowResults, ...]
    table: statistics.Table | None  # None of a search, whose rows are trials

    @property
    def metric(self) -> str:
        return self.record["metric"]

    @property
    def unfinished(self) -> list[Status]:
        """Runs without a final score, which no mean contains."""
        every = (each for row in self.rows for each in row.results)
        return [each.status for each in every if each.scores is None]


def collect(workdir: Path, baseline: str = "") -> Sweep:
    """Read a sweep's folder.

    Args:
      workdir: the sweep's folder.
      baseline: the row to compare with; empty: the experiment's own.

    Raises:
      UserError: no sweep, or an unknown baseline.
    """
    record = plan.read(workdir)
    baseline = baseline or record["baseline"]
    tasks: dict[str, list[plan.Task]] = {}
    for task in plan.stored_tasks(workdir):
        tasks.setdefault(task.row, []).append(task)
    if baseline not in tasks and not record["searched"]:
        raise UserError(f"baseline {baseline!r} is no row of the sweep; {suggest(baseline, tasks)}")
    ordered = [name for name in record["rows"] if name in tasks]
    rows = tuple(_row(name, tasks[name], record) for name in ordered)
    metric = record["metric"]
    if record["searched"]:
        return Sweep(workdir, record, rows, None)
    table = statistics.compare(
        {row.name: row.scores(metric) for row in rows},
        baseline,
        margin=record["margin"],
        metric="mIoU" if metric == "miou" else metric,
        higher_is_better=record["higher_is_better"],
    )
    return Sweep(workdir, record, rows, table)


def _row(name: str, tasks: list[plan.Task], record: Mapping[str, Any]) -> RowResults:
    results = tuple(_result(task, record["metric"], record["split"]) for task in tasks)
    costs = (_cost(each.status.task, len(each.scores["iou"])) for each in results if each.scores)
    return RowResults(name, record["rows"][name], results, next(costs, None))


def _result(task: plan.Task, metric: str, split: str) -> Result:
    found = status.task_status(task, metric, split)
    path = status.score_path(task, split)
    done = found.state == "finished" and path.exists()
    scores = json.loads(path.read_text()) if done else None
    if not task.trains:
        return Result(found, scores)
    evaluations = folder.scores(task.workdir, split).items()
    curve = [(at, each.get(metric)) for at, each in evaluations]
    curve = [(at, x * status.unit(metric)) for at, x in curve if x is not None]
    try:
        starts = runs.status(task.workdir)["starts"]
    except UserError:  # never begun
        return Result(found, scores)
    return Result(
        found,
        scores,
        tuple(curve),
        seconds=sum(map(_seconds, starts), 0.0),
        images_per_second=_speed(task.workdir),
        peak_memory=max(map(_peak, starts), default=0) or None,
    )


def _seconds(start: Mapping[str, Any]) -> float:
    """Of a start; a killed one has no end, and counts until its last save."""
    if not start.get("ended"):
        return 0.0
    begun, ended = (datetime.datetime.fromisoformat(start[k]) for k in ("started", "ended"))
    return (ended - begun).total_seconds()


def _peak(start: Mapping[str, Any]) -> int:
    peak = start.get("peak_memory", {})
    return peak.get("device") or peak.get("process") or 0


def _speed(workdir: Path) -> float | None:
    rows = folder.rows(workdir)
    speeds = [row["images_per_second"] for row in rows if "images_per_second" in row]
    return plain.median(speeds) if speeds else None


def _cost(task: plan.Task, num_classes: int) -> zoo.Cost:
    """Parameters, and multiply-adds for one training crop."""
    config = check_config(override_config(load_config(task.workdir), "report", task.changes))
    model: Any = program.build_model(config, num_classes, GLOBAL)
    return zoo.cost(model, *config.augment.crop_size, channels=config.dataset.channels)
