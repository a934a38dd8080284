"""Softmax cross-entropy, with class weights, pixel weights and label smoothing."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError
from jaxseg.losses import _pixelwise
from jaxseg.ops import bands


@dataclasses.dataclass(frozen=True)
class Loss:
    """In nats; divided by the number of valid pixels, whatever their weights.

    Unlike PyTorch's weighted mean, a batch of rare classes therefore weighs more.
    """

    # One factor for each class of a pixel's truth, or empty. A config may name a method instead,
    # such as "median_frequency" (jaxseg/data/balancing.py); `jaxseg data stats` prints all three.
    class_weights: tuple[float, ...] | Array = ()
    # The share of the target that is spread evenly over all classes (Szegedy et al. 2016, sec. 7).
    label_smoothing: float = 0.0

    unit = "pixel"

    def check(self, num_classes: int) -> None:
        _pixelwise.check_class_weights(self.class_weights, num_classes)
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"label_smoothing is {self.label_smoothing}, expected 0 (off) up to below 1"
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
        axis_name: str | None = None,
    ) -> Float[Array, ""]:
        """Bilinear resizing to the labels' size included; computed in float32.

        Neither the resized logits nor their gradient are ever held whole, see `ops.bands`.
        `weights` are added to the class weight of a pixel, which is 1 without `class_weights`.
        """
        self.check(logits.shape[-1])

        def pixel_loss(logits: Array, labels: Array, *weights: Array) -> Array:
            """[b r c W], [b r W] -> [b r W]."""
            true = _pixelwise.is_true(labels, logits.shape[2])
            below = _pixelwise.below_highest(logits)
            target = (1 - self.label_smoothing) * jnp.where(true, below, 0.0).sum(2)
            if self.label_smoothing:
                target = target + self.label_smoothing * below.mean(2)
            factors = _pixelwise.factors(true, self.class_weights, *weights)
            loss = factors * (jnp.log(jnp.exp(below).sum(2)) - target)
            return jnp.where(labels != void, loss, 0.0)

        arrays = (labels,) if weights is None else (labels, weights)
        return bands.sum_pixels(pixel_loss, logits, *arrays, corners=corners)
