"""What compiled steps need of memory beside what there is, said before they first run."""

import contextlib
import dataclasses
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxseg.data.pixels import PixelFormat
from jaxseg.defaults import Config
from jaxseg.parallel import Parallel

GIB = 2**30
# Of freed blocks that stay in the heap, about two more than are in use: measured on small U-Nets.
KEPT_BLOCKS = 2
RESERVE = 2**27  # bytes: batches made ahead, and what checkpoints and pictures take


Examine = Callable[[Any, Any, Any], list[str]]  # (program, state, batch) -> lines to say


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Bytes, of the process on a CPU, else of each device."""

    need: int
    room: int  # all that it may hold
    working: int  # of each device: what the step needs besides its arguments
    devices: int  # that share the room

    @property
    def left(self) -> float:
        """Each device's share of the room for `working`."""
        return (self.room - self.need) / self.devices + self.working


def training_forecast(config: Config, parallel: Parallel, cached: int) -> Examine:
    """What `compilation.Announced` says of the training step: its need, and what fits instead.

    Args:
      config: whose batch is compared with what fits.
      parallel: the devices.
      cached: bytes of the examples that will be kept in memory.
    """

    def examine(program: Any, state: Any, batch: Any) -> list[str]:
        found = forecast(program, parallel, cached)
        if found is None:
            return []
        lines = [f"training needs about {_gib(found.need)} of {_gib(found.room)} memory"]
        if found.need > found.room:
            # parameters have gradients, whatever the number of images
            gradients = sum(x.nbytes for x in jax.tree.leaves(state.params))
            at_once = config.batch_size // parallel.num_devices // config.grad_accum_steps
            fit = images_that_fit(at_once, found.working, gradients, found.left)
            lines.append(_what_fits(config, parallel.num_devices, min(fit, at_once)))
        return lines

    return examine


def evaluation_forecast(config: Config, parallel: Parallel) -> Examine:
    """What `compilation.Announced` says of the evaluation step if there is not enough for it."""

    def examine(program: Any, variables: Any, batch: Any) -> list[str]:
        found = forecast(program, parallel, cached=0)
        if found is None or found.need <= found.room:
            return []
        at_once = -(-config.eval.batch_size // parallel.num_devices)
        fit = images_that_fit(at_once, found.working, 0, found.left) * parallel.num_devices
        return [
            f"warning: evaluation needs about {_gib(found.need)} of {_gib(found.room)} memory; "
            + (f"what fits: --config.eval.batch_size={fit}" if fit else "no batch fits")
        ]

    return examine


def forecast(program: Any, parallel: Parallel, cached: int) -> Forecast | None:
    """What a compiled step will need and what there is, None where that isn't told.

    On a CPU its arguments are in the process already, and saving them takes them once more.
    """
    if (step := step_bytes(program)) is None:
        return None
    arguments, working = step
    if parallel.platform == "cpu":
        devices, held = jax.local_device_count(), resident()
        kept = KEPT_BLOCKS * working if working < kept_below(os.environ) else 0
        need = held + cached + arguments + RESERVE + devices * (working + kept)
        return Forecast(need, held + free(), working, devices)
    stats = jax.local_devices()[0].memory_stats() or {}
    if not (room := stats.get("bytes_limit", 0)):
        return None
    return Forecast(max(arguments, stats.get("bytes_in_use", 0)) + working, room, working, 1)


def kept_below(environment: Mapping[str, str]) -> int:
    """Bytes from which on freed blocks go back to Linux, as told to glibc (cli/allocator.py)."""
    told = re.search(r"malloc\.mmap_threshold=(\d+)", environment.get("GLIBC_TUNABLES", ""))
    return int(told[1]) if told else 2**25  # so far glibc raises it by itself


def step_bytes(program: Any) -> tuple[int, int] | None:
    """Bytes on each device of a compiled program's arguments, and of what it needs besides.

    None where the compiler doesn't tell.
    """
    with contextlib.suppress(Exception):  # not every backend has it
        stats = program.memory_analysis()
        output = stats.output_size_in_bytes - stats.alias_size_in_bytes
        return stats.argument_size_in_bytes, stats.temp_size_in_bytes + output
    return None


def images_that_fit(at_once: int, working: int, gradients: int, left: int | float) -> int:
    """How many images a device can take at once where only `left` bytes are left for `working`.

    What grows with the images is what `working` holds besides the gradients.
    """
    fixed = min(gradients, working)
    each = (working - fixed) / at_once
    return int(max(left - fixed, 0.0) / each) if each else at_once


def _what_fits(config: Config, devices: int, fit: int) -> str:
    """The warning of a step that is too large where each device can take `fit` images at once."""
    share = config.batch_size // devices
    parts = next((n for n in range(2, share + 1) if share % n == 0 and share // n <= fit), None)
    remedies = []
    if fit:
        remedies.append(f"--config.batch_size={fit * config.grad_accum_steps * devices}")
    if parts:
        seen = share // parts * devices
        remedies.append(
            f"--config.grad_accum_steps={parts} (the same batch in parts; batch norm then sees "
            f"{seen} image{'s' * (seen > 1)} at a time)"
        )
    if not remedies:
        remedies = ["smaller images, by --config.augment.crop_size"]
    return "warning: that is more than there is; what fits: " + ", or ".join(remedies)


def free() -> int:
    """Bytes that this process can still get: of the machine, or of the control group it is in."""
    return min([_machine_memory(), *_group_memory()])


def _machine_memory() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # not Linux: all that it has


def _group_memory(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """What is left of each limit that the process's control groups have, version 1 or 2.

    Limits are those of the group and of all above it. In a container the group's own path may not
    be there, and what is mounted is the group.
    """
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = mounted / "memory" if controllers else mounted
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(top):
                    yield from _left(folder, *(_VERSION_1 if controllers else _VERSION_2))


# Files of a control group: its limit, what it uses, and in memory.stat, what of that are pages of
# files that the kernel drops when memory is short.
_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_VERSION_2 = "memory.max", "memory.current", "inactive_file"


def _left(group: Path, limit: str, usage: str, droppable: str) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):  # "max", or there is no such folder
        most, used = (int((group / name).read_text()) for name in (limit, usage))
        yield most - used + _stat(group / "memory.stat", droppable)


def _stat(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(dict(line.split() for line in path.read_text().splitlines())[name])
    return 0


def resident() -> int:
    """Bytes that this process holds now; where that isn't told, the most that it has held."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return peak_resident()


def peak_resident() -> int:
    """The most bytes that this process has held.

    Linux counts to `ru_maxrss` what the parent held when it started this process.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cached_bytes(config: Config, sources: Sequence[Any]) -> int:
    """Bytes of all decoded examples, if they are kept (see `data.source.Cached`)."""
    if not config.dataset.cache:
        return 0
    sizes = (source.size(i) for source in sources for i in range(len(source)))
    each = PixelFormat.from_config(config.dataset).bytes + 4  # and the label
    return sum(each * height * width for height, width in sizes)


def _gib(size: int | float) -> str:
    return f"{size / GIB:.2g} GiB" if size < 100 * GIB else f"{size / GIB:.0f} GiB"
