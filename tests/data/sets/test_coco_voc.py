"""By the rules of torchvision's training set, computed anew pixel by pixel."""

import json

import numpy as np

from tests.data.sets.files import photograph

SIZE = (40, 60)


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def counts(mask):
    """COCO's run lengths: of 0 first, down the columns."""
    flat = mask.T.ravel()
    ends = (np.flatnonzero(np.diff(flat)) + 1).tolist()
    runs = np.diff([0, *ends, flat.size]).tolist()
    return {"counts": [0, *runs] if flat[0] else runs, "size": list(mask.shape)}


CROWD = np.zeros(SIZE, np.uint8)
CROWD[30:, 3:20] = 1
# image: what it shows, as (category, segmentation, area, crowd)
SHOWN = {
    "1": [(1, box(2, 3, 30, 20), 900, 0), (18, box(25, 10, 50, 35), 300, 0),
          (1, counts(CROWD), 170, 1), (13, box(0, 0, 60, 40), 2400, 0)],  # 13 is no class of VOC
    "2": [(1, box(0, 0, 20, 50), 1000, 0), (13, box(0, 0, 60, 40), 2400, 0)],  # not more than 1000
    "3": [],
    "4": [(72, box(0, 0, 60, 40), 1001, 0)],
}  # fmt: skip


def tree(root):
    for split in ("train", "val"):
        content = {"images": [], "annotations": [], "categories": []}
        for name, objects in SHOWN.items():
            photograph(root / f"{split}2017/{name}.jpg", SIZE)
            size = {"height": SIZE[0], "width": SIZE[1]}
            content["images"].append({"id": int(name), "file_name": f"{name}.jpg", **size})
            for category, segmentation, area, crowd in objects:
                each = {"image_id": int(name), "category_id": category, "iscrowd": crowd}
                content["annotations"].append(each | {"segmentation": segmentation, "area": area})
        path = root / f"annotations/instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


def test_the_rules_for_crowds_overlaps_and_small_images(tmp_path, prepared):
    tree(tmp_path / "d")
    found = prepared("coco_voc")
    assert found.sizes == {"train": 2, "val": 4}
    expected = np.zeros(SIZE, int)
    expected[3:20, 2:30] = 15  # person
    expected[10:35, 25:50] = 12  # dog
    expected[CROWD > 0] = 15
    expected[10:20, 25:30] = 255
    np.testing.assert_array_equal(found.labels["1"], expected)
    assert not found.labels["3"].any()
    np.testing.assert_array_equal(found.labels["4"], np.full(SIZE, 20))
    names = found.classes.names
    assert [names[i] for i in (12, 15, 20)] == ["dog", "person", "tvmonitor"]
    assert "train: 2 images of small or no objects, left out" in found.notes
