"""Random changes of colour: one matrix for brightness, contrast and saturation."""

import cv2
import numpy as np
from jaxtyping import UInt8

from jaxseg.data.transforms.geometry import Plan

GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601, as in torchvision's ColorJitter


def jitter(
    image: UInt8[np.ndarray, "h w 3"], inside: UInt8[np.ndarray, "h w"], plan: Plan
) -> UInt8[np.ndarray, "h w 3"]:
    """Brightness, contrast and saturation as torchvision defines them, in that order.

    All three are affine in the colour, so they are one 3x4 matrix: rounded and clipped once. The
    mean that contrast moves to is that of the pixels inside.
    """
    if plan.brightness == plan.contrast == plan.saturation == 1:
        return image
    mean_grey = plan.brightness * float(GREY @ np.array(cv2.mean(image, inside)[:3]))
    to_grey = np.tile(GREY, (3, 1))
    saturate = plan.saturation * np.eye(3) + (1 - plan.saturation) * to_grey
    # contrast moves every channel towards the image's mean grey, which saturation leaves alone
    matrix = plan.contrast * plan.brightness * saturate
    constant = np.full(3, (1 - plan.contrast) * mean_grey)
    return cv2.transform(image, np.column_stack([matrix, constant]))
