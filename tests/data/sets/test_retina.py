import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sets.files import photograph, write

SIZE = (6, 8)


@pytest.fixture
def vessels():
    """A mask for each name, and the values that its file holds."""
    rng, masks = np.random.default_rng(0), {}

    def make(name, high=255):
        masks[name] = rng.random(SIZE) < 0.3
        return (high * masks[name]).astype(np.uint8)

    return masks, make


def test_four_layouts(tmp_path, vessels, prepared):
    masks, make = vessels
    root = tmp_path / "d"
    for number, kind in (("21", "training"), ("40", "training"), ("01", "test"), ("20", "test")):
        photograph(root / f"DRIVE/{kind}/images/{number}_{kind}.tif", SIZE)
        write(root / f"DRIVE/{kind}/mask/{number}_{kind}_mask.gif", np.zeros(SIZE, np.uint8))
        write(root / f"DRIVE/{kind}/1st_manual/{number}_manual1.gif", make(f"drive_{number}"))
    for number in ("0001", "0002", "0139", "0324"):
        for folder, ending, pixels in (
            ("stare-images", "ppm", photograph(tmp_path / "x.png", SIZE)),
            ("labels-ah", "ah.ppm", make(f"stare_im{number}")),
            ("labels-vk", "vk.ppm", np.zeros(SIZE, np.uint8)),
        ):
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "PPM")
            path = root / folder / f"im{number}.{ending}.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(content.getvalue()))
    for name in ("Image_01L", "Image_10R", "Image_11L"):
        photograph(root / f"CHASEDB1/{name}.jpg", SIZE)
        mask = make(f"chase_db1_{name}", 1).astype(bool)
        for observer, pixels in (("1stHO", mask), ("2ndHO", ~mask)):
            write(root / f"CHASEDB1/{name}_{observer}.png", pixels)
    for name in ("01_h", "06_h", "05_g", "15_dr"):
        photograph(tmp_path / "x.jpg", SIZE)
        path = root / f"HRF/images/{name}.{'JPG' if 'dr' in name else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((tmp_path / "x.jpg").read_bytes())
        write(root / f"HRF/manual1/{name}.tif", make(f"hrf_{name}"))
        write(root / f"HRF/mask/{name}_mask.tif", np.zeros(SIZE, np.uint8))
    found = prepared("retina")
    assert found.sizes == {
        "drive_train": 2, "drive_test": 2, "stare_train": 2, "stare_test": 2,
        "chase_db1_train": 2, "chase_db1_test": 1, "hrf_train": 2, "hrf_test": 2,
    }  # fmt: skip
    assert found.labels.keys() == masks.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(found.labels[name], mask)
    np.testing.assert_array_equal(
        found.images["stare_im0001"], photograph(tmp_path / "x.png", SIZE)
    )
    assert "hrf_test: 2 images, 30 as published" in found.notes


def test_a_test_set_without_masks_is_left_out(tmp_path, vessels, prepared, refused):
    _, make = vessels
    for number, kind in (("21", "training"), ("22", "training"), ("01", "test")):
        photograph(tmp_path / f"d/{kind}/images/{number}_{kind}.tif", SIZE)
        if number == "21":
            write(tmp_path / f"d/{kind}/1st_manual/{number}_manual1.gif", make(number))
    assert "22_training.tif: no mask of split drive_train" in refused("retina")
    (tmp_path / "d/training/images/22_training.tif").unlink()
    found = prepared("retina")
    assert found.sizes == {"drive_train": 1}
    assert "drive_test: 1 images without masks, left out" in found.notes


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_chase_db1(prepared):
    root = Path(os.environ["JAXSEG_DEV_DATA"]) / "chase_db1"
    found = prepared("retina", root)
    assert found.sizes == {"chase_db1_train": 20, "chase_db1_test": 8}
    for name, label in found.labels.items():
        stem = name.removeprefix("chase_db1_")
        np.testing.assert_array_equal(label, np.asarray(Image.open(root / f"{stem}_1stHO.png")))
