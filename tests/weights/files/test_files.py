"""Formats are recognised by content; what is not a weight file gets one line."""

import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxseg.errors import UserError
from jaxseg.weights.files import read

ENTRIES = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "double": np.array([0.1]),
    "count": np.array(3),
}


def assert_entries(entries):
    assert set(entries) == set(ENTRIES)
    for name, expected in ENTRIES.items():
        dtype = np.int64 if name == "count" else np.float32
        assert entries[name].dtype == dtype
        np.testing.assert_array_equal(entries[name], expected.astype(dtype))


def test_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **ENTRIES)
    assert_entries(read(tmp_path / "a.npz"))


def test_safetensors_by_any_name(tmp_path):
    safetensors.numpy.save_file(ENTRIES, tmp_path / "5a3f9c")  # as in a hub's cache
    assert_entries(read(tmp_path / "5a3f9c"))


def test_bfloat16_becomes_float32(tmp_path):
    values = np.array([1.5, -3.0], ml_dtypes.bfloat16)
    safetensors.numpy.save_file({"a": values}, tmp_path / "a.safetensors")
    entry = read(tmp_path / "a.safetensors")["a"]
    assert entry.dtype == np.float32
    np.testing.assert_array_equal(entry, [1.5, -3.0])


def test_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"x": 1}], object))
    with pytest.raises(UserError, match=r"a\.npz: Object arrays cannot be loaded"):
        read(tmp_path / "a.npz")


def a_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


UNREADABLE = {
    "empty": (
        lambda path: path.write_bytes(b""),
        "not a weight file of a known format: expected safetensors",
    ),
    "text": (lambda path: path.write_text("hello world"), "not a weight file of a known format"),
    "zip": (a_zip, "is a zip file without weights"),
    "no arrays": (lambda path: np.savez(path.open("wb")), "without weights|holds no arrays"),
    "cut npz": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(40)), "can't read weights"),
    "cut safetensors": (
        lambda path: path.write_bytes((1000).to_bytes(8, "little") + b'{"a":'),
        "can't read weights",
    ),
    "cut hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(9)), "can't read"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_other_and_damaged_files_get_one_line_that_names_them(kind, tmp_path):
    write, message = UNREADABLE[kind]
    write(tmp_path / "file.bin")
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path / "file.bin")
    assert "file.bin" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_library_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    safetensors.numpy.save_file(ENTRIES, tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UserError, match=r"package safetensors.*pip install 'jaxseg\[weights\]'"):
        read(tmp_path / "a.safetensors")
