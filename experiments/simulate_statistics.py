"""Do the statistics of a sweep keep what they promise?

Question: of differences that are not there, how many does `jaxseg.sweeps.statistics` report at 5 %?
Command:  python experiments/simulate_statistics.py
Result:   4.2 to 5.8 % where all rows are equally noisy or one is 3 times as noisy; 94.0 to 95.8 %
          of intervals cover the difference; at most 5.6 % of experiments report anything after
          Holm's correction. Outside these bounds: up to 7.1 % for a row of just twice the noise.
          Power with 3 seeds, 5 rows: 33 %, the paired t-test's 29 %, the observed spread's 53 %
          (with 7 to 10 % false positives). Bootstrap: 24 % false positives with 3 equal rows and
          seeds. 2 minutes on 2 CPU cores; all figures in experiments/results/statistics.json

Scores are drawn as row + seed + normal noise of deviation 1, with seed effects of deviation 2. In
some cases one row, or the baseline, is 3 times as noisy as the others, or 2 times, which is the
limit that the method is made for. Beside it stand the paired t-test of each row with the baseline,
the observed spread alone as the rule (over 2: tested alone), and a percentile bootstrap of the
paired differences. Figures are percentages; "wide" is the contrast of the noisy row, "false" that
of all others. "Family" is any false positive among all contrasts after Holm's correction. Coverage
and power are of a true difference of 2 deviations.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from jaxseg.bench import record
from jaxseg.sweeps import blocks, statistics

DRAWS = 40_000
RESULTS = Path(__file__).parent / "results" / "statistics.json"
NOISE = {  # deviations of the first (the baseline) and the last row
    "equal": (1, 1),
    "last row x3": (1, 3),
    "baseline x3": (3, 1),
    "last row x2": (1, 2),
}


def main() -> None:
    rng = np.random.default_rng(0)
    check(rng)
    rows = [case(rng, k, n, noise) for noise in NOISE for k in (3, 5, 8) for n in (3, 5, 10)]
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row[column]) for column in columns) + " |")
    record.write(RESULTS, "python experiments/simulate_statistics.py", rows)


def _cell(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else "" if value is None else str(value)


def case(rng: np.random.Generator, k: int, n: int, noise: str) -> dict[str, Any]:
    """All figures of one table row, in percent."""
    y = draw(rng, DRAWS, k, n, noise)
    p, _, alone = method(y)
    false = 100 * (p < 0.05).mean(0)
    _, (true, error, df), _ = method(draw(rng, DRAWS, k, n, noise))
    covered = np.abs(true) <= stats.t.ppf(0.975, df) * error
    shifted = 2 * stats.t.sf(np.abs(true + 2) / error, df) < 0.05
    d = y[:, 1:] - y[:, :1]
    paired = stats.ttest_1samp(d, 0, axis=2).pvalue
    again = stats.ttest_1samp(d + 2, 0, axis=2).pvalue
    naive, (value, naive_error, naive_df), _ = method(y, bound=False)
    naive_power = 2 * stats.t.sf(np.abs(value + 2) / naive_error, naive_df) < 0.05
    others = slice(None, -1) if noise.startswith("last") else slice(None)
    wide = noise.startswith("last") or None
    return {
        "noise": noise,
        "rows": k,
        "seeds": n,
        "false": float(false[others].mean()),
        "wide": wide and float(false[-1]),
        "coverage": float(100 * covered[:, others].mean()),
        "coverage wide": wide and float(100 * covered[:, -1].mean()),
        "family": float(100 * family(p).mean()),
        "power": float(100 * shifted[:, others].mean()),
        "tested alone": float(100 * alone.mean()),
        "paired t: false": float(100 * (paired < 0.05).mean()),
        "paired t: power": float(100 * (again[:, others] < 0.05).mean()),
        "observed spread: false": float(100 * (naive < 0.05).mean(0)[others].mean()),
        "observed spread: wide": wide and float(100 * (naive < 0.05).mean(0)[-1]),
        "observed spread: power": float(100 * naive_power[:, others].mean()),
        "bootstrap: false": float(100 * bootstrap(rng, d[:4000, 0]).mean()),
    }


def draw(rng: np.random.Generator, draws: int, k: int, n: int, noise: str) -> np.ndarray:
    deviation = np.ones(k)
    deviation[0], deviation[-1] = NOISE[noise]
    seeds = 2 * rng.standard_normal((draws, 1, n))
    return seeds + deviation[:, None] * rng.standard_normal((draws, k, n))


def method(y: np.ndarray, *, bound: bool = True) -> tuple[np.ndarray, tuple, np.ndarray]:
    """`statistics.compare` for scores [draws, rows, seeds], row 0 the baseline.

    Returns:
      p-values [draws, rows - 1]; differences, their errors and degrees of freedom; which rows are
      tested alone [draws, rows].
    """
    n = y.shape[2]
    centred = y - y.mean(2, keepdims=True)
    scatter = centred @ centred.transpose(0, 2, 1)
    pooled, alone = spreads(scatter, n, bound)
    rss, df = residual(scatter, pooled, n)
    d = y[:, 1:] - y[:, :1]
    single = alone[:, 1:] | alone[:, :1]
    error = np.where(single, d.std(2, ddof=1) / n**0.5, np.sqrt(2 * rss / df / n)[:, None])
    df = np.where(single, n - 1, df[:, None])
    difference = d.mean(2)
    return 2 * stats.t.sf(np.abs(difference) / error, df), (difference, error, df), alone


def residual(scatter: np.ndarray, rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Residual sum of squares of the chosen rows, and its degrees of freedom."""
    chosen = rows.astype(float)
    count = chosen.sum(1)
    total = np.einsum("dii,di->d", scatter, chosen)
    return total - np.einsum("di,dij,dj->d", chosen, scatter, chosen) / count, (count - 1) * (n - 1)


