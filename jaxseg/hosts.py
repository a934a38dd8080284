"""Processes: several make one run, on one machine or on many, each with its devices and its data.

Each reads its own part of every batch; the first writes what is for people; all save the state.
Where one fails or dies, the others end. With one process, all of this does nothing.
"""

import atexit
import contextlib
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax._src import distributed  # the coordination service's client has no public name
from jax.experimental import multihost_utils

from jaxseg.errors import UserError, explain, first_line, print_end

# Seconds of silence after which a process is taken for dead, and all others end.
HEARTBEAT_TIMEOUT = 30
CONNECT_TIMEOUT = 300  # seconds
_REMIND_EVERY = 30  # seconds
_FAILURE = "jaxseg/failure"  # key of the coordination service: what the first failed process says

# How XLA, Gloo, NCCL and the coordination service put it that another process is gone: a status,
# and words of theirs or of the system.
_LOST = re.compile(
    r"UNAVAILABLE: |DEADLINE_EXCEEDED: |[A-Z_]+: .*(Gloo|[Cc]onnection (reset|closed|refused)|"
    r"[Ss]ocket closed|Broken pipe|coordination service|heartbeat|peer task|remote process|"
    r"ncclRemoteError)",
    re.DOTALL,
)


def connect(
    coordinator: str | None = None,
    processes: int | None = None,
    index: int | None = None,
    *,
    timeout: int = CONNECT_TIMEOUT,
) -> None:
    """Join the run's other processes; call it before anything touches a device.

    From here on JAX handles SIGTERM: it tells the others (see `stopping.Stop`).

    Args:
      coordinator: HOST:PORT of the first process; None to ask Slurm, Open MPI or Kubernetes.
      processes: how many there are; None likewise.
      index: which of them this is, the first being 0; None likewise.
      timeout: seconds to wait for the others.

    Raises:
      UserError: no cluster was found, or the others can't be reached.
    """
    failed: list[Exception] = []

    def join() -> None:
        try:
            jax.distributed.initialize(
                coordinator,
                processes,
                index,
                # JAX aborts the process at its own timeout, with a stack trace: ours comes first
                initialization_timeout=timeout + 60,
                heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
                shutdown_timeout_seconds=2 * HEARTBEAT_TIMEOUT,
            )
        except Exception as error:
            failed.append(error)

    # In a thread, because a call into JAX would keep signals from the main thread.
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    name = "this process" if coordinator is None else f"process {index} of {processes}"
    _wait_for(thread, name, f" at {coordinator}" if coordinator else "", timeout)
    if failed:
        unknown = coordinator is None and isinstance(failed[0], ValueError)
        problem = (
            "--distributed found no Slurm, Open MPI or Kubernetes"
            if unknown
            else f"the processes did not find each other ({first_line(failed[0])})"
        )
        raise UserError(
            f"{problem}: give every process --coordinator_address=HOST:PORT (of the first), "
            "--num_processes=N and --process_id=0..N-1"
        )
    _listen_for_failures()
    if distributed.global_state.process_id != 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what libraries print too


