"""The numbers and names that a config's keys may have."""

import dataclasses
import math

from jaxseg.data import pixels


@dataclasses.dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, or between them if it is `open` there."""

    low: int | float = 0
    high: int | float = math.inf
    open: str = ""  # "low", "high" or both

    def __contains__(self, value: int | float) -> bool:
        above = value > self.low if "low" in self.open else value >= self.low
        below = value < self.high if "high" in self.open else value <= self.high
        return above and below and math.isfinite(value)  # so NaN is nowhere

    def __str__(self) -> str:
        low = f"more than {self.low}" if "low" in self.open else f"at least {self.low}"
        high = f"less than {self.high}" if "high" in self.open else f"at most {self.high}"
        return low if self.high == math.inf else f"{low} and {high}"


NOT_NEGATIVE, POSITIVE, FROM_ONE = Interval(), Interval(open="low"), Interval(low=1)
SHARE = Interval(0, 1, open="high")
RANGES = {
    "seed": Interval(0, 2**32 - 1),
    "total_steps": FROM_ONE,
    "batch_size": FROM_ONE,
    "grad_accum_steps": FROM_ONE,
    "log_every": FROM_ONE,
    "num_predictions": NOT_NEGATIVE,
    "ema_decay": SHARE,
    "dataset.channels": Interval(1, pixels.MOST_CHANNELS),
    "dataset.mean": Interval(0, 65535),
    "dataset.std": POSITIVE,
    "augment.crop_size": Interval(1, 32766),  # OpenCV's limit
    "augment.scale": POSITIVE,
    "augment.brightness": Interval(0, 1),
    "augment.contrast": Interval(0, 1),
    "augment.saturation": Interval(0, 1),
    "augment.rotate": Interval(0, 180),
    "augment.hue": Interval(0, 0.5),
    "augment.gamma": NOT_NEGATIVE,
    "augment.grey": Interval(0, 1),
    "augment.blur": NOT_NEGATIVE,
    "augment.max_class_share": Interval(0, 1, open="low"),
    "augment.class_balanced": Interval(0, 1),
    "augment.cutmix": Interval(0, 1),
    "augment.copy_paste": Interval(0, 1),
    "augment.elastic": NOT_NEGATIVE,
    "augment.elastic_grid": Interval(low=2),
    "pipeline.workers": FROM_ONE,
    "pipeline.prefetch": FROM_ONE,
    "loss.aux_weight": NOT_NEGATIVE,
    "loss.border_weight": NOT_NEGATIVE,
    "loss.border_sigma": POSITIVE,
    "loss.border_classes": NOT_NEGATIVE,
    "optimizer.momentum": SHARE,
    "optimizer.betas": SHARE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.encoder_lr_multiplier": NOT_NEGATIVE,
    "optimizer.grad_clip_norm": NOT_NEGATIVE,
    "schedule.learning_rate": NOT_NEGATIVE,
    "schedule.power": NOT_NEGATIVE,
    "schedule.warmup_steps": NOT_NEGATIVE,
    "eval.every": NOT_NEGATIVE,
    "eval.batch_size": FROM_ONE,
    "eval.canvas": NOT_NEGATIVE,
    "eval.size_multiple": FROM_ONE,
    "eval.tile_size": NOT_NEGATIVE,
    "eval.scales": POSITIVE,
    "eval.window": NOT_NEGATIVE,
    "eval.overlap": SHARE,
    "eval.temperature": POSITIVE,
    "profile.first_step": FROM_ONE,
    "profile.steps": FROM_ONE,
    "checkpoint.every": NOT_NEGATIVE,
    "checkpoint.keep": Interval(low=2),  # one stays whole while another is written
}
CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "parallel": ("jit", "pmap"),
    "batch_norm": ("global", "per_device", "frozen"),
    "pipeline.on_unreadable": ("stop", "skip"),
    "eval.window_weights": ("flat", "gaussian"),
    "optimizer.name": ("sgd", "adamw"),
    "schedule.name": ("poly", "cosine", "constant"),
}
