"""Which rows of an ablation differ from its baseline, in numbers and in words.

`blocks` estimates the differences and their noise, `wording` says what follows from them. A
percentile bootstrap over three to five seeds is no substitute: it reports differences that are not
there far too often (experiments/simulate_statistics.py).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from jaxseg.errors import UserError
from jaxseg.sweeps import blocks, wording


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A row compared with the baseline; None is what the scores do not tell."""

    difference: float | None
    interval: tuple[float, float] | None  # of this comparison alone, not of all together
    df: int
    p: float | None  # two-sided
    p_holm: float | None  # after Holm's correction for the number of rows
    paired: bool  # by the paired t-test, because this row or the baseline is noisier
    verdict: str  # better, worse, equivalent, not distinguishable, unknown
    words: str


@dataclasses.dataclass(frozen=True)
class Row:
    """A row by itself. The interval of its mean includes the differences between seeds."""

    name: str
    n: int
    mean: float | None
    deviation: float | None  # sample standard deviation
    interval: tuple[float, float] | None  # of the mean, by the t distribution
    spread: float | None  # noise relative to the other rows', see `blocks`
    alone: bool  # the mark: tested by the paired t-test
    contrast: Contrast | None  # None for the baseline


@dataclasses.dataclass(frozen=True)
class Table:
    """All rows in the order that they came in, and the noise that they share."""

    rows: tuple[Row, ...]
    baseline: str
    confidence: float
    margin: float | None
    deviation: float | None  # of the pooled noise
    df: int


def compare(
    scores: Mapping[str, Sequence[float | None]],
    baseline: str,
    *,
    confidence: float = 0.95,
    margin: float | None = None,
    metric: str = "mIoU",
    higher_is_better: bool = True,
) -> Table:
    """Compare every row with the baseline.

    "Better" and "worse" need a p-value below 1 - confidence after Holm's correction. Intervals and
    "equivalent" are not corrected for the number of rows: each is right for itself.

    Args:
      scores: row -> one score per seed, in the same order in every row, None where there is none.
      baseline: one of the rows.
      confidence: of every interval by itself.
      margin: the largest difference that does not matter, in the unit of the scores.
      metric: what the sentences call the unit.
      higher_is_better: whether a positive difference is "better".

    Raises:
      UserError: rows of different lengths, an unknown baseline, a number out of range.
    """
    y = _check(scores, baseline, confidence, margin)
    names, base = list(scores), list(scores).index(baseline)
    spreads = blocks.spreads(y)
    noise = blocks.fit(y[spreads.pooled]) if spreads.pooled.any() else None
    together = spreads.pooled & ~spreads.alone
    place = np.cumsum(spreads.pooled) - 1  # of a row among those that share the noise

    def difference(i: int) -> blocks.Difference:
        if noise and together[i] and together[base]:
            return noise.difference(int(place[i]), int(place[base]))
        return blocks.paired(y[i], y[base])

    found = {i: difference(i) for i in range(len(y)) if i != base}
    adjusted = dict(zip(found, holm([d.p for d in found.values()]), strict=True))
    rows = []
    for i, name in enumerate(names):
        contrast = None
        if i != base:
            gain = 1 if found[i].paired else int(spreads.pooled.sum()) - 1
            verdict = wording.verdict(found[i], adjusted[i], confidence, margin, higher_is_better)
            contrast = _contrast(
                found[i], adjusted[i], verdict, y[[i, base]], gain, confidence, margin, metric
            )
        marks = spreads.ratio[i], bool(spreads.alone[i])
        rows.append(Row(name, *_by_itself(y[i], confidence), *marks, contrast))
    deviation = (noise.rss / noise.df) ** 0.5 if noise and noise.df else None
    return Table(tuple(rows), baseline, confidence, margin, deviation, noise.df if noise else 0)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values that control the family-wise error rate; None is not counted.

    The j-th smallest of m is multiplied by m - j + 1, and none is below a smaller one's
    (Holm 1979, A simple sequentially rejective multiple test procedure).
    """
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, (value, i) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * value))
        adjusted[i] = least
    return adjusted


def _check(
    scores: Mapping[str, Sequence[float | None]],
    baseline: str,
    confidence: float,
    margin: float | None,
) -> np.ndarray:
    """Scores as [rows, seeds], NaN where there is none."""
    if baseline not in scores:
        raise UserError(f"baseline {baseline}: no such row, expected one of {', '.join(scores)}")
    if not 0.5 < confidence < 1:
        raise UserError(f"confidence {confidence}: expected more than 0.5 and less than 1")
    if margin is not None and not margin > 0:
        raise UserError(f"margin {margin}: expected a positive difference, or none")
    seeds = len(scores[baseline])
    for name, row in scores.items():
        if len(row) != seeds:
            raise UserError(
                f"row {name}: {len(row)} scores, but {baseline} has {seeds}; "
                "expected one per seed, None where there is none"
            )
        for score in row:
            if score is not None and not np.isfinite(score):
                raise UserError(f"row {name}: score {score}, expected a finite number or None")
    return np.array([[np.nan if s is None else s for s in row] for row in scores.values()], float)


def _contrast(
    d: blocks.Difference,
    p_holm: float | None,
    verdict: str,
    pair: np.ndarray,
    gain: int,
    confidence: float,
    margin: float | None,
    metric: str,
) -> Contrast:
    if p_holm is None:
        scores, baseline_scores = map(int, (~np.isnan(pair)).sum(1))
        words = wording.no_interval(d, scores, baseline_scores, metric)
        return Contrast(d.value, None, d.df, None, None, d.paired, verdict, words)
    settings = {"confidence": confidence, "margin": margin, "metric": metric, "gain": gain}
    words = wording.sentence(verdict, d, p_holm, **settings)
    return Contrast(d.value, d.interval(confidence), d.df, d.p, p_holm, d.paired, verdict, words)


def _by_itself(
    y: np.ndarray, confidence: float
) -> tuple[int, float | None, float | None, tuple[float, float] | None]:
    """Count, mean, standard deviation and t interval of the mean (Student 1908)."""
    y = y[~np.isnan(y)]
    n = len(y)
    if n < 2:
        return n, float(y[0]) if n else None, None, None
    mean, deviation = float(y.mean()), float(y.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * deviation / n**0.5
    return n, mean, deviation, (mean - half, mean + half)
