"""Softmax cross-entropy, with class weights, pixel weights and label smoothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError
from jaxseg.ops import bands


@dataclasses.dataclass(frozen=True)
class Loss:
    """In nats; divided by the number of valid pixels, whatever their weights.

    Unlike PyTorch's weighted mean, a batch of rare classes therefore weighs more.
    """

    # One factor for each class of a pixel's truth, or empty; `jaxseg data stats` prints them.
    class_weights: tuple[float, ...] = ()
    # The share of the target that is spread evenly over all classes (Szegedy et al. 2016, sec. 7).
    label_smoothing: float = 0.0

    def check(self, num_classes: int) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"config.loss.cross_entropy.label_smoothing is {self.label_smoothing}, "
                "expected 0 (off) up to below 1"
            )
        if self.class_weights and len(self.class_weights) != num_classes:
            raise UserError(
                f"config.loss.cross_entropy.class_weights has {len(self.class_weights)} numbers "
                f"for {num_classes} classes: give one for each (`jaxseg data stats` prints them), "
                "or ()"
            )
        if not all(0 <= weight < np.inf for weight in self.class_weights):
            raise UserError(
                f"config.loss.cross_entropy.class_weights is {self.class_weights}, "
                "expected numbers of at least 0"
            )

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
    ) -> Float[Array, ""]:
        """Bilinear resizing to the labels' size included; computed in float32.

        Neither the resized logits nor their gradient are ever held whole, see `ops.bands`.
        `weights` are added to the class weight of a pixel, which is 1 without `class_weights`: the
        two terms of U-Net's weight map are a sum, not a product.
        """
        num_classes = logits.shape[-1]
        self.check(num_classes)
        class_weights = np.asarray(self.class_weights or (1,) * num_classes, np.float32)[:, None]
        classes = np.arange(num_classes, dtype=np.int32)[:, None]

        def pixel_loss(logits: Array, labels: Array, *weights: Array) -> Array:
            """[b r c W], [b r W] -> [b r W]."""
            # A comparison, which XLA fuses into the sums over classes; it never fuses a gather.
            true = labels[:, :, None] == classes
            below = logits - jax.lax.stop_gradient(logits.max(2, keepdims=True))
            target = (1 - self.label_smoothing) * jnp.where(true, below, 0.0).sum(2)
            if self.label_smoothing:
                target = target + self.label_smoothing * below.mean(2)
            factors = sum(weights, jnp.where(true, class_weights, 0.0).sum(2))
            loss = factors * (jnp.log(jnp.exp(below).sum(2)) - target)
            return jnp.where(labels != void, loss, 0.0)

        arrays = (labels,) if weights is None else (labels, weights)
        return bands.sum_pixels(pixel_loss, logits, *arrays, corners=corners)
