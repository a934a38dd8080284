"""A user's own folder: its classes, and how masks hold them."""

import json
import re

import numpy as np
import pytest

from jaxseg import data
from jaxseg.errors import UserError


def labels_with(folder, out, make_dataset, classes_json):
    (folder / "classes.json").write_text(json.dumps(classes_json))
    summary = data.prepare("folder", folder, out)
    dataset = make_dataset(data_dir=str(out), source=str(folder))
    return summary.classes, data.load(dataset, "train")[0]["label"]


def test_classes_json_maps_values(tmp_path, pair_writer, make_dataset, make_mask):
    values = make_mask([0, 255, 9])
    pair_writer(tmp_path / "d", "a", values)
    with pytest.raises(UserError, match=r"a\.png: value 9.*0, 9, 255.*classes\.json"):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")
    given = {
        "names": ["ground", "cell"],
        "values": [0, 255],
        "void": 9,
        "colours": [[1, 2, 3], [4, 5, 6]],
    }
    classes, label = labels_with(tmp_path / "d", tmp_path / "out", make_dataset, given)
    assert classes.names == ("ground", "cell")
    assert classes.palette == ((1, 2, 3), (4, 5, 6))
    expected = np.select([values == 0, values == 255], [0, 1], classes.void)
    np.testing.assert_array_equal(label, expected)


def test_classes_json_reads_rgb_masks(tmp_path, pair_writer, make_dataset, make_mask):
    colours = np.array([[0, 0, 0], [255, 0, 0], [90, 90, 90]])
    chosen = make_mask([0, 1, 2])
    pair_writer(tmp_path / "d", "a", colours[chosen])
    given = {"names": ["a", "b"], "colours": colours[:2].tolist()}
    with pytest.raises(UserError, match=r"a\.png: a colour at row 0, column 2"):
        labels_with(tmp_path / "d", tmp_path / "out", make_dataset, given)
    given["void"] = [90, 90, 90]
    classes, label = labels_with(tmp_path / "d", tmp_path / "out", make_dataset, given)
    np.testing.assert_array_equal(label, np.where(chosen == 2, classes.void, chosen))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ('{"name": ["a"]}', "names"),
        ('{"names": ["a", "b"], "valeus": [0, 1]}', "did you mean 'values'"),
        ('{"names": ["a", "b"], "values": [0]}', "1 values for 2 names"),
        ('{"names": ["a", "a"]}', "all different"),
    ],
)
def test_a_wrong_classes_json_is_refused(text, said, folder, tmp_path):
    (folder / "classes.json").write_text(text)
    with pytest.raises(UserError, match=said):
        data.prepare("folder", folder, tmp_path / "out")


def test_masks_of_0_and_255_alone_are_refused_with_the_fix(tmp_path, pair_writer, make_mask):
    pair_writer(tmp_path / "d", "a", make_mask([0, 255]))
    with pytest.raises(UserError, match=re.escape('"values": [0, 255]')):
        data.prepare("folder", tmp_path / "d", tmp_path / "out")


def test_a_folder_set_without_a_folder_asks_for_it(make_dataset, tmp_path):
    with pytest.raises(UserError, match=r"own folder.*--config\.dataset\.source=DIR"):
        data.load(make_dataset(name="folder", data_dir=str(tmp_path)), "train")
