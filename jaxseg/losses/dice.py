"""Soft Dice loss.

Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, section 3: D = 2 sum(p y) / (sum(p^2) + sum(y^2)) over
the pixels, with p the probability and y the truth (0 or 1) of a class. The plain denominator,
sum(p) + sum(y), is that of Drozdzal et al. 2016, "The importance of skip connections in biomedical
image segmentation". Both papers have one foreground class; here the loss is the mean of 1 - D over
classes, background included.
"""

import dataclasses

from jaxtyping import Array, Float, Int

from jaxseg.errors import UserError
from jaxseg.losses import _batch, _overlap


@dataclasses.dataclass(frozen=True)
class Loss:
    """1 - D, a mean over classes, of the whole batch; with `per_image` a mean over images too.

    Void pixels are in none of the sums; a pixel of weight w counts like 1 + w pixels in all three.
    Images without a valid pixel do not count. With "all" classes an absent one has D = smooth /
    (sum(p^2) + smooth): without `smooth`, 0 and no gradient.
    """

    squared: bool = True  # p^2 in the denominator (V-Net), or p
    smooth: float = 0.0  # pixels, added to the numerator and the denominator
    classes: str = "present"  # in the truth of the batch or image; or "all"
    per_image: bool = False

    @property
    def unit(self) -> str:
        return "image" if self.per_image else "batch"

    def check(self, num_classes: int) -> None:
        _batch.check_classes(self.classes)
        if not 0 <= self.smooth < float("inf"):
            raise UserError(f"smooth is {self.smooth}, expected 0 or more pixels")

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
            self._loss,
            logits,
            labels,
            weights,
            void=void,
            corners=corners,
            axis_name=axis_name,
            per_image=self.per_image,
            squared=self.squared,
        )

    def _loss(self, overlaps: Float[Array, "*n 3 c"]) -> Float[Array, "*n"]:
        both, predicted, true = (overlaps[..., i, :] for i in range(3))
        dice = _overlap.ratio(2 * both + self.smooth, predicted + true + self.smooth)
        return _batch.mean_over_classes(1 - dice, true, self.classes)
