"""Random augmentation in three steps: random numbers, a plan made of them, pixels.

    drawn = draw(rng, augment)                               # the random numbers of one example
    plan = make_plan(label, drawn, crop_size=..., context=...)  # plain arrays: what to do
    image, label = apply_plan(image, label, plan, mean=..., void=...)

`apply` does the last two. Everything geometric is composed into one warp of image and label, and
what is affine in the colour into one matrix, so that pixels are interpolated and rounded once.
"""

import cv2
import numpy as np
from jaxtyping import Int32, UInt8

from jaxseg.data.transforms.colour import jitter
from jaxseg.data.transforms.drawing import Draw, draw
from jaxseg.data.transforms.geometry import Plan, bicubic, sample_positions, warp, within
from jaxseg.data.transforms.planning import make_plan, position

__all__ = ["Draw", "Plan", "apply", "apply_plan", "bicubic", "draw", "make_plan", "position"]
__all__ += ["sample_positions", "warp", "within"]


def apply(
    image: UInt8[np.ndarray, "h w 3"],
    label: Int32[np.ndarray, "h w"],
    drawn: Draw,
    *,
    crop_size: tuple[int, int],
    mean: UInt8[np.ndarray, " 3"],
    void: int,
    context: int = 0,
) -> tuple[UInt8[np.ndarray, "H W 3"], Int32[np.ndarray, "H W"]]:
    """The augmented pair at `crop_size`: `apply_plan` of `make_plan`."""
    plan = make_plan(label, drawn, crop_size=crop_size, context=context)
    return apply_plan(image, label, plan, mean=mean, void=void)


def apply_plan(
    image: UInt8[np.ndarray, "h w 3"],
    label: Int32[np.ndarray, "h w"],
    plan: Plan,
    *,
    mean: UInt8[np.ndarray, " 3"],
    void: int,
) -> tuple[UInt8[np.ndarray, "H W 3"], Int32[np.ndarray, "H W"]]:
    """The augmented pair at the plan's `crop_size`. Outside the image: the mean pixel, and void.

    Where a plan is `mirrored`, the image's mirror image is outside, and void.
    """
    warped, warped_label, inside = warp(image, label, plan)
    out_label = np.full(plan.crop_size, void, np.int32)
    cv2.copyTo(warped_label, inside, out_label)
    coloured = jitter(warped, inside, plan)
    if plan.mirrored:
        return coloured, out_label
    out_image = np.empty((*plan.crop_size, 3), np.uint8)
    out_image[:] = mean
    cv2.copyTo(coloured, inside, out_image)
    return out_image, out_label
