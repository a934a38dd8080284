"""Whether probabilities are shares: of the pixels said to be right with 80 %, are 80 % right?

Expected calibration error (Guo et al. 2017, "On calibration of modern neural networks", ICML,
section 2): pixels are put into 15 bins of equal width by their confidence, the probability of the
predicted class; the gap between a bin's accuracy and its mean confidence is averaged over bins by
their number of pixels.

- Over pixels (`ece`): large, easy classes rule it. It follows the majority class, and a model that
  is wrong about how sure it is of rare classes can have next to none.
- Of classes (`class_ece`): the same among the pixels that are predicted to be of one class, then
  averaged over classes (top-label calibration, Gupta and Ramdas 2022, ICLR).

Confidences are added up as integers, in units of 2^-16, so that the sums are the same in any order.
Each bin's sum of a batch holds 143 million pixels. It needs the probabilities of a batch at its
full size, one float32 for each class and pixel: `config.eval.batch_size` bounds them.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg import metrics
from jaxseg.data.source import Classes
from jaxseg.metrics import percent

BINS = 15
# A confidence is four digits of this base, each of which is added up by itself in int32.
_BASE, _DIGITS = 16, 4


class Evaluator:
    """Adds up pixels, right ones and confidences by predicted class and bin."""

    needs_scores = True
    higher_is_better = dict.fromkeys(("ece", "class_ece"), False)
    protocol = (
        f"expected calibration error, {BINS} bins of equal width; over pixels (follows the "
        "majority class), and of each predicted class by itself, averaged over classes; "
        "void never counts"
    )

    def __init__(self, classes: Classes) -> None:
        self._names, self._void = classes.names, classes.void

    def init(self) -> np.ndarray:
        return np.zeros((len(self._names), BINS, 2 + _DIGITS), np.int64)

    def update(self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]) -> Array:
        number = len(self._names)
        label = batch["label"]
        valid = (label != self._void) & batch["mask"][:, None, None]
        highest = batch["scores"].max(-1)
        # bins are open below and closed above, but for the first
        place = jnp.clip(jnp.ceil(highest * BINS).astype(jnp.int32) - 1, 0, BINS - 1)
        cell = jnp.where(valid, prediction * BINS + place, number * BINS)
        units = jnp.round(highest * (_BASE**_DIGITS - 1)).astype(jnp.int32)
        digits = [units // _BASE**i % _BASE for i in range(_DIGITS)]
        counted = jnp.stack([jnp.ones_like(label), prediction == label, *digits], axis=-1)

        def of_image(cell: Array, counted: Array) -> Array:
            sums = jnp.zeros((number * BINS + 1, counted.shape[-1]), jnp.int32)
            return sums.at[cell.ravel()].add(counted.reshape(-1, counted.shape[-1]))

        # by image, so that devices exchange sums and no pixels
        sums = jax.vmap(of_image)(cell, counted).sum(0)
        return sums[:-1].reshape(number, BINS, -1)

    def compute(self, sums: np.ndarray) -> dict[str, Any]:
        pixels, right, *digits = np.moveaxis(sums, -1, 0)
        units = np.sum([_BASE**i * digit for i, digit in enumerate(digits)], axis=0)
        confidence = np.asarray(units / (_BASE**_DIGITS - 1))
        by_class = np.array(
            [error(*arrays) for arrays in zip(pixels, right, confidence, strict=True)]
        )
        total = pixels.sum(0), right.sum(0), confidence.sum(0)
        ece, all_pixels = error(*total), int(pixels.sum())
        return {
            "ece": None if np.isnan(ece) else ece,
            "class_ece": metrics.mean(by_class),
            "ece_by_class": metrics.by_name(by_class, self._names),
            "mean_confidence": float(confidence.sum() / all_pixels) if all_pixels else None,
            "reliability": [
                {
                    "above": i / BINS,
                    "pixels": int(count),
                    "accuracy": float(correct / count),
                    "confidence": float(sure / count),
                }
                for i, (count, correct, sure) in enumerate(zip(*total, strict=True))
                if count
            ],
        }

    def table(self, scores: dict[str, Any]) -> str:
        width = max(len("class"), *map(len, self._names))
        lines = [
            f"calibration error over pixels, which follows the majority class: "
            f"{percent(scores['ece'])} %",
            f"calibration error of classes, their mean: {percent(scores['class_ece'])} %",
            f"mean confidence {percent(scores['mean_confidence'])} %, "
            f"pixel accuracy {percent(scores.get('pixel_accuracy'))} %",
            f"{'class predicted':<{width}}  calibration error %",
        ]
        for name, value in scores["ece_by_class"].items():
            lines.append(f"{name:<{max(width, 15)}}  {percent(value):>19}")
        return "\n".join(lines)


def error(
    pixels: Int[np.ndarray, " k"], right: Int[np.ndarray, " k"], confidence: Float[np.ndarray, " k"]
) -> float:
    """The mean gap of bins with so many pixels, right ones and sums of confidence; NaN for none."""
    total = pixels.sum()
    return float(np.abs(right - confidence).sum() / total) if total else np.nan
