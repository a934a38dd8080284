"""Contours, distances and counts of one image on the host."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int


def contour(mask: Bool[np.ndarray, "h w"], *, at_border: bool) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask with one of their four neighbours outside of it.

    `at_border` says whether what lies beyond the image is outside of the mask.
    """
    padded = np.pad(mask, 1, constant_values=not at_border)
    rows, columns = padded[:, 1:-1], padded[1:-1]
    inner = rows[:-2] & rows[2:] & columns[:, :-2] & columns[:, 2:]
    return mask & ~inner


def edges(labels: Int[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels with one of their four neighbours of another label."""
    found = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found


def distance_to(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Of each pixel's centre to the nearest of the mask's, in pixels; infinite if it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    outside = (~mask).astype(np.uint8)
    found = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's last bit differs from call to call; squares are integers, exact up to 1,500 pixels
    return np.sqrt(np.rint(np.square(found, dtype=np.float64)))


def counts(
    truth: Int[np.ndarray, "*shape"], prediction: Int[np.ndarray, "*shape"], number: int
) -> Int[np.ndarray, "c 3"]:
    """Pixels of each class below `number`: in both, in truth, in prediction."""
    found = (truth[truth == prediction], truth, prediction)
    return np.stack([np.bincount(x.ravel(), minlength=number)[:number] for x in found], axis=-1)
