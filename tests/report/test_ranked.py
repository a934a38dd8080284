"""Contested regions become pictures of what is around them."""

import zlib

import numpy as np

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example
from jaxseg.report import ranked
from jaxseg.report.predictions import Scored


def scored(index, labels):
    counts = np.zeros((3, 3), int)
    deflated = zlib.compress(labels.astype(np.uint16).tobytes())
    return Scored(index, 0.5, 0.5, counts, labels.shape, deflated)


class One:
    """A source whose images are all the same."""

    classes = Classes(("a", "b", "c"), voc_palette(3))

    def __init__(self, example):
        self._example = example

    def __len__(self):
        return 9

    def size(self, index, /):
        return self._example["label"].shape

    def __getitem__(self, index, /):
        return self._example


def test_a_region_is_shown_with_what_is_around_it():
    labels = np.arange(300 * 200).reshape(300, 200) % 3
    image = np.zeros((300, 200, 3), np.uint8)
    example = Example(name="x", image=image, label=labels.astype(np.int32))
    regions = [
        {"index": 4, "box": [250, 10, 290, 40], "label": "cat", "predicted": "<dog>", "pixels": 99,
         "margin": 0.9},
        {"index": 7, "box": [0, 0, 1, 1]},
    ]  # fmt: skip
    (item,) = ranked.items(One(example), [scored(4, labels)], regions)  # 7 could not be read
    assert item.name == "x, rows 250 to 289, columns 10 to 39"
    assert item.truth.shape == (120, 120)
    np.testing.assert_array_equal(item.truth, labels[180:300, :120])
    np.testing.assert_array_equal(item.predictions[0].labels, labels[180:300, :120])
    assert "labelled cat, predicted <dog>" in item.predictions[0].note


def test_what_is_around_stays_within_the_image():
    assert ranked._around(0, 10, 50) == slice(0, 50)
    assert ranked._around(500, 700, 1000) == slice(400, 800)
    assert ranked._around(990, 1000, 1000) == slice(880, 1000)


def test_a_step_that_was_not_ranked_has_none(tmp_path):
    assert ranked.read(tmp_path, "val", 3) == []
