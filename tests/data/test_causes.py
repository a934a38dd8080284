import numpy as np
import pytest

from jaxseg.data.causes import counted, describe, likely_cause, value_counts
from jaxseg.data.palettes import voc_palette

GREYS = {round(r * 0.299 + g * 0.587 + b * 0.114) for r, g, b in voc_palette(6)}


@pytest.mark.parametrize(
    ("values", "classes", "void", "cause"),
    [
        ({0, 255}, 2, 11, "black and white"),
        ({1, 2, 3}, 3, 255, "begin with 1"),
        ({1, 3, 255}, 3, 255, "begin with 1"),
        (GREYS, 6, 255, "palette turned to grey"),
        (range(200), 11, 255, "smoothed edges"),
        ({0, 3, 255}, 11, 11, "void is 11 here"),
        ({0, 3, 7}, 5, 255, ""),
    ],
)
def test_the_cause_follows_from_the_values(values, classes, void, cause):
    found = likely_cause(values, classes, void)
    assert cause in found
    assert bool(found) == bool(cause)


def test_values_are_counted_the_most_frequent_first():
    values = value_counts(np.array([[3, 3, 3], [9, 9, 0]]))
    assert values == {0: 1, 3: 3, 9: 2}
    assert counted(values) == "3 (3 pixels), 9 (2 pixels), 0 (1 pixels)"
    assert counted(values, 1) == "3 (3 pixels) and 2 more"


def test_what_is_told_counts_the_wrong_values_alone():
    assert describe({0: 90, 1: 8, 7: 3}, 2, 255) == "in all 7 (3 pixels)"
    assert describe({0: 90, 255: 8}, 2, 11) == (
        "in all 255 (8 pixels); likely cause: a black and white mask: 255 stands for class 1"
    )
