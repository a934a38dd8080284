"""Overlaps of classes: what Dice, generalised Dice and Tversky are ratios of."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.losses import _batch
from jaxseg.ops import pixels

# [..., 3, c]: intersection, predicted and true volume of each class -> the loss [...]
OfOverlaps = Callable[[Float[Array, "*n 3 c"]], Float[Array, "*n"]]


def loss_of_overlaps(
    loss: OfOverlaps,
    logits: Float[Array, "b h w c"],
    labels: Int[Array, "b H W"],
    weights: Float[Array, "b H W"] | None,
    *,
    void: int,
    corners: str,
    axis_name: str | None,
    per_image: bool,
    squared: bool = False,
) -> Float[Array, ""]:
    """`loss` of the overlaps of each image, added up, or this device's share of the batch's.

    Two walks over bands with the gradient, one without: no probability is held at the labels' size.
    """
    found = overlaps(logits, labels, weights, void=void, corners=corners, squared=squared)
    if per_image:
        return loss(found).sum()
    return _batch.share(loss(_batch.over_devices(found.sum(0), axis_name)), axis_name)


def overlaps(
    logits: Float[Array, "b h w c"],
    labels: Int[Array, "b H W"],
    weights: Float[Array, "b H W"] | None,
    *,
    void: int,
    corners: str,
    squared: bool = False,
) -> Float[Array, "b 3 c"]:
    """Sums of m p y, of m p (or m p^2 if `squared`) and of m y over the pixels of each image.

    p is the probability of a class, y 1 where it is the truth and 0 elsewhere, m 1 for a valid
    pixel, more by its weight in `weights`, and 0 for a void one.
    """
    classes = np.arange(logits.shape[-1], dtype=np.int32)[:, None]

    def products(logits: Array, labels: Array, mass: Array) -> tuple[Array, Array, Array]:
        """[b r c W], [b r W], [b r W] -> [b r c W] each."""
        true, mass = labels[:, :, None] == classes, mass[:, :, None]
        p = jax.nn.softmax(logits, axis=2)
        predicted = jnp.where(mass > 0, mass * (p * p if squared else p), 0.0)
        both = true & (mass > 0)
        return jnp.where(both, mass * p, 0.0), predicted, jnp.where(both, mass, 0.0)

    mass = _batch.masses(labels, weights, void=void)
    return pixels.class_sums(products, logits, labels, mass, count=3, corners=corners)


def ratio(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """0 / 0 is 0, with a gradient of 0."""
    empty = denominator <= 0
    return jnp.where(empty, 0.0, numerator / jnp.where(empty, 1.0, denominator))
