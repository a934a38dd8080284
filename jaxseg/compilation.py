"""Compiled programs kept on disk: the second start of a run does not compile them again.

JAX writes and reads them, each under its own name and key; several processes may do so at once.
This module chooses the folder, bounds its size, and handles entries that can't be read or written.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import platformdirs

Announce = Callable[[str], None]

MAX_BYTES = 2 * 2**30  # a start of a large model keeps 2 to 5 MB
_FAILURE = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.*?)': ")


def cache() -> Path | None:
    """Keep compiled programs from now on; returns their folder, or None without a cache.

    By default they go to the user's cache folder, which holds at most `MAX_BYTES`. JAX's variables
    change that: JAX_COMPILATION_CACHE_DIR names another folder, whose size is not bounded,
    JAX_COMPILATION_CACHE_MAX_SIZE another bound, and JAX_ENABLE_COMPILATION_CACHE=false turns the
    cache off.
    """
    config: Any = jax.config
    if not config.jax_enable_compilation_cache:
        return None
    chosen = config.jax_compilation_cache_dir
    folder = Path(chosen) if chosen else _users_folder()
    if "://" not in str(chosen):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            config.update("jax_enable_compilation_cache", False)
            _say(f"compiled programs can't be kept in {folder}: {error.strerror}; going on without")
            return None
    if not chosen:
        config.update("jax_compilation_cache_dir", str(folder))
        # Not JAX's own bound, unless asked for: it locks the folder for each program, and one file
        # that was cut short by the end of a process keeps it from ever writing again.
        if config.jax_compilation_cache_max_size == -1:
            prune(folder, MAX_BYTES)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small ones too
    warnings.showwarning = _without_failures(folder, warnings.showwarning)
    return folder


@functools.cache
def cache_once() -> None:
    """`cache`, at the first call in this process: for functions that are called again and again."""
    cache()


def prune(folder: Path, max_bytes: int) -> None:
    """Delete the programs that were not used for longest until `max_bytes` are left."""
    used = []
    for path in folder.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process was quicker
            stat = path.stat()
            used.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    total = sum(size for _, size, _ in used)
    for _, size, path in sorted(used):
        if total <= max_bytes:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size


@contextlib.contextmanager
def hits() -> Iterator[list[str]]:
    """Collects one event for each program that comes from the cache while this is open."""
    found: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            found.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _users_folder() -> Path:
    """One per CPU model, whose instructions programs use: machines may share a home folder."""
    return platformdirs.user_cache_path("jaxseg") / "xla" / _cpu()


def _cpu() -> str:
    """The machine's kind, and a digest of its CPU's model and features."""
    about = platform.processor()
    with contextlib.suppress(OSError):  # Linux has the file
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        kept = (line for line in lines if re.match(r"model name|flags|Features|CPU part", line))
        about = "\n".join(kept)
    return f"{platform.machine()}-{hashlib.sha256(about.encode()).hexdigest()[:8]}"


def _without_failures(folder: Path, show: Callable) -> Callable:
    """Shows warnings by `show`, but one clear line for a program that JAX can't read or write.

    JAX then compiles, but never overwrites a file: one that was cut short, by a full disk or a
    killed process, would fail every time. So it is deleted.
    """

    def shown(message: Any, *args: Any, **kwargs: Any) -> None:
        failure = _FAILURE.match(str(message))
        if not failure:
            show(message, *args, **kwargs)
            return
        action, name = failure.groups()
        for path in folder.glob(f"{name}-*-cache"):
            with contextlib.suppress(OSError):
                path.unlink()
        reason = str(message)[failure.end() :].splitlines()[0]
        _say(f"the compiled program {name} in {folder} failed in {action} ({reason}): deleted")

    return shown


def _say(text: str) -> None:
    print(f"jaxseg: {text}", file=sys.stderr, flush=True)


def trim_heap() -> None:
    """Give freed memory back to Linux, that between memory in use too.

    0.4 GB after compiling DeepLabv3+ on MobileNetV2. A function of glibc alone; elsewhere nothing
    happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Announced:
    """A compiled step that says what it compiles, how long that took and whether it was cached.

    It compiles once for each batch shape; `compile_seconds` is the total time of that. `options`
    are XLA's; `constants` follow the state and the batch at every call. `examine` gives lines to
    say about a compiled program, from it, the state and the batch, before it runs.
    """

    def __init__(
        self,
        compiled: Callable,
        what: str,
        announce: Announce,
        *,
        constants: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
        examine: Callable[[Any, Any, Any], Sequence[str]] = lambda *_: (),
    ):
        self._function, self._what, self._announce = compiled, what, announce
        self._constants, self._options = constants, dict(options or {})
        self._examine = examine
        self._programs: dict[Any, Callable] = {}
        self.compile_seconds = 0.0

    def __call__(self, state: Any, batch: Mapping[str, Any]) -> Any:
        shape = tuple(batch["image"].shape)
        if shape not in self._programs:
            size = "x".join(map(str, shape))
            self._announce(f"compiling {self._what} for images {size} ...")
            self._programs[shape] = self._compile(state, batch)
        return self._programs[shape](state, batch, *self._constants)

    def lower(self, state: Any, batch: Mapping[str, Any]) -> Any:
        """The program before it is compiled, to look into."""
        return self._function.lower(state, batch, *self._constants)

    def _compile(self, state: Any, batch: Mapping[str, Any]) -> Callable:
        start = time.perf_counter()
        lowered = self.lower(state, batch)
        with hits() as found:
            program = lowered.compile(compiler_options=self._options)
        trim_heap()
        seconds = time.perf_counter() - start
        self.compile_seconds += seconds
        how = "from the cache" if found else "compiled"
        self._announce(f"{self._what}: {how} in {seconds:.1f} s")
        for line in self._examine(program, state, batch):
            self._announce(line)
        return program
