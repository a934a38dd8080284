import json

import numpy as np
import pytest

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Cached, Classes, LabelError
from jaxseg.errors import UserError


def classes(*names, void=255, palette=voc_palette):
    return Classes(names, tuple(palette(len(names))), void)


DIFFERENCES = [
    (classes("a", "b"), None),
    (classes("a", "b", palette=lambda n: voc_palette(n)[::-1]), None),
    (classes("b", "a"), "label 0 is 'a', not 'b' (the same names in another order)"),
    (classes("a", "c"), "label 1 is 'b', not 'c'"),
    (classes("a"), "2 classes, not 1"),
    (classes("a", "b", "c"), "2 classes, not 3"),
    (classes("x", "a", "b"), "2 classes, not 3; label 0 is 'a', not 'x'"),
    (classes("a", "b", void=11), "void is 255, not 11"),
    (classes("a", "c", void=11), "label 1 is 'b', not 'c'; void is 255, not 11"),
]


@pytest.mark.parametrize(("other", "said"), DIFFERENCES)
def test_the_difference_of_classes_is_one_line(other, said):
    assert classes("a", "b").difference(other) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 2, 11], None),
        ([0, -1], "label value(s) -1, expected 0..2 or void 11; relabel it"),
        ([11, 3, 3], "label value(s) 3, expected"),
        ([255, 12, 7, 6, 5, 4, 3], "label value(s) 3, 4, 5, 6, 7, ..., expected"),
    ],
)
def test_a_label_is_a_class_or_void(values, said):
    label = np.array([values], np.int32)
    if said is None:
        classes("a", "b", "c", void=11).check_label(label, "x.png", "relabel it")
        return
    with pytest.raises(LabelError) as caught:
        classes("a", "b", "c", void=11).check_label(label, "x.png", "relabel it")
    assert str(caught.value).startswith(f"x.png: {said}")


def test_classes_go_through_json():
    classes = Classes(("a", "b"), ((0, 1, 2), (3, 4, 5)), 7)
    assert Classes.from_dict(json.loads(json.dumps(classes.to_dict()))) == classes
    with pytest.raises(UserError, match="void id 1 with 2 classes"):
        Classes(("a", "b"), ((0, 1, 2), (3, 4, 5)), 1)


@pytest.mark.parametrize(
    ("palette", "background"),
    [
        (((0, 0, 0), (9, 9, 9)), 0),
        (((0, 0, 1), (9, 9, 9)), None),
        (((9, 9, 9), (0, 0, 0)), None),
    ],
)
def test_a_black_class_0_is_a_background_and_nothing_else_is(palette, background):
    assert Classes(("a", "b"), palette).background == background
    stored = {"names": ["a", "b"], "palette": [list(c) for c in palette], "void": 255}
    assert Classes.from_dict(stored).background == background


def test_cached_examples_are_read_once_and_cannot_be_changed(array_source):
    reads = []

    class Counting(array_source):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    cached = Cached(Counting([(4, 5), (6, 7)]))
    first, again = cached[1], cached[1]
    assert reads == [1]
    np.testing.assert_array_equal(first["image"], again["image"])
    with pytest.raises(ValueError, match="read-only"):
        again["label"][0, 0] = 1
