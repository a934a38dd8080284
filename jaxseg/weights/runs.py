"""The weights of a run of this project: "DIR" (its best checkpoint), "DIR@STEP" or "DIR@latest"."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from jaxseg import runs
from jaxseg.weights.imported import Colour, Imported, flatten

# Options that change nothing of what evaluation computes.
_TRAINING = ("dropout", "norm_momentum")
# Layers whose last axis is the classes.
_HEADS = ("logits", "aux_logits", "score_*", "up_to_*", "up_final")


def split(source: str) -> tuple[Path, str]:
    """The folder and the step of runs/a@300; without one, "best"."""
    source = os.path.expanduser(source)
    if Path(source).is_dir():
        return Path(source), "best"
    folder, separator, step = source.rpartition("@")
    return (Path(folder), step) if separator else (Path(source), "best")


def load(workdir: Path, step: str) -> Imported:
    """What evaluation of a checkpoint uses: its moving averages if it has some.

    Raises:
      UserError: no run, no such checkpoint, or a damaged one.
    """
    run = runs.open_run(workdir, step)
    config = run.config
    flat = flatten(run.state.eval_variables)
    variables = {path: np.asarray(value) for path, value in flat.items()}
    tops = sorted({path.split("/")[1] for path in variables})
    return Imported(
        family=f"{config.model.name} of {workdir} at step {run.step}",
        variables=variables,
        source_names={},
        unused=(),
        options={k: v for k, v in config.model.options.items() if k not in _TRAINING},
        model=config.model.name,
        mean=_colour(config.dataset.mean),
        std=_colour(config.dataset.std),
        head=tuple(top for top in tops if any(fnmatchcase(top, p) for p in _HEADS)),
        folded=bool(run.meta.get("folded", False)),
    )


def _colour(values: Sequence[float | int]) -> Colour:
    red, green, blue = map(float, values)
    return red, green, blue
