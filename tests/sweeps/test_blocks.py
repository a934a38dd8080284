import numpy as np
import pytest
from scipy import stats

from jaxseg.sweeps import blocks

NAN = float("nan")


def additive(k, n, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    y = 70 + np.arange(k)[:, None] + 3 * rng.standard_normal(n)
    return y + noise * rng.standard_normal((k, n))


def test_the_fit_is_the_analysis_of_variance_of_a_block_design():
    # By hand: rows 1 2 6 / 2 4 6 / 6 6 9 have means 3, 4, 7, seeds 3, 4, 7, grand mean 14/3.
    # Residuals y - row - seed + grand: -1/3 -1/3 2/3 / -1/3 2/3 -1/3 / 2/3 -1/3 -1/3.
    found = blocks.fit(np.array([[1, 2, 6], [2, 4, 6], [6, 6, 9]], float))
    assert found.rss == pytest.approx(9 * 2 / 9)
    assert found.df == 4
    difference = found.difference(2, 0)
    assert difference.value == pytest.approx(4)
    assert difference.error == pytest.approx((2 * 0.5 / 3) ** 0.5)


def test_two_rows_are_the_paired_t_test():
    y = additive(2, 5)
    expected = stats.ttest_rel(y[1], y[0])
    low, high = expected.confidence_interval(0.9)
    for difference in (blocks.fit(y).difference(1, 0), blocks.paired(y[1], y[0])):
        assert difference.p == pytest.approx(expected.pvalue)
        assert difference.df == 4
        assert difference.interval(0.9) == pytest.approx((low, high))


def test_missing_scores_are_least_squares_of_a_dummy_coded_design():
    y = additive(4, 5)
    y[0, 1] = y[2, 4] = y[3, 0] = NAN
    found = blocks.fit(y)
    cells = [(i, j) for i in range(4) for j in range(5) if not np.isnan(y[i, j])]
    # Reference coding, unlike the overcomplete one of the code: an intercept, rows 1-3, seeds 1-4.
    x = np.array([[1, *(i == r for r in (1, 2, 3)), *(j == s for s in (1, 2, 3, 4))]
                  for i, j in cells], float)  # fmt: skip
    beta, rss, rank, _ = np.linalg.lstsq(x, np.array([y[c] for c in cells]))
    assert rank == 8
    assert found.df == 17 - 8
    assert found.rss == pytest.approx(rss[0])
    covariance = np.linalg.inv(x.T @ x) * rss[0] / 9
    difference = found.difference(2, 0)
    assert difference.value == pytest.approx(beta[2])
    assert difference.error == pytest.approx(covariance[2, 2] ** 0.5)
    assert found.difference(3, 1).error == pytest.approx(
        (covariance[3, 3] + covariance[1, 1] - 2 * covariance[3, 1]) ** 0.5
    )


def test_rows_without_a_seed_in_common_are_compared_only_through_a_third():
    apart = np.array([[1, 2, NAN, NAN], [NAN, NAN, 3, 4.5]])
    assert blocks.fit(apart).difference(1, 0).value is None
    joined = blocks.fit(np.vstack([apart, [1, 2.5, 3, 4]]))
    assert joined.difference(1, 0).value == pytest.approx(0.25 - -0.25)
    assert joined.df == 2


def test_equal_differences_at_every_seed_leave_no_noise_to_test_with():
    y = np.array([[70.1, 71.3, 69.7], [71.2, 72.4, 70.8], [70.1, 71.3, 69.7]])
    for difference in (blocks.fit(y).difference(1, 0), blocks.paired(y[1], y[0])):
        assert difference.value == pytest.approx(1.1)
        assert difference.error == 0
        assert difference.p is None
    found = blocks.spreads(y)
    assert found.pooled.all()
    assert not found.alone.any()


def test_the_spread_of_a_row_is_the_ratio_of_its_noise_to_the_others():
    rng = np.random.default_rng(0)
    deviation = np.array([1, 1, 1, 1, 1.5])[:, None]
    ratios = [
        blocks.spreads(rng.standard_normal((5, 40)) * deviation + rng.standard_normal(40)).ratio
        for _ in range(60)
    ]
    assert np.mean([ratio[4] or 0.0 for ratio in ratios]) == pytest.approx(1.5, rel=0.05)


def test_much_noisier_rows_are_set_aside_one_after_the_other():
    y = additive(8, 10)
    clean = blocks.fit(y[:6])
    y[6] += 3 * np.random.default_rng(5).standard_normal(10)
    y[7] += 100 * np.random.default_rng(6).standard_normal(10)
    found = blocks.spreads(y)
    assert found.pooled.tolist() == [True] * 6 + [False] * 2  # the wildest does not hide the other
    assert found.alone[6:].all()
    assert blocks.fit(y[found.pooled]).rss == pytest.approx(clean.rss)


def test_a_row_is_tested_alone_unless_it_is_shown_to_be_no_noisier():
    # Equal noise: 20 seeds show it, 3 often cannot.
    assert not blocks.spreads(additive(5, 20)).alone.any()
    alone = [blocks.spreads(additive(5, 3, seed)).alone.mean() for seed in range(200)]
    assert 0.4 < np.mean(alone) < 0.56  # 48 % in the large simulation


def test_a_single_score_is_no_part_of_the_noise():
    y = additive(4, 5)
    y[3, 1:] = NAN
    assert blocks.spreads(y).pooled.tolist() == [True, True, True, False]
    assert blocks.spreads(y).ratio[3] is None
