"""How folders of images and masks may be laid out."""

import pytest

from jaxseg import data
from jaxseg.errors import UserError


def test_flat_layout_is_one_split(tmp_path, pair_writer, make_mask):
    for i in range(3):
        pair_writer(tmp_path / "flat", f"a{i}", make_mask([0, 1]))
    assert data.prepare("folder", tmp_path / "flat", tmp_path / "out").splits == {"train": 3}


def test_a_split_without_masks_is_left_out_with_a_note(folder, tmp_path, pair_writer, make_mask):
    pair_writer(folder / "test", "x", make_mask([0, 1]))
    (folder / "test" / "masks" / "x.png").unlink()
    (folder / "test" / "masks").rmdir()
    summary = data.prepare("folder", folder, tmp_path / "out")
    assert set(summary.splits) == {"train", "val"}
    assert any("test" in note for note in summary.notes)


@pytest.mark.parametrize("make", ["", "stuff", "images"])
def test_a_folder_of_another_layout_is_refused(make, tmp_path):
    root = tmp_path / "root"
    (root / make).mkdir(parents=True)
    with pytest.raises(UserError, match=r"root.*(images|masks)"):
        data.prepare("folder", root, tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        data.prepare("folder", tmp_path / "absent", tmp_path / "out")
