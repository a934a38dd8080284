"""One row of the benchmark of steps: jaxseg and PyTorch's modes, timed on the same work."""

import contextlib
import functools
import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import torch  # pyright: ignore[reportMissingImports]

from jaxseg import models, zoo
from jaxseg.bench.modes import JAXSEG, PYTORCH
from jaxseg.bench.setting import Setting
from jaxseg.bench.side_process import SideError, SideProcess, build, first_line
from jaxseg.bench.timing import interleaved, median

# Steps per timed call: on a GPU the next ones are enqueued while one runs, as in training.
STEPS = {"cpu": 1, "cuda": 5}
BURST = 3  # steps in a row, on a CPU
MATMUL = {"cpu": 2048, "cuda": 8192}  # rows and columns
_ONCE = {"seconds": 0.0, "least": 1}


def measure(
    setting: Setting, modes: Collection[str], seconds: float, matmul_rate: float, cache: str
) -> Iterator[dict[str, Any]]:
    """Time every side; yields the row again, more complete, whenever a side is done.

    On a CPU each side has a process of its own, and bursts of steps alternate in the end; on a GPU
    each is timed alone in this process and freed, for together they might not fit. A side that
    fails leaves the others' numbers alone.

    Args:
      setting: what runs.
      modes: "jaxseg" and names of PyTorch's modes on this device.
      seconds: how long to repeat, all sides together.
      matmul_rate: operations a second of the chip, see `matmul_rate`.
      cache: a folder of compiled programs.

    Yields:
      by side, "jaxseg" and PyTorch's modes: "seconds" of a step; "compilation", what the first step
      took longer, in seconds; "matmul_share", the network's operations as a share of `matmul_rate`;
      "errors", the first line of what went wrong.
    """
    row: dict[str, Any] = {key: {} for key in ("seconds", "compilation", "matmul_share", "errors")}
    least = _operations(setting) / matmul_rate
    alone = setting.device == "cuda"
    first: dict[str, float] = {}
    runs: dict[str, Callable[[], Any]] = {}
    with contextlib.ExitStack() as processes:
        for name, make in _builders(setting, modes, cache, processes).items():
            with _recorded(row["errors"], name):
                # on a CPU a first impression, on a GPU what counts
                repeat = {"seconds": seconds / len(modes)} if alone else _ONCE
                run, first[name], times = _started(make, STEPS[setting.device], repeat)
                row["seconds"][name] = median(times)
                if not alone:
                    runs[name] = _guarded(run, name, row["errors"])
            if alone:
                run = None
                _free()
            yield _derive(row, first, least)
        if not alone:
            times = interleaved(runs, seconds=seconds, least=3, warm_up=1, burst=BURST)
            done = {name: each for name, each in times.items() if name not in row["errors"]}
            row["seconds"].update({name: median(each) for name, each in done.items()})
            yield _derive(row, first, least)


def _started(
    make: Callable[[], Any], steps: int, repeat: Mapping[str, Any]
) -> tuple[Callable[[], Any], float, list[float]]:
    """A side's call of one step or several, the seconds of its first step, and those of others."""
    side = make()
    start = time.perf_counter()
    side.run()
    first = time.perf_counter() - start
    run = functools.partial(side.run, steps)
    times = interleaved({"side": run}, warm_up=1, **repeat)["side"]
    return run, first, [each / steps for each in times]


def _builders(
    setting: Setting, modes: Collection[str], cache: str, processes: contextlib.ExitStack
) -> dict[str, Callable[[], Any]]:
    """By side, what starts it; `processes` ends those that were started."""

    def start(name: str) -> Any:
        if setting.device == "cuda":
            return build(setting, name)
        side = SideProcess(setting, name, cache)
        processes.callback(side.close)
        return side

    known = (JAXSEG, *PYTORCH[setting.device])
    return {name: functools.partial(start, name) for name in known if name in modes}


@contextlib.contextmanager
def _recorded(errors: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except SideError as error:
        errors[name] = str(error)
    except Exception as error:
        errors[name] = first_line(error)


def _guarded(run: Callable[[], Any], name: str, errors: dict[str, str]) -> Callable[[], Any]:
    """`run`, which after an error does nothing any more."""

    def guarded() -> None:
        if name not in errors:
            with _recorded(errors, name):
                run()

    return guarded


def _derive(row: dict[str, Any], first: Mapping[str, float], least: float) -> dict[str, Any]:
    """The row with what follows from its times; `least` is the seconds at the matmul rate."""
    seconds = row["seconds"]
    row["compilation"] = {name: max(first[name] - seconds[name], 0.0) for name in seconds}
    row["matmul_share"] = {name: least / value for name, value in seconds.items()}
    return row


def _free() -> None:
    gc.collect()
    torch.cuda.empty_cache()


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


def _operations(setting: Setting) -> int:
    """Of the network in one step: two a multiply-add; backward costs twice what forward does."""
    dtype = jnp.dtype(setting.dtype)
    model = models.build(setting.model, setting.num_classes, dtype=dtype, **setting.options)
    multiply_adds = zoo.cost(model, setting.size, setting.size).multiply_adds
    return 2 * multiply_adds * setting.batch * (3 if setting.mode == "train" else 1)
