"""Changes of colour, in OpenCV's arithmetic; see `jaxseg/data/transforms/colour.py` for each."""

import functools
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, UInt8

from jaxseg.data.pipeline.planned import BLUR_BITS
from jaxseg.data.transforms.colour import GREY
from jaxseg.defaults import Augment

BITS = 10  # of the fraction of a factor


def recolour(
    image: UInt8[Array, "H W c"],
    inside: Bool[Array, "H W"],
    example: Mapping[str, Array],
    augment: Augment,
) -> UInt8[Array, "H W c"]:
    """The image with those changes of an example's plan that `augment` allows."""
    factors, hue, gamma = example["factors"], example["hue"], example["gamma"]
    if any((augment.brightness, augment.contrast, augment.saturation, augment.grey)):
        image = jitter(image, inside, factors)
    if augment.hue:
        image = turn_hue(image, hue)
    if augment.gamma:
        image = bend(image, gamma)
    return blur(image, example["blur"]) if augment.blur else image


def jitter(
    image: UInt8[Array, "H W c"], inside: Bool[Array, "H W"], factors: Float[Array, "3"]
) -> UInt8[Array, "H W c"]:
    """Brightness, contrast and saturation, see `data.transforms.colour.jitter`.

    In OpenCV's arithmetic: factors of 10 fractional bits, and whole numbers from there on.
    """
    brightness, contrast, saturation = factors
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
    one = 1 << BITS
    whole = jnp.round(matrix * one).astype(jnp.int32)
    added = jnp.round((constant + 0.5) * one).astype(jnp.int32)
    changed = (pixels[..., None, :] * whole).sum(-1) + added
    limits = jnp.iinfo(image.dtype)
    return jnp.clip(changed >> BITS, limits.min, limits.max).astype(image.dtype)


def turn_hue(image: UInt8[Array, "H W c"], turns: Float[Array, ""]) -> UInt8[Array, "H W c"]:
    """RGB with its hue in HSV moved along the circle."""
    pixels = image.astype(jnp.float32)
    high, spread = pixels.max(-1), pixels.max(-1) - pixels.min(-1)
    red, green, blue = jnp.moveaxis(pixels, -1, 0)
    sixths = jnp.select(  # of the circle, from red
        [spread == 0, high == red, high == green],
        [jnp.zeros_like(high), green - blue, blue - red + 2 * spread],
        red - green + 4 * spread,
    ) / jnp.maximum(spread, 1)
    # each channel falls from the highest to the lowest value away from its own third of the circle
    places = sixths + 6 * turns
    away = (jnp.array([5.0, 3.0, 1.0]) + places[..., None]) % 6
    falls = jnp.clip(jnp.minimum(away, 4 - away), 0, 1)
    return _rounded(high[..., None] - spread[..., None] * falls, image)


def bend(image: UInt8[Array, "H W c"], exponent: Float[Array, ""]) -> UInt8[Array, "H W c"]:
    """Gamma, where 0 is the darkest value of the image and 1 the brightest."""
    low, high = (extreme.astype(jnp.float32) for extreme in (image.min(), image.max()))
    share = (image.astype(jnp.float32) - low) / jnp.maximum(high - low, 1)
    return _rounded(low + (high - low) * share**exponent, image)


def blur(image: UInt8[Array, "H W c"], kernel: Int32[Array, " k"]) -> UInt8[Array, "H W c"]:
    """Both axes by a kernel of 2^-BLUR_BITS; beyond the edge is the mirror image."""
    radius, (height, width, _) = len(kernel) // 2, image.shape
    pad = [(radius, radius), (radius, radius), (0, 0)]
    pixels = jnp.pad(image.astype(jnp.int32), pad, mode="reflect")
    rows = _sum([kernel[i] * pixels[i : i + height] for i in range(len(kernel))])
    both = _sum([kernel[i] * rows[:, i : i + width] for i in range(len(kernel))])
    half = 1 << 2 * BLUR_BITS - 1
    return ((both + half) >> 2 * BLUR_BITS).astype(image.dtype)


def _sum(arrays: list[Array]) -> Array:
    return functools.reduce(jnp.add, arrays)


def _rounded(pixels: Float[Array, "H W c"], like: UInt8[Array, "H W c"]) -> UInt8[Array, "H W c"]:
    return jnp.clip(jnp.round(pixels), 0, jnp.iinfo(like.dtype).max).astype(like.dtype)
