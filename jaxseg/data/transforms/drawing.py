"""The random numbers of one example."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

TRIES = 10  # further positions of a crop, as mmsegmentation's RandomCrop


@dataclasses.dataclass(frozen=True)
class Draw:
    """The random numbers of one example; everything computed from them is deterministic."""

    scale: float
    offset: tuple[float, float]  # rows, columns; which of the crop's positions (see `position`)
    flip: bool
    vertical_flip: bool
    quarter_turns: int  # 0..3, anticlockwise
    brightness: float
    contrast: float
    saturation: float
    elastic: Float[np.ndarray, "rows columns 2"] | None = None  # (x, y) in pixels of the crop
    angle: float = 0.0  # degrees, anticlockwise
    hue: float = 0.0  # turns of the colour circle
    gamma: float = 1.0  # exponent
    grey: bool = False
    blur: float = 0.0  # std in pixels of the crop
    # of one class in a crop: above it, the next of `other_offsets` is tried
    max_class_share: float = 1.0
    other_offsets: tuple[tuple[float, float], ...] = ()
    target: tuple[float, float] | None = None  # which class, and which of its pixels, is in a crop
    partner: float = 0.0  # which other example is mixed in
    copy_paste: int | None = None  # seed of the choice among the partner's classes
    cutmix: tuple[float, float, float] | None = (
        None  # share of the crop's area; centre's row, column
    )

    @property
    def mixes(self) -> bool:
        """Whether a partner is needed."""
        return self.copy_paste is not None or self.cutmix is not None


def draw(rng: np.random.Generator, augment: Any) -> Draw:
    """Draws what a config's `augment` part allows.

    Every number is drawn even if its option is off, so that an ablation of one option leaves the
    draws of all others unchanged. Later additions come last, so that earlier draws stay the same.
    """
    u = rng.random(9)
    displacements = rng.normal(size=(augment.elastic_grid, augment.elastic_grid, 2))
    # a stream of its own: `elastic_grid` says how many numbers the first one has given
    (later,) = rng.spawn(1)
    v = later.random(15)
    tries = later.random((TRIES, 2))
    low, high = augment.scale
    limited = augment.max_class_share < 1

    return Draw(
        scale=float(low + (high - low) * u[0]),
        offset=(float(u[1]), float(u[2])),
        flip=bool(augment.flip and u[3] < 0.5),
        vertical_flip=bool(augment.vertical_flip and u[4] < 0.5),
        quarter_turns=int(4 * u[5]) if augment.rotate90 else 0,
        brightness=1 + _either_way(augment.brightness, u[6]),
        contrast=1 + _either_way(augment.contrast, u[7]),
        saturation=1 + _either_way(augment.saturation, u[8]),
        elastic=augment.elastic * displacements if augment.elastic else None,
        angle=_either_way(augment.rotate, v[0]),
        hue=_either_way(augment.hue, v[1]),
        gamma=float((1 + augment.gamma) ** _either_way(1.0, v[2])),
        grey=bool(v[3] < augment.grey),
        blur=float(augment.blur * v[4]),
        max_class_share=augment.max_class_share,
        other_offsets=tuple((float(row), float(column)) for row, column in tries)
        if limited
        else (),
        target=(float(v[6]), float(v[7])) if v[5] < augment.class_balanced else None,
        partner=float(v[8]),
        copy_paste=int(2**32 * v[10]) if v[9] < augment.copy_paste else None,
        cutmix=(float(v[12]), float(v[13]), float(v[14])) if v[11] < augment.cutmix else None,
    )


def _either_way(strength: float, u: float) -> float:
    """Uniform from -`strength` to `strength`."""
    return float(strength * (2 * u - 1))
