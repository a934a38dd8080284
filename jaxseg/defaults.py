"""Every key of a config with its type, its default and its meaning, once.

`get_config` gives these defaults as a ConfigDict, which a file of configs/ then changes as its
claim needs; `config.check_config` turns the result into the frozen dataclasses below, which all
code reads: there a misspelt key is a type error.

A config file defines `get_config(arg)`, where `arg` is `MODEL[,KEY=VALUE...]`: the model is a file
of jaxseg/models, the keys are that model's own options. Everything else is changed on the command
line, for example `--config.schedule.learning_rate=0.02`.
"""

import ast
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference

from jaxseg.errors import UserError, suggest


def _others() -> Any:
    """A field for the keys of a section that another file defines, such as a model's options."""
    return field(default_factory=dict, metadata={"others": True})


@dataclass(frozen=True)
class Model:
    name: str = ""  # a file of jaxseg/models
    options: Mapping[str, Any] = _others()  # the fields of its class


@dataclass(frozen=True)
class Dataset:
    name: str = ""  # a file of jaxseg/data/sets
    source: str = ""  # the data set's files: prepared on first use, and when they change
    data_dir: str = ""  # where prepared sets live; empty: TFDS_DATA_DIR, then TFDS's own
    train_split: str = "train"  # any TFDS split, slices such as train[:80%] too
    val_split: str = "val"  # where there is none: a fifth of train, see jaxseg/data/splits.py
    # What examples' names begin with that must not be in two splits, such as r"(\w+)_\d+" for the
    # sequence of a frame, or the patient: a regular expression, for `jaxseg data check`.
    group: str = ""
    # The run's classes, made of those of the data: ("road", ("vehicle", "car", "bus")) keeps road,
    # merges car and bus, and makes the rest void, see jaxseg/data/label_map.py; (): as they are.
    label_map: tuple[str | tuple[str, ...], ...] = ()
    cache: bool = False  # keep decoded examples in memory: for sets of a few gigabytes
    # What the model sees of an image: 1 channel is grey (RGB by its luma), 3 are RGB (grey is
    # repeated), any other number is that of the files' own channels, such as a satellite's bands.
    channels: int = 3
    bits: int = 8  # of each channel, or 16, which keeps all of a 16-bit file's values
    # Of each channel, in 0..255, of 16 bits in 0..65535 (`jaxseg data stats`); ImageNet's RGB.
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    options: Mapping[str, Any] = _others()  # what the set's file reads besides


@dataclass(frozen=True)
class Augment:
    """A strength is the largest that is drawn; a share, of the examples it happens to; 0 is off."""

    crop_size: tuple[int, int] = (512, 512)  # height, width
    scale: tuple[float, float] = (0.5, 2.0)  # uniform, as in DeepLabv3, section 4.1
    flip: bool = True  # left-right, every second example
    vertical_flip: bool = False
    rotate90: bool = False
    rotate: float = 0.0  # degrees, either way, about the image's centre; what it leaves is void
    brightness: float = 0.0  # relative change, either way
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # turn of HSV's colour circle, either way; 0.5 is half of it
    gamma: float = 0.0  # exponents from 1 / (1 + gamma) to 1 + gamma
    grey: float = 0.0  # share without colour
    blur: float = 0.0  # std of a Gaussian, in pixels
    elastic: float = 0.0  # std in pixels of smooth displacements (U-Net, section 3.1: 10)
    elastic_grid: int = 3  # their points a side
    # Above this share of one class another crop is tried (mmsegmentation's cat_max_ratio: 0.75).
    max_class_share: float = 1.0
    class_balanced: float = 0.0  # share of crops around a pixel of a class drawn among the image's
    cutmix: float = 0.0  # share with a rectangle of another example (Yun et al. 2019)
    copy_paste: float = 0.0  # share with half of another example's classes (Ghiasi et al. 2021)
    # Warp and colours inside the training step, for GPUs that outrun the host's cores; the same to
    # rounding, see jaxseg/augmentation.
    on_device: bool = False


