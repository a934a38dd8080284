import numpy as np
import pytest

from jaxseg import data
from jaxseg.errors import UserError


def test_membranes_are_0_and_cells_255(tmp_path, pair_writer, make_dataset, make_mask):
    cell = make_mask([0, 255])
    pair_writer(tmp_path / "isbi/train", "00", cell)
    classes = data.prepare("isbi_em", tmp_path / "isbi", tmp_path / "out").classes
    source = data.load(make_dataset(name="isbi_em", data_dir=str(tmp_path / "out")), "train")
    np.testing.assert_array_equal(source[0]["label"], cell == 255)
    assert source.classes == classes


def test_a_mask_of_other_values_is_refused(tmp_path, pair_writer, make_mask, nothing_prepared):
    pair_writer(tmp_path / "isbi/train", "00", make_mask([0, 128, 255]))
    with pytest.raises(UserError, match=r"00\.png: mask value 128"):
        data.prepare("isbi_em", tmp_path / "isbi", tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")
