"""What a family module makes of a foreign file: entries under our names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

Colour = tuple[float, float, float]

# The colours that most models were trained with, RGB in 0..255.
IMAGENET_MEAN: Colour = (123.675, 116.28, 103.53)
IMAGENET_STD: Colour = (58.395, 57.12, 57.375)
COLOURS = frozenset({"mean", "std"})


@dataclasses.dataclass(frozen=True)
class Imported:
    """Foreign weights in our names and layouts, and what a model must be like to take them.

    Our names are flat paths: "params/encoder/stem_conv/kernel",
    "batch_stats/encoder/stem_norm/mean". Arrays are float32.
    """

    family: str  # for people: "torchvision resnet50"
    variables: dict[str, np.ndarray]  # by our path
    source_names: dict[str, str]  # our path -> the foreign name
    unused: tuple[str, ...]  # foreign entries that no model has a place for, such as counters
    options: dict[str, Any]  # of the model: backbone, padding, norm_epsilon, corners, ...
    # The file of jaxseg/models that has a place for every entry. A "classifier" may begin any
    # other model: its encoder does, and what else it has in common with the model.
    model: str = "classifier"
    mean: Colour = IMAGENET_MEAN  # subtracted from images in training, RGB in 0..255
    std: Colour = IMAGENET_STD  # that they were divided by
    head: tuple[str, ...] = ()  # top-level names whose last axis is the classes
    # Options, "mean" and "std" that the file does not tell and its program does not fix: the usual.
    assumed: frozenset[str] = frozenset()
    # Foreign entries that were added to an entry of ours: their name -> our path.
    added_to: dict[str, str] = dataclasses.field(default_factory=dict)
    folded: bool = False  # batch norms are in the convolutions: scale sqrt(1 + eps), mean 0, var 1


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Params and batch_stats of a model by our paths."""
    flat: Any = traverse_util.flatten_dict(dict(variables), sep="/")
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(flat), sep="/")
