"""The jobs of `gpu.py`, each done by a process that writes its rows as they come."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks import gpu_commands
from jaxseg.bench import record, steps
from jaxseg.bench.modes import JAXSEG, PYTORCH
from jaxseg.errors import UserError

# In order of importance, with the most seconds of one job.
PARTS = {
    "train": 200,
    "predict": 150,
    "memory": 150,
    "checks": 150,
    "ops": 120,
    "tuned": 150,
    "autotune-train": 400,
    "autotune-predict": 300,
    "camvid": 450,
    "tests": 450,
}
# Those that most of a network's time goes to, first.
OPERATIONS = ("conv", "depthwise_conv", "pointwise_conv", "atrous_conv", "resize", "max_pool_3x3")
TINY = {"unet": steps.Network("unet", {"width": 4, "depth": 1}, size=32)}


@dataclasses.dataclass(frozen=True)
class Job:
    """One process: it writes WORK/NAME.json."""

    part: str
    subject: str = ""  # an operation or a network
    dtype: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.part, self.subject, self.dtype)))


def jobs(parts: Sequence[str], rehearse: bool) -> Iterator[Job]:
    """Part by part, in the order given; in a rehearsal one of each kind."""
    from jaxseg.ops import catalogue

    networks, dtypes = list(steps.NETWORKS), ["bfloat16", "float32"]
    operations = [name for name in OPERATIONS if name in catalogue.OPERATIONS]
    operations += [name for name in catalogue.OPERATIONS if name not in operations]
    if rehearse:
        networks, operations, dtypes = list(TINY), ["max_pool"], ["float32"]
    for part in parts:
        if part in ("checks", "camvid", "tests"):
            yield Job(part)
        elif part == "ops":
            yield from (Job(part, name, dtype) for dtype in dtypes for name in operations)
        else:
            yield from (Job(part, network, dtypes[0]) for network in networks)


def is_complete(path: Path) -> bool:
    """Whether the job that writes this file has come to its end."""
    return path.exists() and json.loads(path.read_text())["results"]["complete"]


def work(job: Job, options: Any) -> None:
    """What the job's own process does.

    Raises:
      UserError: the device is not the one wanted.
    """
    from jaxseg.ops import lowering

    if options.rehearse:
        steps.NETWORKS.update(TINY)
    device = steps.find_device()
    if device != ("cpu" if options.rehearse else "cuda"):
        raise UserError(f"JAX and PyTorch run on {device}")
    if job.part in ("ops", "tuned"):  # a table of our own: the package's stays as it is
        table = options.work / lowering.TABLE.name
        if not table.exists():
            table.write_text(lowering.TABLE.read_text())
        lowering.TABLE = table
    does: dict[str, Callable[[Job, Any], Iterator[dict[str, Any]]]] = {
        "device": _device,
        "memory": _memory,
        "checks": _checks,
        "ops": _ops,
        "camvid": gpu_commands.camvid,
        "tests": gpu_commands.tests,
    }
    found: dict[str, Any] = {}
    for found in does.get(job.part, _steps)(job, options):
        _write(job, options, {"complete": False, **found})
    _write(job, options, {"complete": True, **found})


def _write(job: Job, options: Any, results: dict[str, Any]) -> None:
    command = f"python experiments/benchmarks/gpu.py --parts={job.part} (job {job.name})"
    path = options.work / f"{job.name}.json"
    record.write(path, command, results, commit_id=options.commit or None)


def _device(job: Job, options: Any) -> Iterator[dict[str, Any]]:
    """That both libraries compute on the device, and what it is."""
    import jax
    import torch  # pyright: ignore[reportMissingImports]

    from jaxseg.bench.timing import version

    device = steps.find_device()
    assert float(jax.numpy.ones((64, 64)).sum()) == 4096
    assert float(torch.ones((64, 64), device=device).sum()) == 4096
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "triton")
    kind = torch.cuda.get_device_name() if device == "cuda" else device
    versions = {name: version(name) for name in packages}
    yield {"jax": jax.devices()[0].device_kind, "torch": kind, "packages": versions}


def _sides(part: str, device: str) -> list[str]:
    """Who is timed: PyTorch's last mode takes minutes to compile and has a part of its own."""
    *quick, slow = PYTORCH[device]
    return [slow] if part.startswith("autotune") else [JAXSEG, *quick]


def _steps(job: Job, options: Any) -> Iterator[dict[str, Any]]:
    device = steps.find_device()
    mode = "predict" if "predict" in job.part else "train"
    row = steps.start_row(job.subject, mode, device, dtype=job.dtype)
    sides, seconds = _sides(job.part, device), 0.2 if options.rehearse else 6.0
    for _ in steps.measured([row], device, sides, seconds, memory=False):
        yield {"rows": [row]}


def _memory(job: Job, options: Any) -> Iterator[dict[str, Any]]:
    timed = options.work / f"{dataclasses.replace(job, part='train').name}.json"
    if not timed.exists():
        raise UserError(f"no training step was timed: {timed.name} is not there")
    (row,) = json.loads(timed.read_text())["results"]["rows"]
    for _ in steps.add_memory(row, steps.find_device(), str(options.work / "cache/xla")):
        yield {"rows": [row]}


def _checks(job: Job, options: Any) -> Iterator[dict[str, Any]]:
    from jaxseg.bench import checks

    results = []
    for result in checks.results(("max_pool",) if options.rehearse else ()):
        results.append(result)
        yield {"results": results}


def _ops(job: Job, options: Any) -> Iterator[dict[str, Any]]:
    import jax

    from jaxseg.bench import choices, ops, timing

    results, errors = [], []
    cases = [case for case in ops.CASES if case.operation == job.subject]
    for case in cases[:1] if options.rehearse else cases:
        try:
            seconds = 0.05 if options.rehearse else 0.3
            on_device = case.on(jax.default_backend())
            results.append(ops.measure(on_device, job.dtype, seconds=seconds))
        except Exception as error:  # a lowering is wrong or does not compile; the others count
            errors.append(f"{case}: {error}")
        best = choices.choose(results)
        rows = list(ops.rows(results, best))
        headings = ops.HEADINGS
        yield {"results": results, "headings": headings, "table": rows, "errors": errors}
    _forget_other_machines()
    host = timing.machine()
    choices.write(host, choices.choose(results), choices.kept(host, partial=True))


def _forget_other_machines() -> None:
    """Choices are added only to what this machine has measured."""
    import jax

    from jaxseg import files
    from jaxseg.bench import timing
    from jaxseg.ops import lowering

    table, host = json.loads(lowering.TABLE.read_text()), timing.machine()
    if not host.items() <= table.get(jax.default_backend(), {}).items():
        table.pop(jax.default_backend(), None)
        files.write_text(lowering.TABLE, json.dumps(table))
