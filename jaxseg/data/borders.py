"""U-Net's loss weights for the gaps between cells (Ronneberger et al., MICCAI 2015, equation 2).

w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), where d1 and d2 are the distances from x
to the border of the nearest and of the second nearest cell. Here is the second term; w_c is
`config.loss.cross_entropy.class_weights`, and the loss adds the two. Focal loss and OHEM do so too;
losses of overlaps and Lovász count a pixel like 1 + its term.

A cell is a 4-connected component of one object class, so that a gap one pixel wide separates cells
in any direction; touching cells of one class count as one. Pixels of cells get weight 0, as in the
authors' own later form of it (Falk et al., Nature Methods 2019): their distance to the nearest cell
is zero, so that the term would weigh thin cells like gaps. Only the crop's label counts: a cell
that its edge cuts in two is two cells, and one outside is none.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Int32

from jaxseg.data.mask_files import present
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

Weigh = Callable[[Int32[np.ndarray, "h w"]], Float32[np.ndarray, "h w"]]

REACH = 5.7  # in sigmas: exp(-REACH^2 / 2) < 1e-7, which float32 sums round away


def weigher(loss: Any, classes: Classes) -> Weigh | None:
    """The weight map that a config's `loss` part asks for, as a function of a label; None if off.

    Raises:
      UserError: a class that the data set lacks.
    """
    if not loss.border_weight:
        return None
    chosen = tuple(loss.border_classes) or tuple(range(1, len(classes)))
    if unknown := [c for c in chosen if c not in range(len(classes))]:
        raise UserError(
            f"config.loss.border_classes names class {unknown[0]}: expected classes of "
            f"0..{len(classes) - 1}, or () for all but 0"
        )
    return functools.partial(
        border_term, objects=chosen, weight=loss.border_weight, sigma=loss.border_sigma
    )


def border_term(
    label: Int32[np.ndarray, "h w"], *, objects: tuple[int, ...], weight: float, sigma: float
) -> Float32[np.ndarray, "h w"]:
    """The second term of w at every pixel: zero in cells, and where fewer than two cells are near.

    20 ms for a 512x512 slice of ISBI's with 135 cells, on one core.

    Args:
      label: class indices; every index not in `objects`, void too, is background between cells.
      objects: the classes whose components are cells.
      weight: w0.
      sigma: in pixels.
    """
    margin = math.ceil(REACH * sigma)
    nearest = np.full(label.shape, np.inf, np.float32)
    second = nearest.copy()
    for cell, (top, left, bottom, right) in _cells(label, objects):
        # beyond its box and the margin a cell does not matter
        y0, x0 = max(top - margin, 0), max(left - margin, 0)
        around = np.s_[y0 : bottom + margin, x0 : right + margin]
        near = np.ones(nearest[around].shape, np.uint8)
        near[top - y0 : bottom - y0, left - x0 : right - x0] = ~cell
        distance = cv2.distanceTransform(near, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        d1, d2 = nearest[around], second[around]
        np.minimum(d2, np.maximum(d1, distance), out=d2)
        np.minimum(d1, distance, out=d1)
    term = weight * np.exp((nearest + second) ** 2 / (-2 * sigma**2))
    return np.where(nearest > 0, term, np.float32(0))


def _cells(
    label: Int32[np.ndarray, "h w"], objects: tuple[int, ...]
) -> Iterator[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """Each cell as a boolean mask of its bounding box (top, left, bottom, right)."""
    for index in set(present(label)).intersection(objects):
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats(
            (label == index).astype(np.uint8), connectivity=4
        )
        for number in range(1, count):  # 0 is all the rest
            left, top, width, height = boxes[number, :4].tolist()
            box = (top, left, top + height, left + width)
            yield numbers[box[0] : box[2], box[1] : box[3]] == number, box
