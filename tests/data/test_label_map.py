"""Classes merged, dropped, reordered and renamed on reading."""

import numpy as np
import pytest

from jaxseg import data
from jaxseg.data.label_map import Mapped, mapped_classes
from jaxseg.data.palettes import voc_palette
from jaxseg.data.pipeline import Skipped, read
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError

STREET = Classes(("sky", "road", "car", "bus", "person"), voc_palette(5), void=7)


def source_of(array_source, label):
    """One example with this label, of STREET's classes."""

    class One(array_source):
        classes = STREET

        def __init__(self):
            self.sizes = [label.shape]

        def __getitem__(self, index):
            return {"image": np.zeros((*label.shape, 3), np.uint8), "label": label, "name": "one"}

    return One()


@pytest.mark.parametrize(
    ("label_map", "becomes"),
    [
        (("sky", "road", "car", "bus", "person"), {n: n for n in STREET.names}),
        (("road", "car"), {"road": "road", "car": "car"}),
        (("person", "sky"), {"person": "person", "sky": "sky"}),
        (("road", ("vehicle", "bus", "car")), {"road": "road", "bus": "vehicle", "car": "vehicle"}),
        ((("pedestrian", "person"), ("road",)), {"person": "pedestrian", "road": "road"}),
        # a merged class may keep the name of one of its parts
        ((("car", "bus", "car"), "sky"), {"car": "car", "bus": "car", "sky": "sky"}),
    ],
)
def test_every_pixel_has_the_class_that_its_class_becomes(label_map, becomes, array_source):
    label = np.random.default_rng(0).choice([*range(5), 7], (9, 11)).astype(np.int32)
    mapped = Mapped(source_of(array_source, label), label_map)
    assert [*mapped.classes.names] == [e if isinstance(e, str) else e[0] for e in label_map]
    found = mapped[0]["label"]
    assert found.dtype == np.int32
    for place, value in np.ndenumerate(label):
        before = STREET.names[value] if value != 7 else "void"
        after = mapped.classes.names[found[place]] if found[place] != 7 else "void"
        assert after == becomes.get(before, "void")
    assert (len(mapped), mapped.size(0), mapped.classes.void) == (1, (9, 11), 7)


def test_a_merged_class_has_the_colour_of_its_first():
    classes = mapped_classes(STREET, ("road", ("vehicle", "bus", "car")))
    assert classes.palette == (STREET.palette[1], STREET.palette[3])
    assert mapped_classes(STREET, ()) is STREET


@pytest.mark.parametrize("value", [-1, 5, 6, 8, 300])
def test_a_wrong_label_stays_wrong(value, array_source):
    label = np.zeros((3, 4), np.int32)
    label[1, 2] = value
    mapped = Mapped(source_of(array_source, label), ("road", "sky"))
    with pytest.raises(LabelError, match=rf"example one: label value\(s\) {value}, expected 0..1"):
        read(mapped, 0, Skipped(print))


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (("road", "cat"), r"no class 'cat'; did you mean 'car'\? known: bus, car, person, road"),
        (("vehicle", "car"), r"no class 'vehicle'; .*an entry is a class, or \(new name, class"),
        (("car", ("vehicle", "bus", "car")), "has class 'car' in 'car' and in 'vehicle'"),
        ((("a", "car", "car"),), "has class 'car' in 'a' and in 'a'"),
        ((("a", "car"), ("a", "bus")), "two entries for 'a'"),
        (((),), "an empty entry"),
    ],
)
def test_a_wrong_map_is_refused_in_one_line(label_map, message):
    with pytest.raises(UserError, match=message) as error:
        mapped_classes(STREET, label_map)
    assert "\n" not in str(error.value)
    assert "config.dataset.label_map" in str(error.value)


def test_prepared_data_is_mapped_where_it_is_opened(folder, tmp_path, make_dataset):
    def dataset(**changes):
        return make_dataset(data_dir=str(tmp_path / "out"), source=str(folder), **changes)

    plain = data.load(dataset(), "train")
    label_map = (("rest", "class_2", "class_0"),)
    for cache in (False, True):
        mapped = data.load(dataset(label_map=label_map, cache=cache), "train")
        assert mapped.classes.names == ("rest",)
        for i in range(len(plain)):
            expected = np.where(np.isin(plain[i]["label"], [0, 2]), 0, 255)
            np.testing.assert_array_equal(mapped[i]["label"], expected)
    # what a run was trained on: the same files, other classes
    before, after = data.identity(dataset()), data.identity(dataset(label_map=label_map))
    assert before.split(", ")[1:] == after.split(", ")[1:]
    assert before.split(", ")[0] != after.split(", ")[0]