@dataclass(frozen=True)
class Pipeline:
    workers: int = 2  # threads
    prefetch: int = 4  # batches made ahead
    on_unreadable: str = "stop"  # or "skip": leave damaged examples out, and count them


@dataclass(frozen=True)
class Loss:
    """A weighted sum of losses: `loss.NAME.weight` and the options of jaxseg/losses/NAME.py."""

    aux_weight: float = 0.4  # of auxiliary heads, where the model has one (PSPNet, section 5)
    # `loss.aux.NAME.weight` and options: the losses of auxiliary heads. All weights 0, as by
    # default: those of the main head, with their options.
    aux: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # w0 of U-Net's weight map (equation 2: 10) for gaps between cells. Cross-entropy, focal and
    # OHEM add the map to the weight of a pixel's class; to the others a pixel of weight w counts
    # like 1 + w pixels.
    border_weight: float = 0.0
    border_sigma: float = 5.0  # pixels
    border_classes: tuple[int, ...] = ()  # whose connected components are cells; empty: all but 0
    terms: Mapping[str, Mapping[str, Any]] = _others()


@dataclass(frozen=True)
class Optimizer:
    name: str = "sgd"  # or "adamw"
    momentum: float = 0.9  # sgd
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    weight_decay: float = 1e-4  # skips biases and norm parameters
    encoder_lr_multiplier: float = 1.0
    grad_clip_norm: float = 0.0  # of all gradients together; 0 is off


@dataclass(frozen=True)
class Schedule:
    name: str = "poly"  # or "cosine", "constant"
    learning_rate: float = 0.01
    power: float = 0.9  # poly
    warmup_steps: int = 0  # linear, from zero


@dataclass(frozen=True)
class Eval:
    every: int = 1000  # steps; 0: at the end only
    batch_size: int = 8
    canvas: tuple[int, int] = (
        0,
        0,
    )  # height, width that images are padded to at least; DeepLab: 513
    size_multiple: int = 32  # larger images: to multiples beyond it, so that few shapes compile
    # Output pixels a side that are computed at a time, for unpadded models (U-Net's overlap-tile):
    # less memory, same result. 0 is the whole image. They see it mirrored, and no padding.
    tile_size: int = 0
    # Views of each image, whose probabilities are averaged (see jaxseg/inference/views.py): in
    # DeepLab's papers (0.5, 0.75, 1.0, 1.25, 1.5, 1.75) and flip. The loss stays the plain image's.
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False  # left to right, too
    # Pixels a side, or rows and columns, of a sliding window over the (rescaled) image, of a size
    # such as crop_size; 0 is the whole image. There is no validation loss then.
    window: tuple[int, ...] = (0,)
    overlap: float = 0.5  # of neighbouring windows, in sides
    window_weights: str = "flat"  # or "gaussian": less towards a window's border
    temperature: float = 1.0  # divides logits before the softmax


@dataclass(frozen=True)
class Profile:
    """Of `jaxseg train --profile`."""

    first_step: int = 10  # counted from where this start begins: the first step compiles
    steps: int = 5


@dataclass(frozen=True)
class Checkpoint:
    every: int = 1000  # steps; every evaluation saves too
    keep: int = 2  # the latest so many, at least 2, and the best by `best_metric`


