"""All that there is to measure on a machine with one NVIDIA GPU, in a budget of time.

    python experiments/benchmarks/gpu.py --out results [--budget 470] [--parts checks,ops,train]

Parts, in the order given:

- checks: every operation in every lowering against NumPy in float64.
- ops: `jaxseg bench ops --write`, an operation at a time, bfloat16 and then float32. The choices go
  to OUT/lowerings.json, which the parts after it go by: copy it to jaxseg/ops.
- train, predict: `jaxseg bench steps`, a network at a time, bfloat16.
- memory: of the training steps that "train" timed before.

Each job is a process with a time limit, so that one that crashes or hangs loses its own row alone.
What no longer fits the budget is left out, and OUT/results.md says so. Jobs that OUT already has
are not run again: the same command goes on where it ended.

`--rehearse` runs tiny forms of all this on a CPU.

Packages that are imported: jax with its CUDA plugin and torch, with what those need, and absl-py,
flax, jaxtyping, ml-collections, msgpack, optax, platformdirs, PyYAML, rich.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: its own folder is no place for modules
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from experiments.benchmarks import gpu_report
from jaxseg import files
from jaxseg.bench import steps
from jaxseg.errors import UserError

PARTS = ("checks", "ops", "train", "predict", "memory")
# Those that most of a network's time goes to, first.
OPERATIONS = (
    "conv", "depthwise_conv", "pointwise_conv", "atrous_conv", "resize", "max_pool_3x3",
    "transposed_conv", "max_pool", "transposed_conv_per_class",
)  # fmt: skip
LIMITS = {"checks": 150, "ops": 120, "train": 200, "predict": 120, "memory": 120}  # seconds
LEAST = 20  # seconds that a job takes to begin
TINY = {"unet": steps.Case("unet", {"width": 4, "depth": 1}, size=32)}


@dataclasses.dataclass(frozen=True)
class Job:
    """One process: it writes OUT/NAME.json."""

    part: str
    subject: str = ""  # an operation or a network
    dtype: str = "bfloat16"

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.part, self.subject, self.dtype)))


def main(argv: Sequence[str]) -> None:
    values = _parsed(argv)
    out, rehearse = Path(values["out"].value).resolve(), values["rehearse"].value
    if values["job"].value:
        work(Job(*values["job"].value.split(",")), out, rehearse)
        return
    parts = values["parts"].value.split(",")
    budget = values["budget"].value
    if not set(parts) <= set(PARTS) or not budget.isdecimal():
        raise UserError(f"gpu.py: expected --parts of {','.join(PARTS)}, --budget in seconds")
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + int(budget)
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as programs:
        for job in jobs(parts, rehearse):
            left = end - time.monotonic()
            if (out / f"{job.name}.json").exists():
                continue
            if left < LEAST:
                left_out[job.name] = "the budget was used up"
            elif reason := run(job, out, programs, rehearse, min(left, LIMITS[job.part])):
                left_out[job.name] = reason
            gpu_report.write(out, left_out)
    print((out / "results.md").read_text())


def _parsed(argv: Sequence[str]) -> Any:
    from jaxseg.cli import flags

    values = flags.define()
    flags.string(values, "out", "job", budget="470", parts=",".join(PARTS))
    flags.boolean(values, "rehearse")
    flags.no_rest("gpu.py", flags.parse(values, "gpu.py", argv))
    flags.required(values, "gpu.py", "out")
    return values


def jobs(parts: Sequence[str], rehearse: bool) -> Iterator[Job]:
    """In order of importance."""
    networks, operations, dtypes = steps.CASES, OPERATIONS, ("bfloat16", "float32")
    if rehearse:
        networks, operations, dtypes = TINY, ("max_pool",), ("float32",)
    for part in parts:
        if part == "checks":
            yield Job(part, dtype="")
        elif part == "ops":
            yield from (Job(part, op, dtype) for dtype in dtypes for op in operations)
        else:
            yield from (Job(part, network, dtypes[0]) for network in networks)


def run(job: Job, out: Path, programs: str, rehearse: bool, limit: float) -> str:
    """Why the job gave nothing, or "". What it prints goes to OUT/NAME.log.

    Compiled programs are kept in the folder `programs`.
    """
    words = [job.part, job.subject, job.dtype]
    command = [sys.executable, __file__, f"--out={out}", f"--job={','.join(words)}"]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": programs}
    if rehearse:
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    print(f"{job.name}, at most {limit:.0f} s ...", file=sys.stderr, flush=True)
    log = out / f"{job.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *["--rehearse"] * rehearse],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and the processes that it started
            process.wait()
            return f"not done within {limit:.0f} s"
    last = log.read_text().strip().rpartition("\n")[2]
    return f"exit code {code}: {last}" if code else ""


def work(job: Job, out: Path, rehearse: bool) -> None:
    """What the job's own process does."""
    from jaxseg.bench import timing
    from jaxseg.ops import lowering

    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if rehearse:
        steps.CASES.update(TINY)
    chosen = out / lowering.TABLE.name  # a table of our own: the package's stays as it is
    if not chosen.exists():
        files.write_text(chosen, lowering.TABLE.read_text())
    lowering.TABLE = chosen
    does: dict[str, Callable[..., Any]] = {"checks": _checks, "ops": _ops, "memory": _memory}
    found = does.get(job.part, _steps)(job, out, rehearse)
    text = json.dumps({**timing.machine(), **found}, indent=1)
    files.write_text(out / f"{job.name}.json", text + "\n")


