import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import coco
from tests.data.sets.files import photograph, write


def test_ids_without_annotations_leave_no_gap(tmp_path, prepared, refused):
    ids = [i for i in range(182) if i + 1 not in coco.UNUSED]
    values = np.random.default_rng(0).permutation([*ids, 255]).astype(np.uint8).reshape(4, 43)
    for split in ("train", "val"):
        photograph(tmp_path / f"d/images/{split}2017/00000000000{len(split)}.jpg", (4, 43))
        write(tmp_path / f"d/annotations/{split}2017/00000000000{len(split)}.png", values)
    found = prepared("coco_stuff")
    assert found.sizes == {"train": 1, "val": 1}
    expected = [[255 if v == 255 else ids.index(v) for v in row] for row in values.tolist()]
    for label in found.labels.values():
        np.testing.assert_array_equal(label, expected)
    assert len(found.classes) == 171
    # by the list of labels: 1 person, 90 toothbrush, 92 banner, 182 wood
    assert [found.classes.names[i] for i in (0, 79, 80, 170)] == [
        "person", "toothbrush", "banner", "wood"
    ]  # fmt: skip


def test_a_thing_that_nobody_annotated_is_refused(tmp_path, refused):
    photograph(tmp_path / "d/images/val2017/a.jpg", (2, 3))
    write(tmp_path / "d/maps/val2017/a.png", np.full((2, 3), 11, np.uint8))
    assert "mask value(s) 11, expected ids 0..181 of annotated things" in refused("coco_stuff")


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_coco_stuff(tmp_path, prepared):
    root = Path(os.environ["JAXSEG_DEV_DATA"]) / "coco_stuff_mini"
    for split in ("train", "val"):
        for kind in ("img", "label"):
            place = tmp_path / f"d/{kind}/{split}2017"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(root / f"{split}_{kind}")
    found = prepared("coco_stuff")
    assert found.sizes == {"train": 13, "val": 8}
    numbers = [number - 1 for number in coco.CATEGORIES]
    for name, label in found.labels.items():
        (path,) = root.glob(f"*_label/{name}.png")
        back = np.where(label == 255, 255, np.array([*numbers, *[255] * 85])[label])
        np.testing.assert_array_equal(back, np.asarray(Image.open(path)))
