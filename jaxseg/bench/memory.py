"""Peak memory, each side measured in a process of its own.

On a GPU: the most that the library's own allocator had given out in a step. On a CPU: the most
resident memory of the whole process, for jaxseg's training that of the real command, `jaxseg train`
with four steps, an evaluation, a checkpoint and its pictures.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.bench import side_process, train_config
from jaxseg.bench.modes import JAXSEG
from jaxseg.bench.setting import Setting
from jaxseg.ops import lowering


def peak(setting: Setting, side: str, cache: str) -> int:
    """Bytes at the peak of `side`, "jaxseg" or a mode of PyTorch's, with the lowerings in force.

    Args:
      setting: what runs.
      side: who runs it.
      cache: a folder of compiled programs. A program that is there needs no search for the fastest
        algorithms, whose trials take memory too.

    Raises:
      RuntimeError: the process failed; the last line that it said.
    """
    environment = side_process.environment(cache)
    if setting.device == "cpu":
        setting = dataclasses.replace(setting, num_classes=train_config.NUM_CLASSES)
        if side == JAXSEG and setting.mode == "train":
            environment.pop("GLIBC_TUNABLES", None)  # the command chooses its own
            return _train(setting, environment)
        if side != JAXSEG:
            environment.pop("GLIBC_TUNABLES", None)  # PyTorch as its users have it
    words = [side, json.dumps(dataclasses.asdict(setting)), str(lowering.TABLE)]
    output, peak_bytes = launch(["-m", "jaxseg.bench.one_side", *words], environment)
    found = json.loads(output.splitlines()[-1])
    return found["device_peak"] or peak_bytes - found["imports"]


def _train(setting: Setting, environment: dict[str, str]) -> int:
    """Of `jaxseg train` on drawn shapes of the setting's size."""
    size = f"({setting.size},{setting.size})"
    overrides: dict[str, Any] = {
        "dtype": setting.dtype,
        "batch_size": setting.batch,
        "augment.crop_size": size,
        "dataset.image_size": size,
        "dataset.train_examples": setting.batch,
        "dataset.val_examples": setting.batch,
        "eval.batch_size": setting.batch,
    }
    with tempfile.TemporaryDirectory() as workdir:
        words = [f"--config={train_config.__file__}:{setting.argument}", f"--workdir={workdir}/run"]
        words += [f"--config.{key}={value}" for key, value in overrides.items()]
        return launch(["-m", "jaxseg.cli", "train", *words], environment)[1]


def launch(words: Sequence[str], environment: dict[str, str] | None = None) -> tuple[str, int]:
    """What `python WORD...` printed, and the most bytes that its process held.

    Raises:
      RuntimeError: it failed; the last line that it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        launcher = [sys.executable, "-m", "jaxseg.bench.launcher", str(result)]
        run = subprocess.run(
            [*launcher, sys.executable, *words], env=environment, capture_output=True, text=True
        )
        found = json.loads(result.read_text()) if result.exists() else {"exit_code": run.returncode}
    if code := found["exit_code"]:
        last = (run.stderr.strip() or run.stdout.strip()).rpartition("\n")[2]
        raise RuntimeError(f"exit code {code}: {last}")
    return run.stdout, found["peak_bytes"]
