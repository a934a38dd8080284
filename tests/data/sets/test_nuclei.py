import numpy as np

from jaxseg import data


def test_whatever_is_not_0_is_a_nucleus(tmp_path, pair_writer, make_dataset, make_mask):
    values = make_mask([0, 1, 2, 40])
    pair_writer(tmp_path / "nuclei", "n", values)
    classes = data.prepare("nuclei", tmp_path / "nuclei", tmp_path / "out").classes
    source = data.load(make_dataset(name="nuclei", data_dir=str(tmp_path / "out")), "train")
    np.testing.assert_array_equal(source[0]["label"], values > 0)
    assert source.classes == classes
