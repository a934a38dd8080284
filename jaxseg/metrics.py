"""The confusion matrix of a whole split, and every number read off it.

mIoU is a ratio of sums over the split, not a mean of ratios over batches: the matrix is added up
first, at the labels' own resolution, and read once.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int


def confusion_matrix(
    prediction: Int[Array, "b h w"],
    label: Int[Array, "b h w"],
    mask: Bool[Array, " b"],
    *,
    num_classes: int,
    void: int,
) -> Int[Array, "c c"]:
    """Count pixels by (truth, prediction); void pixels and examples with mask False never count."""
    valid = (label != void) & mask[:, None, None]
    # One more bin takes what does not count. int32 holds a batch; the split is added in int64.
    cell = jnp.where(valid, label * num_classes + prediction, num_classes**2)
    per_example = jax.vmap(lambda c: jnp.bincount(c.ravel(), length=num_classes**2 + 1))(cell)
    # Summed over examples last, so that devices exchange one matrix and no pixels.
    return per_example.sum(0)[:-1].reshape(num_classes, num_classes).astype(jnp.int32)


def scores(confusion: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """All metrics of one confusion matrix (rows truth, columns prediction).

    A class absent from truth and prediction alike has no IoU: it is None, is left out of the
    means, and is listed under "absent". Without a single valid pixel every number is None.
    """
    confusion = np.asarray(confusion, np.int64)
    true_positive = np.diag(confusion).astype(np.float64)
    truth, predicted = confusion.sum(1), confusion.sum(0)
    union = truth + predicted - true_positive
    iou = _ratio(true_positive, union)
    recall = _ratio(true_positive, truth)
    total = int(confusion.sum())
    present = union > 0
    named = {
        "iou": iou,
        "accuracy": recall,
        "dice": _ratio(2 * true_positive, truth + predicted),
    }
    return {
        "miou": _mean(iou),
        "pixel_accuracy": float(true_positive.sum() / total) if total else None,
        "mean_accuracy": _mean(recall),
        "frequency_weighted_iou": float(np.nansum(truth * iou) / total) if total else None,
        **{
            key: {
                n: None if np.isnan(v) else float(v)
                for n, v in zip(class_names, value, strict=True)
            }
            for key, value in named.items()
        },
        "mean_dice": _mean(named["dice"]),
        "absent": [n for n, p in zip(class_names, present, strict=True) if not p],
        "confusion": confusion.tolist(),
    }


def bootstrap_miou(
    counts: np.ndarray, *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Interval of mIoU over the choice of test images; None without a single valid pixel.

    It says how far another test set of this size would move the score, and nothing about training
    again with another seed. Percentiles of mIoU over images drawn with replacement (Efron and
    Tibshirani 1993, chapter 13); pixels are added up before the ratio is taken.

    Args:
      counts: [images, classes, 3]: pixels that are of the class in prediction and truth alike, in
        truth, and in prediction.
      confidence: of the interval.
      draws: how many test sets are drawn.
      seed: of the draws.
    """
    images = len(counts)
    if not images or not np.sum(counts):
        return None
    drawn = np.random.default_rng(seed).multinomial(images, [1 / images] * images, size=draws)
    both, truth, predicted = np.moveaxis(np.tensordot(drawn, np.asarray(counts, float), 1), -1, 0)
    iou = _ratio(both, truth + predicted - both)  # a class that a draw lacks has none in it
    miou = np.nanmean(iou[np.isfinite(iou).any(1)], axis=1)
    low, high = np.quantile(miou, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def table(result: dict[str, Any]) -> str:
    """The per-class table that a person reads, in percent."""
    width = max(len("class"), *(len(name) for name in result["iou"]))
    truth = np.asarray(result["confusion"]).sum(1)
    share = truth / max(truth.sum(), 1)
    lines = [f"{'class':<{width}}   IoU %  accuracy %  Dice %  pixels %"]
    for (name, iou), pixels in zip(result["iou"].items(), share, strict=True):
        row = (percent(iou), percent(result["accuracy"][name]), percent(result["dice"][name]))
        lines.append(
            f"{name:<{width}}  {row[0]:>6}  {row[1]:>10}  {row[2]:>6}  {100 * pixels:8.2f}"
        )
    mean = tuple(percent(result[key]) for key in ("miou", "mean_accuracy", "mean_dice"))
    lines.append(f"{'mean':<{width}}  {mean[0]:>6}  {mean[1]:>10}  {mean[2]:>6}")
    lines.append(
        f"pixel accuracy {percent(result['pixel_accuracy'])} %, "
        f"frequency-weighted IoU {percent(result['frequency_weighted_iou'])} %"
    )
    if result["absent"]:
        lines.append("in neither truth nor prediction, left out: " + ", ".join(result["absent"]))
    return "\n".join(lines)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _mean(values: np.ndarray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def percent(value: float | None) -> str:
    """In percent: "12.34", or "-" for what is undefined."""
    return "-" if value is None else f"{100 * value:.2f}"
