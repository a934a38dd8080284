"""Random augmentation: one draw per example, one warp of image and label, one colour matrix.

Scale, crop, flips and quarter turns are composed into a single affine map, and elastic displacement
is added to it, so that pixels are interpolated once: bilinear for the image, nearest for the label.
Corners: half-pixel centres.
"""

import dataclasses
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, Int64, UInt8

GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601, as in torchvision's ColorJitter


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
    """The augmented pair at `crop_size`. Outside the image: the mean pixel, and void.

    A scaled image larger than the crop is cropped at a random position, a smaller one placed at
    one. For a model that gives no logits for a border of `context` pixels, it is the position of
    the crop without this border, so that all of the image is trained on; outside the image is its
    mirror image, as such a model sees it in prediction (`jaxseg/inference`).

    Downscaling does not smooth first (as in the DeepLab papers' code).
    """
    matrix, (top, left, bottom, right) = _warp(image.shape[:2], drawn, crop_size, context)
    # edges are replicated first and overwritten below: no mean pixel bleeds into the image
    edge = cv2.BORDER_REFLECT_101 if context else cv2.BORDER_REPLICATE
    if drawn.elastic is None:
        size = (crop_size[1], crop_size[0])  # OpenCV says (width, height)
        warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=edge)
        warped_label = cv2.warpAffine(label, matrix, size, flags=cv2.INTER_NEAREST, borderMode=edge)
        inside = np.zeros(crop_size, np.uint8)
        inside[top:bottom, left:right] = 1
    else:
        x, y = _sample_positions(matrix, drawn.elastic, crop_size)
        warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=edge)
        warped_label = cv2.remap(label, x, y, cv2.INTER_NEAREST, borderMode=edge)
        inside = _within(x, y, image.shape[:2])

    out_label = np.full(crop_size, void, np.int32)
    cv2.copyTo(warped_label, inside, out_label)
    coloured = _jitter(warped, inside, drawn)
    if context:
        return coloured, out_label
    out_image = np.empty((*crop_size, 3), np.uint8)
    out_image[:] = mean
    cv2.copyTo(coloured, inside, out_image)
    return out_image, out_label


def position(
    room: Int64[np.ndarray, " n"], offset: Float[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """One of the whole numbers from 0 to `room`, both included, all of them equally likely.

    `room` may be negative: pixels that a crop lacks. `offset` is uniform in 0..1.
    """
    count = np.abs(room) + 1
    return np.sign(room) * np.minimum(np.floor(offset * count), count - 1).astype(np.int64)


def _warp(
    size: tuple[int, ...], drawn: Draw, crop_size: tuple[int, int], context: int
) -> tuple[Float[np.ndarray, "2 3"], tuple[int, int, int, int]]:
    """The map from image to crop, and the part (top, left, bottom, right) that the image covers.

    About the centres of image and scaled image, the map is flip, then rotate, then scale; points
    are (x, y) with pixel centres at halves, which OpenCV has at integers.
    """
    rotation = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), drawn.quarter_turns)
    flip = np.diag([-1 if drawn.flip else 1, -1 if drawn.vertical_flip else 1])
    rotated = np.abs(rotation) @ np.array([size[1], size[0]])  # (width, height) after rotation
    # whole pixels, as a resize would give: where the image ends is then exact
    scaled = np.maximum(1, np.round(drawn.scale * rotated)).astype(int)
    linear = np.diag(scaled / rotated) @ rotation @ flip
    room = np.array([crop_size[1], crop_size[0]]) - 2 * context - scaled  # negative: it is cut
    # whole pixels again: a crop at scale 1 copies pixels
    shift = context + position(room, np.array([drawn.offset[1], drawn.offset[0]]))
    centre = np.array([size[1], size[0]]) / 2
    translation = shift + scaled / 2 - 0.5 - linear @ (centre - 0.5)
    left, top = np.maximum(shift, 0).tolist()
    right, bottom = np.minimum(shift + scaled, [crop_size[1], crop_size[0]]).tolist()
    return np.column_stack([linear, translation]), (top, left, bottom, right)


def _sample_positions(
    matrix: Float[np.ndarray, "2 3"],
    displacements: Float[np.ndarray, "rows columns 2"],
    crop_size: tuple[int, int],
) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]:
    """The x and the y in the image that each pixel of the crop is sampled from.

    U-Net's elastic deformation (Ronneberger et al. 2015, section 3.1): displacements drawn on a
    coarse grid, bicubic in between. The grid spans the crop, its outer points on the crop's border
    pixels: the paper specifies neither that nor which bicubic interpolation (here Keys's).
    """
    rows = _bicubic(crop_size[0], displacements.shape[0])
    columns = _bicubic(crop_size[1], displacements.shape[1])
    y, x = np.ogrid[: crop_size[0], : crop_size[1]]
    to_image = cv2.invertAffineTransform(matrix)
    moved = displacements @ to_image[:, :2].T  # the map is linear: few points instead of all pixels
    sampled = (
        rows @ moved[..., axis] @ columns.T
        + (to_image[axis, 0] * x + to_image[axis, 2])
        + to_image[axis, 1] * y
        for axis in (0, 1)
    )
    at_x, at_y = (axis.astype(np.float32) for axis in sampled)
    return at_x, at_y


def _bicubic(size: int, points: int) -> Float[np.ndarray, "size points"]:
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


def _within(
    x: Float32[np.ndarray, "H W"], y: Float32[np.ndarray, "H W"], size: tuple[int, ...]
) -> UInt8[np.ndarray, "H W"]:
    """1 for positions on an image of `size`, which ends half a pixel beyond its pixels' centres."""
    height, width = size
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    return inside.view(np.uint8)


def _jitter(
    image: UInt8[np.ndarray, "h w 3"], inside: UInt8[np.ndarray, "h w"], drawn: Draw
) -> UInt8[np.ndarray, "h w 3"]:
    """Brightness, contrast and saturation as torchvision defines them, in that order.

    All three are affine in the colour, so they are one 3x4 matrix: rounded and clipped once. The
    mean that contrast moves to is that of the pixels inside.
    """
    if drawn.brightness == drawn.contrast == drawn.saturation == 1:
        return image
    mean_grey = drawn.brightness * float(GREY @ np.array(cv2.mean(image, inside)[:3]))
    to_grey = np.tile(GREY, (3, 1))
    saturate = drawn.saturation * np.eye(3) + (1 - drawn.saturation) * to_grey
    # contrast moves every channel towards the image's mean grey, which saturation leaves alone
    matrix = drawn.contrast * drawn.brightness * saturate
    constant = np.full(3, (1 - drawn.contrast) * mean_grey)
    return cv2.transform(image, np.column_stack([matrix, constant]))
