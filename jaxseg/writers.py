"""What a run says: a bar or plain lines for a person, JSONL and TensorBoard for later."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from tqdm import tqdm

from jaxseg import files
from jaxseg.compilation import Announced
from jaxseg.errors import NonFiniteLossError


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
        progress: "Progress",
    ):
        self._every, self._schedule, self._train_step = every, schedule, train_step
        self._writer, self._progress = writer, progress
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
        # By now the newest may be done too, as it is on a CPU: then the time was of both.
        done = step + (newest is not None and newest["loss"].is_ready())
        compiled = self._train_step.compile_seconds
        speeds = self._progress.update(step, values, done=done, waited=waited, compiled=compiled)
        if compiled > self._compile_seconds:  # once a program, beside the next numbers
            speeds = {**speeds, "compile_seconds": compiled - self._compile_seconds}
            self._compile_seconds = compiled
        self._writer.write(step, {**values, **speeds})


class Progress:
    """A bar with loss, learning rate, images/s, data-wait share and time left, or plain lines."""

    def __init__(self, *, total: int, batch_size: int, silent: bool = False):
        self._out = sys.stderr
        self._silent = silent
        self._total, self._batch_size = total, batch_size
        self._done, self._since = 0, time.perf_counter()
        self._waited = self._compiled = 0.0
        self._speed: dict[str, float] = {}
        self._bar = None

    def begin(self, step: int) -> None:
        """Training begins after `step`; what was said before needed no bar."""
        self._done, self._since = step, time.perf_counter()
        if self._out.isatty() and not self._silent:
            layout = "{n_fmt}/{total_fmt} |{bar:16}| {remaining} left  {desc}"
            self._bar = tqdm(
                total=self._total, initial=step, bar_format=layout, file=self._out, leave=False
            )

    def pause(self) -> "_Pause":
        """Time spent inside (evaluating) counts neither as training nor as waiting."""
        return _Pause(self)

    def update(
        self, step: int, values: dict[str, float], *, done: int, waited: float, compiled: float
    ) -> dict[str, float]:
        """Show the numbers of `step`; returns the speeds since the last update.

        Args:
          step: whose numbers they are.
          values: its loss and learning rate, and others.
          done: the newest step that is computed, which may be a later one.
          waited: seconds since the start for which training stood still for data.
          compiled: seconds since the start for which it compiled, which is no measure of speed.
        """
        speed = self._measure(done, waited, compiled)
        left = (self._total - step) * self._batch_size / speed["images_per_second"]
        text = (
            f"loss {values['loss']:.4f}  lr {values['learning_rate']:.2e}  "
            f"{speed['images_per_second']:.1f} images/s  data wait {100 * speed['data_wait']:.0f} %"
        )
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif not self._silent:
            print(
                f"step {step}/{self._total}  {text}  {clock(left)} left", file=self._out, flush=True
            )
        return speed

    def _measure(self, done: int, waited: float, compiled: float) -> dict[str, float]:
        steps = done - self._done
        if steps:  # else the last speeds stand
            elapsed = time.perf_counter() - self._since - (compiled - self._compiled)
            elapsed = max(elapsed, 1e-9)
            self._speed = {
                "images_per_second": steps * self._batch_size / elapsed,
                "data_wait": min((waited - self._waited) / elapsed, 1.0),
            }
            self._done, self._since = done, time.perf_counter()
            self._waited, self._compiled = waited, compiled
        return self._speed

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._out)
        elif not self._silent:
            print(text, file=self._out, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Pause:
    def __init__(self, progress: Progress):
        self._progress = progress

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: Any) -> None:
        self._progress._since += time.perf_counter() - self._start


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
