"""Random augmentation in three steps: random numbers, a plan made of them, pixels.

    drawn = draw(rng, augment)                         # the random numbers of one example
    plan = make_plan(label, drawn, crop_size=..., void=...)  # plain arrays: what to do
    image, label = apply_plan(image, label, plan, mean=..., void=...)

`apply` does the last two; `mix` then joins two examples. Everything geometric is composed into one
warp of image and label, and what is affine in the colour into one matrix, so that pixels are
interpolated once. Images have any number of channels, of 8 or 16 bits, and keep their dtype.
"""

import numpy as np
from jaxtyping import Int32, UInt

from jaxseg.data.transforms.colour import recolour
from jaxseg.data.transforms.drawing import Draw, draw
from jaxseg.data.transforms.geometry import (
    Plan,
    bicubic,
    paint_outside,
    sample_positions,
    warp,
    within,
)
from jaxseg.data.transforms.mixing import mix
from jaxseg.data.transforms.planning import make_plan, position

__all__ = ["Draw", "Plan", "apply", "apply_plan", "bicubic", "draw", "make_plan", "mix"]
__all__ += ["position", "sample_positions", "warp", "within"]


def apply(
    image: UInt[np.ndarray, "h w c"],
    label: Int32[np.ndarray, "h w"],
    drawn: Draw,
    *,
    crop_size: tuple[int, int],
    mean: UInt[np.ndarray, " c"],
    void: int,
    context: int = 0,
) -> tuple[UInt[np.ndarray, "H W c"], Int32[np.ndarray, "H W"]]:
    """The augmented pair at `crop_size`: `apply_plan` of `make_plan`."""
    plan = make_plan(label, drawn, crop_size=crop_size, void=void, context=context)
    return apply_plan(image, label, plan, mean=mean, void=void)


def apply_plan(
    image: UInt[np.ndarray, "h w c"],
    label: Int32[np.ndarray, "h w"],
    plan: Plan,
    *,
    mean: UInt[np.ndarray, " c"],
    void: int,
) -> tuple[UInt[np.ndarray, "H W c"], Int32[np.ndarray, "H W"]]:
    """The augmented pair at the plan's `crop_size`. Outside the image: the mean pixel, and void.

    Where a plan is `mirrored`, the image's mirror image is outside, and void.

    Raises:
      UserError: a change of saturation or hue, and not three channels.
    """
    warped, out_label, inside = warp(image, label, plan, void)
    coloured = recolour(warped, inside, plan)
    if plan.mirrored:
        return coloured, out_label
    return paint_outside(coloured, inside, plan, mean), out_label
