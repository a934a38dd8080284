import numpy as np

from tests.data.sets.files import photograph, write

# name, id and train id, from the benchmark's table of labels
EVALUATED = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11,
             25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


def test_ids_become_train_ids(tmp_path, prepared, refused):
    root, masks, images = tmp_path / "d", {}, {}
    for split, city in (("train", "aachen"), ("train", "ulm"), ("val", "munster"), ("test", "x")):
        stem = f"{city}_000000_000019"
        ids = np.random.default_rng(len(masks)).permutation(34).reshape(2, 17).astype(np.uint8)
        masks[stem] = write(root / f"gtFine/{split}/{city}/{stem}_gtFine_labelIds.png", ids)
        for other in ("color", "instanceIds"):
            write(root / f"gtFine/{split}/{city}/{stem}_gtFine_{other}.png", ids)
        path = root / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png"
        images[stem] = photograph(path, (2, 17), seed=len(masks))
    found = prepared("cityscapes")
    assert found.sizes == {"train": 2, "val": 1}
    for stem, label in found.labels.items():
        expected = [[EVALUATED.get(i, 255) for i in row] for row in masks[stem].tolist()]
        np.testing.assert_array_equal(label, expected)
        np.testing.assert_array_equal(found.images[stem], images[stem])
    assert found.classes.names[13] == "car"
    assert found.classes.palette[13] == (0, 0, 142)
    assert "train: 2 images, 2,975 as published" in found.notes


def test_a_colour_mask_and_a_missing_one_are_named(tmp_path, refused):
    stem = "ulm_000000_000019"
    for name in (stem, "ulm_000001_000019"):
        photograph(tmp_path / f"d/leftImg8bit/train/ulm/{name}_leftImg8bit.png", (2, 3))
    ids = np.full((2, 3), 34, np.uint8)
    write(tmp_path / f"d/gtFine/train/ulm/{stem}_gtFine_labelIds.png", ids)
    said = refused("cityscapes")
    assert "ulm_000001_000019_leftImg8bit.png: an image of split train without its mask" in said
    assert "labelIds.png: mask value(s) 34, expected ids 0..33" in said
