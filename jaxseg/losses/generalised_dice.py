"""Generalised Dice loss: one ratio for all classes, each weighted by its squared inverse volume.

Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice overlap as a deep learning loss
function for highly unbalanced segmentations", DLMIA 2017, section 2.1:
1 - 2 sum_c(w_c sum(p y)) / sum_c(w_c sum(p + y)) with w_c = 1 / sum(y)^2, the inner sums over the
pixels. A class that is absent would have an infinite weight: here it has none.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.losses._overlap import OverlapLoss, ratio


@dataclasses.dataclass(frozen=True)
class Loss(OverlapLoss):
    """One ratio, of the batch or of each image."""

    def loss_of_overlaps(self, overlaps: Float[Array, "*n 3 c"]) -> Float[Array, "*n"]:
        both, predicted, true = (overlaps[..., i, :] for i in range(3))
        rarest = jnp.where(true > 0, true, jnp.inf).min(-1, keepdims=True)
        # relative to the rarest class, so that nothing overflows or underflows
        weights = jnp.where(true > 0, (rarest / jnp.where(true > 0, true, 1.0)) ** 2, 0.0)
        whole = (weights * (predicted + true)).sum(-1)
        return jnp.where(whole > 0, 1 - ratio(2 * (weights * both).sum(-1), whole), 0.0)
