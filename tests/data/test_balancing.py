import math

import numpy as np
import pytest

from jaxseg.data import balancing
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
VOID, CLASSES = 9, 5  # class 3 is in no image
IMAGES = [RNG.choice([0, 0, 0, 1, 2, 4, VOID], size) for size in ((6, 5), (4, 9), (7, 7))]
IMAGES[0][IMAGES[0] == 2] = 0
PIXELS = np.array([sum(int((x == c).sum()) for x in IMAGES) for c in range(CLASSES)])
WHERE = np.array([sum(x.size for x in IMAGES if (x == c).any()) for c in range(CLASSES)])


def weights(method):
    return balancing.weights(method, PIXELS, WHERE)


def test_median_frequency_is_that_of_segnet():
    """From the images themselves, class by class."""
    frequency = {}
    for c in (0, 1, 2, 4):
        there = [x for x in IMAGES if (x == c).any()]
        frequency[c] = sum((x == c).sum() for x in there) / sum(x.size for x in there)
    ordered = sorted(frequency.values())
    median = (ordered[1] + ordered[2]) / 2
    expected = [median / frequency[c] if c in frequency else 0 for c in range(CLASSES)]
    np.testing.assert_allclose(weights("median_frequency"), expected)
    np.testing.assert_allclose(weights("root_median_frequency"), np.sqrt(expected))


def test_inverse_log_is_that_of_enet():
    labelled = sum((x != VOID).sum() for x in IMAGES)
    for c in range(CLASSES):
        count = sum((x == c).sum() for x in IMAGES)
        expected = 1 / math.log(1.02 + count / labelled) if count else 0
        assert weights("inverse_log")[c] == pytest.approx(expected)


@pytest.mark.parametrize("method", balancing.METHODS)
def test_a_class_that_never_occurs_weighs_nothing_and_nothing_is_infinite(method):
    assert weights(method)[3] == 0
    nothing = np.zeros(4, np.int64)
    np.testing.assert_array_equal(balancing.weights(method, nothing, nothing), 0)
    rarest_first = np.argsort(-weights(method)[[0, 1, 2, 4]])
    assert rarest_first[-1] == 0  # the most frequent weighs least


def test_a_name_is_told_from_numbers():
    assert balancing.method_of(("inverse_log",)) == "inverse_log"
    for numbers in ((), (1.0,), (1.0, 2.0)):
        assert balancing.method_of(numbers) is None
        balancing.check(numbers, "key")
    for wrong in (("median",), ("inverse_log", "inverse_log"), (1.0, "inverse_log"), (None,)):
        with pytest.raises(UserError, match=r"key is .*median_frequency"):
            balancing.check(wrong, "key")
