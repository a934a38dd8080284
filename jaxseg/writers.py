"""What a run says: a bar or plain lines for a person, JSONL and TensorBoard for later."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from tqdm import tqdm

from jaxseg import files


class MetricWriter:
    """`metrics.jsonl`, one object a line, and TensorBoard events with the same numbers.

    On a resume the lines after the checkpoint's step are dropped before new ones are added, so
    that no step stands twice; so are the scores of that step if the checkpoint came before them
    (`evaluated` False), for they will be computed again.
    """

    def __init__(self, workdir: Path, *, resume_step: int, evaluated: bool):
        path = workdir / "metrics.jsonl"
        _keep(path, lambda row: row["step"] < resume_step + (evaluated or "loss" in row))
        self._file = path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for key, value in values.items():
            self._events.add_scalar(key, value, step)

    def close(self) -> None:
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


class Progress:
    """A bar with loss, learning rate, images/s, data-wait share and time left, or plain lines."""

    def __init__(self, *, start: int, total: int, batch_size: int):
        self._out = sys.stderr
        self._total, self._batch_size = total, batch_size
        self._done, self._since = start, time.perf_counter()
        self._waited = 0.0
        self._bar = None
        if self._out.isatty():
            layout = "{n_fmt}/{total_fmt} |{bar:16}| {remaining} left  {desc}"
            self._bar = tqdm(
                total=total, initial=start, bar_format=layout, file=self._out, leave=False
            )

    def pause(self) -> "_Pause":
        """Time spent inside (compiling, evaluating) counts neither as training nor as waiting."""
        return _Pause(self)

    def update(self, step: int, values: dict[str, float], waited: float) -> dict[str, float]:
        """Show the numbers of `step`; returns the speeds since the last update.

        `waited` is the time, in seconds since the start, for which training stood still for data.
        """
        elapsed = max(time.perf_counter() - self._since, 1e-9)
        steps = step - self._done
        speed = {
            "images_per_second": steps * self._batch_size / elapsed,
            "data_wait": min((waited - self._waited) / elapsed, 1.0),
        }
        left = (self._total - step) * elapsed / max(steps, 1)
        text = (
            f"loss {values['loss']:.4f}  lr {values['learning_rate']:.2e}  "
            f"{speed['images_per_second']:.1f} images/s  data wait {100 * speed['data_wait']:.0f} %"
        )
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(steps)
        else:
            print(
                f"step {step}/{self._total}  {text}  {clock(left)} left", file=self._out, flush=True
            )
        self._done, self._since, self._waited = step, time.perf_counter(), waited
        return speed

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._out)
        else:
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
