"""Mean IoU of the whole split, and all else that one confusion matrix tells (see `metrics`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Int

from jaxseg import metrics
from jaxseg.data.source import Classes


class Evaluator:
    """Adds up the confusion matrix of the split at the labels' own resolution."""

    needs = ()
    higher_is_better = dict.fromkeys(
        ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "mean_dice"), True
    )
    protocol = (
        "one confusion matrix of all images, at the labels' own size; void never counts; a class "
        "in neither truth nor prediction of the split is left out of the means"
    )

    def __init__(self, classes: Classes) -> None:
        self._names, self._void = classes.names, classes.void

    def init(self) -> np.ndarray:
        return np.zeros((len(self._names),) * 2, np.int64)

    def update(
        self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]
    ) -> Int[Array, "c c"]:
        return metrics.confusion_matrix(
            prediction,
            batch["label"],
            batch["mask"],
            num_classes=len(self._names),
            void=self._void,
        )

    def compute(self, sums: np.ndarray) -> dict[str, Any]:
        return metrics.scores(sums, self._names)

    def table(self, scores: dict[str, Any]) -> str:
        return metrics.table(scores)
