"""mIoU of images: its mean, its worst 5 %, and the same for each class.

Wang et al. 2023, "Revisiting evaluation metrics for semantic segmentation: optimization and
evaluation of fine-grained intersection over union" (NeurIPS datasets and benchmarks), section 2.
Three numbers are called mIoU, and they differ by many points:

- mIoU^D, of the data set: pixels are added up over all images, then divided, then averaged over
  classes. It is the papers' number and `miou` here; large objects and images rule it.
- mIoU^I, of images: the IoU of each class in the truth of an image, averaged over these classes,
  then over images (`image_miou`).
- mIoU^C, of classes: the IoU of each class averaged over the images whose truth has it, then over
  classes (`class_miou`).

A class counts in an image if the image's truth has it, as in the authors' code: one that is
predicted alone shows in the classes that it takes pixels from. Unlike there, two classes are
treated as any number is. "Worst 5 %" is the mean of the lowest 5 % of images (of the images that
have the class), rounded down but at least one: the papers' mIoU^I_5 and mIoU^C_5.

Kept of each image: three counts for each class, k = 3 c.
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

WORST = 0.05  # of the images
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)


class Evaluator:
    """Counts the pixels of each class in each image: in both, in truth, in prediction."""

    needs = ()
    higher_is_better = dict.fromkeys(
        ("image_miou", "image_miou_worst", "class_miou", "class_miou_worst"), True
    )
    protocol = (
        "mIoU^I, mIoU^C and their worst 5 % of images (Wang et al. 2023): a class counts in images "
        "whose truth has it; void never counts; intervals by bootstrap over images, 2000 draws"
    )

    def __init__(self, classes: Classes) -> None:
        self._names, self._void = classes.names, classes.void

    def rows(self, prediction: Int[Array, "b h w"], batch: Mapping[str, Array]) -> Array:
        count = len(self._names)
        label = batch["label"]
        valid = label != self._void

        def class_counts(values: Array) -> Array:
            """Pixels of each class; one more bin takes what does not count."""
            return jax.vmap(lambda v: jnp.bincount(v.ravel(), length=count + 1))(values)[:, :-1]

        both = class_counts(jnp.where(valid & (prediction == label), label, count))
        truth = class_counts(jnp.where(valid, label, count))
        predicted = class_counts(jnp.where(valid, prediction, count))
        return jnp.stack([both, truth, predicted], axis=-1).reshape(len(label), -1)

    def compute(self, rows: Float[np.ndarray, "n k"]) -> dict[str, Any]:
        counts = rows.reshape(len(rows), len(self._names), 3)
        truth = counts[..., 1]
        iou = np.where(truth > 0, metrics.class_iou(counts), np.nan)
        images = metrics.rows_mean(iou)
        classes = metrics.rows_mean(iou.T)
        worst = _worst(iou)
        known = images[np.isfinite(images)]
        return {
            "miou_interval": metrics.bootstrap_miou(counts),
            "image_miou": metrics.mean(images),
            "image_miou_interval": metrics.bootstrap_means(images[:, None]),
            "image_miou_worst": metrics.mean(_worst(images[:, None])),
            "image_miou_worst_interval": metrics.bootstrap_lowest(images[:, None], WORST),
            "image_miou_quantiles": {
                str(q): float(np.quantile(known, q)) for q in QUANTILES if known.size
            },
            "class_miou": metrics.mean(classes),
            "class_miou_interval": metrics.bootstrap_means(iou),
            "class_miou_worst": metrics.mean(worst),
            "class_miou_worst_interval": metrics.bootstrap_lowest(iou, WORST),
            "image_iou": metrics.by_name(classes, self._names),
            "image_iou_worst": metrics.by_name(worst, self._names),
            "images_with": dict(zip(self._names, (truth > 0).sum(0).tolist(), strict=True)),
        }

    def table(self, scores: dict[str, Any]) -> str:
        width = max(len("class"), *map(len, self._names))
        lines = [
            f"mIoU^D, pixels of all images together   {percent(scores.get('miou')):>6} %"
            + interval_text(scores["miou_interval"]),
            f"mIoU^I, mean over images                {percent(scores['image_miou']):>6} %"
            + interval_text(scores["image_miou_interval"]),
            f"  its worst 5 % of images               {percent(scores['image_miou_worst']):>6} %"
            + interval_text(scores["image_miou_worst_interval"]),
            f"mIoU^C, mean over classes of the class's mean over images "
            f"{percent(scores['class_miou'])} %" + interval_text(scores["class_miou_interval"]),
            f"  its worst 5 % of images by class      {percent(scores['class_miou_worst']):>6} %"
            + interval_text(scores["class_miou_worst_interval"]),
            f"{'class':<{width}}  mean IoU of images %  worst 5 %  images",
        ]
        for name, iou in scores["image_iou"].items():
            low, images = percent(scores["image_iou_worst"][name]), scores["images_with"][name]
            lines.append(f"{name:<{width}}  {percent(iou):>20}  {low:>9}  {images:>6}")
        return "\n".join(lines)


def _worst(values: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " c"]:
    """Of each column, the mean of its lowest 5 %; NaN where it has none."""
    known = (np.sort(column[np.isfinite(column)]) for column in values.T)
    return np.array([metrics.lowest(x, np.ones((1, len(x))), WORST)[0] for x in known])
