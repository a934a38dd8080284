"""A run's folder, and the only way into it: to read a run, or to write one.

    config.json      the resolved config
    run.json         what ran here, from which commit, on what, and how each start of it ended
    metrics.jsonl    losses, speeds and scores by step; tensorboard/ has the same
    checkpoints/     the latest states and the best by `config.best_metric`
    eval/SPLIT/      the scores of every evaluation
    predictions/     pictures of a few validation images
    temperature.json what `jaxseg evaluate --fit_temperature` found

One process writes at a time: a lock says which, and ends with it.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from jaxseg import checkpoint, data, files, lock, memory
from jaxseg.config import check_config, load_config
from jaxseg.data.pixels import PixelFormat
from jaxseg.data.source import Classes
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.models.contract import stride_mismatch
from jaxseg.overrides import override_config
from jaxseg.program import Program, build_program
from jaxseg.state import TrainState

CHECKPOINTS = "checkpoints"
RECORD = "run.json"
PACKAGES = (
    "jaxseg", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy",
    "tensorflow-datasets", "opencv-python-headless", "Pillow",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, opened at one of its steps."""

    workdir: Path
    step: int
    config: Config
    classes: Classes
    program: Program
    state: TrainState
    meta: dict[str, Any]


def open_run(
    workdir: Path,
    step: str | int = "best",
    *,
    changes: Sequence[str] = (),
    command: str = "jaxseg",
    on_all_devices: bool = False,
    announce: Callable[[str], None] = print,
) -> Run:
    """A run's program and state, to evaluate it, to predict with it or to begin from it.

    Args:
      workdir: the run's folder.
      step: a step's number, "latest" or "best" (by `config.best_metric`).
      changes: `--config.KEY=VALUE` words that take the place of the run's own values.
      command: who asks, for the errors of `changes`.
      on_all_devices: whether the state goes to all devices of all processes.
      announce: is told what compiles.

    Raises:
      UserError: no run, no such step, or a wrong change.
    """
    stored = load_config(workdir)
    trained = PixelFormat(stored.dataset.channels, stored.dataset.bits)
    changed = override_config(stored, command, changes)
    if (given := PixelFormat.from_config(changed.dataset)) != trained:
        raise UserError(
            f"{workdir} was trained with dataset.channels={trained.channels}, bits={trained.bits}, "
            f"not {given.channels} and {given.bits}: leave them as they are"
        )
    config = check_config(changed)
    folder = workdir / CHECKPOINTS
    number = checkpoint.find(folder, str(step))
    facts = checkpoint.load_meta(folder, number)
    classes = Classes.from_dict(facts["classes"])
    # of a run of an earlier version there are none, and it named none
    weights = facts.get("class_weights", {})
    program = build_program(config, classes, announce=announce, class_weights=weights)
    strides = [model.get("output_stride", 0) for model in (stored.model, changed.model)]
    if mismatch := stride_mismatch(program.model, *strides):
        announce(f"warning: {mismatch}")
    state, meta = checkpoint.load(
        folder,
        number,
        program.state_shapes(),
        sharding=program.parallel.sharding if on_all_devices else None,
    )
    return Run(workdir, number, config, classes, program, state, meta)


def check_classes(trained: Classes, given: Classes, *, what: str, allow: bool = False) -> None:
    """Compare the classes of a checkpoint with those of the data that `what` names.

    Raises:
      UserError: names, order, number or void id differ; unless `allow`, and their number is equal.
    """
    difference = given.difference(trained)
    if difference is None or (allow and len(trained) == len(given)):
        return
    fix = (
        "--allow_other_classes goes on all the same"
        if len(trained) == len(given)
        else "their number must be equal"
    )
    raise UserError(f"the classes of {what} are not those of the checkpoint: {difference}; {fix}")


def status(workdir: Path) -> dict[str, Any]:
    """What `run.json` says, with the status "killed" for a run whose process is gone.

    Raises:
      UserError: there is no run in this folder.
    """
    try:
        found = json.loads((workdir / RECORD).read_text())
    except FileNotFoundError:
        raise UserError(f"{workdir} is not a run: it has no {RECORD}") from None
    if found["status"] == "running" and not lock.is_held(workdir):
        found["status"] = "killed"
    return found


