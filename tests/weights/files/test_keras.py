"""The formats of Keras 3 (files that it wrote, see fixtures/make.py) and of Keras 2 (by hand)."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights.files import read

# In the order in which the network creates them; variable i holds i, i + 0.01, i + 0.02, ...
VARIABLES = {
    "first/kernel": (3, 3, 3, 2),
    "first/bias": (2,),
    "first_bn/gamma": (2,),
    "first_bn/beta": (2,),
    "first_bn/moving_mean": (2,),
    "first_bn/moving_variance": (2,),
    "depthwise/kernel": (3, 3, 2, 1),
    "separable/depthwise_kernel": (3, 3, 2, 1),
    "separable/pointwise_kernel": (1, 1, 2, 4),
    "separable/bias": (4,),
    "predictions/kernel": (4, 5),
    "predictions/bias": (5,),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    with zipfile.ZipFile(Path(__file__).parent / "fixtures/keras.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("kind", ["keras", "h5", "weights.h5"])
def test_all_formats_give_the_same_entries(kind, folder):
    entries = read(folder / f"small.{kind}")
    assert set(entries) == set(VARIABLES)
    for i, (name, shape) in enumerate(VARIABLES.items()):
        expected = i + np.arange(np.prod(shape)).reshape(shape) / 100
        np.testing.assert_allclose(entries[name], expected, rtol=1e-6, err_msg=name)


def test_names_of_keras_2(tmp_path):
    """As in the released files: bytes, ":0", a depthwise_kernel, a model within a model."""
    layers = {
        "conv": ["conv/kernel:0", "conv/bias:0"],
        "dw": ["dw/depthwise_kernel:0"],
        "sep": ["sep/depthwise_kernel:0", "sep/pointwise_kernel:0"],
        "inner": ["inner/conv2/kernel:0"],
        "pool": [],
    }
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, names in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = np.ones((1, 1, 2, 1), np.float32)
    assert set(read(tmp_path / "old.h5")) == {
        "conv/kernel", "conv/bias", "dw/kernel", "sep/depthwise_kernel", "sep/pointwise_kernel",
        "conv2/kernel",
    }  # fmt: skip


def test_variables_of_an_unknown_layer_keep_their_numbers(tmp_path):
    """Three of a batch norm may be without gamma or without beta: no guess is made."""
    with h5py.File(tmp_path / "new.weights.h5", "w") as file:
        for layer, count in (("my_layer", 2), ("batch_normalization_3", 3)):
            variables = file.create_group(f"layers/{layer}/vars")
            for i in range(count):
                variables[str(i)] = np.ones(1, np.float32)
    assert set(read(tmp_path / "new.weights.h5")) == {
        "my_layer/0", "my_layer/1",
        "batch_normalization_3/0", "batch_normalization_3/1", "batch_normalization_3/2",
    }  # fmt: skip


def test_another_hdf5_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(UserError, match=r"data\.h5 is an HDF5 file, but not one of Keras"):
        read(tmp_path / "data.h5")
