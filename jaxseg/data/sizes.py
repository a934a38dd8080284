"""How large the images are that a model was trained on, and how others are resized to that."""

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt

from jaxseg.data.pipeline.reading import Skipped, attempt
from jaxseg.data.source import Source

# Objects more than this many times larger, or smaller, than in any training image are called far
# outside what the model has seen.
FAR = 2.0
_EXAMPLES = 200  # whose headers are read


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of a run's training images, in pixels, and the factors that they were scaled by."""

    height: tuple[int, int]  # smallest and largest
    width: tuple[int, int]
    longer: tuple[int, int, int]  # side: smallest, median, largest
    scale: tuple[float, float]  # `augment.scale`

    @classmethod
    def from_source(cls, source: Source, scale: tuple[float, float]) -> "Sizes | None":
        """Of some hundred examples spread over `source`; None if none of them can be read."""
        indices = np.linspace(0, len(source) - 1, min(len(source), _EXAMPLES)).round().astype(int)
        unreadable = Skipped(lambda _: None)
        found = [attempt(source.size, index, unreadable) for index in indices.tolist()]
        sizes = np.array([size for size in found if size is not None], int)
        if not len(sizes):
            return None
        longer = np.sort(sizes.max(1))
        (h, w), (most_h, most_w) = sizes.min(0).tolist(), sizes.max(0).tolist()
        low, middle, high = longer[[0, len(longer) // 2, -1]].tolist()
        return cls((h, most_h), (w, most_w), (low, middle, high), (scale[0], scale[1]))

    def is_far(self, longer: int) -> bool:
        """Whether an image with this longer side lies far outside what training showed."""
        low, high = self.longer[0] * self.scale[0], self.longer[-1] * self.scale[1]
        return longer > FAR * high or longer * FAR < low

    def warning(self, what: str, longer: int, fix: str) -> str:
        """One line about an image that is far outside.

        Args:
          what: the image, such as "photo.jpg".
          longer: its longer side.
          fix: how to have it predicted at another size.
        """
        low, middle, high = self.longer
        ratio = longer / middle
        times = f"{ratio:.2g} times" if ratio > 1 else f"1/{1 / ratio:.2g} of"
        span = f"{low}" if low == high else f"{low} to {high}"
        scaled = "" if self.scale == (1, 1) else ", scaled by {:g} to {:g}".format(*self.scale)
        return (
            f"{what} has {longer} pixels on its longer side, {times} what training images have "
            f"({span}{scaled}), and objects may be too {'large' if ratio > 1 else 'small'} to be "
            f"recognised: {fix}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Lists and numbers only: goes through JSON and back by `from_dict`."""
        return {key: list(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Sizes":
        return cls(**{key: tuple(value) for key, value in fields.items()})


def fitted(size: tuple[int, int], longer: int | None) -> tuple[int, int]:
    """Height and width with that longer side and the same proportions; None changes nothing."""
    if longer is None:
        return size
    height, width = (max(1, round(side * longer / max(size))) for side in size)
    return height, width


def with_longer_side(
    image: UInt[np.ndarray, "_ _ c"], longer: int | None
) -> UInt[np.ndarray, "_ _ c"]:
    """The image resized to have that longer side; None changes nothing."""
    height, width = fitted(image.shape[:2], longer)
    if (height, width) == image.shape[:2]:
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resize = functools.partial(cv2.resize, dsize=(width, height), interpolation=how)
    if image.shape[-1] in (3, 4):
        return np.asarray(resize(image))
    # OpenCV drops the axis of a single channel, and averages over areas of four at most
    return np.stack([resize(channel) for channel in np.moveaxis(image, -1, 0)], axis=-1)
