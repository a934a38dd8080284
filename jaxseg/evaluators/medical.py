"""Dice and the 95th percentile of the Hausdorff distance, of each image and class.

Dice is 2 |A and B| / (|A| + |B|) of an image, left out where both masks are empty. Its mean over
images is not the "mean Dice" beside mIoU, for which pixels are added up over the split first.

Hausdorff 95: of each pixel on the surface of one mask, the Euclidean distance in pixels to the
nearest on the surface of the other; their 95th percentile (linear between ranks); the larger of
both directions (Maier-Hein et al. 2024, "Metrics reloaded", Nature Methods, supplement: HD95;
MONAI's `compute_hausdorff_distance`). Programs that pool both directions before the percentile, as
medpy does, give other numbers. The surface of a mask are its pixels with one of four neighbours
outside of it; what lies beyond the image is outside.

If one mask is empty, the distance is the image's diagonal, which no other can exceed; if both are,
the image is left out for this class, and counted. Void is in neither mask.

A background (a class 0 that is black) is left out of the means over classes.

Kept of each image: k = 4 c.
"""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxseg import metrics
from jaxseg.data.source import Classes
from jaxseg.evaluators import _shapes
from jaxseg.metrics import interval_text, percent

PERCENTILE = 95


class Evaluator:
    """Measures Dice and Hausdorff 95 of every class in every image."""

    higher_is_better: ClassVar = {"image_dice": True, "hausdorff95": False}
    protocol = (
        "Dice and Hausdorff 95 of each image and class, in pixels of the labels; the larger of "
        "both directions' 95th percentiles; one mask empty: Dice 0 and the image's diagonal; both "
        "empty: left out; means over images, then over classes but a background; void is in "
        "neither mask; intervals by bootstrap over images, 2000 draws"
    )

    def __init__(self, classes: Classes) -> None:
        self._names, self._void = classes.names, classes.void
        self._counted = np.arange(len(classes)) != classes.background

    def measure(
        self, prediction: Int[np.ndarray, "h w"], label: Int[np.ndarray, "h w"]
    ) -> Float[np.ndarray, " k"]:
        """Of each class: Dice, distance, whether one mask is there, whether one alone is."""
        number = len(self._names)
        void = label == self._void
        truth, found = np.where(void, number, label), np.where(void, number, prediction)
        counts = _shapes.counts(truth, found, number)
        both, sizes = counts[:, 0], counts[:, 1:]
        row = np.zeros((number, 4))
        for index in np.flatnonzero(sizes.any(1)):
            masks = truth == index, found == index
            dice = 2 * both[index] / sizes[index].sum()
            row[index] = dice, hausdorff95(*masks), 1, not sizes[index].all()
        return row.ravel()

    def compute(self, rows: Float[np.ndarray, "n k"]) -> dict[str, Any]:
        rows = rows.reshape(len(rows), len(self._names), 4)
        there, alone = rows[..., 2], rows[..., 3]
        counted = self._counted if self._counted.any() else ~self._counted

        def means(column: int) -> Float[np.ndarray, " c"]:
            return metrics.ratio(rows[..., column].sum(0), there.sum(0))

        def interval(column: int) -> tuple[float, float] | None:
            values = np.where(there > 0, rows[..., column], np.nan)
            return metrics.bootstrap_means(values[:, counted])

        numbers = {"one_empty": alone.sum(0), "both_empty": (there == 0).sum(0)}
        return {
            "image_dice": metrics.mean(means(0)[counted]),
            "image_dice_interval": interval(0),
            "image_dice_by_class": metrics.by_name(means(0), self._names),
            "hausdorff95": metrics.mean(means(1)[counted]),
            "hausdorff95_interval": interval(1),
            "hausdorff95_by_class": metrics.by_name(means(1), self._names),
            **{
                f"images_{key}": dict(zip(self._names, map(int, value), strict=True))
                for key, value in numbers.items()
            },
        }

    def table(self, scores: dict[str, Any]) -> str:
        width = max(len("class"), *map(len, self._names))
        lines = [
            f"Dice, mean over images  {percent(scores['image_dice'])} %"
            + interval_text(scores["image_dice_interval"]),
            f"Hausdorff 95, mean over images  {_pixels(scores['hausdorff95'])} px"
            + interval_text(scores["hausdorff95_interval"], _pixels),
            f"{'class':<{width}}  Dice %  Hausdorff 95 px  one empty  both empty, left out",
        ]
        for name, dice in scores["image_dice_by_class"].items():
            distance = _pixels(scores["hausdorff95_by_class"][name])
            one, both = (scores[f"images_{key}"][name] for key in ("one_empty", "both_empty"))
            lines.append(
                f"{name:<{width}}  {percent(dice):>6}  {distance:>15}  {one:>9}  {both:>20}"
            )
        return "\n".join(lines)


def hausdorff95(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Of two masks of which one has a pixel at least; the diagonal if the other has none."""
    if not (one.any() and other.any()):
        return float(np.hypot(*one.shape))
    surfaces = [_shapes.contour(mask, at_border=True) for mask in (one, other)]
    pairs = (surfaces, surfaces[::-1])
    return max(
        float(np.percentile(_shapes.distance_to(to)[start], PERCENTILE)) for start, to in pairs
    )


def _pixels(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