def _wait_for(thread: threading.Thread, name: str, where: str, timeout: int) -> None:
    """Wait for `thread`, which joins the other processes; say so, and heed signals meanwhile."""
    start = time.monotonic()
    remind_at = 1.0  # seconds: not at all where the others are there already
    try:
        while thread.is_alive():
            thread.join(0.1)
            waited = time.monotonic() - start
            if waited > timeout:
                raise UserError(
                    f"{name} waited {timeout} s for the others{where}: start all of them, with "
                    "the same --coordinator_address and --num_processes, and each --process_id once"
                )
            if waited > remind_at:
                print(
                    f"jaxseg: {name} waits for the others{where}: {waited:.0f} s of at most "
                    f"{timeout}",
                    file=sys.stderr,
                    flush=True,
                )
                remind_at += _REMIND_EVERY
    except BaseException as error:
        if (explained := explain(error)) is None:
            raise
        print_end(*explained)
        os._exit(explained[0])  # the thread can't be ended otherwise


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def announce(text: str) -> None:
    """Print on stderr, once for all processes, what goes on; results alone go to stdout."""
    if is_first():
        print(text, file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """Print on stderr what only this process knows, such as an example that it can't read."""
    name = f"process {jax.process_index()}: " if jax.process_count() > 1 else ""
    print(f"{name}{text}", file=sys.stderr, flush=True)


def raise_once(error: UserError) -> NoReturn:
    """Raise what all processes have found alike, in the first one, which says it for all.

    The others wait for that, inside of `failing_together`, which ends them.
    """
    if not is_first():
        wait("the first process says it")  # and `failing_together` ends this one meanwhile
    raise error


def wait(reason: str) -> None:
    """Wait until all processes are here.

    Call it before work that takes processes different times: on CPUs the first exchange fails if a
    process is 30 s late (Gloo), later ones wait for minutes.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)


def add_up(number: int) -> int:
    """The sum of all processes' `number`."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).sum())


def highest(number: int) -> int:
    """The highest of all processes' `number`."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())


def gather(rows: np.ndarray) -> np.ndarray:
    """All processes' float64 [n, k], one below the other; n may differ, k may not."""
    return rows if jax.process_count() == 1 else np.concatenate(_gathered(rows))


def gather_items(items: list[Any]) -> list[Any]:
    """All processes' items, those of the first process first; they are what JSON can hold."""
    if jax.process_count() == 1:
        return items
    text = np.frombuffer(json.dumps(items).encode(), np.uint8)
    return [item for part in _gathered(text[:, None]) for item in json.loads(part.tobytes())]


def add_up_arrays(arrays: Any) -> Any:
    """The sum of all processes' trees of NumPy arrays, in the arrays' own width."""
    if jax.process_count() == 1:
        return arrays

    def total(array: np.ndarray) -> np.ndarray:
        parts = _gathered(array.reshape(1, -1))
        return np.concatenate(parts).sum(0, dtype=array.dtype).reshape(array.shape)

    return jax.tree.map(total, arrays)


def _gathered(rows: np.ndarray) -> list[np.ndarray]:
    """Each process's [n, k]; n may differ, k and the type may not."""
    counts = multihost_utils.process_allgather(np.int32(len(rows)))
    padded = np.zeros((int(counts.max()), rows.shape[1]), rows.dtype)
    padded[: len(rows)] = rows
    # as bytes: JAX would make 32 bits of 64
    everyone = np.asarray(multihost_utils.process_allgather(padded.view(np.uint8)))
    parts = (np.ascontiguousarray(part[:n]) for part, n in zip(everyone, counts, strict=True))
    return [part.view(rows.dtype) for part in parts]


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """In a run of several processes, an error in here ends all of them at once.

    The process that fails says why, or with what traceback, and each of the others in one line
    which process failed. None waits for anything: enter this last of all contexts that wait for
    other processes when they close. It may be entered again inside of itself.
    """
    try:
        yield
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        _fail(error)


def _fail(error: BaseException) -> NoReturn:
    name = f"process {distributed.global_state.process_id}"
    if isinstance(error, RuntimeError | ValueError) and _LOST.match(str(error)):
        line = (
            f"{name} lost another one ({first_line(error)}): start all of them again, the same "
            "command continues from the last checkpoint"
        )
        _end(1, line)
    if explained := explain(error):
        code, reason = explained
        _end(code, f"{name} failed: {reason}" if code < 128 else f"{name}: {reason}")
    traceback.print_exception(error)
    _end(1, f"{name} failed: {type(error).__name__}: {first_line(error)}")


def _end(code: int, line: str) -> NoReturn:
    """Print `line`, have the others print its first line, and exit without waiting for them."""
    if not _ending.acquire(blocking=False):  # another thread is at it
        threading.Event().wait()
    print_end(code, line)
    client, is_coordinator = _client(), distributed.global_state.process_id == 0
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # another process failed before
        client.key_value_set(_FAILURE, f"{code} {line.splitlines()[0].rstrip(':')}")
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # some are gone already
        client.wait_at_barrier(_FAILURE, 5000)  # milliseconds, for all to read it
    if is_coordinator:
        time.sleep(0.5)  # JAX aborts the others, with a stack trace, once the first one is gone
    sys.stdout.flush()
    os._exit(code)


def _client() -> Any:
    """Of JAX's coordination service, which the first process runs."""
    return distributed.global_state.client


_ending = threading.Lock()  # taken once, by the thread that ends this process


def _listen_for_failures() -> None:
    """End this process with one line once another one has failed."""
    client = _client()
    finished = threading.Event()

    def listen() -> None:
        while not finished.wait(0.5):
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # there is no such key
                code, line = client.key_value_try_get(_FAILURE).split(" ", 1)
                _end(int(code), line)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()

    @atexit.register  # runs before JAX, which registered earlier, closes the client
    def stop() -> None:
        finished.set()
        thread.join()
