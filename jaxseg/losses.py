"""Losses. Each returns (sum, count), so that devices and micro-batches add up before the division.

The loss of a step is the sum over valid pixels divided by their number in the *global* batch; a
mean of per-device means weighs a device with few valid pixels as much as one with many.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "b h w c"],
    labels: Int[Array, "b h w"],
    weights: Float[Array, "b h w"] | None = None,
    *,
    void: int,
    class_weights: Sequence[float] = (),
    label_smoothing: float = 0.0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Softmax cross-entropy over the pixels that are not void.

    Args:
      logits: scores, any float type; the loss is computed in float32.
      labels: class ids 0..c-1, or void.
      weights: added to the class weight of each pixel, which is 1 without `class_weights`: the two
        terms of U-Net's weight map (`data/borders.py`) are a sum, not a product.
      void: the id of pixels that carry neither loss nor gradient.
      class_weights: one factor a class of the pixel's truth, or empty. The count stays the number
        of pixels, whatever their weights: unlike PyTorch's weighted mean, a batch of rare classes
        weighs more.
      label_smoothing: the share of the target spread evenly over all classes (Szegedy et al. 2016,
        section 7).

    Returns:
      The sum of the losses in nats, and the number of valid pixels; both are zero if all are void.
    """
    num_classes = logits.shape[-1]
    valid = labels != void
    targets = jnp.where(valid, labels, 0)
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    loss = -jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(-1)
    factors = jnp.ones_like(loss)
    if class_weights:
        if len(class_weights) != num_classes:
            raise ValueError(f"{len(class_weights)} class weights for {num_classes} classes")
        factors = jnp.asarray(class_weights, jnp.float32)[targets]
    if weights is not None:
        factors = factors + weights
    return jnp.where(valid, loss * factors, 0.0).sum(), valid.sum(dtype=jnp.float32)
