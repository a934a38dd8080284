import numpy as np
import pytest

from jaxseg import data
from jaxseg.data.sets.shapes import Shapes
from jaxseg.defaults import Dataset
from jaxseg.errors import UserError


@pytest.fixture
def shapes():
    options = {"image_size": (48, 64), "train_examples": 30, "val_examples": 10, "seed": 5}
    return Dataset(name="shapes", options=options)


def test_examples_depend_on_seed_split_and_index_alone():
    first = Shapes((48, 64), 30, 5, "train")[7]
    source = Shapes((48, 64), 30, 5, "train")
    for index in (3, 7):
        again = source[index]
    np.testing.assert_array_equal(first["image"], again["image"])
    np.testing.assert_array_equal(first["label"], again["label"])
    for other in (
        Shapes((48, 64), 30, 5, "val")[7],
        Shapes((48, 64), 30, 6, "train")[7],
        source[8],
    ):
        assert (other["image"] != first["image"]).any()
        assert other["name"] != first["name"] or (other["label"] != first["label"]).any()


def test_loading(shapes):
    train, val = data.load(shapes, "train"), data.load(shapes, "val")
    assert (len(train), len(val)) == (30, 10)
    example = train[0]
    assert example["image"].shape == (48, 64, 3)
    assert example["image"].dtype == np.uint8
    assert example["label"].dtype == np.int32
    assert isinstance(train, data.Source)
    with pytest.raises(UserError, match="no split 'test'; it has train, val"):
        data.load(shapes, "test")


def test_every_class_occurs_and_void_lies_between_classes(shapes):
    source = data.load(shapes, "train")
    labels = np.stack([source[i]["label"] for i in range(len(source))])
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 255}
    shares = np.bincount(labels.ravel())[:5] / labels.size
    assert shares.min() > 0.02
    # no pixel of one class touches one of another: a rim is between them, except at corners
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1])):
        touching = (a != b) & (a != 255) & (b != 255)
        assert touching.mean() < 1e-3


def test_colour_alone_does_not_tell_the_class(shapes):
    """The best guess from a pixel's colour, learned on these very pixels, misses many shapes."""
    source = data.load(shapes, "train")
    examples = [source[i] for i in range(len(source))]
    colour = np.concatenate([e["image"].reshape(-1, 3) // 32 for e in examples]) @ [64, 8, 1]
    label = np.concatenate([e["label"].ravel() for e in examples])
    valid = label != 255
    counts = np.bincount(5 * colour[valid] + label[valid], minlength=512 * 5).reshape(512, 5)
    guess = counts.argmax(1)[colour]
    iou = [
        (valid & (guess == c) & (label == c)).sum() / (valid & ((guess == c) | (label == c))).sum()
        for c in range(5)
    ]
    assert np.mean(iou[1:]) < 0.65
