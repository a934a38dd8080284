"""All that there is to measure on a machine with one NVIDIA GPU and no network.

    python experiments/benchmarks/gpu.py --out results [--budget 540] [--parts train,ops,tuned]

Parts, in this order by default:

- train, predict: `jaxseg bench steps`, a network at a time, bfloat16, with XLA's own lowerings or
  those that jaxseg/ops/lowerings.json has for GPUs.
- memory: peak memory of those training steps, with the same lowerings.
- checks: every operation in every lowering against NumPy in float64.
- ops: every operation in every lowering beside PyTorch's, bfloat16 and then float32. The choices
  go to lowerings.json in the results: copy it to jaxseg/ops.
- tuned: the training steps again, with these choices.
- autotune-train, autotune-predict: PyTorch by torch.compile's max-autotune, minutes a network.
- camvid: `jaxseg train` of a real config on CamVid. Needs --camvid.
- tests: the tests of what computes, on the GPU. Needs the folder tests.

Each job is a process with a time limit, which writes its rows as it gets them: one that crashes,
hangs or runs out of memory loses what it has not measured yet, and nothing else. Jobs that no
longer fit the budget are left out and named in results.md.

OUT gets at most 7 files of at most 15 MiB: results.md, results.tar.gz (everything measured, logs)
and, with --keep_cache, the compiled programs in cache-0.tar and so on. The same command with
OUT, or a copy of it in --resume, continues: jobs that are done are not run again, and what is
compiled is not compiled again.

`--rehearse` runs tiny forms of all this on a CPU, under the same limits. Without it, a machine
where JAX or PyTorch uses no GPU is refused.

Carrying what a bare machine lacks. With Python 3.12, jax 0.11.2 and torch 2.11 installed there
beside flax, optax, orbax-checkpoint, OpenCV, Pillow and pytest, these wheels (12 MB) are missing:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -d wheels \
        ml_collections==1.1.0 platformdirs==4.14.5 tensorboardX==2.6.5 \
        tensorflow-datasets==4.9.10 tensorflow-metadata==1.21.0 array-record==0.8.6 \
        dm-tree==0.1.10 docstring-parser==0.18.0 googleapis-common-protos==1.76.0 \
        immutabledict==4.3.1 simple-parsing==0.1.9 termcolor==3.3.0 toml==0.10.2 beartype==0.23.1
    pip wheel --no-deps -w wheels promise==2.3  # has no wheel of its own

and there, before the command:

    python3 -m pip install -q --no-index --no-deps --target /tmp/site wheels/*.whl
    export PYTHONPATH=/tmp/site

CamVid travels as one archive of 42 MB, DIR holding train and val with images and masks, which are
compressed already: `tar cf camvid.tar -C DIR train val`, then --camvid camvid.tar. --weights FILE
begins from other people's weights of MobileNetV2, such as TF-Slim's. --commit says what commit is
measured where the machine has a copy without git.
"""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # run as a file: its own folder is no place for modules
    sys.path[0] = str(ROOT)

PACKAGES = (
    "absl", "flax", "jax", "jaxtyping", "ml_collections", "optax", "orbax", "platformdirs", "torch",
)  # fmt: skip
TRAINING_PACKAGES = ("array_record", "cv2", "PIL", "tensorboardX", "tensorflow_datasets", "tqdm")
TEST_PACKAGES = ("beartype", "pytest", "xdist")
RESERVE = 15  # seconds of the budget kept for packing the results
LEAST = 20  # seconds that a job takes to begin


@dataclasses.dataclass(frozen=True)
class Options:
    """What the jobs share; `work` is the folder of their files."""

    work: Path
    rehearse: bool = False
    camvid: str = ""
    weights: str = ""
    commit: str = ""

    @property
    def words(self) -> list[str]:
        """As flags of this program."""
        given = dataclasses.asdict(self)
        rehearse = given.pop("rehearse")
        words = [f"--{key}={value}" for key, value in given.items() if value]
        return words + ["--rehearse"] * rehearse

    @property
    def environment(self) -> dict[str, str]:
        """Of a job's process. Compiled programs are kept in WORK/cache."""
        cache = self.work / "cache"
        platforms = {"JAX_PLATFORMS": "cuda,cpu"}
        if self.rehearse:
            platforms = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
        return {
            **os.environ,
            **platforms,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": str(cache / "xla"),
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
            "TRITON_CACHE_DIR": str(cache / "triton"),
        }


