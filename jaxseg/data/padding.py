"""How images are padded for evaluation and prediction, the same in both."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt

from jaxseg.data.pixels import PixelFormat


def padded_size(
    size: tuple[int, int], *, canvas: tuple[int, int], multiple: int
) -> tuple[int, int]:
    """The height and width that an image of `size` is padded to, at the bottom and on the right.

    A side is at least the canvas's; what it exceeds that by is rounded up to a `multiple`. With
    the canvas (0, 0) sides are multiples of `multiple`. DeepLab's 513 and the sides above it in
    steps of 32 stay of the form 32 k + 1, where strides meet both borders.
    """
    # rounded up: minus the floor of the negative
    height, width = (
        least + -(-max(side - least, 0) // multiple) * multiple
        for side, least in zip(size, canvas, strict=True)
    )
    return height, width


def mean_pixel(mean: Sequence[float | int], bits: int = 8) -> UInt[np.ndarray, " channels"]:
    """The config's mean, rounded: what padding is filled with, near zero once normalized.

    Its dtype is that of images of so many bits, see `pixels`.
    """
    return np.round(np.asarray(mean, float)).astype(PixelFormat(len(mean), bits).dtype)
