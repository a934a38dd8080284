"""What runs inside a job of Slurm: one command of a sweep, or one process of several.

submitit pickles a `Job`, and calls it there. Slurm sends SIGUSR2 before the time limit to every
process of the job: to the run, which saves and stops, and to submitit, which calls
`Job.checkpoint` and puts the job back into the queue. On preemption and `scancel` it sends SIGTERM,
to which the run reacts alike, and submitit not at all.
"""

import contextlib
import dataclasses
import os
import signal
import time
from pathlib import Path

from submitit.helpers import DelayedSubmission

from jaxseg.sweeps.process import (
    ATTEMPTS,
    STOPPED,
    WRONG_INPUT,
    environment_without_slurm,
    kill_group,
    last_line,
    start,
)

# How long a job waits for its own end once its run was stopped by a signal: longer than clusters
# leave a job that is preempted or cancelled.
END_SECONDS = 600


class RunFailedError(Exception):
    """The last line of a run's log."""


@dataclasses.dataclass
class Job:
    """A run, to be called in a job of Slurm.

    Attributes:
      command: what is run.
      log: where its output goes; of the second process and further ones, beside it.
      distributed: whether the job's processes make one run, which asks Slurm about the others.
    """

    command: tuple[str, ...]
    log: Path
    distributed: bool = False

    def __post_init__(self) -> None:
        self._pid = 0  # of the run's process

    def __call__(self) -> None:
        """Run it, once more if it fails.

        Raises:
          RunFailedError: it failed again, or something else than Slurm stopped it.
        """
        log = self._log()
        for _ in range(ATTEMPTS):
            code = self._run(log)
            if code == 0:
                return
            if code in STOPPED:
                # Were this process to end now, Slurm would take the job for a failed one. It is to
                # be killed, or put back into the queue by Slurm or by `checkpoint`.
                time.sleep(END_SECONDS)
                raise RunFailedError("a signal stopped the run, but Slurm did not end its job")
            if code == WRONG_INPUT:
                break
        raise RunFailedError(last_line(log) or f"ended with code {code}")

    def checkpoint(self) -> DelayedSubmission:
        """Stop the run and wait until it is saved; returns what continues it in the next job."""
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                os.kill(self._pid, signal.SIGTERM)
        self._wait()
        return DelayedSubmission(Job(self.command, self.log, self.distributed))

    def _run(self, log: Path) -> int:
        environment = dict(os.environ) if self.distributed else environment_without_slurm()
        process = start(self.command, log, environment)
        self._pid = process.pid
        self._wait()
        kill_group(process.pid)  # whatever it left behind
        return process.wait()

    def _wait(self) -> None:
        """Until the run has ended. `checkpoint` interrupts this, so it may hold no lock.

        subprocess.Popen.wait holds one: waiting in a signal's handler as well would never end.
        """
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)

    def _log(self) -> Path:
        rank = os.environ.get("SLURM_PROCID", "0")
        return self.log if rank == "0" else self.log.with_suffix(f".{rank}.log")
