import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from jaxseg.errors import UserError
from jaxseg.sweeps import blocks, statistics


def experiment(k=4, n=12, seed=0):
    """Row -> scores with row effects 0, 1, 2, ... and noise of deviation 1."""
    rng = np.random.default_rng(seed)
    y = 70 + np.arange(k)[:, None] + 2 * rng.standard_normal(n) + rng.standard_normal((k, n))
    return {f"row{i}": list(map(float, row)) for i, row in enumerate(y)}


def contrast_of(row: statistics.Row) -> statistics.Contrast:
    assert row.contrast
    return row.contrast


def numbers(value):
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list | tuple):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, float) else []


def test_a_table_holds_means_intervals_and_pooled_differences():
    scores = experiment()
    table = statistics.compare(scores, "row0", confidence=0.9)
    row = table.rows[1]
    values = np.array(scores["row1"])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (row.name, row.n) == ("row1", 12)
    assert row.mean == pytest.approx(values.mean())
    assert row.deviation == pytest.approx(values.std(ddof=1))
    assert row.interval == pytest.approx((expected.low, expected.high))
    assert table.rows[0].contrast is None
    # The block design by its textbook formulas.
    y = np.array(list(scores.values()))
    residual = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    variance = (residual**2).sum() / (3 * 11)
    assert (table.deviation, table.df) == (pytest.approx(variance**0.5), 33)
    contrast = contrast_of(row)
    half = stats.t.ppf(0.95, 33) * (2 * variance / 12) ** 0.5
    difference = y[1].mean() - y[0].mean()
    assert contrast.difference == pytest.approx(difference)
    assert contrast.interval == pytest.approx((difference - half, difference + half))
    assert not contrast.paired


def test_a_much_noisier_row_is_marked_and_leaves_the_others_alone():
    scores = experiment()
    without = statistics.compare(scores, "row0")
    rng = np.random.default_rng(1)
    scores["wild"] = list(70 + 8 * rng.standard_normal(12))
    table = statistics.compare(scores, "row0")
    assert [row.alone for row in table.rows] == [False] * 4 + [True]
    assert (table.deviation, table.df) == (pytest.approx(without.deviation), without.df)
    wild = contrast_of(table.rows[-1])
    assert wild.paired
    assert wild.p == pytest.approx(stats.ttest_rel(scores["wild"], scores["row0"]).pvalue)
    found = contrast_of(table.rows[1]).interval
    assert found == pytest.approx(contrast_of(without.rows[1]).interval)
    # Against a noisy baseline, every difference is noisy.
    table = statistics.compare(scores, "wild")
    assert all(contrast_of(row).paired for row in table.rows[:-1])


def test_holm_by_a_worked_example():
    # 0.01 x 4 = 0.04; 0.015 x 3 = 0.045; 0.02 x 2 = 0.04, but not below 0.045; 0.6 x 1.
    adjusted = statistics.holm([0.02, None, 0.01, 0.6, 0.015])
    assert adjusted == pytest.approx([0.045, None, 0.04, 0.6, 0.045])
    assert statistics.holm([0.7, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"a": [70.0], "b": [71.0]}, "+1.0 mIoU, one seed: no interval"),
        ({"a": [70.0, 71.0], "b": [71.0, None]}, "+1.0 mIoU, one seed: no interval"),
        ({"a": [70.0, 71.0], "b": [None, None]}, "no scores"),
        ({"a": [None, None], "b": [70.0, 71.0]}, "the baseline has no scores"),
        ({"a": [], "b": []}, "no scores"),
        ({"a": [1.0, 2.0, None, None], "b": [None, None, 1.0, 3.0]},
         "no seed in common with the baseline: no difference"),
        ({"a": [1.0, 2.0, None], "b": [None, 1.5, 3.0]},
         "-0.5 mIoU, too few seeds in common with the baseline: no interval"),
        ({"a": [70.0, 70.0], "b": [70.0, 70.0]}, "+0.0 mIoU, no noise between seeds: no interval"),
    ],
)  # fmt: skip
def test_without_an_interval_the_words_say_why(scores, words):
    table = statistics.compare(scores, "a")
    contrast = contrast_of(table.rows[1])
    assert (contrast.verdict, contrast.words) == ("unknown", words)
    assert (contrast.interval, contrast.p, contrast.p_holm) == (None, None, None)


