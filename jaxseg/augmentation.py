"""Augmentation inside the training step, which `config.augment.on_device` moves there.

The host draws and plans as it always does (`jaxseg/data/transforms`) and sends whole images with
their plans (`jaxseg/data/pipeline/planned.py`). The warp and the colours are computed here, for
GPUs that outrun the host's cores. What comes out is what the host would have made, to rounding:

- Labels are equal. With elastic displacements or `rotate` one may differ where it is taken within
  a thousandth of a pixel from the middle between two pixels.
- Colours differ by at most one level of 0..255 after the warp, where a value falls between two. A
  change of colour then multiplies that by its factors, and rounds again.

This is so for OpenCV 5. OpenCV 4 rounds positions in an image to 1/32 pixel, and so differs from
both by up to 8 levels at the sharpest edges.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, Integer, UInt8

from jaxseg.data.padding import mean_pixel
from jaxseg.data.pipeline.planned import BITS, LABEL_BITS
from jaxseg.data.transforms import bicubic
from jaxseg.data.transforms.colour import GREY
from jaxseg.defaults import Augment, Config
from jaxseg.errors import UserError

# Keys of `config.augment` that a plan's arrays hold; others are refused unless they are off.
KEYS = {
    "crop_size", "scale", "flip", "vertical_flip", "rotate90", "rotate", "brightness", "contrast",
    "saturation", "grey", "elastic", "elastic_grid", "max_class_share", "class_balanced",
    "on_device",
}  # fmt: skip
COLOUR_BITS = 10  # OpenCV's, of the factors of colours

Augmenting = Callable[[Mapping[str, Array]], dict[str, Array]]


def check(config: Config) -> None:
    """Raise UserError for what can't be computed on the device, if `on_device` asks for it."""
    if not config.augment.on_device:
        return
    others = {f.name: f.default for f in dataclasses.fields(config.augment) if f.name not in KEYS}
    wrong = [f"augment.{k}" for k, off in others.items() if getattr(config.augment, k) != off]
    if config.loss.border_weight:  # its map is measured on the augmented label
        wrong.append("loss.border_weight")
    if wrong:
        raise UserError(
            f"config.{wrong[0]} is computed on the host alone: turn it off, or leave "
            "config.augment.on_device off"
        )


def bind(config: Config, *, void: int, context: int) -> Augmenting | None:
    """What `steps.train_step` does with a batch first; None where the host augments."""
    augment = config.augment
    if not augment.on_device:
        return None
    one = functools.partial(
        _augment_one,
        mean=mean_pixel(config.dataset.mean),
        void=void,
        mirrored=context > 0,
        coloured=_changes_colour(augment),
    )
    return lambda batch: jax.vmap(one)(dict(batch))


def _changes_colour(augment: Augment) -> bool:
    return any((augment.brightness, augment.contrast, augment.saturation, augment.grey))


def _augment_one(
    example: Mapping[str, Array],
    *,
    mean: UInt8[np.ndarray, " c"],
    void: int,
    mirrored: bool,
    coloured: bool,
) -> dict[str, Array]:
    """Image [H W c] and label [H W] of one example as `planned.plan_arrays` describes it."""
    image, label = example["image"], example["label"]
    edge = functools.partial(_mirror if mirrored else _clamp, size=example["size"])
    x, y = _positions(example)
    warped = _bilinear(image, x, y, edge)
    inside = _within(x, y, example["size"])
    if coloured:
        warped = _jitter(warped, inside, example["colour"])
    if not mirrored:
        warped = jnp.where(inside[..., None], warped, mean.astype(warped.dtype))
    nearest = _at(label, *edge(*_nearest(example, x, y)))
    return {"image": warped, "label": jnp.where(inside, nearest, void)}


def _positions(example: Mapping[str, Array]) -> tuple[Int32[Array, "H W"], Int32[Array, "H W"]]:
    """Columns (x) and rows (y) in the image of each pixel of the crop, in 2^-BITS pixels."""
    x, y = _sum(example["columns"], example["rows"])
    if "displacements" not in example:
        return x, y
    points = example["displacements"]
    rows = jnp.asarray(bicubic(x.shape[0], points.shape[0]), jnp.float32)
    columns = jnp.asarray(bicubic(x.shape[1], points.shape[1]), jnp.float32)
    # the highest precision: a GPU's TF32 would be a twentieth of a pixel off
    moved = jnp.einsum("yr,rca,xc->ayx", rows, points, columns, precision="highest")
    moved = jnp.clip(jnp.round(moved * 2.0**BITS), -(2.0**29), 2.0**29).astype(jnp.int32)
    return x + moved[0], y + moved[1]


