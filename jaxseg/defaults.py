"""Every default of the project, once. A config file starts here and changes what its claim needs.

A config file defines `get_config(arg)`, where `arg` is `MODEL[,KEY=VALUE...]`: the model is a file
of `jaxseg/models`, the keys are that model's own options. Everything else is changed on the
command line, for example `--config.schedule.learning_rate=0.02`.
"""

import ast
from typing import Any

from ml_collections import ConfigDict

from jaxseg.errors import UserError, suggest


def get_config(arg: str) -> ConfigDict:
    """The defaults, with the model that `arg` names; raises UserError for a wrong name or key."""
    from jaxseg.ops import catalogue

    config = ConfigDict()
    config.seed = 0  # parameters, data order, augmentation and dropout all follow from it
    config.total_steps = 10_000
    config.batch_size = 16  # of all devices together
    config.dtype = "float32"  # of the computation, or "bfloat16"; parameters are always float32
    config.deterministic = False  # the same bits at every run on a GPU too, where that is slower
    config.parallel = "jit"  # or "pmap"
    config.fsdp = False  # split parameters and optimizer over the devices: less memory (jit)
    config.grad_accum_steps = 1  # parts of a batch that pass one after the other: less memory
    # Of what batch norm takes its statistics: the batch of all devices ("global"), each device's
    # own share ("per_device"), or nothing, the running ones stay ("frozen").
    config.batch_norm = "global"
    config.remat = False  # compute the encoder's blocks anew in the backward pass: less memory
    config.log_every = 20  # steps
    config.num_predictions = 4  # overlays drawn after the last evaluation
    config.model = model_config(arg)
    # Weights to begin with: a file, hf://ORG/NAME[@REVISION][/FILE], or a run's folder[@STEP].
    config.init_from = ""
    config.init_fresh = ()  # shell patterns of layers that stay fresh all the same: ("score_*",)
    config.init_unused = ()  # of what the source has and is left out

    config.dataset = ConfigDict()
    config.dataset.name = ""  # a file of jaxseg/data/sets
    config.dataset.source = ""  # the data set's files: prepared on first use, and when they change
    config.dataset.data_dir = ""  # where prepared sets live; empty: TFDS_DATA_DIR, then TFDS's own
    config.dataset.train_split = "train"  # any TFDS split, slices such as train[:80%] too
    config.dataset.val_split = "val"
    config.dataset.cache = False  # keep decoded examples in memory: for sets of a few gigabytes
    config.dataset.mean = (123.675, 116.28, 103.53)  # ImageNet's RGB, in 0..255
    config.dataset.std = (58.395, 57.12, 57.375)

    config.augment = ConfigDict()
    config.augment.crop_size = (512, 512)  # height, width
    config.augment.scale = (0.5, 2.0)  # uniform, as in DeepLabv3, section 4.1
    config.augment.flip = True  # left-right, every second example
    config.augment.vertical_flip = False
    config.augment.rotate90 = False
    config.augment.brightness = 0.0  # largest relative change; 0 is off
    config.augment.contrast = 0.0
    config.augment.saturation = 0.0
    config.augment.elastic = 0.0  # std in pixels of smooth displacements (U-Net, section 3.1: 10)
    config.augment.elastic_grid = 3  # their points a side

    config.pipeline = ConfigDict()
    config.pipeline.workers = 2  # threads
    config.pipeline.prefetch = 4  # batches made ahead
    config.pipeline.on_unreadable = "stop"  # or "skip": leave damaged examples out, and count them

    config.loss = ConfigDict()
    config.loss.label_smoothing = 0.0
    config.loss.class_weights = ()  # one a class, or empty; `jaxseg data stats` prints them
    config.loss.border_weight = 0.0  # w0 of U-Net's weight map (equation 2: 10) for gaps of cells
    config.loss.border_sigma = 5.0  # pixels
    config.loss.border_classes = ()  # whose connected components are cells; empty: all but class 0
    config.loss.aux_weight = 0.4  # of auxiliary heads, where the model has one (PSPNet, section 5)

    config.lowerings = ConfigDict()  # how jaxseg/ops compute: one of their LOWERINGS, or
    config.lowerings.update(dict.fromkeys(catalogue.OPERATIONS, "measured"))  # the fastest known

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # or "adamw"
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.betas = (0.9, 0.999)  # adamw
    config.optimizer.weight_decay = 1e-4  # of kernels only: biases and norms are free
    config.optimizer.encoder_lr_multiplier = 1.0
    config.optimizer.grad_clip_norm = 0.0  # of all gradients together; 0 is off

    config.schedule = ConfigDict()
    config.schedule.name = "poly"  # or "cosine", "constant"
    config.schedule.learning_rate = 0.01
    config.schedule.power = 0.9  # poly
    config.schedule.warmup_steps = 0  # linear, from zero

    config.ema_decay = 0.0  # of parameters and statistics that evaluation then uses; 0 is off

    config.eval = ConfigDict()
    config.eval.every = 1000  # steps
    config.eval.batch_size = 8
    config.eval.canvas = (0, 0)  # height, width that images are padded to at least; DeepLab: 513
    config.eval.size_multiple = 32  # larger ones to multiples beyond it, so that few shapes compile
    # Output pixels a side that are computed at a time, for unpadded models (U-Net's overlap-tile):
    # less memory, same result. 0 is the whole image. They see it mirrored, and no padding.
    config.eval.tile_size = 0

    config.profile = ConfigDict()  # of `jaxseg train --profile`
    config.profile.first_step = 10  # counted from where this start begins: the first compiles
    config.profile.steps = 5

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1000  # steps; every evaluation saves too
    config.checkpoint.keep = 2  # the latest so many, at least 2, and the best by validation mIoU
    return config


def model_config(arg: str) -> ConfigDict:
    """`"deeplabv3plus,backbone=resnet50"` -> the model's name and all of its options."""
    from jaxseg import models

    name, *pairs = [part.strip() for part in _split(arg)]
    options = models.options(name)
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise UserError(f"config argument {pair!r} is not KEY=VALUE (in {arg!r})")
        if key not in options:
            raise UserError(f"{name} has no option {key!r}; {suggest(key, options)}")
        options[key] = _parse_value(name, key, value, default=options[key])
    return ConfigDict({"name": name, **options})


def _split(arg: str) -> list[str]:
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
