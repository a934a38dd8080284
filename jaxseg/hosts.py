"""Processes: several make one run, on one machine or on many, each with its devices and its data.

Each reads its own part of every batch; the first writes what is for people; all save the state.
They agree on when to stop, and if one dies the others end. With one process all of this is nothing.
"""

import os
import signal
import sys
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxseg.errors import UserError

# Seconds of silence after which a process is taken for dead, and all others end.
HEARTBEAT_TIMEOUT = 30
CONNECT_TIMEOUT = 300


def connect(
    coordinator: str | None = None, processes: int | None = None, index: int | None = None
) -> None:
    """Join the run's other processes; call it before anything touches a device.

    Args:
      coordinator: HOST:PORT of the first process; None if Slurm, Open MPI or Kubernetes tells.
      processes: how many there are, or None likewise.
      index: which of them this is, the first 0, or None likewise.

    Raises:
      UserError: nobody tells, or the others did not come.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            index,
            initialization_timeout=CONNECT_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=2 * HEARTBEAT_TIMEOUT,
        )
    except (ValueError, RuntimeError) as error:  # JAX's own errors among them
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"the processes did not find each other ({reason}): under Slurm, Open MPI or "
            "Kubernetes --distributed finds them; else give every process "
            "--coordinator_address=HOST:PORT --num_processes=N --process_id=0..N-1"
        ) from None
    if not is_first():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # libraries' words too


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def tell(text: str) -> None:
    """What matters to a person and only this process knows."""
    print(f"process {jax.process_index()}: {text}", file=sys.stderr, flush=True)


def wait(reason: str) -> None:
    """Until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)


def add_up(number: int) -> int:
    """The sum of all processes' `number`."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).sum())


def leave(error: Exception) -> NoReturn:
    """End this process where another is gone: what would wait for it is not waited for."""
    reason = str(error).strip().splitlines()[0][:200]
    print(
        f"jaxseg: error: process {jax.process_index()} lost another one ({reason}): start all of "
        "them again, the same command continues from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


class Stop:
    """True once SIGTERM or Ctrl-C came to any process; the second Ctrl-C ends this one at once.

    All processes must ask equally often: they agree on the question from which the answer is yes.
    A `with` block in the main thread listens to the signals.
    """

    def __init__(self) -> None:
        self._asked = False
        self._questions = 0
        self._old: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        if jax.process_count() > 1 and not self._asked:
            self._questions += 1
            self._asked = multihost_utils.reached_preemption_sync_point(self._questions)
        return self._asked

    def __enter__(self) -> "Stop":
        # With several processes JAX listens to SIGTERM and tells the others.
        numbers = [signal.SIGINT] + [signal.SIGTERM] * (jax.process_count() == 1)
        self._old = {number: signal.signal(number, self._heard) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)
        else:
            self._asked = True
