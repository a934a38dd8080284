"""What `config.init_from` names: other people's weights, or a run of this project.

A run is named by its folder: "DIR" (its best checkpoint), "DIR@STEP" or "DIR@latest".
"""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import jax
import numpy as np

from jaxseg import checkpoint, weights
from jaxseg.config import load_config
from jaxseg.data.source import Classes
from jaxseg.program import build_program
from jaxseg.weights.files import hub
from jaxseg.weights.imported import RGB, Imported, flatten

# Options that do not change what evaluation computes.
_TRAINING = ("dropout", "norm_momentum")
# Layers whose last axis is the classes.
_HEADS = ("logits", "aux_logits", "score_*", "up_to_*", "up_final")


def load(source: str) -> Imported:
    """The weights of a file, of "hf://ORG/NAME[@REVISION][/FILE]" or of a run.

    Raises:
      UserError: nothing there, not readable, damaged, or of no known family.
    """
    return from_run(*split(source)) if is_run(source) else weights.load(source)


def is_run(source: str) -> bool:
    return not source.startswith(hub.PREFIX) and split(source)[0].is_dir()


def split(source: str) -> tuple[Path, str]:
    """The folder and the step of runs/a@300; without a step, "best"."""
    source = os.path.expanduser(source)
    if Path(source).is_dir():
        return Path(source), "best"
    folder, separator, step = source.rpartition("@")
    return (Path(folder), step) if separator else (Path(source), "best")


def from_run(workdir: Path, step: str) -> Imported:
    """What evaluation of a checkpoint uses: its moving averages if it has some.

    Raises:
      UserError: no run, no such checkpoint, or a damaged one.
    """
    config = load_config(workdir)
    folder = workdir / "checkpoints"
    number = checkpoint.find(folder, step)
    meta = checkpoint.load_meta(folder, number)
    program = build_program(config, Classes.from_dict(meta["classes"]), announce=print)
    state, _ = checkpoint.load(folder, number, like=jax.eval_shape(program.init_state))
    flat = flatten(state.eval_variables)
    variables = {path: np.asarray(value) for path, value in flat.items()}
    layers = sorted({path.split("/")[1] for path in variables})
    return Imported(
        family=f"{config.model.name} of {workdir} at step {number}",
        variables=variables,
        source_names={},
        unused=(),
        options={k: v for k, v in config.model.items() if k not in ("name", *_TRAINING)},
        model=config.model.name,
        mean=_rgb(config.dataset.mean),
        std=_rgb(config.dataset.std),
        heads=tuple(name for name in layers if any(fnmatchcase(name, p) for p in _HEADS)),
        folded=bool(meta.get("folded", False)),
    )


def _rgb(values: Sequence[float | int]) -> RGB:
    red, green, blue = map(float, values)
    return red, green, blue
