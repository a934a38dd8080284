"""A sweep on one machine: as many processes at a time as there are GPUs, or slots of CPU cores."""

import contextlib
import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxseg import lock
from jaxseg.errors import UserError
from jaxseg.signals import STOPPING
from jaxseg.sweeps.plan import Task
from jaxseg.sweeps.process import (
    ATTEMPTS,
    WRONG_INPUT,
    environment_without_slurm,
    kill_group,
    last_line,
    start,
)
from jaxseg.sweeps.status import last_row

POLL_SECONDS = 0.3
GRACE_SECONDS = 300  # for a checkpoint, before a process that was asked to stop is killed
PROGRAM = (sys.executable, "-m", "jaxseg.cli")


@dataclasses.dataclass(frozen=True)
class Slot:
    """What one process at a time may use.

    Attributes:
      gpu: its entry of CUDA_VISIBLE_DEVICES; empty without GPUs.
      cores: the numbers of its CPU cores; empty: all.
    """

    gpu: str = ""
    cores: tuple[int, ...] = ()

    def environment(self) -> dict[str, str]:
        """The environment of a run here."""
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpu} if self.gpu else {}
        return environment_without_slurm() | gpu


def slots(wanted: int = 0) -> list[Slot]:
    """One for each GPU that CUDA_VISIBLE_DEVICES leaves; without GPUs, shares of the CPU's cores.

    Args:
      wanted: how many; 0: all GPUs, or one slot of all cores.

    Raises:
      UserError: more than there are GPUs or cores.
    """
    if gpus := _gpus():
        if wanted > len(gpus):
            raise UserError(
                f"--slots={wanted}, but there are {len(gpus)} GPUs ({', '.join(gpus)}): "
                "a run takes a whole one"
            )
        return [Slot(gpu=gpu) for gpu in gpus[: wanted or None]]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    count = wanted or 1
    if cores and count > len(cores):
        raise UserError(f"--slots={count}, but there are {len(cores)} CPU cores: use at most those")
    bounds = [i * len(cores) // count for i in range(count + 1)]  # neighbours stay together
    return [Slot(cores=tuple(cores[a:b])) for a, b in itertools.pairwise(bounds)]


def _gpus() -> list[str]:
    inherited = os.environ.get("CUDA_VISIBLE_DEVICES")
    if inherited is not None:
        return [gpu.strip() for gpu in inherited.split(",") if gpu.strip() not in ("", "-1")]
    if os.environ.get("JAX_PLATFORMS", "") == "cpu" or not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.split() if found.returncode == 0 else []


@dataclasses.dataclass(eq=False)
class _Process:
    task: Task
    slot: Slot
    popen: subprocess.Popen[bytes]


class Pool:
    """Runs tasks in slots, each in a session of its own, with its output in the task's log.

    A run that fails is started once more, which continues it from its checkpoint; after that it
    counts as failed, with what needs it, and the others go on. Of a row's runs one goes ahead until
    it has compiled, so that the others find its programs in the cache.
    """

    def __init__(self, places: Sequence[Slot], announce: Callable[[str], None]):
        self._free, self._announce = list(places), announce
        self._processes: list[_Process] = []
        self._attempts: dict[Task, int] = {}
        self._unfinished: set[Path] = set()  # folders of runs
        self._held: set[Path] = set()  # by processes that are not ours, as was announced
        self._signal: signal.Signals | None = None
        self._kill_at = float("inf")
        self.failed: dict[Task, str] = {}  # and why, in a line
        self.pruned: set[Task] = set()

    def run(self, waiting: list[Task], refresh: Callable[[], None]) -> signal.Signals | None:
        """Run all tasks of `waiting`, in their order where nothing keeps one waiting.

        Args:
          waiting: those that are not finished yet. A task that begins is taken from the list.
          refresh: is called a few times a second, and may add to `waiting`.

        Returns:
          The signal that stopped the sweep, after every process has ended; None: all is done.
        """
        self._unfinished = {task.workdir for task in waiting if task.trains}
        with self._handling_signals():
            try:
                refresh()
                while self._processes or (waiting and not self._signal):
                    waiting[:0] = self._collect()
                    if not self._signal:
                        self._start_ready(waiting)
                    elif time.monotonic() > self._kill_at:
                        self._kill()
                    refresh()
                    time.sleep(POLL_SECONDS)
            finally:
                self._kill()  # nothing may outlive an error here
        return self._signal

    @property
    def num_free(self) -> int:
        return len(self._free)

    def prune(self, task: Task) -> None:
        """Have a running task stop, for it promises little; it has not failed."""
        self.pruned.add(task)
        for process in self._processes:
            if process.task == task:
                process.popen.send_signal(signal.SIGTERM)

    def is_running(self, task: Task) -> bool:
        return any(process.task == task for process in self._processes)

    def _start_ready(self, waiting: list[Task]) -> None:
        for task in list(waiting):
            lost = next((t for t in self.failed if t.trains and t.workdir == task.needs), None)
            if lost:
                waiting.remove(task)
                self._fail(task, f"needs {lost.name}, which failed")
            elif self._free and task.needs not in self._unfinished and not self._must_wait(task):
                waiting.remove(task)
                self._start(task, self._free.pop(0))

    def _must_wait(self, task: Task) -> bool:
        compiling = any(
            p.task.row == task.row and not last_row(p.task.workdir / "metrics.jsonl")
            for p in self._processes
        )
        if compiling or not lock.is_held(task.workdir):
            return compiling
        if task.workdir not in self._held:
            self._held.add(task.workdir)
            self._announce(f"{task.name}: {lock.holder(task.workdir)} writes there: waiting")
        return True

    def _start(self, task: Task, slot: Slot) -> None:
        self._attempts[task] = self._attempts.get(task, 0) + 1
        command = (*PROGRAM, *task.words)
        popen = start(command, task.log, slot.environment(), slot.cores)
        self._processes.append(_Process(task, slot, popen))
        self._announce(f"{task.name}: started, log {task.log}")

    def _collect(self) -> list[Task]:
        """Takes the processes that have ended; returns the tasks to start again."""
        again = []
        for process in [p for p in self._processes if p.popen.poll() is not None]:
            kill_group(process.popen.pid)  # whatever it left behind
            self._processes.remove(process)
            self._free.append(process.slot)
            task, code = process.task, process.popen.returncode
            if code == 0:
                self._announce(f"{task.name}: finished")
                if task.trains:
                    self._unfinished.discard(task.workdir)
            elif task not in self.pruned and not self._signal:
                line = last_line(task.log) or f"ended with code {code}"
                if code == WRONG_INPUT or self._attempts[task] == ATTEMPTS:
                    self._fail(task, line)
                else:
                    self._announce(f"{task.name}: {line}; starting it once more")
                    again.append(task)
        return again

    def _fail(self, task: Task, reason: str) -> None:
        self.failed[task] = reason
        self._announce(f"{task.name}: failed: {reason}")

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """A signal asks all runs to save and stop; a second Ctrl-C kills them at once."""

        def stop(number: int, frame: Any) -> None:
            if self._signal:
                self._kill_at = 0.0 if number == signal.SIGINT else self._kill_at
                return
            self._signal = signal.Signals(number)
            self._kill_at = time.monotonic() + GRACE_SECONDS
            for process in self._processes:
                process.popen.send_signal(signal.SIGTERM)

        old = {number: signal.signal(number, stop) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _kill(self) -> None:
        for process in self._processes:
            kill_group(process.popen.pid)
            process.popen.wait()