def _sum(
    columns: Int32[Array, "2 W"], rows: Int32[Array, "2 H"]
) -> tuple[Int32[Array, "H W"], Int32[Array, "H W"]]:
    x, y = columns[:, None, :] + rows[:, :, None]
    return x, y


def _nearest(
    example: Mapping[str, Array], x: Int32[Array, "H W"], y: Int32[Array, "H W"]
) -> tuple[Int32[Array, "H W"], Int32[Array, "H W"]]:
    """Row and column in the image of the nearest pixel, which may be outside."""
    bits = BITS
    if "label_columns" in example:
        bits = LABEL_BITS
        x, y = _sum(example["label_columns"], example["label_rows"])
    half = 1 << bits - 1
    return (y + half) >> bits, (x + half) >> bits


def _bilinear(
    image: UInt8[Array, "h w c"], x: Int32[Array, "H W"], y: Int32[Array, "H W"], edge: Callable
) -> UInt8[Array, "H W c"]:
    row, column = y >> BITS, x >> BITS
    fraction, one = (1 << BITS) - 1, jnp.float32(1 << BITS)
    down, right = ((p & fraction)[..., None].astype(jnp.float32) / one for p in (y, x))

    def corner(below: int, beside: int) -> Array:
        return _at(image, *edge(row + below, column + beside)).astype(jnp.float32)

    above, below = (
        corner(each, 0) + right * (corner(each, 1) - corner(each, 0)) for each in (0, 1)
    )
    return jnp.round(above + down * (below - above)).astype(image.dtype)


def _at(
    array: Array, row: Int32[Array, "H W"], column: Int32[Array, "H W"]
) -> Integer[Array, "H W ..."]:
    return array.at[row, column].get(mode="promise_in_bounds")


def _clamp(row: Array, column: Array, size: Int32[Array, "2"]) -> tuple[Array, Array]:
    """The edge's pixels repeat outside the image (OpenCV's BORDER_REPLICATE)."""
    return jnp.clip(row, 0, size[0] - 1), jnp.clip(column, 0, size[1] - 1)


def _mirror(row: Array, column: Array, size: Int32[Array, "2"]) -> tuple[Array, Array]:
    """Outside the image is its mirror image, the edge once (OpenCV's BORDER_REFLECT_101)."""

    def along(place: Array, n: Array) -> Array:
        period = jnp.maximum(2 * (n - 1), 1)
        place = jnp.abs(place) % period
        return jnp.where(place < n, place, period - place)

    return along(row, size[0]), along(column, size[1])


def _within(
    x: Int32[Array, "H W"], y: Int32[Array, "H W"], size: Int32[Array, "2"]
) -> Bool[Array, "H W"]:
    """Whether positions are on an image, which ends half a pixel beyond its pixels' centres."""
    half, (bottom, right) = 1 << BITS - 1, size << BITS
    return (x >= -half) & (x < right - half) & (y >= -half) & (y < bottom - half)


def _jitter(
    image: UInt8[Array, "H W c"], inside: Bool[Array, "H W"], colour: Any
) -> UInt8[Array, "H W c"]:
    """Brightness, contrast and saturation, see `data.transforms.colour.jitter`.

    In OpenCV's arithmetic: factors of 10 fractional bits, and whole numbers from there on.
    """
    brightness, contrast, saturation = colour
    pixels, channels = image.astype(jnp.int32), image.shape[-1]
    # a row's sum is exact: float32 is not for all pixels
    sums = jnp.where(inside[..., None], pixels, 0).sum(1).astype(jnp.float32).sum(0)
    mean, saturate = sums / jnp.maximum(inside.sum(), 1), jnp.eye(channels)
    if channels == 3:
        grey = jnp.asarray(GREY, jnp.float32)
        mean = jnp.broadcast_to((grey * mean).sum(), mean.shape)
        saturate = saturation * saturate + (1 - saturation) * grey[None]
    matrix = contrast * brightness * saturate
    constant = (1 - contrast) * brightness * mean
    one = 1 << COLOUR_BITS
    factors = jnp.round(matrix * one).astype(jnp.int32)
    added = jnp.round((constant + 0.5) * one).astype(jnp.int32)
    changed = (pixels[..., None, :] * factors).sum(-1) + added
    limits = jnp.iinfo(image.dtype)
    return jnp.clip(changed >> COLOUR_BITS, limits.min, limits.max).astype(image.dtype)