def spreads(scatter: np.ndarray, n: int, bound: bool) -> tuple[np.ndarray, np.ndarray]:
    """`blocks.spreads`: which rows are pooled, and which are tested alone."""
    draws, k, _ = scatter.shape
    pooled = np.ones((draws, k), bool)
    while True:
        count = pooled.sum(1, keepdims=True)
        whole, _ = residual(scatter, pooled, n)
        f, df = np.zeros((draws, k)), np.ones((draws, k))
        for i in range(k):
            known = pooled[:, i] & (count[:, 0] > 2)
            rest = pooled & (np.arange(k) != i)
            rss, free = residual(scatter[known], rest[known], n)
            f[known, i], df[known, i] = (whole[known] - rss) / (n - 1) / (rss / free), free
        limit = 4 - 3 / count  # of F at a spread of 2
        widest = f.argmax(1)
        leaves = f.max(1) > limit[:, 0]
        if not leaves.any() or not bound:
            break
        pooled[leaves, widest[leaves]] = False
    if bound:
        lower = stats.f.ppf(1 - blocks.SPREAD_CONFIDENCE, n - 1, df)
        return pooled, ~pooled | (f / lower > limit)
    pooled[leaves, widest[leaves]] = False
    return pooled, ~pooled


def family(p: np.ndarray) -> np.ndarray:
    """Whether Holm's correction leaves any p-value below 5 %: whether the smallest does."""
    return p.min(1) * p.shape[1] < 0.05


def bootstrap(rng: np.random.Generator, d: np.ndarray, resamples: int = 1000) -> np.ndarray:
    """Whether the 95 % percentile interval of the mean difference [draws, seeds] excludes zero."""
    n = d.shape[1]
    weights = rng.multinomial(n, [1 / n] * n, size=resamples) / n
    low, high = np.quantile(d @ weights.T, [0.025, 0.975], axis=1)
    return (low > 0) | (high < 0)


def check(rng: np.random.Generator, draws: int = 20) -> None:
    """Stop if `method` and `statistics.compare` disagree."""
    for noise in NOISE:
        for k, n in ((3, 3), (5, 5), (8, 3)):
            y = draw(rng, draws, k, n, noise)
            p, _, alone = method(y)
            for i in range(draws):
                table = statistics.compare({str(r): list(y[i, r]) for r in range(k)}, "0")
                found = [row.contrast.p for row in table.rows if row.contrast]
                np.testing.assert_allclose(p[i], found, rtol=1e-6)
                assert [row.alone for row in table.rows] == list(alone[i])


if __name__ == "__main__":
    sys.exit(main())
