"""Keras' HDF5 files, by h5py: entries named "LAYER/VARIABLE", such as "block1_conv1/kernel".

- The old format (.h5 of Keras 1 to 3, whole models or weights) names layers and variables in
  attributes: "Conv1/kernel:0".
- The new one (.weights.h5, and inside .keras) numbers a layer's variables in the order of their
  creation, in a group named after the layer's class, "layers/conv2d_1/vars/0", whose attribute
  "name" is the layer's name. The class tells what each number is.

A depthwise layer's "depthwise_kernel" (Keras 2) is named "kernel", as in Keras 3; a separable one
has both a "depthwise_kernel" and a "pointwise_kernel".
"""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxseg.errors import UserError
from jaxseg.weights.files.extra import require

# The variables of a layer, by its class, in the order in which its constructor creates them.
_VARIABLES = {
    "conv1d": ("kernel", "bias"),
    "conv2d": ("kernel", "bias"),
    "conv2d_transpose": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "dense": ("kernel", "bias"),
    "normalization": ("mean", "variance", "count"),
}


def read(path: Path) -> dict[str, np.ndarray]:
    """The entries of an HDF5 file in either format."""
    with require("h5py", "Keras files").File(path, "r") as file:
        return _read(file, str(path))


def read_archive(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The entries of a .keras file."""
    content = io.BytesIO(archive.read("model.weights.h5"))
    with require("h5py", "Keras files").File(content, "r") as file:
        return _read(file, str(archive.filename))


def _read(file: Any, path: str) -> dict[str, np.ndarray]:
    old = file.get("model_weights", file)  # whole models of the old format
    if "layer_names" in old.attrs:
        return _read_old(old)
    if "layers" in file or "_layer_checkpoint_dependencies" in file:
        return _read_new(file)
    raise UserError(
        f"{path} is an HDF5 file, but not one of Keras: it has neither layer_names nor layers"
    )


def _read_old(file: Any) -> dict[str, np.ndarray]:
    entries = {}
    for layer in map(_text, file.attrs["layer_names"]):
        for name in map(_text, file[layer].attrs["weight_names"]):
            # A nested model's layer has its own name just before the variable's
            owner, _, variable = name.rpartition("/")
            owner = owner.rpartition("/")[2] or layer
            entries[f"{owner}/{variable.partition(':')[0]}"] = np.asarray(file[layer][name])
    for name in list(entries):
        layer, _, variable = name.rpartition("/")
        if variable == "depthwise_kernel" and f"{layer}/pointwise_kernel" not in entries:
            entries[f"{layer}/kernel"] = entries.pop(name)
    return entries


def _read_new(group: Any) -> dict[str, np.ndarray]:
    """The variables of all layers in a group, at any depth."""
    entries = {}
    for container in ("layers", "_layer_checkpoint_dependencies"):
        for key, layer in group.get(container, {}).items():
            # Optimizers and seed generators lie elsewhere
            variables = layer.get("vars", {})
            values = [_value(variables[str(i)]) for i in range(len(variables))]
            if values:
                name = _text(variables.attrs.get("name", key))
                names = _variable_names(key, values)
                entries.update({f"{name}/{n}": v for n, v in zip(names, values, strict=True)})
            entries.update(_read_new(layer))
    return entries


def _variable_names(key: str, values: list[np.ndarray]) -> tuple[str, ...]:
    """The names of a layer's numbered variables, by its class."""
    kind = re.sub(r"_\d+$", "", key)
    if kind == "batch_normalization":
        # `scale=False` leaves out gamma and `center=False` beta: three could be either
        if len(values) == 4:
            return ("gamma", "beta", "moving_mean", "moving_variance")
        if len(values) == 2:
            return ("moving_mean", "moving_variance")
    elif len(values) <= len(names := _VARIABLES.get(kind, ())):
        return names[: len(values)]
    return tuple(str(i) for i in range(len(values)))  # an unknown class keeps the file's numbers


def _value(dataset: Any) -> np.ndarray:
    # HDF5 has no bfloat16: Keras stores its bytes, and its name beside them
    narrow = dataset.attrs.get("dtype") == "bfloat16"
    return np.array(dataset, ml_dtypes.bfloat16 if narrow else None)


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
