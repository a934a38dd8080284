"""Dice and Hausdorff 95 against loops over pairs of surface pixels."""

import numpy as np
import pytest

from jaxseg.data.source import Classes
from jaxseg.evaluators import medical

CLASSES = Classes(("background", "a", "b"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def surface(mask):
    wide = np.pad(mask, 1)
    return [
        (y, x) for y, x in zip(*np.nonzero(mask), strict=True)
        if not (wide[y, x + 1] and wide[y + 2, x + 1] and wide[y + 1, x] and wide[y + 1, x + 2])
    ]  # fmt: skip


def directed(one, other):
    return [min(np.hypot(y - i, x - j) for i, j in surface(other)) for y, x in surface(one)]


def test_distances_are_those_of_loops_over_surfaces():
    rng = np.random.default_rng(0)
    one, other = np.zeros((2, 26, 33), bool)
    one[4:18, 5:20], other[7:26, 9:33] = True, True
    one[20, 30] = True  # far away, and alone: less than 5 % of one direction
    one &= rng.random(one.shape) < 0.95
    there, back = (np.percentile(directed(*masks), 95) for masks in ((one, other), (other, one)))
    assert there != pytest.approx(back)
    assert medical.hausdorff95(one, other) == pytest.approx(max(there, back), rel=1e-6)
    assert medical.hausdorff95(other, one) == pytest.approx(max(there, back), rel=1e-6)
    pooled = np.percentile(directed(one, other) + directed(other, one), 95)
    assert abs(pooled - max(there, back)) > 0.3


def test_empty_masks_count_as_stated(scores_of):
    """The first image has class a in both, the second in truth alone, the third in neither."""
    label, guess = np.zeros((2, 3, 12, 9), np.int32)
    label[0, 2:6, 2:6] = 1
    guess[0, 2:6, 3:7] = 1
    label[1, 5, 5] = 1
    label[2, :4] = 255
    guess[2, :3] = 1  # on void
    scores = scores_of(medical.Evaluator(CLASSES), [*zip(guess, label, strict=True)])
    assert scores["image_dice_by_class"]["a"] == pytest.approx((0.75 + 0) / 2)
    assert scores["hausdorff95_by_class"]["a"] == pytest.approx((1 + np.hypot(12, 9)) / 2)
    assert scores["images_both_empty"] == {"background": 0, "a": 1, "b": 3}
    assert scores["images_one_empty"] == {"background": 0, "a": 1, "b": 0}
    assert scores["image_dice_by_class"]["b"] is None
    # the background is in no mean
    assert scores["image_dice"] == scores["image_dice_by_class"]["a"]
    assert scores["hausdorff95"] == scores["hausdorff95_by_class"]["a"]
    assert scores["hausdorff95_interval"] == pytest.approx((1, 15))
    assert "15" in medical.Evaluator(CLASSES).table(scores)


def test_a_single_pixel_and_nothing_at_all(scores_of):
    label = np.ones((1, 1), np.int32)
    scores = scores_of(medical.Evaluator(CLASSES), [(label, label)])
    assert scores["image_dice"] == 1
    assert scores["hausdorff95"] == 0
    scores = scores_of(medical.Evaluator(CLASSES), [(label, np.full((1, 1), 255, np.int32))])
    assert scores["image_dice"] is scores["hausdorff95"] is scores["hausdorff95_interval"] is None
