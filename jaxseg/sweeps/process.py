"""The process of a run: in a session of its own, and gone with all that it started."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jaxseg.signals import STOPPING

ATTEMPTS = 2  # of a run
WRONG_INPUT = 2  # the exit code: another start would not help
# Exit codes of a run that was asked to stop; those below zero before it listened to signals.
STOPPED = frozenset(code for number in STOPPING for code in (128 + number, -number))


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str], cores: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `command`, which ends when this process does (see `child`).

    Args:
      command: a program and its arguments.
      log: what it prints is appended here.
      environment: its variables.
      cores: the numbers of the CPU cores that it may use; empty: all.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file, _confined_to(cores):
        return subprocess.Popen(
            [sys.executable, "-m", "jaxseg.sweeps.child", str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def environment_without_slurm() -> dict[str, str]:
    """Without what Slurm says of this process: JAX would read it as that of several."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}


def kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


@contextlib.contextmanager
def _confined_to(cores: Sequence[int]) -> Iterator[None]:
    """What is started inside runs on these cores; all if there are none given."""
    if not cores:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


_ERROR = re.compile(r"jaxseg: |[\w.]*(Error|Exception|Interrupt): ")


def last_line(log: Path) -> str:
    """The last line of a log that names an error, else the last one that says something."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if _ERROR.match(line)]
    return next(reversed(errors or said), "").removeprefix("jaxseg: error: ")
