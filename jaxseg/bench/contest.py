"""One row of the benchmark of steps: both sides timed, and how close they come to the chip."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import torch  # pyright: ignore[reportMissingImports]

from jaxseg import zoo
from jaxseg.bench.memory import peak
from jaxseg.bench.sides import Ours, Setting, Theirs
from jaxseg.bench.timing import interleaved, median

# PyTorch's ways, by device and name: options of `Theirs`
WAYS = {
    "cpu": {name: {"layout": name} for name in ("contiguous", "channels_last")},
    "cuda": {
        "eager": {"layout": "channels_last"},
        "torch.compile": {"layout": "channels_last", "compiled": True},
    },
}
# Steps a turn: on a GPU the next are sent off while one runs, as in training.
STEPS = {"cpu": 1, "cuda": 5}
MATMUL = {"cpu": 2048, "cuda": 8192}  # rows and columns


def measure(setting: Setting, seconds: float, rate: float, cache: str) -> dict[str, Any]:
    """By side, "jaxseg" and PyTorch's ways: seconds of a step, of compilation, share of the chip.

    Args:
      setting: what runs.
      seconds: how long all sides together take turns.
      rate: of the chip, see `matmul_rate`.
      cache: a folder for compiled programs, so that `memory` need not compile them again.
    """
    jax.config.update("jax_compilation_cache_dir", cache)
    sides: dict[str, Any] = {"jaxseg": Ours(setting)}
    for name, options in WAYS[setting.device].items():
        sides[name] = Theirs(setting, **options)
    first = {}
    for name, side in sides.items():
        start = time.perf_counter()
        side.run()
        first[name] = time.perf_counter() - start
    steps = STEPS[setting.device]
    turns = {name: lambda side=side: side.run(steps) for name, side in sides.items()}
    times = interleaved(turns, seconds=seconds, least=5)
    found = {name: median(value) / steps for name, value in times.items()}
    operations = _operations(setting, sides["jaxseg"].model)
    return {
        "seconds": found,
        "turns": min(map(len, times.values())),
        "compilation": {name: max(first[name] - found[name], 0.0) for name in found},
        "of_the_chip": {name: operations / value / rate for name, value in found.items()},
    }


def memory(setting: Setting, way: str, cache: str) -> dict[str, int | None]:
    """Bytes at the peak of a step of jaxseg, and of PyTorch in this way."""
    options = WAYS[setting.device][way]
    return {
        "jaxseg": peak(setting, "Ours", {}, cache),
        way: peak(setting, "Theirs", options, cache),
    }


def best(seconds: Mapping[str, float]) -> str:
    """PyTorch's fastest way."""
    return min((name for name in seconds if name != "jaxseg"), key=lambda name: seconds[name])


def matmul_rate(dtype: str, device: str) -> float:
    """Operations a second in a large square matrix product, by the faster library."""
    torch.set_float32_matmul_precision("high")
    n = MATMUL[device]
    ours = jnp.ones((n, n), dtype)
    theirs = torch.ones((n, n), dtype=getattr(torch, dtype), device=device)
    dot = jax.jit(jnp.dot)

    def torch_dot() -> None:
        torch.mm(theirs, theirs)
        if device == "cuda":
            torch.cuda.synchronize()

    calls = {"jax": lambda: dot(ours, ours).block_until_ready(), "torch": torch_dot}
    times = interleaved(calls, seconds=1.0)
    return 2 * n**3 / min(map(min, times.values()))  # at its best


def _operations(setting: Setting, model: Any) -> int:
    """Of the network in one step: two a multiply-add; backward costs twice what forward does."""
    multiply_adds = zoo.cost(model, setting.size, setting.size).multiply_adds
    return 2 * multiply_adds * setting.batch * (3 if setting.mode == "train" else 1)
