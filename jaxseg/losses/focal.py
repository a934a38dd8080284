"""Focal loss: cross-entropy that counts less where the truth is likely already.

Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017, equations 4
and 5: -alpha (1 - p)^gamma log p, with p the probability of the true class. The paper has a sigmoid
per class and divides by the number of anchors with an object; here p is of a softmax, alpha the
weight of the true class, and the sum is divided by the number of valid pixels.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError
from jaxseg.losses import _pixelwise
from jaxseg.ops import bands

TINY = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class Loss:
    """In nats; divided by the number of valid pixels, whatever their weights.

    A pixel's weight is added to its class weight, as in cross-entropy.
    """

    gamma: float = 2.0  # 0 is cross-entropy
    # The paper's alpha: one factor for each class of a pixel's truth, or empty.
    class_weights: tuple[float, ...] | Array = ()

    unit = "pixel"

    def check(self, num_classes: int) -> None:
        _pixelwise.check_class_weights(self.class_weights, num_classes)
        if not 0 <= self.gamma < float("inf"):
            raise UserError(f"gamma is {self.gamma}, expected 0 (cross-entropy) or more")

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        return (labels != void).sum(dtype=jnp.float32)

    def sum(
        self,
        logits: Float[Array, "b h w c"],
        labels: Int[Array, "b H W"],
        weights: Float[Array, "b H W"] | None = None,
        *,
        void: int,
        corners: str = "half_pixel",
        axis_name: str | None = None,
    ) -> Float[Array, ""]:
        def pixel_loss(logits: Array, labels: Array, *weights: Array) -> Array:
            """[b r c W], [b r W] -> [b r W]."""
            true = _pixelwise.is_true(labels, logits.shape[2])
            below = _pixelwise.below_highest(logits)
            log_sum = jnp.log(jnp.exp(below).sum(2))
            # 1 - p is the sum over the other classes: exact where p rounds to 1, and its power has
            # a gradient there for every gamma
            others = jnp.where(true, 0.0, jnp.exp(below)).sum(2)
            log_wrong = jnp.log(jnp.maximum(others, TINY)) - log_sum
            nll = log_sum - jnp.where(true, below, 0.0).sum(2)
            factors = _pixelwise.factors(true, self.class_weights, *weights)
            return jnp.where(labels != void, factors * jnp.exp(self.gamma * log_wrong) * nll, 0.0)

        arrays = (labels,) if weights is None else (labels, weights)
        return bands.sum_pixels(pixel_loss, logits, *arrays, corners=corners)
