import numpy as np

from jaxseg.data.preparation import module
from tests.data.sets.files import photograph, write


def test_the_masks_of_an_image_are_one_label(tmp_path, prepared, refused):
    root, expected = tmp_path / "d/stage1_train", {}
    rng = np.random.default_rng(0)
    for name, count in (("0a", 3), ("1b", 1)):
        image = np.dstack([photograph(tmp_path / "x.png", (6, 7)), np.full((6, 7), 255)])
        write(root / f"{name}/images/{name}.png", image.astype(np.uint8))
        masks = [255 * (rng.random((6, 7)) < 0.2).astype(np.uint8) for _ in range(count)]
        for i, mask in enumerate(masks):
            write(root / f"{name}/masks/{i}{name}.png", mask)
        expected[name] = np.max(masks, axis=0) > 0
    photograph(tmp_path / "d/stage1_test/9c/images/9c.png", (6, 7))
    found = prepared("dsb2018")
    assert found.sizes == {"train": 2}
    for name, mask in expected.items():
        np.testing.assert_array_equal(found.labels[name], mask)
    write(root / "0a/masks/x.png", np.zeros((5, 7), np.uint8))
    (root / "1b/images/1b.png").unlink()
    said = refused("dsb2018")
    assert "shape (5, 7), other masks of the image have (6, 7)" in said
    assert "1b.png: no such file" in said


def test_a_part_that_changed_is_other_data(tmp_path):
    """The names of all masks are part of what identifies the source."""
    photograph(tmp_path / "d/0a/images/0a.png", (2, 3))
    for name in "xyz":
        write(tmp_path / f"d/0a/masks/{name}.png", np.zeros((2, 3), np.uint8))
    files = module("dsb2018").Builder.files(tmp_path / "d")
    assert {path.name for path in files.values()} == {"0a.png", "x.png", "y.png", "z.png"}
