"""A sweep as jobs of Slurm, which is the queue: they go on when whoever submitted them logs out.

`slurm.json` in the sweep's folder holds the job of each task that was submitted last, and `slurm/`
holds submitit's files: batch scripts, pickles, and what the jobs print besides the runs' own logs.
"""

import contextlib
import dataclasses
import io
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.errors import UserError, first_line
from jaxseg.sweeps.local import PROGRAM
from jaxseg.sweeps.plan import Task
from jaxseg.sweeps.process import last_line
from jaxseg.sweeps.status import Status

RECORD = "slurm.json"
FOLDER = "slurm"
REQUEUES = 100  # of a job at its time limit: a run that never gets anywhere must end some day
MAX_ARRAY = 1000  # jobs of one array, by Slurm's default MaxArraySize
_QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD")  # squeue's words


def jobs(workdir: Path) -> dict[str, str]:
    """The job of each task that was submitted last, by `task_key`."""
    try:
        return json.loads((workdir / RECORD).read_text())
    except FileNotFoundError:
        return {}


def task_key(task: Task) -> str:
    return f"{task.row}/seed{task.seed}"


def queue(*, required: bool = True) -> dict[str, str] | None:
    """The state of each of the user's jobs that has not ended, as squeue calls it.

    The elements of an array are jobs, such as 12_3.

    Args:
      required: whether not to know is an error; else it is None.

    Raises:
      UserError: there is no Slurm, or it does not answer.
    """
    try:
        found = ask("squeue", "--me", "--array", "--noheader", "--format=%i %T")
    except UserError:
        if required:
            raise
        return None
    return dict(line.split()[:2] for line in found.splitlines())


def ask(*command: str) -> str:
    """What a command of Slurm's prints."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise UserError(
            f"--slurm: there is no {command[0]} here, so this is no machine of a Slurm cluster; "
            "without --slurm the runs begin here"
        ) from None
    except subprocess.CalledProcessError as error:
        line = next(iter(error.stderr.strip().splitlines()), f"exit code {error.returncode}")
        raise UserError(f"{command[0]}: {line}") from None
    return found.stdout


def with_jobs(
    statuses: Iterable[Status], workdir: Path, states: Mapping[str, str] | None
) -> list[Status]:
    """Statuses with what Slurm knows and the folders don't: what is queued, or ended unbegun.

    Args:
      statuses: from the folders.
      workdir: the sweep's.
      states: of `queue`; None leaves the statuses as they are.
    """
    submitted = {} if states is None else jobs(workdir)
    return [_with_job(each, submitted.get(task_key(each.task)), states or {}) for each in statuses]


def _with_job(found: Status, job: str | None, states: Mapping[str, str]) -> Status:
    if job is None or found.state == "finished":
        return found
    if job in states:
        state = "queued" if states[job] in _QUEUED else "running"
        return dataclasses.replace(found, state=state, job=job)
    if found.state == "waiting" and found.task.log.exists():
        return dataclasses.replace(found, state="failed", reason=_reason(found.task))
    return found


def _reason(task: Task) -> str:
    return last_line(task.log) or "its job ended before it said anything"


def submit(
    statuses: Sequence[Status],
    workdir: Path,
    parameters: Mapping[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Submit what is neither finished nor queued nor running.

    Args:
      statuses: of all tasks, from `with_jobs`.
      workdir: the sweep's.
      parameters: of `slurm_options.parse`.
      announce: is told which jobs there are.

    Raises:
      UserError: sbatch refuses.
    """
    submission = _Submission(workdir, parameters, announce)
    finished = {s.task.workdir for s in statuses if s.task.trains and s.state == "finished"}
    todo = [s.task for s in statuses if s.state not in ("finished", "queued", "running")]
    free = [task for task in todo if task.needs is None or task.needs in finished]
    for begin in range(0, len(free), MAX_ARRAY):
        submission.add(free[begin : begin + MAX_ARRAY])
    trained = {s.task.workdir: task_key(s.task) for s in statuses if s.task.trains}
    running = {task_key(s.task): s.job for s in statuses if s.job}
    for task in todo:  # in the order in which they need each other
        if task.needs is None or task.needs in finished:
            continue
        needed = trained[task.needs]
        if job := running.get(needed) or submission.added.get(needed):
            submission.add([task], after=job)
        else:
            announce(f"{task.name}: needs {needed}, which runs outside Slurm: submit it later")


class _Submission:
    """Submits tasks, each call as one job or as an array of them."""

    def __init__(
        self, workdir: Path, parameters: Mapping[str, Any], announce: Callable[[str], None]
    ):
        self._workdir, self._announce = workdir, announce
        self._parameters = dict(parameters)
        several = parameters["nodes"] * parameters["tasks_per_node"] > 1
        self._distributed = ("--distributed",) if several else ()
        self.added: dict[str, str] = {}  # jobs by `task_key` of the task

    def add(self, tasks: Sequence[Task], after: str = "") -> None:
        """Submit `tasks`, to begin once job `after`, if any, has ended well."""
        import submitit

        from jaxseg.sweeps.slurm_job import Job

        parameters = {**self._parameters, "name": self._workdir.resolve().name}
        if after:
            parameters["dependency"] = f"afterok:{after}"
        calls = [
            Job((*PROGRAM, *t.words, *self._distributed), t.log.absolute(), bool(self._distributed))
            for t in tasks
        ]
        executor = submitit.AutoExecutor(
            self._workdir / FOLDER, cluster="slurm", slurm_max_num_timeout=REQUEUES
        )
        with _refusals():
            executor.update_parameters(**{f"slurm_{key}": v for key, v in parameters.items()})
            made = [job.job_id for job in executor.submit_array(calls)]
        self.added |= {task_key(task): job for task, job in zip(tasks, made, strict=True)}
        record = jobs(self._workdir) | self.added
        files.write_text(self._workdir / RECORD, json.dumps(record, indent=1) + "\n")
        if len(tasks) > 1:
            self._announce(f"jobs {made[0]} to {made[-1]}: {len(tasks)} runs")
        else:
            condition = f", after {after}" if after else ""
            self._announce(f"job {made[0]}: {tasks[0].name}{condition}")


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """One line about what sbatch refuses, in place of submitit's copy of its output."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        line = first_line(error).removeprefix("sbatch: ").removeprefix("error: ")
        raise UserError(f"sbatch refuses the jobs: {line}") from None
