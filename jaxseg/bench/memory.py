"""The memory of a step at its peak, each side measured in a process of its own.

On a GPU: the most that the library's own allocator had given out. On a CPU, where neither counts:
what stays from one step to the next, and how much the process's resident memory grows beyond it
during a step, which Linux alone tells.
"""

import concurrent.futures
import ctypes
import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def peak(setting: Any, side: str, options: dict[str, Any], cache: str) -> int | None:
    """Bytes at the peak of a step of `setting`; None where it can't be measured.

    Args:
      setting: of `sides.py`.
      side: "Ours" or "Theirs".
      options: of that side.
      cache: the folder of compiled programs. One that is there needs no search for the fastest
        algorithms, whose trials take memory too.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, setting, side, options, cache).result()
        except BrokenProcessPool:  # killed, for too little memory
            return None


def _measure(setting: Any, side: str, options: dict[str, Any], cache: str) -> int | None:
    import jax

    from jaxseg.cli import flags

    flags.quiet()
    jax.config.update("jax_compilation_cache_dir", cache)
    from jaxseg.bench import sides

    contestant = getattr(sides, side)(setting, **options)
    contestant.run()
    if setting.device == "cpu":
        return _resident(contestant)
    if side == "Ours":
        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    import torch  # pyright: ignore[reportMissingImports]

    contestant.held()
    torch.cuda.reset_peak_memory_stats()  # the trial of algorithms is over
    contestant.run()
    return torch.cuda.max_memory_allocated()


def _resident(contestant: Any) -> int | None:
    held = contestant.held()
    try:
        return held + max(_growth(contestant.run) for _ in range(3))
    except (AttributeError, OSError):
        return None


def _growth(step: Callable[[], Any]) -> int:
    time.sleep(0.2)  # threads may still hold what the last step needed, and hide the growth
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, to be counted when it is used
    CLEAR.write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found
    return 1024 * int(found[1])
