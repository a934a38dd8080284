import os

import numpy as np
import pytest

from jaxseg import data
from jaxseg.errors import UserError


def test_classes_are_the_masks_own_values(tmp_path, pair_writer, make_dataset, make_mask):
    road = make_mask([0, 3, 10, 11])
    pair_writer(tmp_path / "camvid/val", "c", road)
    classes = data.prepare("camvid", tmp_path / "camvid", tmp_path / "out").classes
    source = data.load(make_dataset(name="camvid", data_dir=str(tmp_path / "out")), "val")
    np.testing.assert_array_equal(source[0]["label"], road)
    assert source.classes == classes
    assert classes.void == 11
    assert classes.names[3] == "Road"
    again = data.prepare("camvid", tmp_path / "camvid", tmp_path / "out")
    assert "before" in again.notes[0]


def test_a_value_that_is_no_class_is_refused(tmp_path, pair_writer, make_mask, nothing_prepared):
    pair_writer(tmp_path / "camvid/train", "c", make_mask([0, 12, 200]))
    with pytest.raises(UserError, match=r"c\.png: label .* 12, 200, expected 0\.\.10 or void 11"):
        data.prepare("camvid", tmp_path / "camvid", tmp_path / "out")
    assert nothing_prepared(tmp_path / "out")


@pytest.mark.skipif("JAXSEG_DEV_DATA" not in os.environ, reason="no development data")
def test_real_camvid(tmp_path, make_dataset):
    from jaxseg.data import stats

    summary = data.prepare("camvid", f"{os.environ['JAXSEG_DEV_DATA']}/camvid", tmp_path)
    assert summary.splits == {"train": 367, "val": 101}
    measured = stats.measure(
        data.load(make_dataset(name="camvid", data_dir=str(tmp_path)), "train")
    )
    # computed independently from the same files
    weights = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(measured.weights("median_frequency"), weights, atol=1e-4)
    np.testing.assert_allclose(measured.mean, [105.0, 108.4, 110.3], atol=0.06)
    assert measured.void_pixels == 2503995
