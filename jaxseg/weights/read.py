"""Weight files of any known format -> their entries by their own names, as NumPy arrays.

The format is told by the file's first bytes, not by its suffix: files from a hub's cache and
"pytorch_model.bin" have suffixes that say little.
"""

import zipfile
from pathlib import Path

import numpy as np

from jaxseg.errors import UserError
from jaxseg.weights import keras_files, pickled
from jaxseg.weights.extra import require

KNOWN = "safetensors, NumPy .npz, Keras .h5, .weights.h5 and .keras, PyTorch .pth"


def read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; floating-point ones as float32, of whatever precision they were.

    Names are the file's own, but for Keras "LAYER/VARIABLE" (see `keras_files`), and a PyTorch
    checkpoint is stripped down to its state_dict (see `pickled`).

    Raises:
      UserError: no such file, none of the known formats, damaged, or it holds more than arrays.
    """
    try:
        entries = _read(path)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes a format's library say
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise UserError(f"can't read weights from {path}: {reason}") from None
    if not entries:
        raise UserError(f"{path} holds no arrays")
    return {name: _plain(value) for name, value in entries.items()}


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"\x89HDF"):
        return keras_files.read(path)
    if start.startswith(pickled.LEGACY_START):
        return pickled.read_legacy(path)
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start[8:9] == b"{":
        return require("safetensors.numpy", "safetensors files").load_file(path)
    raise UserError(f"{path} is no weight file of a known format: {KNOWN}")


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return pickled.read_zip(archive, path)
        if "model.weights.h5" in names:
            return keras_files.read_archive(archive)
    if names and all(name.endswith(".npy") for name in names):
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    raise UserError(f"{path} is a zip file, but not of weights in a known format: {KNOWN}")


def _plain(value: np.ndarray) -> np.ndarray:
    # NumPy knows nothing of bfloat16: ml_dtypes' has kind "V"
    floating = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return np.asarray(value, np.float32 if floating else value.dtype)
