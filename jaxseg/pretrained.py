"""What `config.init_from` names: other people's weights, or a run of this project.

A run is named by its folder: "DIR" (its best checkpoint), "DIR@STEP" or "DIR@latest".
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxseg import defaults, runs, weights
from jaxseg.data import imagenet
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
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
        bits=config.dataset.bits,
        class_names=run.classes.names,
        heads=tuple(name for name in layers if any(fnmatchcase(name, p) for p in _HEADS)),
        folded=bool(run.meta.get("folded", False)),
    )


def own_config(imported: Imported) -> ConfigDict:
    """A config of the network that the weights are of, to predict with: it names no data set."""
    config = defaults.get_config(imported.model)
    for key, value in imported.options.items():
        config.model[key] = value
    if config.model.get("fc_padding") == "valid":
        config.model.fc_padding = "symmetric"  # labels pixels, where VGG16 labels whole patches
    config.dataset.channels, config.dataset.bits = len(imported.mean), imported.bits
    config.dataset.mean, config.dataset.std = imported.mean, imported.std
    if config.model.get("corners") == "aligned":
        config.eval.canvas = (1, 1)  # sides of 32 k + 1, on which aligned features keep their place
    return config


def own_classes(imported: Imported) -> Classes:
    """The classes that the weights were trained on, as far as they can be known.

    A run tells them. Classifiers with 1000 or 1001 classes are taken for ImageNet's, segmentations
    of torchvision and TF-Slim with 21 for PASCAL VOC's, and others get numbers for names.

    Raises:
      UserError: the weights have no head.
    """
    heads = [imported.variables.get(f"params/{head}/kernel") for head in imported.heads]
    counts = [head.shape[-1] for head in heads if head is not None]
    if not counts and not imported.class_names:
        raise UserError(
            f"{imported.family} weights have no head, and so no classes to predict: train a model "
            "that begins from them, by jaxseg train --config.init_from"
        )
    count = len(imported.class_names) or counts[0]
    if imported.class_names:
        names = imported.class_names
    elif imported.model == "classifier" and count in (1000, 1001):
        return imagenet.classes(background=count == 1001)
    elif imported.family.startswith(("torchvision", "TF-Slim")) and count == 21:
        from jaxseg.data.sets import voc  # imports TFDS

        return voc.Voc.CLASSES
    else:
        names = tuple(f"class_{i}" for i in range(count))
    return Classes(names, default_palette(names), 255 if count <= 255 else imagenet.VOID)
