"""The confusion matrix of a whole split, and every number read off it.

mIoU is a ratio of sums over the split, not a mean of ratios over batches: the matrix is added up
first, at the labels' own resolution, and read once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

_DRAWN_BYTES = 2**17  # of a bootstrap's counts of images that are held at a time,
_DRAWN_LEAST = 16  # but so many test sets at least


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
    iou = ratio(true_positive, union)
    recall = ratio(true_positive, truth)
    total = int(confusion.sum())
    present = union > 0
    named = {
        "iou": iou,
        "accuracy": recall,
        "dice": ratio(2 * true_positive, truth + predicted),
    }
    return {
        "miou": mean(iou),
        "pixel_accuracy": float(true_positive.sum() / total) if total else None,
        "mean_accuracy": mean(recall),
        "frequency_weighted_iou": float(np.nansum(truth * iou) / total) if total else None,
        **{key: by_name(value, class_names) for key, value in named.items()},
        "mean_dice": mean(named["dice"]),
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
    if not len(counts) or not np.sum(counts):
        return None

    def miou(totals: np.ndarray) -> np.ndarray:
        return rows_mean(class_iou(totals))  # of classes that a draw has

    return bootstrap(counts, miou, confidence=confidence, draws=draws, seed=seed)


def bootstrap_means(values: np.ndarray) -> tuple[float, float] | None:
    """As `bootstrap`, of the mean over classes of each class's mean over images.

    Args:
      values: [images, classes]; NaN where a class is left out of an image.
    """
    known = np.isfinite(values)
    rows = np.stack([np.where(known, values, 0.0), known], axis=-1)
    return bootstrap(rows, lambda totals: rows_mean(ratio(totals[..., 0], totals[..., 1])))


def bootstrap_lowest(values: np.ndarray, share: float) -> tuple[float, float] | None:
    """As `bootstrap_means`, of each class's mean over the lowest `share` of its images.

    Args:
      values: [images, classes]; NaN where a class is left out of an image.
      share: of the images that have the class, see `lowest`.
    """
    orders = [np.argsort(column)[: np.isfinite(column).sum()] for column in values.T]  # NaN is last

    def score(drawn: np.ndarray) -> np.ndarray:
        columns = [
            lowest(column[order], drawn[:, order], share)
            for column, order in zip(values.T, orders, strict=True)
        ]
        return rows_mean(np.stack(columns, axis=1))

    return resample(len(values), score)


def bootstrap(
    rows: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """As `resample`, of any score of sums over images: a mean is one, of two columns.

    Args:
      rows: [images, ...].
      score: [draws, ...], sums of rows, to [draws]; NaN where undefined.
      confidence: of the interval.
      draws: how many sets of images are drawn, with replacement.
      seed: of the draws.
    """
    rows = np.asarray(rows, float)

    def drawn_score(drawn: np.ndarray) -> np.ndarray:
        return score(np.tensordot(drawn, rows, 1))

    return resample(len(rows), drawn_score, confidence=confidence, draws=draws, seed=seed)


def resample(
    images: int,
    score: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of a score over the choice of images; None where it is undefined.

    The percentile bootstrap, see `bootstrap_miou`.

    Args:
      images: how many there are.
      score: [draws, images], how often each image was drawn, to [draws]; NaN where undefined.
      confidence: of the interval.
      draws: how many sets of images are drawn, with replacement.
      seed: of the draws.
    """
    rng, values = np.random.default_rng(seed), []
    at_once = max(_DRAWN_LEAST, _DRAWN_BYTES // (8 * max(1, images)))
    for start in range(0, draws if images else 0, at_once):
        size = min(at_once, draws - start)
        values.append(score(rng.multinomial(images, [1 / images] * images, size=size)))
    values = np.concatenate(values) if values else np.zeros(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def lowest(values: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """The mean of the lowest `share` of values, rounded down but at least one; NaN for none.

    Args:
      values: [n], in ascending order.
      counts: [draws, n], how often each value is there.
      share: of the values.

    Returns:
      [draws].
    """
    wanted = np.maximum(1, np.floor(share * counts.sum(1, keepdims=True)))
    before = counts.cumsum(1) - counts
    taken = np.clip(wanted - before, 0, counts)
    return ratio(taken @ values, taken.sum(1))


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
    means = tuple(percent(result[key]) for key in ("miou", "mean_accuracy", "mean_dice"))
    lines.append(f"{'mean':<{width}}  {means[0]:>6}  {means[1]:>10}  {means[2]:>6}")
    lines.append(
        f"pixel accuracy {percent(result['pixel_accuracy'])} %, "
        f"frequency-weighted IoU {percent(result['frequency_weighted_iou'])} %"
    )
    if result["absent"]:
        lines.append("in neither truth nor prediction, left out: " + ", ".join(result["absent"]))
    return "\n".join(lines)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Of pixels [..., 3] in both, in truth, and in prediction; NaN where there are none."""
    both, truth, predicted = np.moveaxis(counts, -1, 0)
    return ratio(both, truth + predicted - both)


def mean(values: np.ndarray) -> float | None:
    """Of what is no NaN; None if nothing is left."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def rows_mean(values: np.ndarray) -> np.ndarray:
    """[n, k] -> [n], of what is no NaN; NaN for rows of nothing else."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(1), known.sum(1))


def by_name(values: np.ndarray, names: Sequence[str]) -> dict[str, float | None]:
    """A value for each class, None for NaN."""
    pairs = zip(names, values, strict=True)
    return {name: None if np.isnan(value) else float(value) for name, value in pairs}


def percent(value: float | None) -> str:
    """In percent: "12.34", or "-" for what is undefined."""
    return "-" if value is None else f"{100 * value:.2f}"


def interval_text(interval: Sequence[float] | None, text: Callable[[float], str] = percent) -> str:
    """With what it means: the test set's noise; `text` writes a number, in percent by default."""
    if interval is None:
        return ""
    low, high = map(text, interval)
    return f"  (95 % interval over other images of the kind: {low} to {high})"
