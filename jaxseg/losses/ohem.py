"""Online hard example mining: cross-entropy of the pixels that the network finds hard.

By threshold: Wu, Shen, van den Hengel, "High-performance semantic segmentation using very deep
fully convolutional networks", 2016, whose online bootstrapping keeps a pixel if the probability of
its true class is below a threshold, which is raised where fewer than a minimum would be kept. By
share: Yang et al., "DeeperLab", 2019, whose bootstrapped cross-entropy keeps the 15 % of pixels
with the lowest such probability.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxseg.errors import UserError
from jaxseg.losses import _batch, _pixelwise
from jaxseg.ops import bands, pixels


@dataclasses.dataclass(frozen=True)
class Loss:
    """In nats; divided by the number of pixels kept, in the batch of all devices.

    A valid pixel is kept if the probability p of its true class is below `threshold`; if these are
    fewer than `min_share` of the valid pixels of the batch, that share with the lowest p. A
    threshold of 0 keeps that share alone, a share of 0 those below the threshold alone. The share
    need not be whole pixels: those that tie for the last place count in part. Weights of classes
    and pixels, as in cross-entropy, apply to what is kept and decide nothing.

    One float32 a pixel is held for -log p, and one for what is kept.
    """

    threshold: float = 0.7
    min_share: float = 0.0625
    # One factor for each class of a pixel's truth, or empty; in a config a method's name, too.
    class_weights: tuple[float, ...] | Array = ()

    unit = "batch"

    def check(self, num_classes: int) -> None:
        _pixelwise.check_class_weights(self.class_weights, num_classes)
        for name in ("threshold", "min_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not (self.threshold or self.min_share):
            raise UserError("threshold and min_share are 0, which keeps no pixel: raise one")

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        return _batch.count(labels, void=void, per_image=False)

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
        def pixel_loss(logits: Array, labels: Array, kept: Array, *weights: Array) -> Array:
            """[b r c W], [b r W], [b r W] -> [b r W]."""
            true = _pixelwise.is_true(labels, logits.shape[2])
            factors = _pixelwise.factors(true, self.class_weights, *weights)
            nll = _pixelwise.negative_log_likelihood(logits, labels)
            return jnp.where(kept > 0, kept * factors * nll, 0.0)

        nll = _pixelwise.negative_log_likelihood
        nll = pixels.values(nll, logits, labels, corners=corners)
        kept, total = hardest(
            nll,
            labels != void,
            threshold=self.threshold,
            min_share=self.min_share,
            axis_name=axis_name,
        )
        arrays = (labels, kept) if weights is None else (labels, kept, weights)
        found = bands.sum_pixels(pixel_loss, logits, *arrays, corners=corners)
        return found / jnp.where(total > 0, total, 1.0)


def hardest(
    nll: Float[Array, "b H W"],
    valid: Bool[Array, "b H W"],
    *,
    threshold: float,
    min_share: float,
    axis_name: str | None = None,
) -> tuple[Float[Array, "b H W"], Float[Array, ""]]:
    """How much of each pixel is kept, and the sum of that over all devices.

    The lowest value of the share is found exactly, a bit at a time, so that nothing is sorted and
    31 counts are all that devices exchange.

    Args:
      nll: -log p of the true class.
      valid: pixels that are not void.
      threshold: of p.
      min_share: of the valid pixels.
      axis_name: of the devices, under pmap.
    """

    def total(chosen: Array) -> Array:
        return _batch.over_devices(chosen.sum(dtype=jnp.int32), axis_name).astype(jnp.float32)

    # NaN is hard, so that a network that diverged is not overlooked
    limit = -math.log(threshold) if threshold else math.inf
    hard = valid & ~(nll <= limit)
    num_hard, least = total(hard), min_share * total(valid)
    # floats of one sign are ordered as their bits are
    bits = jax.lax.bitcast_convert_type(jnp.maximum(nll, 0.0), jnp.int32)
    bits = jnp.where(valid, bits, -1)

    def set_bit(number: Array, found: Array) -> Array:
        tried = found | (1 << (30 - number))
        return jnp.where(total(bits >= tried) >= least, tried, found)

    last = jax.lax.fori_loop(0, 31, set_bit, jnp.int32(0))
    above, ties = bits > last, bits == last
    part = (least - total(above)) / jnp.maximum(total(ties), 1.0)
    share_kept = above + ties * jnp.clip(part, 0.0, 1.0)
    enough = num_hard >= least
    kept = jnp.where(enough, hard.astype(jnp.float32), share_kept)
    return kept, jnp.where(enough, num_hard, least)
