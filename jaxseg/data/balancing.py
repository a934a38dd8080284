"""Class weights from the pixels of each class in a split: rare classes weigh more.

They are what `config.loss.NAME.class_weights` may name. Void pixels are of no class. A class that
never occurs has weight 0 by every method: training has no pixel of it, so that the weight acts on
the validation loss alone, which leaves its pixels out.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from jaxseg.errors import UserError, suggest

METHODS = ("median_frequency", "root_median_frequency", "inverse_log")
OFFSET = 1.02  # ENet's c: weights are below 1 / ln(1.02) = 50.5


def method_of(class_weights: Any) -> str | None:
    """The method that a loss's `class_weights` name; None if they are numbers, or none."""
    match class_weights:
        case (str(method),):
            return method
    return None


def check(class_weights: Any, key: str) -> None:
    """Raise UserError if `class_weights`, called `key`, hold a word that is no method's name."""
    words = [str(value) for value in class_weights if not isinstance(value, int | float)]
    if words and method_of(class_weights) not in METHODS:
        raise UserError(
            f"{key} is {', '.join(map(repr, class_weights))}, expected a number for each class or "
            f"a method's name; {suggest(words[0], METHODS)}"
        )


def weights(
    method: str, pixels: Int64[np.ndarray, " classes"], where_present: Int64[np.ndarray, " classes"]
) -> Float[np.ndarray, " classes"]:
    """The weight of each class.

    median_frequency: Eigen and Fergus, "Predicting depth, surface normals and semantic labels with
      a common multi-scale convolutional architecture", 2015, section 6.3.2; SegNet, section 4.
      freq(c) is the pixels of c over all pixels, void ones too, of the images where c is present;
      the weight is median(freq) / freq(c).
    root_median_frequency: the square root of that, where it would be too much of it.
    inverse_log: Paszke et al., "ENet", 2016, section 5.2: 1 / ln(1.02 + p(c)), where p(c) is the
      share of c of all labelled pixels of the split.

    Args:
      method: one of METHODS.
      pixels: of each class.
      where_present: pixels, void ones too, of the images that hold the class.

    """
    seen = pixels > 0
    found = np.zeros(len(pixels))
    if not seen.any():
        return found
    if method == "inverse_log":
        found[seen] = 1 / np.log(OFFSET + pixels[seen] / pixels.sum())
        return found
    frequency = pixels[seen] / where_present[seen]
    found[seen] = np.median(frequency) / frequency
    return np.sqrt(found) if method == "root_median_frequency" else found