def _checks(job: Job, out: Path, rehearse: bool) -> dict[str, Any]:
    from jaxseg.bench import checks

    results = list(checks.results(("max_pool", "resize") if rehearse else ()))
    return {"results": results, "passed": all(result["passed"] for result in results)}


def _ops(job: Job, out: Path, rehearse: bool) -> dict[str, Any]:
    from jaxseg.bench import ops

    _forget_other_machines()
    seconds, path = "0.05" if rehearse else "0.3", out / f"{job.name}.times"
    what = [f"--ops={job.subject}", f"--dtypes={job.dtype}", f"--seconds={seconds}"]
    ops.main([*what, f"--json={path}", "--write"])
    found = json.loads(path.read_text())
    path.unlink()
    rows = list(ops.rows(found["results"], found["choices"]))
    return {**found, "headings": ops.HEADINGS, "table": rows}


def _forget_other_machines() -> None:
    """`bench ops --write` adds an operation only to what this machine has measured."""
    import jax

    from jaxseg.bench import timing
    from jaxseg.ops import lowering

    table, host = json.loads(lowering.TABLE.read_text()), timing.machine()
    if not host.items() <= table.get(jax.default_backend(), {}).items():
        table.pop(jax.default_backend(), None)
        files.write_text(lowering.TABLE, json.dumps(table))


def _steps(job: Job, out: Path, rehearse: bool) -> dict[str, Any]:
    seconds, path = "0.2" if rehearse else "6", out / f"{job.name}.rows"
    what = [f"--models={job.subject}", f"--mode={job.part}", f"--dtype={job.dtype}"]
    steps.main([*what, f"--seconds={seconds}", f"--json={path}", "--skip_memory"])
    found = json.loads(path.read_text())
    path.unlink()
    return found


def _memory(job: Job, out: Path, rehearse: bool) -> dict[str, Any]:
    from jaxseg.bench import contest, memory

    timed = out / f"{dataclasses.replace(job, part='train').name}.json"
    if not timed.exists():
        raise UserError(f"no training step was timed: {timed.name} is not there")
    (row,) = json.loads(timed.read_text())["rows"]
    setting = steps.setting_of(row, "cpu" if rehearse else "cuda")
    programs = os.environ["JAX_COMPILATION_CACHE_DIR"]
    memory.peak(setting, "Ours", {}, programs)  # compiled, so that it is not while it is measured
    return {"peak_bytes": contest.memory(setting, row["way"], programs)}


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"gpu.py: error: {error}")
