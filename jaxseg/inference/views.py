"""How often, how large and which way round a model sees an image: `config.eval`'s scales and flip.

The probabilities of all views are averaged at the image's own resolution: logits are interpolated
to it, the softmax is taken, then the mean, as in DeepLab's TensorFlow code (its function
`predict_labels_multi_scale`) and PSPNet's in PyTorch. Images are rescaled without anti-aliasing, as
there.

Geometry: scale s puts the image's pixel j at s (j + 1/2) - 1/2 of the rescaled one with half-pixel
corners, at s j with aligned ones, and logits are interpolated from where they lie there, once. The
rescaled image is padded to a size at which the model's features keep their place, with the mean
pixel. Each image of a batch is rescaled by itself, so that padding is not mixed into its border.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError
from jaxseg.models.contract import SegmentationModel, corner_mismatch

WINDOW_WEIGHTS = ("flat", "gaussian")


@dataclasses.dataclass(frozen=True)
class Views:
    """What is averaged, see `defaults.Eval`."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: tuple[int, int] = (0, 0)  # rows, columns; zeros: the whole image at once
    overlap: float = 0.5
    window_weights: str = "flat"
    temperature: float = 1.0

    @classmethod
    def from_config(cls, section: Any) -> "Views":
        """Of a config's `eval`; raises UserError for what no range can tell."""
        if not section.scales:
            raise UserError("config.eval.scales is (), expected at least one, such as (1.0,)")
        if len(section.window) not in (1, 2) or (0 in section.window and any(section.window)):
            raise UserError(
                f"config.eval.window is {section.window}, expected one number or rows and columns, "
                "0 for whole images"
            )
        return cls(
            scales=tuple(section.scales),
            flip=section.flip,
            window=(section.window[0], section.window[-1]),
            overlap=section.overlap,
            window_weights=section.window_weights,
            temperature=section.temperature,
        )

    @property
    def has_window(self) -> bool:
        return any(self.window)

    @property
    def is_plain(self) -> bool:
        """Whether there is one view, of the whole image as it is."""
        return self.scales == (1.0,) and not self.flip and not self.has_window

    @property
    def count(self) -> int:
        """Of the views of the whole image."""
        return len(self.scales) * (1 + self.flip)

    def check(self, model: SegmentationModel) -> None:
        """Raise UserError unless `model` can be used so."""
        if not self.has_window:
            return
        if model.context:
            raise UserError(
                f"config.eval.window is {self.window}, but this model is unpadded, and its tiles "
                "see the image around them: use config.eval.tile_size, whose tiles need no overlap"
            )
        if mismatch := corner_mismatch(model, self.window, key="config.eval.window"):
            raise UserError(mismatch)

    def windows_of(self, canvas: tuple[int, int]) -> tuple[int, int]:
        """The window for a rescaled and padded image: never larger than it."""
        if not self.has_window:
            return canvas
        return min(self.window[0], canvas[0]), min(self.window[1], canvas[1])

    def for_size(self, size: tuple[int, ...], model: SegmentationModel) -> "Views":
        """Without windows where one covers a padded image of `size` at every scale."""
        canvases = [canvas_of((size[0], size[1]), scale, model) for scale in self.scales]
        if any(self.windows_of(canvas) != canvas for canvas in canvases):
            return self
        return dataclasses.replace(self, window=(0, 0))


PLAIN = Views()


def scaled(side: int, scale: float, corners: str) -> int:
    """The pixels of a rescaled side: as many as cover it. DeepLab's 513 is 257 at scale 0.5."""
    extra = int(corners == "aligned")
    return max(1, math.ceil((side - extra) * scale - 1e-6) + extra)


def canvas_of(size: tuple[int, int], scale: float, model: SegmentationModel) -> tuple[int, int]:
    """What an image of a padded `size` is rescaled and padded to: at scale 1 what it was.

    The smallest sides of at least the rescaled ones at which features keep their place, see
    `contract.corner_mismatch`. Unpadded models see the image mirrored, and no padding.
    """
    if scale == 1:
        return size
    sides = [scaled(side, scale, model.corners) for side in size]
    if not model.context:
        stride, corners = model.interpolation
        extra = int(corners == "aligned")
        sides = [max(1, -(-(side - extra) // stride)) * stride + extra for side in sides]
    return sides[0], sides[1]


def places(count: int, scale: float, corners: str) -> Float[np.ndarray, " n"]:
    """Where the first `count` pixels of an image lie in it rescaled, in its pixels."""
    i = np.arange(count)
    return (i + 0.5) * scale - 0.5 if corners == "half_pixel" else i * scale


def on_logits(
    at: Float[np.ndarray, "*n"], side: int, logits: int, corners: str
) -> Float[np.ndarray, "*n"]:
    """Places in an image with this `side`, in the pixels of its logits."""
    if corners == "half_pixel":
        return (at + 0.5) * logits / side - 0.5
    return at * (logits - 1) / max(side - 1, 1)


def rescale(
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    scale: float,
    model: SegmentationModel,
) -> tuple[Float[Array, "b h2 w2 c"], Int[Array, "b 2"]]:
    """Normalised images rescaled and padded to `canvas_of`, and their new sizes without padding."""
    if scale == 1:
        return images, sizes
    canvas = canvas_of((images.shape[1], images.shape[2]), scale, model)
    indices, shares, ends = [], [], []
    for axis in (0, 1):
        end = jnp.maximum(sizes[:, axis], 1)[:, None]
        low, share = source_of(canvas[axis], scale, model.corners)
        indices += [jnp.clip(low, 0, end - 1), jnp.clip(low + 1, 0, end - 1)]
        shares.append(share)
        known = [scaled(n, scale, model.corners) for n in range(images.shape[axis + 1] + 1)]
        ends.append(jnp.asarray(known, jnp.int32)[sizes[:, axis]])

    def one(image: Array, top: Array, bottom: Array, left: Array, right: Array) -> Array:
        rows, columns = shares[0][:, None, None], shares[1][None, :, None]
        image = image[top] * (1 - rows) + image[bottom] * rows
        return image[:, left] * (1 - columns) + image[:, right] * columns

    rows, columns = (
        jnp.arange(side, dtype=jnp.int32) < end[:, None]
        for side, end in zip(canvas, ends, strict=True)
    )
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(inside, jax.vmap(one)(images, *indices), 0.0), jnp.stack(ends, 1)


def source_of(
    count: int, scale: float, corners: str
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Between which pixels of the image each rescaled one lies: the first, how far beyond it."""
    at = places(count, 1 / scale, corners)
    low = np.floor(at)
    return low.astype(np.int32), (at - low).astype(np.float32)


def flip_each(x: Array, widths: Int[Array, " b"]) -> Array:
    """Every image turned left to right within its own width, the padding left where it is."""
    column = jnp.arange(x.shape[2], dtype=jnp.int32)[None]
    width = widths[:, None]
    return take_columns(x, jnp.where(column < width, width - 1 - column, column))


def take_columns(x: Array, columns: Int[Array, "b w"]) -> Array:
    return jax.vmap(lambda image, columns: image[:, columns])(x, columns)


def repeat_border(x: Array, sizes: Int[Array, "b 2"]) -> Array:
    """Maps whose padding repeats each one's own last row and column."""
    rows, columns = (
        jnp.minimum(jnp.arange(x.shape[axis + 1], dtype=jnp.int32), sizes[:, axis, None] - 1)
        for axis in (0, 1)
    )
    return take_columns(jax.vmap(lambda image, rows: image[rows])(x, rows), columns)
