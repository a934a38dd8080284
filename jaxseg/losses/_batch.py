"""Losses of images and of whole batches: what each adds up over, and sums over devices.

A loss of a batch is a function of sums over all devices' pixels. Under pmap the derivative of such
a sum belongs to each device's own part of it: a `psum` that is differentiated would add up over
devices again. `over_devices` gives the sum with that derivative, and `share` what a device
contributes, so that values and gradients of all devices add up to the batch's.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from jaxseg.errors import UserError, suggest

CLASSES = ("present", "all")


def over_devices(own: Num[Array, "..."], axis_name: str | None) -> Num[Array, "..."]:
    """The sum over devices, whose gradient is that of this device's own part."""
    if axis_name is None:
        return own
    value = jax.lax.stop_gradient(own)
    return jax.lax.psum(value, axis_name) + (own - value)


def share(loss: Float[Array, ""], axis_name: str | None) -> Float[Array, ""]:
    """This device's equal part of a loss that all know, with all of the gradient that it found."""
    if axis_name is None:
        return loss
    value = jax.lax.stop_gradient(loss)
    return value / jax.lax.psum(1, axis_name) + (loss - value)


def count(labels: Int[Array, "b H W"], *, void: int, per_image: bool) -> Float[Array, ""]:
    """Images with a valid pixel, or 1: the batch."""
    if not per_image:
        return jnp.float32(1)
    return (labels != void).any((1, 2)).sum(dtype=jnp.float32)


def masses(
    labels: Int[Array, "b H W"], weights: Float[Array, "b H W"] | None, *, void: int
) -> Float[Array, "b H W"]:
    """As how many pixels each counts: 1 and its weight, none if it is void."""
    mass = 1.0 if weights is None else 1.0 + weights
    return jnp.where(labels != void, mass, 0.0)


def check_classes(classes: str) -> None:
    """Raise UserError unless `mean_over_classes` knows them."""
    if classes not in CLASSES:
        raise UserError(f"classes is {classes!r}; {suggest(classes, CLASSES)}")


def mean_over_classes(
    losses: Float[Array, "*n c"], truth: Float[Array, "*n c"], classes: str
) -> Float[Array, "*n"]:
    """Over the classes that the truth has, or over all; zero where all pixels are void.

    Args:
      losses: of each class.
      truth: how many pixels are of each class.
      classes: "present" or "all".
    """
    factors = class_factors(truth, classes)
    return jnp.where(factors > 0, factors * losses, 0.0).sum(-1)


def class_factors(truth: Float[Array, "*n c"], classes: str) -> Float[Array, "*n c"]:
    """What each class contributes to `mean_over_classes`."""
    present = truth > 0
    counted = (
        present
        if classes == "present"
        else jnp.broadcast_to(present.any(-1, keepdims=True), truth.shape)
    )
    return counted / jnp.maximum(counted.sum(-1, keepdims=True), 1).astype(jnp.float32)
