from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg.cli.predict import find_images
from jaxseg.errors import UserError


def test_no_picture_takes_the_place_of_another(tmp_path):
    for name in ("a.png", "a.jpg", "b.jpg", "b_overlay.jpg"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    out = tmp_path / "out"
    with pytest.raises(UserError, match="is one of the images: choose another --out"):
        find_images([str(tmp_path / "a.png")], tmp_path)
    for names in (("a.png", "a.jpg"), ("b.jpg", "b_overlay.jpg")):
        with pytest.raises(UserError, match="would both write"):
            find_images([str(tmp_path / n) for n in names], out)
    assert find_images([str(tmp_path / "a.jpg")], out) == [Path(tmp_path / "a.jpg")]


def test_predict_takes_images_of_any_kind_and_returns_their_size(workdir, tmp_path, jaxseg):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 255, (37, 53, 3), np.uint8))
    colour.save(folder / "colour.jpg")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("P").save(folder / "palette.gif")
    colour.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(rng.integers(0, 65535, (5, 3), np.uint16)).save(folder / "deep.tif")
    Image.new("RGB", (1, 1)).save(folder / "one.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    colour.save(tmp_path / "rotated.jpg", exif=exif)
    out = tmp_path / "out"
    code, said, _ = jaxseg(
        "predict", "--workdir", workdir, "--out", out, folder, tmp_path / "rotated.jpg"
    )
    assert code == 0
    assert "7 images" in said
    sizes = {"colour": (53, 37), "grey": (53, 37), "palette": (53, 37), "alpha": (53, 37),
             "deep": (3, 5), "one": (1, 1), "rotated": (37, 53)}  # fmt: skip
    for stem, size in sizes.items():
        mask = Image.open(out / f"{stem}.png")
        assert mask.mode == "P"
        assert mask.size == size
        assert np.asarray(mask).max() < 5
        assert Image.open(out / f"{stem}_overlay.png").width >= size[0]


def test_a_broken_image_is_named(workdir, tmp_path, jaxseg):
    (tmp_path / "empty.jpg").write_bytes(b"")
    code, _, err = jaxseg(
        "predict", "--workdir", workdir, "--out", tmp_path / "o", tmp_path / "empty.jpg"
    )
    assert code == 2
    assert "empty.jpg" in err
    assert err.count("\n") == 1
