"""A sweep as jobs of Slurm, which is the queue: they go on when whoever submitted them logs out.

`slurm.json` in the sweep's folder holds the job of each task that was submitted last, and `slurm/`
holds submitit's files: batch scripts, pickles, and what the jobs print besides the runs' own logs.
"""

import contextlib
import dataclasses
import io
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg import files
from jaxseg.defaults import split_at_commas
from jaxseg.errors import UserError, first_line
from jaxseg.sweeps.local import PROGRAM
from jaxseg.sweeps.plan import Task
from jaxseg.sweeps.process import last_line
from jaxseg.sweeps.status import Status

RECORD = "slurm.json"
FOLDER = "slurm"
REQUEUES = 100  # of a job at its time limit: a run that never gets anywhere must end some day
MAX_ARRAY = 1000  # jobs of one array, by Slurm's default MaxArraySize
DEFAULTS = {"nodes": 1, "tasks_per_node": 1, "timeout_min": 240}
INTEGERS = (*DEFAULTS, "cpus_per_task", "array_parallelism", "signal_delay_s")
# sbatch's options that have another name here, or that no user may set.
INSTEAD = {
    "time": "use timeout_min, in minutes",
    "ntasks": "use nodes and tasks_per_node",
    "ntasks_per_node": "use tasks_per_node",
    "signal": "use signal_delay_s, in seconds before the time limit",
    **dict.fromkeys(("array", "dependency", "output", "error"), "jaxseg sets it"),
}
_QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD")  # squeue's words


def parse(text: str) -> dict[str, Any]:
    """`KEY=VALUE,...` as parameters of submitit, and defaults.

    By default a job has one process, four hours at a time, and a GPU per process if there are any.

    Raises:
      UserError: no such form, a number that is none, an option that is not the user's, or there
        is no Slurm here.
    """
    values: dict[str, Any] = {**DEFAULTS}
    own: dict[str, Any] = {}  # of sbatch, which knows best what it takes
    for part in filter(None, split_at_commas(text)):
        key, equals, value = part.partition("=")
        key = key.strip().lstrip("-").replace("-", "_")
        if not (key and equals and value):
            raise UserError(f"--slurm takes KEY=VALUE,..., such as partition=gpu; got {part!r}")
        if key in INSTEAD:
            raise UserError(f"--slurm: {key} is not to be given, {INSTEAD[key]}")
        if key in INTEGERS:
            values[key] = _number(key, value)
        elif key == "mem_gb":
            values[key] = _number(key, value, float)
        elif key == "setup":
            values[key] = [value]
        else:
            own[key] = True if value.lower() == "true" else value
    if not any("gpu" in key or key == "gres" for key in own) and _has_gpus(own.get("partition")):
        own["gpus_per_node"] = values["tasks_per_node"]
    if "cpus_per_task" in values:  # which srun does not take from sbatch since Slurm 22.05
        values["srun_args"] = [f"--cpus-per-task={values['cpus_per_task']}"]
    own.setdefault("requeue", True)  # else neither preemption nor a time limit leads to it
    own.setdefault("kill_on_invalid_dep", "yes")  # what needs a failed run would wait for ever
    return values | {"additional_parameters": own}


def _number(key: str, text: str, kind: Callable[[str], Any] = int) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise UserError(f"--slurm: {key} is {text!r}, expected a number above 0")
    return value


def _has_gpus(partition: str | None) -> bool:
    """Whether sinfo says that the cluster, or this partition of it, has GPUs."""
    where = [f"--partition={partition}"] if partition else []
    return "gpu" in _ask("sinfo", "--noheader", "--format=%G", *where)


def jobs(workdir: Path) -> dict[str, str]:
    """The job of each task that was submitted last, by `key`."""
    try:
        return json.loads((workdir / RECORD).read_text())
    except FileNotFoundError:
        return {}


def key(task: Task) -> str:
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
        found = _ask("squeue", "--me", "--array", "--noheader", "--format=%i %T")
    except UserError:
        if required:
            raise
        return None
    return dict(line.split()[:2] for line in found.splitlines())


def _ask(*command: str) -> str:
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
    return [_with_job(each, submitted.get(key(each.task)), states or {}) for each in statuses]


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
      parameters: of `parse`.
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
    trained = {s.task.workdir: key(s.task) for s in statuses if s.task.trains}
    running = {key(s.task): s.job for s in statuses if s.job}
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
        self._executor = _executor(workdir / FOLDER)
        several = parameters["nodes"] * parameters["tasks_per_node"] > 1
        self._distributed = ("--distributed",) if several else ()
        self.added: dict[str, str] = {}  # jobs by `key` of the task

    def add(self, tasks: Sequence[Task], after: str = "") -> None:
        """Submit `tasks`, to begin once job `after`, if any, has ended well."""
        from jaxseg.sweeps.slurm_job import Job

        parameters = {**self._parameters, "name": self._workdir.resolve().name}
        if after:
            parameters["dependency"] = f"afterok:{after}"
        calls = [
            Job((*PROGRAM, *t.words, *self._distributed), t.log.absolute(), bool(self._distributed))
            for t in tasks
        ]
        with _refusals():
            self._executor.update_parameters(
                **{f"slurm_{name}": value for name, value in parameters.items()}
            )
            made = [job.job_id for job in self._executor.submit_array(calls)]
        self.added |= {key(task): job for task, job in zip(tasks, made, strict=True)}
        record = jobs(self._workdir) | self.added
        files.write_text(self._workdir / RECORD, json.dumps(record, indent=1) + "\n")
        if len(tasks) > 1:
            self._announce(f"jobs {made[0]} to {made[-1]}: {len(tasks)} runs")
        else:
            condition = f", after {after}" if after else ""
            self._announce(f"job {made[0]}: {tasks[0].name}{condition}")


def _executor(folder: Path) -> Any:
    try:
        import submitit
    except ImportError:
        raise UserError(
            "--slurm needs the package submitit, which is not installed: pip install "
            "'jaxseg[slurm]' (in a checkout: .venv/bin/pip install -e '.[slurm]')"
        ) from None
    return submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=REQUEUES)


@contextlib.contextmanager
def _refusals() -> Any:
    """One line about what sbatch refuses, in place of submitit's copy of its output."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        line = first_line(error).removeprefix("sbatch: ").removeprefix("error: ")
        raise UserError(f"sbatch refuses the jobs: {line}") from None
