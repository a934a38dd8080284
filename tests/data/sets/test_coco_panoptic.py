import json

import numpy as np

from tests.data.sets.files import photograph, write

# number and category of each segment; the classes' positions, counted in the official list
SEGMENTS = {0: None, 3226956: 1, 65536 * 7 + 256 * 3 + 5: 90, 260: 92, 9: 181, 11: 184, 12: 200}
CLASSES = {None: 255, 1: 0, 90: 79, 92: 80, 181: 115, 184: 116, 200: 132}


def tree(root, numbers, segments):
    photograph(root / "val2017/000000000139.jpg", numbers.shape)
    colours = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1)
    write(root / "x/panoptic_val2017/000000000139.png", colours.astype(np.uint8))
    content = {
        "images": [{"id": 139, "file_name": "000000000139.jpg", "height": 3, "width": 7}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "image_id": 139,
                "file_name": "000000000139.png",
                "segments_info": [
                    {"id": n, "category_id": c, "iscrowd": 0} for n, c in segments.items() if n
                ],
            }
        ],
    }
    path = root / "annotations/panoptic_val2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))


def test_segments_become_classes(tmp_path, prepared):
    numbers = np.random.default_rng(0).permutation([*SEGMENTS] * 3).reshape(3, 7)
    tree(tmp_path / "d", numbers, SEGMENTS)
    found = prepared("coco_panoptic")
    assert found.sizes == {"val": 1}
    expected = [[CLASSES[SEGMENTS[n]] for n in row] for row in numbers.tolist()]
    np.testing.assert_array_equal(found.labels["000000000139"], expected)
    assert len(found.classes) == 133
    names = [found.classes.names[CLASSES[c]] for c in (92, 181, 184, 200)]
    assert names == ["banner", "window-other", "tree-merged", "rug-merged"]


def test_a_segment_that_the_file_lacks_is_refused(tmp_path, refused):
    tree(tmp_path / "d", np.full((3, 7), 77), {5: 1})
    assert "segment 77 of category None, expected one of the JSON file" in refused("coco_panoptic")
