"""The random numbers of one example."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float


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


def draw(rng: np.random.Generator, augment: Any) -> Draw:
    """Draws what a config's `augment` part allows.

    Every number is drawn even if its option is off, so that an ablation of one option leaves the
    draws of all others unchanged.
    """
    u = rng.random(9)
    # later additions come last, so that earlier draws stay the same
    displacements = rng.normal(size=(augment.elastic_grid, augment.elastic_grid, 2))
    low, high = augment.scale

    def factor(strength: float, x: float) -> float:
        return float(1 + strength * (2 * x - 1))

    return Draw(
        scale=float(low + (high - low) * u[0]),
        offset=(float(u[1]), float(u[2])),
        flip=bool(augment.flip and u[3] < 0.5),
        vertical_flip=bool(augment.vertical_flip and u[4] < 0.5),
        quarter_turns=int(4 * u[5]) if augment.rotate90 else 0,
        brightness=factor(augment.brightness, u[6]),
        contrast=factor(augment.contrast, u[7]),
        saturation=factor(augment.saturation, u[8]),
        elastic=augment.elastic * displacements if augment.elastic else None,
    )
