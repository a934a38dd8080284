"""What `config.init_from` names: other people's weights, or a run of this project.

A run is named by its folder: "DIR" (its best checkpoint), "DIR@STEP" or "DIR@latest".
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from jaxseg import runs, weights
from jaxseg.weights.files import hub
from jaxseg.weights.imported import Imported, flatten

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
    run = runs.open_run(workdir, step)
    config = run.config
    flat = flatten(run.state.eval_variables)
    variables = {path: np.asarray(value) for path, value in flat.items()}
    layers = sorted({path.split("/")[1] for path in variables})
    return Imported(
        family=f"{config.model.name} of {workdir} at step {run.step}",
        variables=variables,
        source_names={},
        unused=(),
        options={k: v for k, v in config.model.options.items() if k not in _TRAINING},
        model=config.model.name,
        mean=config.dataset.mean,
        std=config.dataset.std,
        class_names=run.classes.names,
        heads=tuple(name for name in layers if any(fnmatchcase(name, p) for p in _HEADS)),
        folded=bool(run.meta.get("folded", False)),
    )
