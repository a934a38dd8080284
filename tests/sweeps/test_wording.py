import pytest
from scipy import stats

from jaxseg.sweeps import wording
from jaxseg.sweeps.blocks import Difference


def with_interval(low, high):
    """A difference whose 95 % interval is the given one: 5 rows, 5 seeds."""
    seeds, df = 5, 16
    error = (high - low) / 2 / stats.t.ppf(0.975, df)
    return Difference((low + high) / 2, error, df, error**2 * seeds)


def say(difference, p_holm, margin=None):
    verdict = wording.verdict(difference, p_holm, 0.95, margin)
    return wording.sentence(
        verdict, difference, p_holm, confidence=0.95, margin=margin, metric="mIoU", gain=4
    )


def test_better_and_worse_need_the_corrected_p_value():
    assert say(with_interval(0.9, 2.7), 0.01) == "better: +1.8 mIoU, 95 % interval +0.9 to +2.7"
    assert say(with_interval(-2.7, -0.9), 0.01) == "worse: -1.8 mIoU, 95 % interval -2.7 to -0.9"
    assert say(with_interval(0.9, 2.7), 0.06) == (
        "not distinguishable: +1.8 mIoU, 95 % interval +0.9 to +2.7, "
        "but p = 0.06 after Holm's correction; 15 seeds would resolve 0.5"
    )


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_less_is_better_where_the_experiment_says_so(higher_is_better):
    for low, high in ((0.9, 2.7), (-2.7, -0.9)):
        found = wording.verdict(with_interval(low, high), 0.01, 0.95, None, higher_is_better)
        assert found == ("better" if (low > 0) == higher_is_better else "worse")
    for p_holm, margin in ((0.5, None), (None, None), (0.01, 5.0)):  # neither better nor worse
        args = with_interval(0.9, 2.7), p_holm, 0.95, margin
        assert wording.verdict(*args, higher_is_better) == wording.verdict(*args)


def test_a_small_difference_without_an_interval_keeps_its_digits():
    def words(value):
        return wording.no_interval(Difference(value, None, 0, 0.0), 1, 1, "checkerboard_2")

    assert words(0.00432) == "+0.0043 checkerboard_2, one seed: no interval"
    assert words(-0.432) == "-0.4 checkerboard_2, one seed: no interval"
    assert words(-1e-9) == "+0.0 checkerboard_2, one seed: no interval"


def test_not_distinguishable_says_how_many_seeds_would_tell():
    words = say(with_interval(-0.6, 1.4), 0.4)
    assert words.startswith("not distinguishable: +0.4 mIoU, 95 % interval -0.6 to +1.4; ")
    assert words.endswith(" seeds would resolve 0.5")
    # A declared margin is what is to be resolved, and nothing is said where it is already.
    assert say(with_interval(-0.6, 1.4), 0.4, margin=0.8).endswith(" seeds would resolve 0.8")
    assert say(with_interval(-0.6, 1.4), 0.4, margin=1.2).endswith("to +1.4")


def test_equivalent_needs_a_margin_that_holds_the_90_percent_interval():
    narrow = with_interval(-0.2, 0.4)
    assert say(narrow, 0.5).startswith("not distinguishable")
    assert say(narrow, 0.5, margin=0.5) == (
        "equivalent: +0.10 mIoU, 90 % interval -0.15 to +0.35, within the declared margin of 0.5"
    )
    assert say(narrow, 0.5, margin=0.3).startswith("not distinguishable")
    # Two one-sided t-tests at 5 % each.
    assert narrow.value
    assert narrow.error
    for margin in (0.34, 0.345, 0.35, 0.355):
        upper = stats.t.cdf((narrow.value - margin) / narrow.error, 16)
        lower = stats.t.sf((narrow.value + margin) / narrow.error, 16)
        equivalent = say(narrow, 0.5, margin=margin).startswith("equivalent")
        assert equivalent == (max(upper, lower) < 0.05)


def test_a_certain_difference_within_the_margin_is_equivalent():
    assert say(with_interval(0.1, 0.3), 0.001, margin=0.5).startswith("equivalent: +0.20")
    assert say(with_interval(0.1, 0.3), 0.001).startswith("better")


@pytest.mark.parametrize("gain", [1, 4])
def test_seeds_needed_are_the_fewest_that_are_enough(gain):
    def half(seeds: int) -> float:
        return stats.t.ppf(0.975, gain * (seeds - 1)) * (2.0 / seeds) ** 0.5

    seeds = wording.seeds_needed(2.0, gain, 0.95, 1.0)
    assert seeds
    assert half(seeds) <= 1.0 < half(seeds - 1)


def test_more_seeds_than_anyone_would_run_are_not_counted():
    assert wording.seeds_needed(2.0, 4, 0.95, 1e-4) is None
    assert say(with_interval(-60, 140), 0.4, margin=0.5).endswith(
        "; more than 1000 seeds would resolve 0.5"
    )
