"""What a person sees of a training: a bar or plain lines."""

import sys
import time
from typing import Any

from tqdm import tqdm

from jaxseg.heartbeat import Heartbeat

QUIET = 30.0  # seconds without a line after which it says what is under way
QUIET_BAR = 5.0  # where there is a bar


class Progress:
    """A bar with loss, learning rate, images/s, data-wait share and time left, or plain lines.

    As a context it gives a sign of life, too: a line at least every 30 seconds, or on a terminal
    what is under way, beside the bar.
    """

    def __init__(self, *, total: int, batch_size: int, silent: bool = False):
        self._out = sys.stderr
        self._silent = silent
        self._total, self._batch_size = total, batch_size
        self._paused = 0.0  # seconds
        self._done, self._since = 0, self.seconds
        self._waited = self._compiled = 0.0
        self._speed: dict[str, float] = {}
        self._bar = None
        self._shown = ""  # in the bar
        self._doing, self._doing_since, self._last_loss = "", 0.0, ""
        self._heartbeat: Heartbeat | None = None

    def __enter__(self) -> "Progress":
        self.doing("getting ready")
        if not self._silent:
            self._heartbeat = Heartbeat(self._beat, QUIET)
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """A clock that stands still during a `pause`."""
        return time.perf_counter() - self._paused

    def begin(self, step: int) -> None:
        """Training begins after `step`; what was said before needed no bar."""
        self._done, self._since = step, self.seconds
        if self._out.isatty() and not self._silent:
            layout = "{n_fmt}/{total_fmt} |{bar:16}| {remaining} left  {desc}"
            self._bar = tqdm(
                total=self._total, initial=step, bar_format=layout, file=self._out, leave=False
            )
            if self._heartbeat is not None:
                self._heartbeat.close()
                self._heartbeat = Heartbeat(self._beat, QUIET_BAR)

    def pause(self) -> "_Pause":
        """Time spent inside (evaluating) counts neither as training nor as waiting."""
        return _Pause(self)

    def doing(self, what: str, since: float | None = None) -> None:
        """What is under way from now on, or since a time of `time.perf_counter`."""
        now = time.perf_counter()
        self._doing, self._doing_since = what, now if since is None else since

    def training(self, step: int, *, waiting: bool = False) -> None:
        """`step` is under way, or waits for data."""
        self.doing(f"step {step}/{self._total}" + ", waiting for data" * waiting)

    def computed(self, step: int, loss: float) -> None:
        """The newest loss that is known, for the sign of life."""
        self._last_loss = f"  loss {loss:.4f} at step {step}"

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
            self._touch()
            self._shown = text
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        else:
            self.say(f"step {step}/{self._total}  {text}  {clock(left)} left")
        return speed

    def _measure(self, done: int, waited: float, compiled: float) -> dict[str, float]:
        steps = done - self._done
        if steps:  # else the last speeds stand
            elapsed = self.seconds - self._since - (compiled - self._compiled)
            elapsed = max(elapsed, 1e-9)
            self._speed = {
                "images_per_second": steps * self._batch_size / elapsed,
                "data_wait": min((waited - self._waited) / elapsed, 1.0),
            }
            self._done, self._since = done, self.seconds
            self._waited, self._compiled = waited, compiled
        return self._speed

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        self._touch()
        if self._bar is not None:
            self._bar.write(text, file=self._out)
        elif not self._silent:
            print(text + "\n", end="", file=self._out, flush=True)  # whole: two threads say lines

    def close(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.close()
            self._heartbeat = None
        if self._bar is not None:
            self._bar.close()

    def _touch(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.touch()

    def _beat(self) -> None:
        so_far = f"{self._doing}: {clock(time.perf_counter() - self._doing_since)} so far"
        if self._bar is not None:
            self._bar.set_description_str(f"{self._shown}  {so_far}".lstrip())
        else:
            self.say(so_far + self._last_loss)


class _Pause:
    def __init__(self, progress: Progress):
        self._progress = progress

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: Any) -> None:
        self._progress._paused += time.perf_counter() - self._start


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
