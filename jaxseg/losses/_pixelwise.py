"""What losses that are a mean over pixels share: weights, and the probability of the truth."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxseg.errors import UserError


def check_class_weights(class_weights: tuple[float, ...] | Array, num_classes: int) -> None:
    """Raise UserError unless there is one for each class, or none."""
    if len(class_weights) not in (0, num_classes):
        raise UserError(
            f"class_weights has {len(class_weights)} numbers for {num_classes} classes: give one "
            "for each (`jaxseg data stats` prints them), or ()"
        )
    traced = isinstance(class_weights, jax.Array)
    if not traced and not all(0 <= weight < np.inf for weight in class_weights):
        raise UserError(f"class_weights is {class_weights}, expected numbers of at least 0")


def factors(
    true: Bool[Array, "b r c W"], class_weights: tuple[float, ...] | Array, *weights: Array
) -> Float[Array, "b r W"]:
    """The weight of each pixel's class, 1 without `class_weights`, plus the pixel's `weights`.

    The two terms of U-Net's weight map are a sum, not a product.
    """
    num_classes = true.shape[2]
    check_class_weights(class_weights, num_classes)
    by_class = jnp.asarray(class_weights if len(class_weights) else (1,) * num_classes, jnp.float32)
    return sum(weights, jnp.where(true, by_class[:, None], 0.0).sum(2))


def is_true(labels: Int[Array, "b r W"], num_classes: int) -> Bool[Array, "b r c W"]:
    """Whether a class is the pixel's.

    A comparison, which XLA fuses into sums over classes; it never fuses a gather.
    """
    return labels[:, :, None] == jnp.arange(num_classes, dtype=jnp.int32)[:, None]


def below_highest(logits: Float[Array, "b r c W"]) -> Float[Array, "b r c W"]:
    """Logits less the highest of each pixel, so that no exponential overflows."""
    return logits - jax.lax.stop_gradient(logits.max(2, keepdims=True))


def negative_log_likelihood(
    logits: Float[Array, "b r c W"], labels: Int[Array, "b r W"]
) -> Float[Array, "b r W"]:
    """-log p of the true class; of void pixels some finite number."""
    below = below_highest(logits)
    true = is_true(labels, logits.shape[2])
    return jnp.log(jnp.exp(below).sum(2)) - jnp.where(true, below, 0.0).sum(2)