def main(argv: Sequence[str]) -> None:
    _check_packages(PACKAGES)
    from experiments.benchmarks import gpu_archive, gpu_jobs
    from jaxseg.errors import UserError

    values = _parsed(argv)
    given: dict[str, Any] = {"rehearse": values["rehearse"].value}
    given["commit"] = values["commit"].value or ""
    for key in ("camvid", "weights"):
        given[key] = str(Path(values[key].value).resolve()) if values[key].value else ""
    if name := values["job"].value:
        gpu_jobs.work(gpu_jobs.Job(*name.split(",")), Options(Path(values["work"].value), **given))
        return
    out, parts = Path(values["out"].value or ""), values["parts"].value.split(",")
    budget = values["budget"].value
    if not values["out"].value or not set(parts) <= set(gpu_jobs.PARTS) or not budget.isdecimal():
        raise UserError(
            f"expected --out FOLDER, --parts of {','.join(gpu_jobs.PARTS)}, --budget in seconds"
        )
    end = time.monotonic() + int(budget) - RESERVE
    if {"camvid", "tests"} & set(parts):
        _check_packages(TRAINING_PACKAGES + TEST_PACKAGES)
    if "camvid" in parts and not given["camvid"] and not given["rehearse"]:
        parts.remove("camvid")
        print("camvid is left out: no --camvid ARCHIVE", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        options = Options(Path(folder), **given)
        for source in (values["resume"].value, out):
            if source:
                gpu_archive.unpack(Path(source), options.work)
        if reason := run(gpu_jobs.Job("device"), options, LEAST * 6):
            raise UserError(f"no GPU to measure on: {reason}; --rehearse runs on a CPU")
        run_all(gpu_jobs.jobs(parts, options.rehearse), options, out, end)
        if values["keep_cache"].value:
            gpu_archive.pack_cache(options.work / "cache", out)
    print((out / "results.md").read_text())


def _parsed(argv: Sequence[str]) -> Any:
    from experiments.benchmarks import gpu_jobs
    from jaxseg.cli import flags

    values = flags.define()
    flags.string(values, "out", "resume", "work", "job", "camvid", "weights", "commit")
    flags.string(values, budget="540", parts=",".join(gpu_jobs.PARTS))
    flags.boolean(values, "rehearse", "keep_cache")
    flags.no_rest("gpu.py", flags.parse(values, "gpu.py", argv))
    return values


def _check_packages(names: Sequence[str]) -> None:
    from jaxseg.errors import UserError

    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"the packages {', '.join(missing)} are missing: carry their wheels, as the docstring "
            "of gpu.py says, and set PYTHONPATH"
        )


def run_all(jobs: Any, options: Options, out: Path, end: float) -> None:
    """Run what is not done and fits; OUT has the results after every job."""
    from experiments.benchmarks import gpu_archive, gpu_jobs, gpu_report

    left_out: dict[str, str] = {}
    for job in jobs:
        left = end - time.monotonic()
        if gpu_jobs.is_complete(options.work / f"{job.name}.json"):
            continue
        if left < LEAST:
            left_out[job.name] = "the budget was used up"
        elif reason := run(job, options, min(left, gpu_jobs.PARTS[job.part])):
            left_out[job.name] = reason
        gpu_report.write(options.work, left_out)
        gpu_archive.pack_results(options.work, out)
    gpu_report.write(options.work, left_out)
    gpu_archive.pack_results(options.work, out)


def run(job: Any, options: Options, limit: float) -> str:
    """Run the job's process; returns why it did not finish, or "". Its output goes to a log."""
    words = ",".join(dataclasses.astuple(job))
    print(f"{job.name}, at most {limit:.0f} s ...", file=sys.stderr, flush=True)
    log = options.work / f"{job.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, __file__, f"--job={words}", *options.words],
            env=options.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    if code is None:
        return f"not done within {limit:.0f} s"
    last = log.read_text(errors="replace").strip().rpartition("\n")[2]
    return f"exit code {code}: {last}" if code else ""


def _end(process: subprocess.Popen) -> None:
    """And the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    from jaxseg.errors import UserError

    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"gpu.py: error: {error}")
