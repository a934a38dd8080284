"""Whether probabilities are shares: of the pixels said to be right with 80 %, are 80 % right?

Expected calibration error (Guo et al. 2017, "On calibration of modern neural networks", ICML,
section 2): pixels are put into 15 bins of equal width by their confidence, the probability of the
predicted class; the gap between a bin's accuracy and its mean confidence is averaged over bins by
their number of pixels.

- Over pixels (`ece`): large, easy classes rule it. It follows the majority class, and a model that
  is wrong about how sure it is of rare classes can have next to none.
- Of classes (`class_ece`): the same among the pixels that are predicted to be of one class, then
  averaged over classes (top-label calibration, Gupta and Ramdas 2022, ICLR).

Kept of each image, k = 16 c + 30: the gap of each class and bin, which is the number of right
pixels less the sum of confidences, the pixels of each predicted class, and the pixels and right
ones of each bin. Within an image confidences are added up as integers, in units of 2^-16, so that
sums are the same in any order.

Intervals are by bootstrap over images. Errors are sums of absolute gaps, which chance alone makes
larger than 0: of few images, errors and their intervals are too high.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg import metrics
from jaxseg.data.source import Classes
from jaxseg.metrics import interval_text, percent

BINS = 15
# A confidence is four digits of this base, each of which is added up by itself in int32: room for
# 134 million pixels in a bin. Rows are float32, in which counts are exact to 16.7 million.
_BASE, _DIGITS = 16, 4


class Evaluator:
    """Adds up pixels, right ones and confidences of each image by predicted class and bin."""

    needs = ("confidence",)
    higher_is_better = dict.fromkeys(("ece", "class_ece"), False)
    protocol = (
        f"expected calibration error, {BINS} bins of equal width; over pixels (follows the "
        "majority class), and of each predicted class by itself, averaged over classes; "
        "void never counts; intervals by bootstrap over images, 2000 draws"
    )

    def __init__(self, classes: Classes) -> None:
        self._names, self._void = classes.names, classes.void

    def rows(
        self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]
    ) -> Float[Array, "b k"]:
        number, label, confidence = len(self._names), batch["label"], batch["confidence"]
        # bins are open below and closed above, but for the first
        place = jnp.clip(jnp.ceil(confidence * BINS).astype(jnp.int32) - 1, 0, BINS - 1)
        # one more cell takes what does not count
        cell = jnp.where(label != self._void, prediction * BINS + place, number * BINS)
        units = jnp.round(confidence * _BASE**_DIGITS).astype(jnp.int32)
        digits = [units // _BASE**i % _BASE for i in range(_DIGITS - 1)]
        digits.append(units // _BASE ** (_DIGITS - 1))  # up to the base: a confidence may be 1
        counted = jnp.stack([jnp.ones_like(label), prediction == label, *digits], axis=-1)

        def image_row(cell: Array, counted: Array) -> Array:
            sums = jnp.zeros((number * BINS + 1, counted.shape[-1]), jnp.int32)
            sums = sums.at[cell.ravel()].add(counted.reshape(-1, counted.shape[-1]))[:-1]
            pixels, right, *digits = sums.reshape(number, BINS, -1).transpose(2, 0, 1)
            gaps = right.astype(jnp.float32) - _total(digits)
            counts = pixels.sum(1), pixels.sum(0), right.sum(0)
            return jnp.concatenate([gaps.ravel(), *(x.astype(jnp.float32) for x in counts)])

        return jax.vmap(image_row)(cell, counted)

    def compute(self, rows: Float[np.ndarray, "n k"]) -> dict[str, Any]:
        number = len(self._names)
        rows = rows.reshape(len(rows), number * (BINS + 1) + 2 * BINS)
        sums = self._read(rows.sum(0))
        (ece,), (by_class,) = self._errors(rows.sum(0, keepdims=True))
        gap, all_pixels = sums["gaps"].sum(0), int(sums["bin_pixels"].sum())
        confidence = sums["bin_right"] - gap
        bins = zip(sums["bin_pixels"], sums["bin_right"], confidence, strict=True)
        return {
            "ece": None if np.isnan(ece) else float(ece),
            "ece_interval": metrics.bootstrap(rows, lambda sums: self._errors(sums)[0]),
            "class_ece": metrics.mean(by_class),
            "class_ece_interval": metrics.bootstrap(
                rows, lambda sums: metrics.rows_mean(self._errors(sums)[1])
            ),
            "ece_by_class": metrics.by_name(by_class, self._names),
            "mean_confidence": float(confidence.sum() / all_pixels) if all_pixels else None,
            "reliability": [
                {
                    "above": i / BINS,
                    "pixels": int(pixels),
                    "accuracy": float(right / pixels),
                    "confidence": float(sure / pixels),
                }
                for i, (pixels, right, sure) in enumerate(bins)
                if pixels
            ],
        }

    def _errors(
        self, sums: Float[np.ndarray, "d k"]
    ) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d c"]]:
        """Over pixels and of classes, of sums of rows; NaN where there are no pixels."""
        parts = self._read(sums)
        pixels, gaps = parts["class_pixels"], parts["gaps"]
        return (
            metrics.ratio(np.abs(gaps.sum(1)).sum(1), pixels.sum(1)),
            metrics.ratio(np.abs(gaps).sum(2), pixels),
        )

    def _read(self, sums: Float[np.ndarray, "*d k"]) -> dict[str, Float[np.ndarray, "..."]]:
        """What stands in rows, by name: gaps [*d c bins], and counts [*d c] or [*d bins]."""
        number = len(self._names)
        ends = np.cumsum([number * BINS, number, BINS])
        gaps, class_pixels, bin_pixels, bin_right = np.split(sums, ends, axis=-1)
        return {
            "gaps": gaps.reshape(*sums.shape[:-1], number, BINS),
            "class_pixels": class_pixels,
            "bin_pixels": bin_pixels,
            "bin_right": bin_right,
        }

    def table(self, scores: dict[str, Any]) -> str:
        width = max(len("class"), *map(len, self._names))
        lines = [
            f"calibration error over pixels, which follows the majority class: "
            f"{percent(scores['ece'])} %" + interval_text(scores["ece_interval"]),
            f"calibration error of classes, their mean: {percent(scores['class_ece'])} %"
            + interval_text(scores["class_ece_interval"]),
            f"mean confidence {percent(scores['mean_confidence'])} %, "
            f"pixel accuracy {percent(scores.get('pixel_accuracy'))} %",
            f"{'class predicted':<{width}}  calibration error %",
        ]
        for name, value in scores["ece_by_class"].items():
            lines.append(f"{name:<{max(width, 15)}}  {percent(value):>19}")
        return "\n".join(lines)


def _total(digits: list[Int[Array, "c bins"]]) -> Float[Array, "c bins"]:
    """The sum of confidences, from the sums of each of their digits, the lowest first.

    Carries are taken first, so that only powers of two are multiplied and the one addition rounds:
    it does not matter whether the compiler fuses them.
    """
    low, carry = jnp.zeros_like(digits[0]), jnp.zeros_like(digits[0])
    for i, digit in enumerate(digits[:-1]):
        carry = carry + digit
        low = low + carry % _BASE * _BASE**i
        carry = carry // _BASE
    high = (carry + digits[-1]).astype(jnp.float32)
    return high / _BASE + low.astype(jnp.float32) / _BASE**_DIGITS
