"""Differences between rows of an experiment in which every row has the same seeds.

A seed fixes the order of the data and the initial values in all rows. So seeds are blocks, and the
experiment is a randomised complete block design: score = row + seed + noise (Montgomery, Design and
Analysis of Experiments, the chapter on randomised blocks). The noise is estimated from all rows
together, with (rows - 1)(seeds - 1) degrees of freedom. Without some of the scores the same model
is fitted to those that are there, with observations - rank degrees of freedom.

This needs rows that are equally noisy. A noisier one would get too short an interval, and the
others too long ones. The spread of a row is the standard deviation of its noise relative to that of
the other rows. The residual sum of squares grows when the row joins the others, and
F = (growth / its degrees of freedom) / (residual variance of the others) estimates
(1 + (k - 1) spread^2) / k for k rows with all their scores. Two decisions follow:
1. The widest row leaves the pooled variance if its spread exceeds 2. Repeated for the rows left.
2. A row is tested alone, by the paired t-test, if it left the pool, or if the upper bound of its
   spread exceeds 2 (70 % confidence, by the F distribution).
The second has a bound because noise of three seeds is so hard to tell: a third of the rows with 3
times the spread look less than twice as wide. Deciding by the observed spread alone gave up to 12 %
false positives at a nominal 5 % for such a row, and 7 % where no row was wider. With the bound both
stay within 4 to 6 %; the price is power with three seeds (experiments/simulate_statistics.py).
What remains is a row of just twice the noise, with up to 7 % (8 rows, 10 seeds).
"""

import dataclasses

import numpy as np
from scipy import stats

SPREAD_LIMIT = 2.0
SPREAD_CONFIDENCE = 0.7  # of the upper bound; chosen by the simulation


@dataclasses.dataclass(frozen=True)
class Difference:
    """One row minus another; None is what the scores do not tell."""

    value: float | None
    error: float | None = None  # standard error; 0 if no row has any noise
    df: int = 0
    variance: float = 0.0  # of the difference at one seed
    paired: bool = False  # from these two rows alone

    @property
    def p(self) -> float | None:
        """Two-sided p-value of "no difference"; None without any noise to compare it with."""
        if self.value is None or not self.error:
            return None
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.df))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided interval of the difference, where there is a p-value."""
        assert self.value is not None
        assert self.error is not None
        half = float(stats.t.ppf((1 + confidence) / 2, self.df)) * self.error
        return self.value - half, self.value + half


@dataclasses.dataclass(frozen=True)
class Spreads:
    """Which rows are noisier than the others: one entry per row."""

    pooled: np.ndarray  # bool: shares the pooled variance
    alone: np.ndarray  # bool: tested by the paired t-test
    ratio: list[float | None]  # observed spread, None where it cannot be told


@dataclasses.dataclass(frozen=True)
class Fit:
    """Least squares of score = row + seed."""

    coefficients: np.ndarray  # of the rows, then of the seeds
    normal: np.ndarray  # X'X
    inverse: np.ndarray  # its pseudoinverse
    rss: float  # residual sum of squares
    df: int

    def difference(self, row: int, other: int) -> Difference:
        """The contrast c'b of two row effects, with variance s^2 c'(X'X)^- c."""
        c = np.zeros(len(self.coefficients))
        c[row], c[other] = 1, -1
        if not np.allclose(self.normal @ self.inverse @ c, c):
            return Difference(None)  # neither common seeds nor rows that connect theirs
        value = float(c @ self.coefficients)
        if not self.df:
            return Difference(value)
        variance = self.rss / self.df
        error = (variance * float(c @ self.inverse @ c)) ** 0.5
        return Difference(value, error, self.df, 2 * variance)


def fit(y: np.ndarray) -> Fit:
    """Fit the additive model to scores [rows, seeds], NaN where there is none."""
    row, seed = np.nonzero(~np.isnan(y))
    x = np.hstack([np.eye(y.shape[0])[row], np.eye(y.shape[1])[seed]])
    observed = y[row, seed]
    normal = x.T @ x
    inverse = np.linalg.pinv(normal, hermitian=True)
    coefficients = inverse @ (x.T @ observed)
    residuals = observed - x @ coefficients
    df = len(observed) - int(np.linalg.matrix_rank(normal, hermitian=True))
    noisy = df > 0 and np.abs(residuals).max() > _rounding(observed)
    return Fit(coefficients, normal, inverse, float(residuals @ residuals) * noisy, df)


def paired(y: np.ndarray, other: np.ndarray) -> Difference:
    """The paired t-test over the seeds that both rows have."""
    d = (y - other)[~np.isnan(y - other)]
    if len(d) < 2:
        return Difference(float(d[0]) if len(d) else None, paired=True)
    deviation = float(d.std(ddof=1))
    deviation *= deviation > _rounding(np.append(y, other))
    return Difference(float(d.mean()), deviation / len(d) ** 0.5, len(d) - 1, deviation**2, True)


def spreads(y: np.ndarray) -> Spreads:
    """Compare the noise of every row with the others', as the head of this file says."""
    pooled = (~np.isnan(y)).sum(1) > 1  # a single score shows no noise
    alone = np.zeros(len(y), bool)
    ratio: list[float | None] = [None] * len(y)
    while pooled.sum() > 2:  # the residuals of two rows differ in sign alone
        k, whole = int(pooled.sum()), fit(y[pooled])
        bound = dict.fromkeys(map(int, np.flatnonzero(pooled)), np.inf)  # until shown narrower
        widest, most = -1, SPREAD_LIMIT
        for i in bound:
            rest = fit(y[pooled & (np.arange(len(y)) != i)])
            df = whole.df - rest.df
            if df and rest.df:
                f = _f_ratio((whole.rss - rest.rss) / df, rest.rss / rest.df)
                found = _spread(f, k)
                ratio[i] = found if np.isfinite(found) else None
                bound[i] = _spread(f / float(stats.f.ppf(1 - SPREAD_CONFIDENCE, df, rest.df)), k)
                if found > most:
                    widest, most = i, found
        if widest < 0:
            alone |= np.array([bound.get(i, 0.0) > SPREAD_LIMIT for i in range(len(y))])
            break
        pooled[widest], alone[widest] = False, True
    return Spreads(pooled, alone, ratio)


def _rounding(y: np.ndarray) -> float:
    """A deviation no larger than this is arithmetic, not noise."""
    return 1e-9 * float(np.nanmax(np.abs(y)))


def _f_ratio(numerator: float, denominator: float) -> float:
    if denominator > 0:
        return numerator / denominator
    return np.inf if numerator > 0 else 0.0  # no noise in any row


def _spread(f: float, k: int) -> float:
    return float(np.sqrt(max(k * f - 1, 0.0) / (k - 1)))