@dataclass(frozen=True)
class Config:
    seed: int = 0  # parameters, data order, augmentation and dropout all follow from it
    total_steps: int = 10_000
    batch_size: int = 16  # of all devices together
    dtype: str = "float32"  # of the computation, or "bfloat16"; parameters are always float32
    deterministic: bool = False  # the same bits at every run on a GPU too, where that is slower
    parallel: str = "jit"  # or "pmap"
    fsdp: bool = False  # split parameters and optimizer over the devices: less memory (jit)
    grad_accum_steps: int = 1  # parts of a batch that pass one after the other: less memory
    # What batch norm takes its statistics of: the batch of all devices ("global"), each device's
    # own share ("per_device"), or nothing, the running ones stay ("frozen").
    batch_norm: str = "global"
    remat: bool = False  # recompute the encoder's blocks in the backward pass: less memory
    log_every: int = 20  # steps
    num_predictions: int = 4  # overlays drawn after the last evaluation
    evals: tuple[str, ...] = ("miou",)  # files of jaxseg/evaluators, "miou" among them
    # Which checkpoint is the best: a score of `evals` that is one number, or "loss". Each evaluator
    # says which way is better (`higher_is_better`).
    best_metric: str = "miou"
    # Weights to begin with: a file, hf://ORG/NAME[@REVISION][/FILE], or a run's folder[@STEP].
    init_from: str = ""
    init_fresh: tuple[str, ...] = ()  # shell patterns of layers that stay fresh: ("score_*",)
    init_unused: tuple[str, ...] = ()  # of what the source has and is left out
    ema_decay: float = 0.0  # of parameters and statistics that evaluation then uses; 0 is off
    model: Model = Model()
    dataset: Dataset = Dataset()
    augment: Augment = Augment()
    pipeline: Pipeline = Pipeline()
    loss: Loss = Loss()
    lowerings: Mapping[str, str] = field(default_factory=dict)  # how jaxseg/ops compute each
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    eval: Eval = Eval()
    profile: Profile = Profile()
    checkpoint: Checkpoint = Checkpoint()


def get_config(arg: str) -> ConfigDict:
    """The defaults, with the model that `arg` names; raises UserError for a wrong name or key."""
    from jaxseg import losses
    from jaxseg.ops import catalogue

    config = Config(
        model=model_of(arg),
        loss=Loss(aux=losses.defaults(None), terms=losses.defaults()),
        # the fastest that was measured on this kind of device; or one of the operation's LOWERINGS
        lowerings=dict.fromkeys(catalogue.OPERATIONS, "measured"),
    )
    values = to_dict(config)
    for term in (*values["loss"].values(), *values["loss"]["aux"].values()):
        if isinstance(term, dict) and "class_weights" in term:
            # numbers or a name, where ml_collections would insist on the type of the default
            term["class_weights"] = FieldReference((), field_type=object)
    return ConfigDict(values)


def to_dict(section: Any) -> dict[str, Any]:
    """A section as nested plain values; keys that another file defines stand beside the others."""
    values: dict[str, Any] = {}
    for each in dataclasses.fields(section):
        value = getattr(section, each.name)
        if each.metadata.get("others"):
            values.update({k: dict(v) if isinstance(v, Mapping) else v for k, v in value.items()})
        elif dataclasses.is_dataclass(value):
            values[each.name] = to_dict(value)
        else:
            values[each.name] = dict(value) if isinstance(value, Mapping) else value
    return values


def model_config(arg: str) -> ConfigDict:
    """`"deeplabv3plus,backbone=resnet50"` -> the model's name and all of its options."""
    return ConfigDict(to_dict(model_of(arg)))


def model_of(arg: str) -> Model:
    """`"deeplabv3plus,backbone=resnet50"` -> the model's name and all of its options."""
    from jaxseg import models

    name, *pairs = [part.strip() for part in split_at_commas(arg)]
    options = models.options(name)
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise UserError(f"config argument {pair!r} is not KEY=VALUE (in {arg!r})")
        if key not in options:
            raise UserError(f"{name} has no option {key!r}; {suggest(key, options)}")
        options[key] = _parse_value(name, key, value, default=options[key])
    return Model(name, options)


def split_at_commas(arg: str) -> list[str]:
    """Split at commas outside brackets, so that a value may be a tuple: `rates=(6,12,18)`."""
    parts, depth = [""], 0
    for character in arg:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _parse_value(model: str, key: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    lowered = {"true": "True", "false": "False"}.get(text, text)
    try:
        value = ast.literal_eval(lowered)
    except (SyntaxError, ValueError):
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    if type(value) is not type(default):
        example = f"({text},)" if isinstance(default, tuple) else repr(default)
        raise UserError(
            f"{model} option {key}={text!r}: expected {type(default).__name__}, such as {example}"
        )
    return value
