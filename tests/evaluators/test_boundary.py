"""Bands, contours and rims against distances between all pairs of pixels."""

from typing import Any

import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.evaluators import boundary

CLASSES = Classes(("a", "b", "c"), voc_palette(3))
SHAPE = (24, 31)


def pairs_of_pixels(shape):
    y, x = (axis.ravel() for axis in np.mgrid[: shape[0], : shape[1]])
    return np.abs(y[:, None] - y), np.abs(x[:, None] - x)


def euclidean(shape, targets):
    """Of each pixel to the nearest of those where `targets` is true."""
    dy, dx = pairs_of_pixels(shape)
    return np.sqrt(dy**2 + dx**2)[:, targets.ravel()].min(1, initial=np.inf).reshape(shape)


def neighbours(labels, y, x):
    """The labels of four neighbours, None beyond the image."""
    for i, j in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        inside = 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1]
        yield labels[i, j] if inside else None


def edge(labels):
    """Pixels with a neighbour of another label, none beyond the image."""
    found = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        found[y, x] = any(n is not None and n != labels[y, x] for n in neighbours(labels, y, x))
    return found


def miou(counts):
    both, truth, guess = np.array(counts, float).T
    union = truth + guess - both
    return np.mean((both / np.where(union, union, 1))[union > 0])


def count(truth, guess, where: Any = True):
    return [
        [((truth == c) & (guess == c) & where).sum(), ((truth == c) & where).sum(),
         ((guess == c) & where).sum()]
        for c in range(3)
    ]  # fmt: skip


@pytest.fixture
def pair(blobs):
    rng = np.random.default_rng(5)
    label = blobs(rng, SHAPE, 3)
    label[:9, 12:20] = 255
    guess = np.roll(label, 1, 1)
    guess[guess == 255] = 1
    return guess, label


def test_bands_are_those_of_distances_between_all_pixels(pair, scores_of):
    guess, label = pair
    scores = scores_of(boundary.Evaluator(CLASSES), [pair])
    distance = euclidean(SHAPE, edge(label))
    for band in scores["trimap"]:
        near = (distance < band["width_px"]) & (label != 255)
        assert band["miou"] == pytest.approx(miou(count(label, guess, near)))
        assert band["pixels"] == near.sum()
    # nearer to contours it is harder
    assert scores["trimap"][0]["miou"] < scores["trimap"][2]["miou"]


def test_rims_are_those_of_distances_between_all_pixels(pair, scores_of):
    """On a map with a margin of another label, which stands for what lies beyond the image."""
    guess, label = pair
    radius = round(0.02 * np.hypot(*SHAPE))
    assert radius == 1

    def rim(labels, radius):
        wide = np.pad(labels, 1, constant_values=-1)
        dy, dx = pairs_of_pixels(wide.shape)
        other = wide.ravel()[:, None] != wide.ravel()
        near = ((np.maximum(dy, dx) <= radius) & other).any(1)
        return near.reshape(wide.shape)[1:-1, 1:-1]

    for r in (1, 3):
        np.testing.assert_array_equal(boundary.rim(label, r), rim(label, r))
    found = np.where(label == 255, 255, guess)
    rims = [np.where(rim(x, radius), x, -1) for x in (label, found)]
    scores = scores_of(boundary.Evaluator(CLASSES), [pair])
    assert scores["boundary_iou"] == pytest.approx(miou(count(*rims)))
    assert scores["boundary_iou_radius_px"] == [1.0, 1.0]


def test_the_f_score_is_that_of_distances_between_all_pixels(pair, scores_of):
    guess, label = pair
    found, expected = np.where(label == 255, 255, guess), []
    for c in range(3):
        t, f = np.zeros((2, *SHAPE), bool)
        for mask, labels in ((t, label), (f, found)):
            for y, x in np.ndindex(SHAPE):
                around = [n for n in neighbours(labels, y, x) if n is not None]
                mask[y, x] = labels[y, x] == c and any(n != c for n in around)
        precision = (euclidean(SHAPE, t)[f] <= 1).mean()
        recall = (euclidean(SHAPE, f)[t] <= 1).mean()
        expected.append(2 * precision * recall / (precision + recall))
    scores = scores_of(boundary.Evaluator(CLASSES), [pair])
    assert scores["boundary_f_tolerance_px"] == [1.0, 1.0]
    assert list(scores["boundary_f_by_class"].values()) == pytest.approx(expected)
    assert 0.2 < scores["boundary_f"] < 1


def test_a_tolerance_grows_with_the_image():
    square = np.zeros((300, 400), bool)
    square[100:200, 100:200] = True
    moved = np.roll(square, 3, (0, 1))
    contours = [boundary._shapes.contour(x, at_border=False) for x in (square, moved)]
    assert (boundary.f_score(*contours, tolerance=0.0075 * 500) or 0) > 0.97
    assert (boundary.f_score(*contours, tolerance=1.0) or 0) < 0.1


def test_the_right_answer_gets_one_whatever_stands_in_void(pair, scores_of):
    _, label = pair
    perfect = np.where(label == 255, 2, label)
    scores = scores_of(boundary.Evaluator(CLASSES), [(perfect, label)])
    assert scores["boundary_iou"] == scores["boundary_f"] == 1.0
    assert {band["miou"] for band in scores["trimap"]} == {1.0}


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 1)])
@pytest.mark.parametrize("fill", [0, 255])
def test_small_and_empty_images(shape, fill, scores_of):
    """Smaller than a band. A class alone has no contour but the image's border; void has none."""
    label = np.full(shape, fill, np.int32)
    evaluator = boundary.Evaluator(CLASSES)
    scores = scores_of(evaluator, [(np.zeros(shape, np.int32), label)])
    assert scores["boundary_f"] is None
    assert scores["boundary_iou"] == (1.0 if fill == 0 else None)
    assert {band["miou"] for band in scores["trimap"]} == {None}
    assert "boundary" in evaluator.table(scores)


def test_many_classes_and_no_images(scores_of):
    evaluator = boundary.Evaluator(Classes(tuple(map(str, range(255))), voc_palette(255)))
    label = np.arange(256, dtype=np.int32).reshape(16, 16)
    scores = scores_of(evaluator, [(label % 255, label)])
    assert scores["boundary_iou"] == scores["boundary_f"] == 1.0
    assert scores_of(evaluator, [])["boundary_f"] is None
