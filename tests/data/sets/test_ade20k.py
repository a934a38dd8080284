import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sets.files import photograph, write


def test_what_is_no_class_is_void_and_the_first_class_0(tmp_path, prepared):
    values = np.random.default_rng(0).permutation(151).astype(np.uint8)[None]
    root = tmp_path / "d/ADEChallengeData2016"
    for split in ("training", "validation"):
        name = (
            f"ADE_{split[:5].rstrip('i')}_00000002" if split == "training" else "ADE_val_00000001"
        )
        photograph(root / f"images/{split}/{name}.jpg", (1, 151))
        write(root / f"annotations/{split}/{name}.png", values)
    found = prepared("ade20k")
    assert found.sizes == {"train": 1, "val": 1}
    for label in found.labels.values():
        np.testing.assert_array_equal(label, np.where(values == 0, 255, values.astype(int) - 1))
    assert (len(found.classes), found.classes.void) == (150, 255)
    assert (found.classes.names[12], found.classes.palette[12]) == ("person", (150, 5, 61))
    assert (found.classes.names[149], found.classes.palette[149]) == ("flag", (92, 0, 255))
    missing = "ADE_val_00000002, ADE_val_00000003, ADE_val_00000004"
    assert any(note.startswith("val: 1 images, 2,000 as published; missing") and missing in note
               for note in found.notes)  # fmt: skip


def test_labels_of_the_full_data_set_are_refused(tmp_path, refused):
    photograph(tmp_path / "d/images/validation/a.jpg", (2, 3))
    write(tmp_path / "d/annotations/validation/a.png", np.full((2, 3), 151, np.uint8))
    assert "mask value(s) 151, expected 0..150" in refused("ade20k")
    assert "no split to prepare" in refused("ade20k", tmp_path / "d/images")


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_ade20k(prepared):
    root = Path(os.environ["JAXSEG_DEV_DATA"]) / "ade20k_mini"
    found = prepared("ade20k", root)
    assert found.sizes == {"val": 3}
    names = [line.split("\t")[-1].split(",")[0].strip() for line in
             (root / "objectInfo150.txt").read_text().splitlines()[1:151]]  # fmt: skip
    assert [*found.classes.names] == names
    for name, label in found.labels.items():
        mask = np.asarray(Image.open(root / f"annotations/validation/{name}.png")).astype(int)
        np.testing.assert_array_equal(label, np.where(mask == 0, 255, mask - 1))
