"""Tversky loss: Dice with weights of its own for false positives and false negatives.

Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D fully
convolutional deep networks", MLMI 2017, section 2: T = TP / (TP + alpha FP + beta FN) with
TP = sum(p y), FP = sum(p (1 - y)) and FN = sum((1 - p) y) over the pixels. The paper has one
foreground class; here the loss is the mean of 1 - T over classes, background included.
alpha = beta = 0.5 gives the Dice loss with a plain denominator, alpha = beta = 1 soft Jaccard.
"""

import dataclasses

from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.losses import _batch
from jaxseg.losses._overlap import OverlapLoss, ratio


@dataclasses.dataclass(frozen=True)
class Loss(OverlapLoss):
    """1 - T, a mean over classes, of the batch or of each image.

    With "all" classes an absent one has T = smooth / (alpha FP + smooth): without `smooth`, 0 and
    no gradient.
    """

    alpha: float = 0.3  # of false positives; with beta the paper's best on lesions
    beta: float = 0.7  # of false negatives
    smooth: float = 0.0  # pixels, added to the numerator and the denominator
    classes: str = "present"  # in the truth of the batch or image; or "all"

    def check(self, num_classes: int) -> None:
        _batch.check_classes(self.classes)
        for name in ("alpha", "beta", "smooth"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} is {getattr(self, name)}, expected 0 or more")

    def loss_of_overlaps(self, overlaps: Float[Array, "*n 3 c"]) -> Float[Array, "*n"]:
        both, predicted, true = (overlaps[..., i, :] for i in range(3))
        wrong = self.alpha * (predicted - both) + self.beta * (true - both)
        tversky = ratio(both + self.smooth, both + wrong + self.smooth)
        return _batch.mean_over_classes(1 - tversky, true, self.classes)
