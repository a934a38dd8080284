"""Foreign weights under our names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

# The normalisation that most networks were trained with, of RGB in 0..255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
NORMALISATION = frozenset({"mean", "std"})


@dataclasses.dataclass(frozen=True)
class Imported:
    """Foreign weights in our names and layouts, and the settings of a model that takes them.

    Our names are flat paths: "params/encoder/stem_conv/kernel",
    "batch_stats/encoder/stem_norm/mean". Arrays are float32.
    """

    family: str  # for messages: "torchvision resnet50"
    variables: dict[str, np.ndarray]  # by our path
    source_names: dict[str, str]  # our path -> the foreign name
    unused: tuple[str, ...]  # foreign entries that no model has a place for, such as counters
    options: dict[str, Any]  # the model's: backbone, padding, norm_epsilon, corners, ...
    # The file of jaxseg/models that has a place for every entry. A "classifier" initialises the
    # encoder of any other model, and whatever else the two have in common.
    model: str = "classifier"
    # Subtracted from pixels, and by what they were then divided: for each channel, in 0..255 or,
    # of 16 `bits`, 0..65535.
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    bits: int = 8
    class_names: tuple[str, ...] = ()  # in the order of the heads' channels, if it is known
    heads: tuple[str, ...] = ()  # top-level layers whose last axis is the classes
    # Options, "mean" and "std" that the file does not tell and its program does not fix. They have
    # the usual values.
    assumed: frozenset[str] = frozenset()
    # Foreign entries that were added to an entry of ours: their name -> our path.
    added_to: dict[str, str] = dataclasses.field(default_factory=dict)
    folded: bool = False  # batch norms are in the convolutions: scale sqrt(1 + eps), mean 0, var 1


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """A model's params and batch_stats by our paths."""
    flat: Any = traverse_util.flatten_dict(dict(variables), sep="/")
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(flat), sep="/")
