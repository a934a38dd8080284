"""Hatching, which marks void on a picture whatever its colours are."""

import numpy as np
from jaxtyping import Bool, UInt8

PERIOD, LINE = 10, 2  # pixels from line to line along a row, and of the white and the black line


def hatched(
    picture: UInt8[np.ndarray, "h w 3"], where: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with diagonal lines over `where`, white beside black: seen on any ground."""
    y, x = np.ogrid[: where.shape[0], : where.shape[1]]
    place = (x + y) % PERIOD
    out = picture.copy()
    out[where & (place < LINE)] = 255
    out[where & (place >= LINE) & (place < 2 * LINE)] = 0
    return out
