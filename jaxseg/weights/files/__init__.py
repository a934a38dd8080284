"""Weight files of any known format -> their entries by their own names, as NumPy arrays.

A format is recognised by the file's first bytes, not by its suffix: files in the hub's cache and
"pytorch_model.bin" have suffixes that say little. safetensors and .npz need no reader of ours;
each other format is one file here.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.errors import UserError
from jaxseg.weights.files import hub, keras, pytorch
from jaxseg.weights.files.extra import require

KNOWN = "safetensors, NumPy .npz, Keras .h5, .weights.h5 and .keras, PyTorch .pth"


def locate(source: str) -> tuple[Path, dict[str, Any]]:
    """The local file of `source`, and the config.json beside it, {} if there is none.

    Raises:
      UserError: no such file, not on the hub, or a config.json that can't be read.
    """
    if source.startswith(hub.PREFIX):
        path, config = hub.fetch(source)
        return path, _json(config) if config else {}
    path = Path(os.path.expanduser(source))
    if not path.is_file():
        raise UserError(
            f"no weights {source!r}: expected a file, the folder of a run (DIR, DIR@STEP or "
            "DIR@latest), or hf://ORG/NAME"
        )
    config = path.with_name("config.json")
    return path, _json(config) if config.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"can't read {path}, which describes the weights: {error}") from None
    return config if isinstance(config, dict) else {}


def read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; those of any floating-point type as float32.

    Names are the file's own, but Keras's are "LAYER/VARIABLE" (see `keras`), and a PyTorch
    checkpoint is stripped down to its state_dict (see `pytorch`).

    Raises:
      UserError: not of a known format, damaged, empty, or it holds more than arrays.
    """
    try:
        entries = _read(path)
    except UserError:
        raise
    except Exception as error:  # whatever a format's library raises on a damaged file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise UserError(f"can't read weights from {path}: {reason}") from None
    if not entries:
        raise UserError(f"{path} holds no arrays, expected weights")
    return {name: _float32(value) for name, value in entries.items()}


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"\x89HDF"):
        return keras.read(path)
    if start.startswith(pytorch.LEGACY_START):
        return pytorch.read_legacy(path)
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start[8:9] == b"{":
        return require("safetensors.numpy", "safetensors files").load_file(path)
    raise UserError(f"{path} is not a weight file of a known format: expected {KNOWN}")


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return pytorch.read_zip(archive, path)
        if "model.weights.h5" in names:
            return keras.read_archive(archive)
    if names and all(name.endswith(".npy") for name in names):
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    raise UserError(f"{path} is a zip file without weights of a known format: expected {KNOWN}")


def _float32(value: np.ndarray) -> np.ndarray:
    # bfloat16 is ml_dtypes' type, of kind "V" to NumPy
    floating = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return np.asarray(value, np.float32 if floating else value.dtype)
