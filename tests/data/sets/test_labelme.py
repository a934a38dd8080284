import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from tests.data.sets.files import photograph

SIZE = (12, 16)


def annotate(path, shapes):
    photograph(path.with_suffix(".png"), SIZE)
    listed = [{"label": name, "shape_type": kind, "points": p} for name, kind, p in shapes]
    content = {"imagePath": path.with_suffix(".png").name, "imageHeight": SIZE[0]}
    path.write_text(json.dumps({**content, "imageWidth": SIZE[1], "shapes": listed}))


SHAPES = [
    ("dog", "polygon", [[2, 1], [10, 1], [10, 9], [2, 9]]),
    ("cat", "rectangle", [[12, 11], [8, 5]]),
    ("__ignore__", "circle", [[4.5, 4.5], [4.5, 6.6]]),
]


def read(tmp_path, make_dataset):
    source = str(tmp_path / "d")
    dataset = make_dataset(name="labelme", data_dir=str(tmp_path / "out"), source=source)
    return data.load(dataset, "train")


@pytest.mark.parametrize("labels", ["", "__ignore__\n_background_\ndog\ncat\nbird\n"])
def test_shapes_cover_what_was_painted_before(labels, tmp_path, make_dataset):
    (tmp_path / "d").mkdir()
    annotate(tmp_path / "d/x.json", SHAPES)
    if labels:
        (tmp_path / "d/labels.txt").write_text(labels)
    source = read(tmp_path, make_dataset)
    names = ["background", "dog", "cat", "bird"] if labels else ["background", "cat", "dog"]
    assert [*source.classes.names] == names
    expected = np.zeros(SIZE, int)
    expected[1:9, 2:10] = names.index("dog")
    expected[5:11, 8:12] = names.index("cat")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    expected[np.hypot(x + 0.5 - 4.5, y + 0.5 - 4.5) < 2.1] = 255
    np.testing.assert_array_equal(source[0]["label"], expected)


def test_what_has_no_area_or_no_class_is_refused(tmp_path, refused):
    (tmp_path / "d").mkdir()
    annotate(tmp_path / "d/x.json", [("dog", "line", [[1, 1], [3, 3]])])
    annotate(tmp_path / "d/y.json", SHAPES)
    annotate(tmp_path / "d/z.json", SHAPES)
    (tmp_path / "d/z.png").unlink()
    (tmp_path / "d/labels.txt").write_text("_background_\ndog\n")
    said = refused("labelme")
    assert "x.json: a line of 2 points has no area" in said
    assert "y.json: label 'cat' is not in labels.txt" in said
    assert "z.png: no such file" in said
    (tmp_path / "d/z.json").write_text("{}")
    assert "not a file of labelme with imagePath" in refused("labelme")


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_annotations_agree_with_labelmes_own_export_but_for_outlines(tmp_path, make_dataset):
    root = Path(os.environ["JAXSEG_DEV_DATA"]) / "labelme_voc2011"
    shutil.copytree(root / "data_annotated", tmp_path / "d")
    shutil.copy(root / "labels.txt", tmp_path / "d")
    source = read(tmp_path, make_dataset)
    assert len(source) == 3
    for example in (source[i] for i in range(3)):
        path = root / f"data_dataset_voc/SegmentationClass/{example['name']}.png"
        exported = np.asarray(Image.open(path))
        # labelme draws outlines over its polygons: half a pixel more, and thin slivers
        assert (example["label"] != exported).mean() < 0.01
        assert {*np.unique(example["label"])} == {*np.unique(exported)}
