"""How long a training will take, by its first steps, and what would make it shorter."""

import bisect
import itertools
import sys
from collections.abc import Callable
from typing import Any

from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.models.contract import corner_mismatch
from jaxseg.parallel import Parallel, check_batch_size
from jaxseg.program import Program

LONG = 3600.0  # seconds, on a CPU
_ENOUGH, _SLOW = 5.0, 20.0  # seconds of steps that are timed; beyond the latter one step is enough
_PRETRAINED = "deeplabv3plus,backbone=mobilenet_v2,separable=True"
_WEIGHTS = "hf://timm/mobilenetv2_100.ra_in1k"


class FirstSteps:
    """Times the first steps after `start`, then says once what those that remain will take.

    The first one of all compiles and is left out.
    """

    def __init__(
        self, config: Config, program: Program, start: int, announce: Callable[[str], None]
    ):
        self._config, self._program = config, program
        self._start, self._announce = start, announce
        self._begin: tuple[int, float] | None = None
        self._said = False

    def computed(self, done: int, seconds: float) -> None:
        """The steps up to `done` are computed, by a clock without compiling and evaluating."""
        if self._said:
            return
        if self._begin is None:
            self._begin = done, seconds
            return
        steps, took = done - self._begin[0], seconds - self._begin[1]
        if took < (_ENOUGH if steps > 1 else _SLOW) or not steps:
            return
        self._said = True
        remaining = self._config.total_steps - self._start
        which = f"the {remaining} steps that remain" if self._start else f"{remaining} steps"
        self._announce(
            f"{duration(took / steps)} a step: {which} take about "
            f"{duration(took / steps * remaining)}, evaluations not counted"
        )
        for line in advice(self._config, self._program, took / steps, remaining):
            self._announce(line)


def duration(seconds: float) -> str:
    """Two digits and a unit: 25 ms, 0.82 s, 27 min, 3.5 h, 2.1 days."""
    units = (("ms", 0.001), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86400.0))
    bounds = (0.1, 100.0, 5400.0, 48 * 3600.0)  # seconds from which the next unit is used
    unit, size = units[bisect.bisect(bounds, seconds)]
    number = seconds / size
    return f"{number:.2g} {unit}" if number < 10 else f"{number:.0f} {unit}"


def advice(config: Config, program: Program, step: float, remaining: int) -> list[str]:
    """What to type for a shorter training, if this one takes over an hour on a CPU.

    Args:
      config: the run's.
      program: its model and devices.
      step: seconds that one takes.
      remaining: how many there are.
    """
    model, parallel = program.model, program.parallel
    if parallel.platform != "cpu" or step * remaining < LONG:
        return []
    flags = [f"{flag} ({effect})" for flag, effect in shorter(config, model, parallel)]
    steps = max(1, int(float(f"{LONG / step:.1e}")))  # two digits
    flags.append(f"--config.total_steps={steps} (an hour)")
    lines = [
        "more than an hour, on a CPU. Each of these makes it shorter, begun anew in another "
        "--workdir: " + ", ".join(flags)
    ]
    if not config.init_from:
        lines.append(
            "or begin with weights that know images: "
            f"--config={_config_file()}:{_PRETRAINED} --config.init_from={_WEIGHTS}"
        )
    return lines


def shorter(config: Config, model: Any, parallel: Parallel) -> list[tuple[str, str]]:
    """Flags that shorten the steps of this config, each with by how much."""
    found = []
    width = config.model.options.get("width")
    if isinstance(width, int) and width > 16 and not config.init_from:
        times = (width / 16) ** 1.6  # as measured; the operations fall by its square
        found.append(("--config.model.width=16", f"about {times:.0f} times"))
    if half := _half_crop(model, config.augment.crop_size):
        rows, cols = config.augment.crop_size
        times = rows * cols / (half[0] * half[1])
        size = f'--config.augment.crop_size="({half[0]},{half[1]})"'
        found.append((size, f"about {times:.0f} times"))
    if batch := _half_batch(config, parallel):
        found.append((f"--config.batch_size={batch}", "twice"))
    return found


def _half_crop(model: Any, size: tuple[int, int]) -> tuple[int, int] | None:
    """Half the crop, to the nearest size that keeps features in place; None below 128 pixels."""
    stride, corners = model.interpolation
    extra = int(corners == "aligned")
    step = max(stride, 16)
    half = tuple(round((n - extra) / 2 / step) * step + extra for n in size)
    if model.context or min(half) < 128 or corner_mismatch(model, (half[0], half[1])):
        return None
    return half[0], half[1]


def _half_batch(config: Config, parallel: Parallel) -> int | None:
    half = config.batch_size // 2
    try:
        check_batch_size(half, parallel.num_devices, config.grad_accum_steps)
    except UserError:
        return None
    return half if half > 1 else None


def _config_file() -> str:
    """The file that --config named."""
    words = [word.lstrip("-") for word in sys.argv]
    given = [word.removeprefix("config=") for word in words if word.startswith("config=")]
    given += [b for a, b in itertools.pairwise(words) if a == "config"]
    return given[0].partition(":")[0] if given else "FILE"