def check_same_data(identity: str, workdir: Path) -> None:
    """Compare data (see `data.identity`) with what the run in `workdir` was trained on, if any.

    Raises:
      UserError: it is other data.
    """
    with contextlib.suppress(FileNotFoundError):
        trained_on = json.loads((workdir / RECORD).read_text())["data"]
        if trained_on != identity:
            raise UserError(
                f"{workdir} holds a run that was trained on other data ({trained_on}; now "
                f"{identity}): choose another --workdir, or continue all the same with "
                "--allow_config_change"
            )


def check_same_share(dataset: Any, split: str, workdir: Path) -> None:
    """Where `split` is a share of the data (see `data.splits`), it must be of what was trained on.

    Once images were added or removed, the share for validation has some that were trained on.

    Raises:
      UserError: it is of other data than that of the run in `workdir`.
    """
    if split not in ("train", "val") or not data.splits(dataset).note:
        return
    with contextlib.suppress(FileNotFoundError):
        trained_on = json.loads((workdir / RECORD).read_text())["data"]
        # the classes, which come first, are for `check_classes`
        if trained_on.split(", ")[1:] != data.identity(dataset).split(", ")[1:]:
            raise UserError(
                f"{split} is a share of the data, which is not what {workdir} was trained on: it "
                "may mix images that were trained on with others; restore the folder, or name a "
                "split of your own, such as --split 'train[:100%]'"
            )


class Record:
    """`run.json`: the run's status, what is known of its data, and one entry for each start of it.

    A context: the status is "running" inside; after it "finished" or "stopped", as `end` was told,
    or "failed", with the reason in one line, if an exception came through.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        step: int,
        data: str,
        config: str,
        sizes: Mapping[str, Any] | None = None,
        class_weights: Mapping[str, Sequence[float]] = MappingProxyType({}),
        write: bool = True,
    ):
        self._path, self._write = workdir / RECORD, write
        try:
            self._values = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._values = {"started": _now(), "starts": []}
        self._values |= {"data": data, "config": config, "sizes": sizes}
        self._values["class_weights"] = dict(class_weights)
        self._start = {
            "started": _now(),
            "from_step": step,
            "command": shlex.join([_program_name(), *sys.argv[1:]]),
            "git": _git(),
            "versions": _versions(),
            "devices": {"count": jax.device_count(), "kind": jax.devices()[0].device_kind},
            "hosts": {"processes": jax.process_count(), "first": socket.gethostname()},
        }
        self._values["starts"].append(self._start)
        self._status, self._reason = "stopped", ""
        self._step = step

    def __enter__(self) -> "Record":
        self._store("running")
        return self

    def update(self, step: int) -> None:
        """`step` is saved."""
        self._step = step
        self._store("running")

    def end(self, status: str, step: int) -> None:
        """`status` is "finished" or "stopped"."""
        self._status, self._step = status, step

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            interrupted = isinstance(error, KeyboardInterrupt)
            self._status = "stopped" if interrupted else "failed"
            self._reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        self._start["ended"] = _now()
        with contextlib.suppress(OSError):  # a full disk: what is underway says it better
            self._store(self._status)

    def _store(self, status: str) -> None:
        ending = {"status": status, "step": self._step, "reason": self._reason}
        self._start.update(ending, peak_memory=_peak_memory())
        self._values.update(ending, ended=self._start.get("ended"))
        if self._write:
            files.write_text(self._path, json.dumps(self._values, indent=1) + "\n")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _peak_memory() -> dict[str, int | None]:
    """The most bytes that this process and its first device have held; None: not told."""
    on_device = jax.local_devices()[0].memory_stats() or {}
    return {
        "process": memory.peak_resident(),
        "device": on_device.get("peak_bytes_in_use"),
    }


def _program_name() -> str:
    path = Path(sys.argv[0])
    return "jaxseg" if path.stem == "jaxseg" or path.parent.name == "cli" else str(path)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _git() -> dict[str, Any] | None:
    """The commit of the code, and whether its tree was clean; None outside a clone."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.SubprocessError):
        return None
