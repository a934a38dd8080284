"""What `--slurm KEY=VALUE,...` asks of each job: submitit's parameters and sbatch's options."""

import importlib.util
from collections.abc import Callable
from typing import Any

from jaxseg.defaults import split_at_commas
from jaxseg.errors import UserError
from jaxseg.sweeps.slurm import ask

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


def parse(text: str) -> dict[str, Any]:
    """`KEY=VALUE,...` as parameters of submitit, and defaults.

    By default a job has one process, four hours at a time, and a GPU per process if there are any.

    Raises:
      UserError: no such form, a number that is none, an option that is not the user's, or there
        is no Slurm or submitit here.
    """
    _check_installed()
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
    return "gpu" in ask("sinfo", "--noheader", "--format=%G", *where)


def _check_installed() -> None:
    if not importlib.util.find_spec("submitit"):
        raise UserError(
            "--slurm needs the package submitit, which is not installed: pip install "
            "'jaxseg[slurm]' (in a checkout: .venv/bin/pip install -e '.[slurm]')"
        )
