"""Where each run of a sweep stands, from the folders alone."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from jaxseg import evaluation, lock, runs
from jaxseg.errors import UserError
from jaxseg.metrics import percent
from jaxseg.progress import clock
from jaxseg.report import folder
from jaxseg.sweeps.plan import Task

PERCENT = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "mean_dice")


@dataclasses.dataclass(frozen=True)
class Status:
    """Of one task.

    Attributes:
      task: what it is.
      state: "waiting" (never begun), "running", "finished", "stopped" (continues when the sweep
        does), "killed" (its process is gone; continues too), "failed", "queued" by Slurm, or, of
        a search, "pruned".
      step: the last that is known.
      score: the newest score of the sweep's metric, None if there is none yet.
      seconds_left: of a running one, by its last speed; None: unknown.
      reason: why it failed.
      job: Slurm's number of it, while it is queued or running there.
    """

    task: Task
    state: str
    step: int = 0
    score: float | None = None
    seconds_left: float | None = None
    reason: str = ""
    job: str = ""

    def cells(self, metric: str) -> tuple[str, ...]:
        """What a table shows: row, seed, state, step, score, time left."""
        left = "" if self.seconds_left is None else clock(self.seconds_left)
        step = f"{self.step}/{self.task.total_steps}" if self.task.trains else "-"
        score = printed(self.score, metric)
        state = f"{self.state} {self.job}".rstrip()
        return self.task.row, str(self.task.seed), state, step, score, left


HEADINGS = ("row", "seed", "status", "step", "score", "left")


def printed(score: float | None, metric: str) -> str:
    """A score as it is printed: shares of pixels in percent."""
    if score is None:
        return "-"
    return percent(score) if metric in PERCENT else f"{score:.4g}"


def unit(metric: str) -> float:
    """What a stored score is multiplied with to be printed."""
    return 100.0 if metric in PERCENT else 1.0


def task_status(task: Task, metric: str, split: str) -> Status:
    return (
        _run_status(task, metric, split) if task.trains else _evaluation_status(task, metric, split)
    )


def _run_status(task: Task, metric: str, split: str) -> Status:
    try:
        record = runs.status(task.workdir)
    except UserError:
        held = lock.is_held(task.workdir)
        return Status(task, "running" if held else "waiting")
    state, step, left = record["status"], record["step"], None
    if state == "finished" and step < task.total_steps:
        state = "stopped"  # more steps were asked for
    if state == "running":
        last = last_row(task.workdir / "metrics.jsonl")
        step = max(step, last.get("step", 0))
        if speed := last.get("images_per_second"):
            batch = _config(task.workdir).get("batch_size", 0)
            left = (task.total_steps - step) * batch / speed
    score = newest_score(task.workdir, metric, split)
    return Status(task, state, step, score, left, record.get("reason", ""))


def _evaluation_status(task: Task, metric: str, split: str) -> Status:
    path = score_path(task, split)
    if not path.exists():
        return Status(task, "waiting")
    return Status(task, "finished", task.total_steps, json.loads(path.read_text()).get(metric))


def score_path(task: Task, split: str) -> Path:
    """Where the final scores of a task are, once it is finished."""
    return evaluation.scores_path(task.workdir, split, task.total_steps, task.changes)


def newest_score(workdir: Path, metric: str, split: str) -> float | None:
    # Only the newest file is read: a table of hundreds of runs asks every two seconds.
    newest = max(folder.score_paths(workdir, split).items(), default=None)
    return json.loads(newest[1].read_text()).get(metric) if newest else None


def last_row(path: Path) -> dict[str, Any]:
    """The last whole line of a log of JSON lines; {} if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2**16))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:  # being written
            continue
        if isinstance(row, dict):
            return row
    return {}


def _config(workdir: Path) -> dict[str, Any]:
    try:
        return json.loads((workdir / "config.json").read_text())
    except (OSError, ValueError):
        return {}
