from pathlib import Path

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
