"""The warp of an image and its label by the tables of a plan, see `planned.plan_arrays`."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Integer, UInt8

from jaxseg.data.pipeline.planned import BITS, LABEL_BITS
from jaxseg.data.transforms import bicubic

Edge = Callable[[Array, Array], tuple[Array, Array]]  # rows and columns, to those on the image


def positions(example: Mapping[str, Array]) -> tuple[Int32[Array, "H W"], Int32[Array, "H W"]]:
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


def nearest_pixel(
    example: Mapping[str, Array], x: Int32[Array, "H W"], y: Int32[Array, "H W"]
) -> tuple[Int32[Array, "H W"], Int32[Array, "H W"]]:
    """Row and column in the image of the nearest pixel, which may be outside."""
    bits = BITS
    if "label_columns" in example:
        bits = LABEL_BITS
        x, y = _sum(example["label_columns"], example["label_rows"])
    half = 1 << bits - 1
    return (y + half) >> bits, (x + half) >> bits


def bilinear(
    image: UInt8[Array, "h w c"], x: Int32[Array, "H W"], y: Int32[Array, "H W"], edge: Callable
) -> UInt8[Array, "H W c"]:
    row, column = y >> BITS, x >> BITS
    fraction, one = (1 << BITS) - 1, jnp.float32(1 << BITS)
    down, right = ((p & fraction)[..., None].astype(jnp.float32) / one for p in (y, x))

    def corner(below: int, beside: int) -> Array:
        return at(image, *edge(row + below, column + beside)).astype(jnp.float32)

    above, below = (
        corner(each, 0) + right * (corner(each, 1) - corner(each, 0)) for each in (0, 1)
    )
    return jnp.round(above + down * (below - above)).astype(image.dtype)


def at(
    array: Array, row: Int32[Array, "H W"], column: Int32[Array, "H W"]
) -> Integer[Array, "H W ..."]:
    return array.at[row, column].get(mode="promise_in_bounds")


def clamp(row: Array, column: Array, size: Int32[Array, "2"]) -> tuple[Array, Array]:
    """The edge's pixels repeat outside the image (OpenCV's BORDER_REPLICATE)."""
    return jnp.clip(row, 0, size[0] - 1), jnp.clip(column, 0, size[1] - 1)


def mirror(row: Array, column: Array, size: Int32[Array, "2"]) -> tuple[Array, Array]:
    """Outside the image is its mirror image, the edge once (OpenCV's BORDER_REFLECT_101)."""

    def along(place: Array, n: Array) -> Array:
        period = jnp.maximum(2 * (n - 1), 1)
        place = jnp.abs(place) % period
        return jnp.where(place < n, place, period - place)

    return along(row, size[0]), along(column, size[1])


def within(
    x: Int32[Array, "H W"], y: Int32[Array, "H W"], size: Int32[Array, "2"]
) -> Bool[Array, "H W"]:
    """Whether positions are on an image, which ends half a pixel beyond its pixels' centres."""
    half, (bottom, right) = 1 << BITS - 1, size << BITS
    return (x >= -half) & (x < right - half) & (y >= -half) & (y < bottom - half)
