"""A plan for one example, and its warp: image and label are sampled at the same places.

Bilinear for the image, nearest for the label. Corners: half-pixel centres. Downscaling does not
smooth first (as in the DeepLab papers' code).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt, UInt8


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do to one image and its label; nothing in it is random, and nothing else is needed.

    Attributes:
      crop_size: height and width of what comes out.
      matrix: from a place (x, y) in the image to that in the crop, where pixel centres are whole
        numbers.
      covered: the part of the crop that the image covers, as rows from top to bottom and columns
        from left to right: (top, left, bottom, right). None where that is no rectangle: a pixel is
        then inside if it is sampled `within` the image.
      displacements: (x, y) in pixels of the crop by which it is displaced before `matrix` is
        undone, on a coarse grid; see `sample_positions`.
      mirrored: outside the image is its mirror image, and not the mean pixel.
      brightness: factor, see `colour.jitter`.
      contrast: factor.
      saturation: factor; 0 is grey.
      hue: turns of the colour circle, see `colour.turn_hue`.
      gamma: exponent, see `colour.bend`.
      blur: std in pixels of the crop.
    """

    crop_size: tuple[int, int]
    matrix: Float[np.ndarray, "2 3"]
    covered: tuple[int, int, int, int] | None
    displacements: Float[np.ndarray, "rows columns 2"] | None
    mirrored: bool
    brightness: float
    contrast: float
    saturation: float
    hue: float
    gamma: float
    blur: float


def warp(
    image: UInt[np.ndarray, "h w c"], label: Int32[np.ndarray, "h w"], plan: Plan, void: int
) -> tuple[UInt[np.ndarray, "H W c"], Int32[np.ndarray, "H W"], UInt8[np.ndarray, "H W"]]:
    """The crops of image and label, and 1 where they show the image.

    Elsewhere the label is void, and the image's edge is repeated, or it is mirrored
    (`plan.mirrored`): what replaces that later does not bleed into the image.
    """
    sample, inside = _sampler(label.shape, plan)
    warped = sample(image, cv2.INTER_LINEAR).reshape(*plan.crop_size, image.shape[2])
    return warped, paint_outside(sample(label, cv2.INTER_NEAREST), inside, plan, void), inside


def warp_label(label: Int32[np.ndarray, "h w"], plan: Plan, void: int) -> Int32[np.ndarray, "H W"]:
    """The crop of the label alone."""
    sample, inside = _sampler(label.shape, plan)
    return paint_outside(sample(label, cv2.INTER_NEAREST), inside, plan, void)


def paint_outside(
    crop: np.ndarray, inside: UInt8[np.ndarray, "H W"], plan: Plan, value: Any
) -> np.ndarray:
    """The crop of an image or label with `value` where it does not show the image.

    `crop` may be changed: where the image covers a rectangle, only what is beside it is touched.
    """
    row = np.empty(crop.shape[1:], crop.dtype)
    row[:] = value
    if plan.covered is None:
        out = np.empty_like(crop)
        out[:] = row
        cv2.copyTo(crop, inside, out)
        return out
    top, left, bottom, right = plan.covered
    crop[:top], crop[bottom:] = row, row
    crop[top:bottom, :left], crop[top:bottom, right:] = row[:left], row[right:]
    return crop


def _sampler(
    size: tuple[int, ...], plan: Plan
) -> tuple[Callable[[np.ndarray, int], np.ndarray], UInt8[np.ndarray, "H W"]]:
    """The crop of an array of `size` by an interpolation of OpenCV, and 1 where it is inside."""
    edge = cv2.BORDER_REFLECT_101 if plan.mirrored else cv2.BORDER_REPLICATE
    if plan.covered is None:
        x, y = sample_positions(plan)
        return lambda array, how: cv2.remap(array, x, y, how, borderMode=edge), within(x, y, size)
    inside = np.zeros(plan.crop_size, np.uint8)
    top, left, bottom, right = plan.covered
    inside[top:bottom, left:right] = 1
    to, out = plan.matrix, (plan.crop_size[1], plan.crop_size[0])  # OpenCV says (width, height)
    return lambda array, how: cv2.warpAffine(array, to, out, flags=how, borderMode=edge), inside


def sample_positions(
    plan: Plan,
) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]:
    """The x and the y in the image that each pixel of the crop is sampled from.

    U-Net's elastic deformation (Ronneberger et al. 2015, section 3.1): displacements drawn on a
    coarse grid, bicubic in between. The grid spans the crop, its outer points on the crop's border
    pixels: the paper specifies neither that nor which bicubic interpolation (here Keys's).
    """
    y, x = np.ogrid[: plan.crop_size[0], : plan.crop_size[1]]
    to_image = cv2.invertAffineTransform(plan.matrix)
    moved = (0.0, 0.0)
    if plan.displacements is not None:
        rows = bicubic(plan.crop_size[0], plan.displacements.shape[0])
        columns = bicubic(plan.crop_size[1], plan.displacements.shape[1])
        # the map is linear: few points instead of all pixels
        points = plan.displacements @ to_image[:, :2].T
        moved = tuple(rows @ points[..., axis] @ columns.T for axis in (0, 1))
    sampled = (
        moved[axis] + (to_image[axis, 0] * x + to_image[axis, 2]) + to_image[axis, 1] * y
        for axis in (0, 1)
    )
    at_x, at_y = (axis.astype(np.float32) for axis in sampled)
    return at_x, at_y


def bicubic(size: int, points: int) -> Float[np.ndarray, "size points"]:
    """Weights of `points` values, evenly spaced from first to last pixel, at each of `size` pixels.

    Keys's cubic convolution (1981) with a = -1/2, which interpolates the values; beyond the
    ends they repeat.
    """
    place = np.linspace(0, points - 1, size)
    left = np.minimum(place.astype(int), points - 2)
    t = place - left
    taps = (
        -t / 2 + t**2 - t**3 / 2,
        1 - 5 / 2 * t**2 + 3 / 2 * t**3,
        t / 2 + 2 * t**2 - 3 / 2 * t**3,
        -(t**2) / 2 + t**3 / 2,
    )
    weights = np.zeros((size, points))
    for offset, tap in zip((-1, 0, 1, 2), taps, strict=True):
        np.add.at(weights, (np.arange(size), np.clip(left + offset, 0, points - 1)), tap)
    return weights


def within(
    x: Float32[np.ndarray, "H W"], y: Float32[np.ndarray, "H W"], size: tuple[int, ...]
) -> UInt8[np.ndarray, "H W"]:
    """1 for positions on an image of `size`, which ends half a pixel beyond its pixels' centres."""
    height, width = size
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    return inside.view(np.uint8)
