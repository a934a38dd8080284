"""Timing that two libraries share: calls alternate, medians are compared."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

WARM_UP = 2  # the first call compiles, the second may still be choosing algorithms

# PyTorch's OpenMP threads spin after each operation, which slows down whatever runs next, here
# another library. It reads this when it is imported, which every benchmark does after this module.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    *,
    seconds: float = 2.0,
    least: int = 5,
    warm_up: int = WARM_UP,
    burst: int = 1,
) -> dict[str, list[float]]:
    """Seconds of each call, a burst of calls of every function per round.

    Alternating spreads a machine's busy moments evenly over what is compared. Of a burst of several
    calls the first does not count: after a pause, a step that gives its memory back fetches it anew
    from a virtual machine's host, which steps one after the other do not.

    Args:
      functions: each blocks until its result is there.
      seconds: rounds are repeated for about this long, all functions together.
      least: the fewest rounds, however long they take.
      warm_up: calls of each function before the first round.
      burst: calls of a function in a row.
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + seconds
    rounds = 0
    while functions and (rounds < least or time.perf_counter() < end):
        for name, function in functions.items():
            for call in range(burst):
                start = time.perf_counter()
                function()
                if call or burst == 1:
                    times[name].append(time.perf_counter() - start)
        rounds += 1
    return times


def median(times: list[float]) -> float:
    return statistics.median(times)


def machine() -> dict[str, str]:
    """Where the numbers were measured, and with which versions: {"machine", "versions"}."""
    import jax

    device = jax.devices()[0]
    name = f"{_processor()}, {_cores()} cores" if device.platform == "cpu" else device.device_kind
    versions = [f"{package} {found}" for package in ("jax", "torch") if (found := version(package))]
    python = ".".join(platform.python_version_tuple()[:2])
    return {"machine": name, "versions": ", ".join([*versions, f"Python {python}"])}


def version(package: str) -> str | None:
    """The installed version without its local part, such as "+cpu"; None if there is none."""
    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
