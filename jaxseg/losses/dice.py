"""Soft Dice loss.

Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, section 3: D = 2 sum(p y) / (sum(p^2) + sum(y^2)) over
the pixels, with p the probability and y the truth (0 or 1) of a class. The plain denominator,
sum(p) + sum(y), is that of Drozdzal et al. 2016, "The importance of skip connections in biomedical
image segmentation". Both papers have one foreground class; here the loss is the mean of 1 - D over
classes, background included.
"""

import dataclasses

from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.losses import _batch
from jaxseg.losses._overlap import OverlapLoss, ratio


@dataclasses.dataclass(frozen=True)
class Loss(OverlapLoss):
    """1 - D, a mean over classes, of the batch or of each image.

    With "all" classes an absent one has D = smooth / (sum(p^2) + smooth): without `smooth`, 0 and
    no gradient.
    """

    squared: bool = True  # p^2 in the denominator (V-Net), or p
    smooth: float = 0.0  # pixels, added to the numerator and the denominator
    classes: str = "present"  # in the truth of the batch or image; or "all"

    def check(self, num_classes: int) -> None:
        _batch.check_classes(self.classes)
        if not 0 <= self.smooth < float("inf"):
            raise UserError(f"smooth is {self.smooth}, expected 0 or more pixels")

    def loss_of_overlaps(self, overlaps: Float[Array, "*n 3 c"]) -> Float[Array, "*n"]:
        both, predicted, true = (overlaps[..., i, :] for i in range(3))
        dice = ratio(2 * both + self.smooth, predicted + true + self.smooth)
        return _batch.mean_over_classes(1 - dice, true, self.classes)
