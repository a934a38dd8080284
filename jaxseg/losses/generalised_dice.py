"""Generalised Dice loss: one ratio for all classes, each weighted by its squared inverse volume.

Sudre, Li, Vercauteren, Ourselin, Cardoso, "Generalised Dice overlap as a deep learning loss
function for highly unbalanced segmentations", DLMIA 2017, section 2.1:
1 - 2 sum_c(w_c sum(p y)) / sum_c(w_c sum(p + y)) with w_c = 1 / sum(y)^2, the inner sums over the
pixels. A class that is absent would have an infinite weight: here it has none.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxseg.losses import _batch, _overlap


@dataclasses.dataclass(frozen=True)
class Loss:
    """One ratio of the whole batch; with `per_image` a mean over images.

    Void pixels are in none of the sums; a pixel of weight w counts like 1 + w pixels in all of
    them. Images without a valid pixel do not count.
    """

    per_image: bool = False

    @property
    def unit(self) -> str:
        return "image" if self.per_image else "batch"

    def check(self, num_classes: int) -> None:
        pass

    def count(self, labels: Int[Array, "b H W"], *, void: int) -> Float[Array, ""]:
        return _batch.count(labels, void=void, per_image=self.per_image)

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
        return _overlap.loss_of_overlaps(
            _loss,
            logits,
            labels,
            weights,
            void=void,
            corners=corners,
            axis_name=axis_name,
            per_image=self.per_image,
        )


def _loss(overlaps: Float[Array, "*n 3 c"]) -> Float[Array, "*n"]:
    both, predicted, true = (overlaps[..., i, :] for i in range(3))
    rarest = jnp.where(true > 0, true, jnp.inf).min(-1, keepdims=True)
    # relative to the rarest class, so that nothing overflows or underflows
    weights = jnp.where(true > 0, (rarest / jnp.where(true > 0, true, 1.0)) ** 2, 0.0)
    whole = (weights * (predicted + true)).sum(-1)
    return jnp.where(whole > 0, 1 - _overlap.ratio(2 * (weights * both).sum(-1), whole), 0.0)
