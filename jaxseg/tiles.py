"""Overlap-tile prediction (Ronneberger et al. 2015, figure 2), for models that lose their border.

Such a model has `context` (pixels without logits on every side), `grid` (its sizes are this far
apart), `fit` (the smallest size that goes in) and `check_size`; those without have no `context`,
or 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError


def context(model: nn.Module) -> int:
    """Pixels on every side of an image that `model` gives no logits for."""
    return getattr(model, "context", 0)


def check(model: Any, crop_size: tuple[int, int], tile_size: int) -> None:
    """Raise UserError unless `model` can train on such crops and predict by such tiles."""
    if context(model):
        try:
            model.check_size(crop_size)
        except UserError as error:
            raise UserError(f"config.augment.crop_size: {error}") from None
    if not tile_size:
        return
    if not context(model):
        raise UserError(
            f"config.eval.tile_size is {tile_size}, but this model sees zeros beyond a tile's "
            "border, and tiles would show: use 0, whole images, or unet,padding=valid"
        )
    if tile_size < 0 or tile_size % model.grid:
        raise UserError(
            f"config.eval.tile_size is {tile_size}, expected 0 for whole images or a multiple of "
            f"{model.grid}, so that every tile pools the same pixels together"
        )


def overlap_tile(
    function: Callable[[Array], Array],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    model: Any,
    tile_size: int = 0,
) -> Array:
    """`function`, which leaves out the model's context, of images mirrored at their border.

    The border is that of each image by itself: its padding is not seen.

    Args:
      function: [b, h, w, c] -> [b, h - 2 * context, w - 2 * context, ...].
      images: of any size, padded at the bottom and on the right.
      sizes: height and width of each without the padding.
      model: says what sizes go in.
      tile_size: height and width of the output that is computed at a time, a multiple of
        `model.grid`; 0 computes it at once. The output is the same, the memory for features is not.

    Returns:
      [b, h, w, ...]; in the padding, that of the image mirrored on and on.
    """
    b, *size, c = images.shape
    # an output tile, how many cover the image, and the input that a tile needs
    tile = [min(tile_size, n) if tile_size else n for n in size]
    count = [-(-n // t) for n, t in zip(size, tile, strict=True)]
    window = [model.fit(t + 2 * model.context) for t in tile]
    rows, cols = (
        _mirror(sizes[:, axis], before=model.context, total=(k - 1) * t + w)
        for axis, (k, t, w) in enumerate(zip(count, tile, window, strict=True))
    )
    extended = jax.vmap(lambda image, rows, cols: image[rows][:, cols])(images, rows, cols)

    def one(corner: Array) -> Array:
        start = (0, corner[0], corner[1], 0)
        y = function(jax.lax.dynamic_slice(extended, start, (b, *window, c)))
        return y[:, : tile[0], : tile[1]]

    corners = [(i * tile[0], j * tile[1]) for i in range(count[0]) for j in range(count[1])]
    tiles = jax.lax.map(one, jnp.asarray(corners, jnp.int32))
    tiles = tiles.reshape(*count, b, *tile, *tiles.shape[4:])
    tiles = jnp.moveaxis(tiles, 2, 0).swapaxes(2, 3)  # [b, count, tile, count, tile, ...]
    whole = tiles.reshape(b, count[0] * tile[0], count[1] * tile[1], *tiles.shape[5:])
    return whole[:, : size[0], : size[1]]


def _mirror(sizes: Int[Array, " b"], *, before: int, total: int) -> Int[Array, "b total"]:
    """For `total` pixels from -before on: which of 0..size-1 stands there.

    The border pixel is not repeated, and what is mirrored is mirrored again as often as needed:
    numpy.pad's "reflect".
    """
    period = jnp.maximum(2 * (sizes - 1), 1)[:, None]
    at = (jnp.arange(total, dtype=jnp.int32) - before)[None] % period
    return jnp.minimum(at, period - at)
