"""One sentence about one difference: better, worse, equivalent, or how many seeds would tell."""

import math

import numpy as np
from scipy import stats

from jaxseg.sweeps.blocks import Difference

MOST_SEEDS = 1000  # nobody plans more


def verdict(
    difference: Difference,
    p_holm: float | None,
    confidence: float,
    margin: float | None,
    higher_is_better: bool = True,
) -> str:
    """One of unknown, equivalent, better, worse, not distinguishable.

    "Equivalent" by two one-sided tests at 1 - confidence each (Schuirmann 1987), which is an
    interval of 2 confidence - 1 inside the margin. It goes first: a certain difference may still be
    too small to matter.
    """
    if p_holm is None:
        return "unknown"
    if margin and max(map(abs, difference.interval(2 * confidence - 1))) < margin:
        return "equivalent"
    if p_holm >= 1 - confidence:
        return "not distinguishable"
    higher = bool(difference.value and difference.value > 0)
    return "better" if higher == higher_is_better else "worse"


def sentence(
    verdict: str,
    difference: Difference,
    p_holm: float,
    *,
    confidence: float,
    margin: float | None,
    metric: str,
    gain: int,
) -> str:
    """The verdict with the difference and its interval.

    What the seeds in "9 seeds would resolve 0.5" resolve is the declared margin, else the largest
    of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... below the interval's half-width: the next better resolution.

    Args:
      verdict: from `verdict`.
      difference: with an interval.
      p_holm: its p-value after Holm's correction.
      confidence: of the interval.
      margin: the declared margin, if any.
      metric: name of the unit.
      gain: degrees of freedom that one more seed adds.
    """
    if verdict == "equivalent":
        claim = _interval(difference, 2 * confidence - 1, metric)
        return f"{verdict}: {claim}, within the declared margin of {margin:g}"
    claim = f"{verdict}: {_interval(difference, confidence, metric)}"
    if verdict != "not distinguishable":
        return claim
    low, high = difference.interval(confidence)
    if low > 0 or high < 0:  # looks like a difference, but is one of several comparisons
        claim += f", but p = {p_holm:.2g} after Holm's correction"
    resolution = margin or _round_below((high - low) / 2)
    if (high - low) / 2 <= resolution:
        return claim
    seeds = seeds_needed(difference.variance, gain, confidence, resolution)
    return f"{claim}; {seeds or f'more than {MOST_SEEDS}'} seeds would resolve {resolution:g}"


def no_interval(difference: Difference, scores: int, baseline_scores: int, metric: str) -> str:
    """Why there is no interval, given how many scores the row and the baseline have."""
    if not scores:
        return "no scores"
    if not baseline_scores:
        return "the baseline has no scores"
    if difference.value is None:
        return "no seed in common with the baseline: no difference"
    if difference.error is not None:
        why = "no noise between seeds"
    elif min(scores, baseline_scores) == 1:
        why = "one seed"
    else:
        why = "too few seeds in common with the baseline"
    value = round(difference.value, 4) + 0.0  # Adding 0.0 turns -0.0 into 0.0.
    text = f"{value:+.1f}" if not value or abs(value) >= 0.1 else f"{value:+.2g}"
    return f"{text} {metric}, {why}: no interval"


def seeds_needed(variance: float, gain: int, confidence: float, resolution: float) -> int | None:
    """Fewest seeds at which the interval's half-width is at most `resolution`.

    Args:
      variance: of the difference at one seed, as estimated now.
      gain: degrees of freedom that every seed after the first adds.
      confidence: of the interval.
      resolution: in the unit of the scores.

    Returns:
      None if not even `MOST_SEEDS` are enough.
    """
    seeds = np.arange(2, MOST_SEEDS + 1)
    quantile = stats.t.ppf((1 + confidence) / 2, gain * (seeds - 1))
    enough = seeds[quantile * np.sqrt(variance / seeds) <= resolution]
    return int(enough[0]) if len(enough) else None


def _round_below(half: float) -> float:
    power = 10.0 ** math.floor(math.log10(half))
    steps = (0.5 * power, power, 2 * power, 5 * power)
    return max(step for step in steps if step < half * (1 - 1e-9))


def _interval(difference: Difference, confidence: float, metric: str) -> str:
    low, high = difference.interval(confidence)
    # One decimal for half-widths from 0.3 on, two from 0.03 on, and so forth.
    places = min(max(-math.floor(math.log10((high - low) / 2 / 3)), 1), 4)
    # Adding 0.0 turns -0.0 into 0.0.
    texts = [f"{round(x, places) + 0.0:+.{places}f}" for x in ((low + high) / 2, low, high)]
    return f"{texts[0]} {metric}, {100 * confidence:g} % interval {texts[1]} to {texts[2]}"