def test_less_can_be_better():
    scores = {"a": [9.0, 8.9, 9.1], "b": [1.1, 0.9, 1.0], "c": [15.0, 15.1, 14.9]}
    found = {}
    for higher_is_better in (True, False):
        table = statistics.compare(scores, "a", higher_is_better=higher_is_better)
        found[higher_is_better] = [contrast_of(row).verdict for row in table.rows[1:]]
    assert found == {True: ["worse", "better"], False: ["better", "worse"]}


def test_a_single_row_is_described_and_compared_with_nothing():
    (row,) = statistics.compare({"a": [70.0, 71.0]}, "a").rows
    assert (row.mean, row.contrast) == (70.5, None)


def test_no_number_is_ever_nan_or_infinite():
    rng = np.random.default_rng(0)
    for _ in range(300):
        k, n = rng.integers(1, 5), rng.integers(1, 5)
        y = np.round(70 + rng.choice([0.0, 1.0, 30.0]) * rng.standard_normal((k, n)), 1)
        missing = rng.random((k, n)) < rng.choice([0.0, 0.3, 0.7])
        scores = {
            str(i): [None if m else float(v) for v, m in zip(y[i], missing[i], strict=True)]
            for i in range(k)
        }
        table = dataclasses.asdict(statistics.compare(scores, "0", margin=0.5))
        json.dumps(table)
        assert np.isfinite(numbers(table)).all()


def test_false_positives_and_coverage_are_the_nominal_ones():
    """A wrong number of degrees of freedom or of seeds in the error would leave the bounds."""
    rng = np.random.default_rng(0)
    p, family = [], []
    for _ in range(600):
        y = 5 * rng.standard_normal(4) + rng.standard_normal((4, 4))
        table = statistics.compare({str(i): list(row) for i, row in enumerate(y)}, "0")
        for row in table.rows[1:]:
            contrast = contrast_of(row)
            assert contrast.p is not None
            assert contrast.interval
            low, high = contrast.interval
            assert (contrast.p < 0.05) == (low > 0 or high < 0)
            p.append(contrast.p)
        family.append(any(contrast_of(r).verdict != "not distinguishable" for r in table.rows[1:]))
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.07
    assert 0.4 < np.mean(np.array(p) < 0.5) < 0.56
    assert np.mean(family) < 0.07


@pytest.mark.parametrize(
    ("scores", "baseline", "options", "message"),
    [
        ({"a": [1.0]}, "b", {}, "baseline b: no such row, expected one of a"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "a", {}, "row b: 2 scores, but a has 1"),
        ({"a": [float("nan")]}, "a", {}, "row a: score nan"),
        ({"a": [1.0]}, "a", {"confidence": 95.0}, "confidence 95"),
        ({"a": [1.0]}, "a", {"margin": 0.0}, "margin 0"),
    ],
)
def test_bad_input_is_named(scores, baseline, options, message):
    with pytest.raises(UserError, match=message):
        statistics.compare(scores, baseline, **options)


def test_blocks_are_what_the_table_is_made_of():
    scores = experiment(k=3, n=12)
    y = np.array(list(scores.values()))
    y[2, 4] = np.nan
    row2 = [None if i == 4 else score for i, score in enumerate(scores["row2"])]
    table = statistics.compare({**scores, "row2": row2}, "row0")
    expected = blocks.fit(y).difference(2, 0)
    assert contrast_of(table.rows[2]).p == pytest.approx(expected.p)
    assert table.df == 35 - 14


def test_seeds_to_come_count_with_the_degrees_of_freedom_of_all_rows():
    scores = experiment(k=3, n=12)
    scores["same"] = [s + e for s, e in zip(scores["row0"], [1.0, -1.0, 0.2] * 4, strict=True)]
    table = statistics.compare(scores, "row0", margin=0.1)
    assert table.deviation
    assert not table.rows[-1].alone

    def half(seeds: int) -> float:
        quantile = stats.t.ppf(0.975, 3 * (seeds - 1))
        return float(quantile * table.deviation * (2 / seeds) ** 0.5)

    seeds = next(n for n in range(2, 2000) if half(n) <= 0.1)
    assert contrast_of(table.rows[-1]).words.endswith(f"; {seeds} seeds would resolve 0.1")
