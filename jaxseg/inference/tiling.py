"""Images by overlapping tiles, for models that see more of the image than they give logits for.

Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, section 2 and figure 2: a tile's context is the
image around it, mirrored where the image ends.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def overlap_tile(
    function: Callable[[Array], Array],
    images: Float[Array, "b h w c"],
    sizes: Int[Array, "b 2"],
    model: Any,
    tile_size: int = 0,
) -> Array:
    """Apply `function`, which leaves out the model's context, to images mirrored at their border.

    The border is that of each image itself: its padding is not seen.

    Args:
      function: [b, h, w, c] -> [b, h - 2 * context, w - 2 * context, ...].
      images: of any size, padded at the bottom and on the right.
      sizes: height and width of each without the padding.
      model: its `context`, `grid` and `fit` say what sizes go in.
      tile_size: height and width of the output that is computed at a time, a multiple of
        `model.grid`; 0 computes it at once. The output is the same, the memory for features is not.

    Returns:
      [b, h, w, ...]; in the padding, that of the image mirrored on and on.
    """
    cover = Cover.for_size(images.shape[1:3], model, tile_size)
    tiles = cover.map(lambda part, _: cover.cut(function(part)), cover.mirror(images, sizes))
    return cover.join(tiles)


@dataclasses.dataclass(frozen=True)
class Cover:
    """How many output tiles of what size cover an image, and the input that each needs."""

    size: tuple[int, int]  # of the image
    tile: tuple[int, int]
    count: tuple[int, int]
    window: tuple[int, int]  # a tile with its context, of a size that can go in
    context: int

    @classmethod
    def for_size(cls, size: Sequence[int], model: Any, tile_size: int) -> "Cover":
        tile = [min(tile_size, n) if tile_size else n for n in size]
        count = [-(-whole // part) for whole, part in zip(size, tile, strict=True)]
        window = [model.fit(part + 2 * model.context) for part in tile]
        pairs = ((x[0], x[1]) for x in (size, tile, count, window))
        return cls(*pairs, context=model.context)

    def mirror(
        self, images: Float[Array, "b h w c"], sizes: Int[Array, "b 2"]
    ) -> Float[Array, "b h2 w2 c"]:
        """Images with all the context that the tiles need."""
        rows, cols = (
            _mirror(
                sizes[:, axis],
                before=self.context,
                total=(self.count[axis] - 1) * self.tile[axis] + self.window[axis],
            )
            for axis in (0, 1)
        )
        return jax.vmap(lambda image, rows, cols: image[rows][:, cols])(images, rows, cols)

    def map(self, function: Callable[[Array, Array], Any], mirrored: Array) -> Any:
        """`function(window, top_left)` of one tile after the other, stacked."""

        def compute_tile(top_left: Array) -> Any:
            b, _, _, c = mirrored.shape
            start = (0, top_left[0], top_left[1], 0)
            window = jax.lax.dynamic_slice(mirrored, start, (b, *self.window, c))
            return function(window, top_left)

        (m, n), (height, width) = self.count, self.tile
        starts = [(i * height, j * width) for i in range(m) for j in range(n)]
        return jax.lax.map(compute_tile, jnp.asarray(starts, jnp.int32))

    def cut(self, output: Array) -> Array:
        """The tile in the output of a window, which may be larger."""
        return output[:, : self.tile[0], : self.tile[1]]

    def crop(self, pixels: Int[Array, "b h w"], top_left: Array, fill: int) -> Array:
        """What `pixels` have under the output of a window: `fill` outside of tile and image."""
        sides = zip(self.count, self.tile, self.size, strict=True)
        ends = [(0, count * tile - size) for count, tile, size in sides]
        whole = jnp.pad(pixels, ((0, 0), *ends), constant_values=fill)
        start = (0, top_left[0], top_left[1])
        tile = jax.lax.dynamic_slice(whole, start, (len(pixels), *self.tile))
        output = [n - 2 * self.context for n in self.window]
        ends = [(0, n - t) for n, t in zip(output, self.tile, strict=True)]
        return jnp.pad(tile, ((0, 0), *ends), constant_values=fill)

    def join(self, tiles: Array) -> Array:
        """[tiles, b, tile height, tile width, ...] -> [b, h, w, ...]."""
        (m, n), (height, width) = self.count, self.tile
        _, b, _, _, *rest = tiles.shape
        tiles = jnp.moveaxis(tiles.reshape(m, n, b, height, width, *rest), 2, 0)
        whole = tiles.swapaxes(2, 3).reshape(b, m * height, n * width, *rest)
        return whole[:, : self.size[0], : self.size[1]]


def _mirror(sizes: Int[Array, " b"], *, before: int, total: int) -> Int[Array, "b total"]:
    """The index in 0..size-1 of each of `total` pixels from -before on, mirrored at the border.

    The border pixel is not repeated, and what is mirrored is mirrored again as often as needed:
    numpy.pad's "reflect".
    """
    period = jnp.maximum(2 * (sizes - 1), 1)[:, None]
    position = (jnp.arange(total, dtype=jnp.int32) - before)[None] % period
    return jnp.minimum(position, period - position)
