"""What is found in masks without a classes.json, whatever files they are."""

import re
from pathlib import Path

import numpy as np
import pytest

from jaxseg.data import census
from jaxseg.data.census import Census
from jaxseg.errors import UserError

PATH = Path("mine/classes.json")
RNG = np.random.default_rng(0)


def said(*masks):
    counted = Census()
    for i, mask in enumerate(masks):
        counted.count(mask, f"m{i}")
    with pytest.raises(UserError) as caught:
        counted.classes(PATH)
    return str(caught.value)


def rgb(*colours):
    return np.array([colours], np.uint8)


def test_values_in_a_row_are_classes_in_grey_and_rgb():
    counted = Census()
    index, grey = np.array([[0, 1, 255]], np.int32), rgb((2, 2, 2), (0, 0, 0))
    np.testing.assert_array_equal(counted.count(index, "a"), index)
    np.testing.assert_array_equal(counted.count(grey, "b"), [[2, 0]])
    assert counted.classes(PATH).names == ("class_0", "class_1", "class_2")


def test_shares_are_those_of_all_pixels():
    masks = [RNG.choice([0, 40, 90], (20, 30), p=[0.7, 0.2, 0.1]).astype(np.int32) for _ in "123"]
    text = said(*masks)
    for value in (0, 40, 90):
        share = 100 * np.mean([mask == value for mask in masks])
        assert f"{value} ({share:.3g} %)" in text
    assert text.startswith("m0: value 40; ")


def test_the_mask_that_is_named_does_not_depend_on_the_order_of_threads():
    masks = {"b": [[0, 7]], "a": [[0, 1]], "c": [[0, 7]]}
    texts = set()
    for names in ("abc", "cba", "bca"):
        counted = Census()
        for name in names:
            counted.count(np.array(masks[name], np.int32), name)
        with pytest.raises(UserError) as caught:
            counted.classes(PATH)
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert texts.pop().startswith("b: value 7; ")


def test_colours_of_all_rgb_masks_count_grey_ones_too():
    text = said(rgb((0, 0, 0), (9, 9, 9), (9, 9, 9)), rgb((255, 0, 0), (0, 0, 0), (0, 0, 0)))
    assert text.startswith("m1: an RGB mask")
    assert "the 2 RGB masks hold (0, 0, 0) (50 %), (9, 9, 9) (33.3 %), (255, 0, 0) (16.7 %)" in text


INDICES, GAPS, COLOUR = np.array([[0, 1]], np.int32), np.array([[0, 9]], np.int32), rgb((1, 2, 3))


def test_masks_of_indices_among_those_of_colours_are_named():
    text = said(INDICES, COLOUR, COLOUR)
    assert "the 2 RGB masks (1 others, such as m0, hold indices) hold" in text
    assert '"colours": [[1, 2, 3]]' in text


@pytest.mark.parametrize("values", [INDICES, GAPS])
def test_a_few_masks_of_colours_do_not_make_the_rest_colours(values):
    text = said(values, values, COLOUR)
    assert text.startswith(
        "m2: an RGB mask, as are 1 of 3; the rest, such as m0, hold indices; save"
    )
    assert "colours" not in text
    assert ("m0: value 9; the masks hold" in text) == (values is GAPS)


def test_memory_is_bounded_for_photographs(monkeypatch):
    monkeypatch.setattr(census, "MOST_COLOURS", 1000)
    counted = Census()
    most = np.full((60, 60, 3), (1, 2, 3), np.uint8)
    for i in range(5):
        noise = RNG.integers(0, 256, (60, 60, 3), np.uint8)
        counted.count(np.concatenate([most, noise]), f"m{i}")
        assert len(counted._pixels["colours"]) <= 1000
    with pytest.raises(UserError) as caught:
        counted.classes(PATH)
    shares = [float(share) for share in re.findall(r"\(([\d.e-]+) %\)", str(caught.value))]
    assert re.search(r"\(1, 2, 3\) \(50 %\)", str(caught.value))
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert "more than" in str(caught.value)
