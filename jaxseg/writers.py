"""What a run writes down: its numbers by step, as JSONL and for TensorBoard."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from jaxseg import files
from jaxseg.compilation import Announced
from jaxseg.errors import NonFiniteLossError
from jaxseg.progress import Progress


class MetricWriter:
    """`metrics.jsonl`, one object a line, and TensorBoard events with the same numbers.

    On a resume the lines after the checkpoint's step are dropped before new ones are added, so
    that no step stands twice; so are the scores of that step if the checkpoint came before them
    (`evaluated` False), for they will be computed again. A `silent` one writes nothing.
    """

    def __init__(self, workdir: Path, *, resume_step: int, evaluated: bool, silent: bool = False):
        self._silent = silent
        if silent:
            return
        path = workdir / "metrics.jsonl"
        _keep(path, lambda row: row["step"] < resume_step + (evaluated or "loss" in row))
        self._file = path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Numbers of a step; what is None, undefined, is left out."""
        if self._silent:
            return
        values = {key: value for key, value in values.items() if value is not None}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for key, value in values.items():
            self._events.add_scalar(key, value, step)

    def close(self) -> None:
        if not self._silent:
            self._file.close()
            self._events.close()


def _keep(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the line during which the run was killed
            continue
        if wanted(row):
            kept.append(line + "\n")
    files.write_text(path, "".join(kept))


class StepLog:
    """Reads the numbers of the step before the newest, checks them, and shows them when due."""

    def __init__(
        self,
        every: int,
        schedule: Callable[[int], Any],
        train_step: Announced,
        writer: MetricWriter,
        progress: Progress,
        timed: Callable[[int, float], None] = lambda done, seconds: None,
    ):
        """`timed` is told the newest step that is done, and when by a clock without pauses."""
        self._every, self._schedule, self._train_step = every, schedule, train_step
        self._writer, self._progress, self._timed = writer, progress, timed
        self._pending: tuple[int, dict[str, Any], tuple[str, ...]] | None = None
        self._compile_seconds = 0.0  # that are written

    def step(
        self, step: int, numbers: dict[str, Any], names: tuple[str, ...], waited: float
    ) -> None:
        """`step` runs, and will give `numbers`; `waited` is as in `Progress.update`."""
        self.flush(waited, newest=numbers)
        self._pending = (step, numbers, names)

    def flush(self, waited: float, newest: dict[str, Any] | None = None) -> None:
        if self._pending is None:
            return
        (step, numbers, names), self._pending = self._pending, None
        values = {key: float(value) for key, value in numbers.items()}
        # By now the newest may be done too, as it is on a CPU: then the time was of both.
        done = step + (newest is not None and newest["loss"].is_ready())
        compiled = self._train_step.compile_seconds
        self._progress.computed(step, values["loss"])
        self._timed(done, self._progress.seconds - compiled)
        # Gradients can overflow under a finite loss: then the parameters are lost already.
        finite = all(map(math.isfinite, values.values()))
        if finite and step % self._every:
            return
        values["learning_rate"] = float(self._schedule(step - 1))  # what this update used
        if not finite:
            raise NonFiniteLossError(
                f"the loss became {values['loss']} (gradient norm {values['grad_norm']}) at step "
                f"{step} with learning rate {values['learning_rate']:.3g} "
                f"on the examples {', '.join(names)}: lower config.schedule.learning_rate or set "
                "config.optimizer.grad_clip_norm; the last good checkpoint is kept"
            )
        speeds = self._progress.update(step, values, done=done, waited=waited, compiled=compiled)
        if compiled > self._compile_seconds:  # once a program, beside the next numbers
            speeds = {**speeds, "compile_seconds": compiled - self._compile_seconds}
            self._compile_seconds = compiled
        self._writer.write(step, {**values, **speeds})
