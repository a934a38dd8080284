import json

import numpy as np
import pytest

from jaxseg import data
from tests.data.sets.files import photograph

SIZE = (10, 14)


def table(path, images, categories=((3, "dog"), (1, "cat"))):
    """A file of images, each with its objects as category and box."""
    content = {"images": [], "annotations": [],
               "categories": [{"id": i, "name": name} for i, name in categories]}  # fmt: skip
    for number, (name, objects) in enumerate(images.items()):
        size = {"height": SIZE[0], "width": SIZE[1]}
        content["images"].append({"id": number, "file_name": name, **size})
        for category, (left, top, right, bottom) in objects:
            polygon = [left, top, right, top, right, bottom, left, bottom]
            each = {"image_id": number, "category_id": category, "iscrowd": 0}
            content["annotations"].append({**each, "segmentation": [polygon]})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


OBJECTS = [(3, (1, 1, 8, 6)), (1, (5, 3, 12, 9))]


@pytest.mark.parametrize("layout", ["by file", "by folder", "alone"])
def test_categories_follow_the_background_by_id(layout, tmp_path, make_dataset):
    root = tmp_path / "d"
    if layout == "by folder":
        for split in ("train", "valid"):
            photograph(root / split / f"{split}.jpg", SIZE)
            table(root / split / "_annotations.coco.json", {f"{split}.jpg": OBJECTS})
    else:
        for split in ("train", "valid"):
            photograph(root / f"images/deep/{split}.jpg", SIZE)
        names = ("train",) if layout == "alone" else ("train", "valid")
        for split in names:
            table(root / f"annotations/instances_{split}.json", {f"{split}.jpg": OBJECTS})
    dataset = make_dataset(name="coco_json", data_dir=str(tmp_path / "out"), source=str(root))
    expected = np.zeros(SIZE, int)
    expected[1:6, 1:8] = 2
    expected[3:9, 5:12] = 1
    for split in ("train", "val")[: 1 if layout == "alone" else 2]:
        source = data.load(dataset, split)
        assert source.classes.names == ("background", "cat", "dog")
        assert len(source) == 1
        np.testing.assert_array_equal(source[0]["label"], expected)


def test_what_does_not_go_together_is_refused(tmp_path, refused):
    root = tmp_path / "d"
    table(root / "train.json", {"x.jpg": OBJECTS})
    table(root / "val.json", {"y.jpg": OBJECTS}, categories=((1, "cat"), (3, "cow")))
    photograph(root / "images/y.jpg", SIZE)
    said = refused("coco_json")
    assert "train.json: x.jpg: no such image" in said
    assert "val.json: other categories than the other files have" in said
    (root / "val.json").rename(root / "notes.json")
    assert "notes.json: its name says no split" in refused("coco_json")
    (root / "notes.json").write_text("[]")
    (root / "train.json").unlink()
    assert "notes.json: not a COCO file" in refused("coco_json")
