"""For augmentation on the device: whole images on one canvas, and each one's plan as arrays.

The host reads, decodes, draws and plans; `jaxseg/augmentation` applies the plans in the step.
"""

import math
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int32, UInt

from jaxseg.data.pipeline.batch import Batch, empty_batch
from jaxseg.data.pipeline.reading import Skipped, attempt
from jaxseg.data.source import Example, Source
from jaxseg.data.transforms import Plan
from jaxseg.errors import UserError

# Bits of the fraction of a pixel: of positions in images, and in labels, where OpenCV has so many.
BITS, LABEL_BITS = 14, 10
BLUR_BITS = 8  # of the fraction of a weight of a blur, OpenCV's
LARGEST = 2**15 - 1  # pixels a side, OpenCV's own limit: positions fit into 32 bits
MOST_PADDING = 4.0  # times the pixels of the average image


def canvas_of(source: Source) -> tuple[int, int]:
    """The height and width that all images of a split fit into; nothing is decoded.

    Raises:
      UserError: padded to it, most of what is sent to the device would be padding.
    """
    unreadable = Skipped(lambda _: None)  # they are named when they are read
    found = (attempt(source.size, index, unreadable) for index in range(len(source)))
    sizes = np.array([size for size in found if size is not None], np.int64).reshape(-1, 2)
    height, width = sizes.max(0, initial=1).tolist()
    average = float(sizes.prod(1).mean()) if len(sizes) else 1.0
    times = height * width / average
    if times > MOST_PADDING or max(height, width) > LARGEST:
        raise UserError(
            f"config.augment.on_device sends every image padded to the largest height and width, "
            f"{height}x{width}, {times:.1f} times the average image, expected at most "
            f"{MOST_PADDING:g} times and {LARGEST} a side: resize the largest images, or let the "
            "host augment with --config.augment.on_device=False"
        )
    return height, width


def empty_planned(
    count: int, canvas: tuple[int, int], pixel: UInt[np.ndarray, " c"], like: Plan, max_blur: float
) -> Batch:
    """`count` examples on a canvas, to be filled in; channels are as in `pixel`.

    Their plans have the arrays of `like`; `max_blur` is the largest of their blurs.
    """
    arrays = plan_arrays(like, canvas, _radius(max_blur))
    plan = {name: np.empty((count, *a.shape), a.dtype) for name, a in arrays.items()}
    return empty_batch(count, canvas, pixel)._replace(plan=plan)


def put(batch: Batch, slot: int, example: Example, plan: Plan) -> None:
    """Write an example, with zeros around it that nothing reads, and its plan into a batch."""
    assert batch.plan is not None  # it is of `empty_planned`
    height, width = size = example["label"].shape
    for canvas, array in ((batch.image, example["image"]), (batch.label, example["label"])):
        canvas[slot, :height, :width] = array
        canvas[slot, height:] = 0
        canvas[slot, :height, width:] = 0
    radius = batch.plan["blur"].shape[1] // 2
    for name, array in plan_arrays(plan, size, radius).items():
        batch.plan[name][slot] = array


def plan_arrays(plan: Plan, size: tuple[int, ...], radius: int) -> dict[str, np.ndarray]:
    """What the device needs to know of a plan for an image of `size`, blurred by at most `radius`.

    Positions are whole numbers of 2^-14 pixel, so that all devices and compilers round alike; the
    position of row i, column j of the crop is the sum of both tables' entries.

    Returns:
      size: int32 [2], height and width.
      columns, rows: int32 [2, W] and [2, H], x and y in the image of each column and row.
      displacements: float32 [r, c, 2], x and y in pixels of the image, if the plan has some.
      label_columns, label_rows: if the image covers a rectangle. OpenCV then rounds positions to
        2^-10 pixel before it takes the nearest label: ties fall as there.
      factors: float32 [3], brightness, contrast and saturation.
      hue, gamma: float32 [].
      blur: int32 [2 radius + 1], the weights of the blur in 2^-8.
    """
    to_image = cv2.invertAffineTransform(plan.matrix)
    arrays: dict[str, Any] = {"size": np.array(size, np.int32)}
    arrays["columns"], arrays["rows"] = _tables(to_image, plan.crop_size, BITS)
    if plan.displacements is not None:
        # the map is linear: few points instead of all pixels
        arrays["displacements"] = (plan.displacements @ to_image[:, :2].T).astype(np.float32)
    if plan.covered is not None:
        tables = _tables(to_image, plan.crop_size, LABEL_BITS)
        arrays["label_columns"], arrays["label_rows"] = tables
    arrays["factors"] = np.array([plan.brightness, plan.contrast, plan.saturation], np.float32)
    arrays["hue"], arrays["gamma"] = np.float32(plan.hue), np.float32(plan.gamma)
    arrays["blur"] = np.pad(kernel := _kernel(plan.blur), radius - len(kernel) // 2)
    return arrays


def _radius(blur: float) -> int:
    return math.ceil(3 * blur)


def _kernel(blur: float) -> Int32[np.ndarray, " k"]:
    """The weights that OpenCV's GaussianBlur takes for 8 bits, in 2^-BLUR_BITS.

    Each is rounded, from the ends inwards, with what rounding left of the one before; the middle
    one makes their sum 1.
    """
    radius, one = _radius(blur), 1 << BLUR_BITS
    kernel, left = np.zeros(2 * radius + 1, np.int32), 0.0
    if radius:
        exact = one * cv2.getGaussianKernel(len(kernel), blur)[:, 0]
        for i in range(radius):
            kernel[i] = kernel[-1 - i] = np.rint(exact[i] + left)
            left += exact[i] - kernel[i]
    kernel[radius] = one - kernel.sum()
    return kernel


def _tables(
    to_image: np.ndarray, crop_size: tuple[int, int], bits: int
) -> tuple[np.ndarray, np.ndarray]:
    columns = to_image[:, :1] * np.arange(crop_size[1])
    rows = to_image[:, 1:2] * np.arange(crop_size[0]) + to_image[:, 2:]
    limit = 2.0 ** (15 + bits)
    x, y = (np.clip(np.rint(t * 2.0**bits), -limit, limit) for t in (columns, rows))
    return x.astype(np.int32), y.astype(np.int32)
