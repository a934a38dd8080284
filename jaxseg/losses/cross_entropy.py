"""Softmax cross-entropy, with class weights, pixel weights and label smoothing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.ops import bands


def cross_entropy(
    logits: Float[Array, "b h w c"],
    labels: Int[Array, "b H W"],
    weights: Float[Array, "b H W"] | None = None,
    *,
    void: int,
    corners: str = "half_pixel",
    class_weights: Sequence[float] = (),
    label_smoothing: float = 0.0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Softmax cross-entropy over the pixels that are not void, at the labels' resolution.

    Logits of another size are resized, bilinear, without ever being held at the labels' size:
    neither they nor their gradient, see `ops.bands`. Gradients flow to the logits alone.

    Args:
      logits: scores, any float type and size; the loss is computed in float32.
      labels: class ids 0..c-1, or void.
      weights: added to the class weight of each pixel, which is 1 without `class_weights`: the two
        terms of U-Net's weight map (`data/borders.py`) are a sum, not a product.
      void: the id of pixels that carry neither loss nor gradient.
      corners: how logits lie over the labels, see `ops.resize`.
      class_weights: one factor a class of the pixel's truth, or empty. The count stays the number
        of pixels, whatever their weights: unlike PyTorch's weighted mean, a batch of rare classes
        weighs more.
      label_smoothing: the share of the target spread evenly over all classes (Szegedy et al. 2016,
        section 7).

    Returns:
      The sum of the losses in nats, and the number of valid pixels; both are zero if all are void.
    """
    num_classes = logits.shape[-1]
    if class_weights and len(class_weights) != num_classes:
        raise ValueError(f"{len(class_weights)} class weights for {num_classes} classes")
    of_class = np.asarray(class_weights or (1,) * num_classes, np.float32)[:, None]
    classes = np.arange(num_classes, dtype=np.int32)[:, None]

    def loss(logits: Array, labels: Array, *weights: Array) -> Array:
        """[b r c W], [b r W] -> [b r W]."""
        # A comparison, which XLA fuses into the sums over classes; it never fuses a gather.
        true = labels[:, :, None] == classes
        below = logits - jax.lax.stop_gradient(logits.max(2, keepdims=True))
        target = (1 - label_smoothing) * jnp.where(true, below, 0.0).sum(2)
        if label_smoothing:
            target = target + label_smoothing * below.mean(2)
        factors = sum(weights, jnp.where(true, of_class, 0.0).sum(2))
        return jnp.where(labels != void, factors * (jnp.log(jnp.exp(below).sum(2)) - target), 0.0)

    of_pixels = (labels,) if weights is None else (labels, weights)
    total = bands.sum_pixels(loss, logits, *of_pixels, corners=corners)
    return total, (labels != void).sum(dtype=jnp.float32)
