"""What `bands` gives beside one sum: a value of every pixel, and sums that enter a ratio.

Logits enlarged to the size of the labels are never held here either.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.ops import bands
from jaxseg.ops.bands import Band


def values(
    function: Callable[..., Float[Array, "b r W"]],
    logits: Float[Array, "b h w c"],
    *pixels: Array,
    corners: str,
) -> Float[Array, "b H W"]:
    """A value of every pixel of logits enlarged to the size of `pixels`; no gradient flows.

    Args:
      function: (logits [b r c W], each of `pixels` [b r W]) -> the value of each pixel.
      logits: of any float type and size.
      pixels: [b H W] each.
      corners: see `ops.resize`.
    """
    logits, pixels = jax.lax.stop_gradient((logits, pixels))

    def step(found: Array, band: Band) -> Array:
        rows = function(band.enlarge(band.source(logits)), *map(band.crop, pixels))
        return band.put(found, rows)

    empty = jnp.zeros_like(pixels[0], jnp.float32)
    return bands.walk(step, empty, logits, pixels[0].shape[1:], corners)


def class_sums(
    function: Callable[..., Sequence[Float[Array, "b r c W"]]],
    logits: Float[Array, "b h w c"],
    *pixels: Array,
    count: int,
    corners: str,
) -> Float[Array, "b n c"]:
    """`count` sums for each image and class over the pixels of logits enlarged as in `values`.

    What the sums are used for decides their gradient, so it takes a second walk over the bands.

    Args:
      function: (logits [b r c W], each of `pixels` [b r W]) -> what is added up, `count` arrays. It
        must not close over traced values.
      logits: of any float type and size.
      pixels: [b H W] each. No gradient flows to them.
      count: of the sums.
      corners: see `ops.resize`.
    """
    size = pixels[0].shape[1:]

    def band_sums(band: Band, pixels: tuple[Array, ...], source: Array) -> Array:
        found = function(band.enlarge(source), *map(band.crop, pixels))
        new = band.is_new()[..., None]
        return jnp.stack([jnp.where(new, each, 0.0).sum((1, 3)) for each in found], axis=1)

    @jax.custom_vjp
    def total(logits: Array, pixels: tuple[Array, ...]) -> Array:
        def step(sums: Array, band: Band) -> Array:
            return sums + band_sums(band, pixels, band.source(logits))

        shape = (logits.shape[0], count, logits.shape[-1])
        zeros = jnp.zeros_like(logits, jnp.float32, shape=shape)
        return bands.walk(step, zeros, logits, size, corners)

    def forward(logits: Array, pixels: tuple[Array, ...]) -> tuple[Array, tuple]:
        return total(logits, pixels), (logits, pixels)

    def backward(saved: tuple[Array, tuple[Array, ...]], cotangent: Array) -> tuple[Array, None]:
        logits, pixels = saved

        def step(gradient: Array, band: Band) -> Array:
            source = band.source(logits).astype(jnp.float32)
            _, pull = jax.vjp(partial(band_sums, band, pixels), source)
            return band.add_to_source(gradient, *pull(cotangent))

        zeros = jnp.zeros_like(logits, jnp.float32)
        gradient = bands.walk(step, zeros, logits, size, corners)
        return gradient.astype(logits.dtype), None

    total.defvjp(forward, backward)
    return total(logits, pixels)
