"""Scores of single images, and which images are chosen."""

import numpy as np
import pytest

from jaxseg import metrics
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example
from jaxseg.report.predictions import Scored, choose, confusion, interval, items, predict

CLASSES = Classes(("ground", "cell", "rim"), voc_palette(3))


def naive_miou(prediction, truth, count, void):
    """Class by class, over the classes that are in either."""
    ious = []
    for k in range(count):
        mine, true = (prediction == k) & (truth != void), truth == k
        if (mine | true).any():
            ious.append((mine & true).sum() / (mine | true).sum())
    return np.mean(ious) if ious else None


class Source:
    """Random labels; the last image is void alone."""

    classes = CLASSES

    def __init__(self, count=5):
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 3, (count, 6, 8)).astype(np.int32)
        self.labels[:, 0] = 255
        self.labels[-1] = 255
        self.labels[0, 1:] = 1  # a class is in neither truth nor prediction
        self.images = rng.integers(0, 3, (count, 6, 8, 3)).astype(np.uint8)
        self.images[0, ..., 0] %= 2

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index, /) -> Example:
        return Example(image=self.images[index], label=self.labels[index], name=f"im{index}")

    def size(self, index, /):
        return 6, 8


def red(image):
    return image[..., 0].astype(np.int32)


def test_the_score_of_an_image_is_the_mean_of_its_own_classes():
    source = Source()
    found = predict(red, source, workers=2)
    assert [image.index for image in found.images] == list(range(5))
    for image in found.images:
        prediction, truth = source.images[image.index][..., 0], source.labels[image.index]
        assert image.miou == pytest.approx(naive_miou(prediction, truth, 3, 255))
        assert (image.labels() == prediction).all()
    assert found.images[-1].miou is None
    valid = source.labels != 255
    accuracy = (source.images[..., 0] == source.labels)[valid].mean()
    assert np.trace(found.confusion) / found.confusion.sum() == pytest.approx(accuracy)


def test_the_interval_over_images_is_of_their_own_counts():
    source = Source(30)
    found = predict(red, source, workers=2)
    for image in found.images:
        prediction, truth = source.images[image.index][..., 0], source.labels[image.index]
        mine = np.where(truth == 255, 255, prediction)
        each = [
            [((mine == k) & (truth == k)).sum(), (truth == k).sum(), (mine == k).sum()]
            for k in range(3)
        ]
        np.testing.assert_array_equal(image.counts, each)
    miou = metrics.scores(found.confusion, CLASSES.names)["miou"]
    low, high = interval(found.images) or (1, 0)
    assert low < miou < high
    assert high - low < 0.2
    assert interval([]) is None


def test_confusion_counts_pixels_by_truth_and_prediction():
    truth, prediction = np.array([[0, 0, 1, 255]]), np.array([[0, 1, 1, 1]])
    assert confusion(prediction, truth, 2, 255).tolist() == [[1, 1], [0, 1]]


def scored(*mious):
    counts = np.zeros((3, 3), int)
    return [Scored(i, miou, None, counts, (1, 1), b"") for i, miou in enumerate(mious)]


def test_best_median_and_worst_are_chosen():
    values = np.random.default_rng(0).permutation(101) / 100
    groups = dict(choose(scored(*values), 24))
    best, median, worst = ([image.miou for image in group] for group in groups.values())
    assert best == pytest.approx([1 - i / 100 for i in range(8)])
    assert median == pytest.approx([0.54 - i / 100 for i in range(8)])
    assert worst == pytest.approx([0.07 - i / 100 for i in range(8)])


@pytest.mark.parametrize("most", range(1, 12))
def test_no_image_is_chosen_twice(most):
    for count in range(1, 14):
        groups = choose(scored(*(i / 20 for i in range(count))), most)
        chosen = [image.index for _, group in groups for image in group]
        assert len(chosen) == len(set(chosen)) == min(most, count)
        assert chosen == sorted(chosen, reverse=True)  # from best to worst throughout


def test_images_without_a_score_are_left_out():
    assert choose(scored(None, None), 5) == []
    ((title, group),) = choose(scored(0.1, None, 0.3), 5)
    assert title == "All images, best first"
    assert [image.index for image in group] == [2, 0]


def test_items_say_whose_score_it_is():
    source = Source()
    (item,) = items(source, predict(red, source, workers=2).images[:1])
    assert item.name == "im0"
    assert item.predictions[0].note.startswith("mIoU of this image alone ")
