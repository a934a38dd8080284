"""A trace of a few training steps, for TensorBoard or Perfetto: `jaxseg train --profile`."""

from collections.abc import Callable
from contextlib import AbstractContextManager as Pause
from pathlib import Path
from typing import Any

import jax

from jaxseg.defaults import Config
from jaxseg.errors import UserError

FOLDER = "profile"


def steps_of(config: Config, start: int) -> range:
    """The steps to trace when training begins after step `start`: the first of all is start + 1.

    They are counted from there, and not from 0, because each start compiles in its first step.

    Raises:
      UserError: training ends before they do.
    """
    first = start + config.profile.first_step
    steps = range(first, first + config.profile.steps)
    if steps[-1] > config.total_steps:
        raise UserError(
            f"--profile is to trace steps {steps[0]} to {steps[-1]}, and config.total_steps is "
            f"{config.total_steps}: lower config.profile.first_step or config.profile.steps, "
            "or raise config.total_steps"
        )
    return steps


class Profile:
    """Traces the steps given, whole, into `workdir/profile`; none if there are none."""

    def __init__(self, steps: range, workdir: Path, pause: Callable[[], Pause]):
        """`pause` keeps the time of starting and writing a trace out of the measured speed."""
        self._steps, self._pause = steps, pause
        self._folder = workdir / FOLDER
        self._running = False
        self._last = 0  # step that was traced

    def begin(self, step: int, state: Any) -> None:
        """Call it before `step`, which begins with `state`; waits until that is computed."""
        if self._steps and step == self._steps[0]:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # thousands of calls per step hide the rest
            with self._pause():
                jax.profiler.start_trace(
                    self._folder, create_perfetto_trace=True, profiler_options=options
                )
            self._running = True

    def end(self, step: int, state: Any) -> None:
        """After `step` was given to the devices, which will compute `state`."""
        if self._running:
            self._last = step
            if step == self._steps[-1]:
                jax.block_until_ready(state)
                self._stop()

    def close(self) -> None:
        """Say where the trace is; one of a run that was stopped half-way ends here."""
        if self._running:
            self._stop()
        if self._last:
            path = max(self._folder.rglob("perfetto_trace.json.gz"))  # by date: the newest
            print(f"profile of steps {self._steps[0]} to {self._last}: {path}")
            print("  open it at https://ui.perfetto.dev, or: pip install tensorboard xprof;")
            print(f"  tensorboard --logdir {self._folder}")

    def _stop(self) -> None:
        self._running = False
        with self._pause():
            jax.profiler.stop_trace()
