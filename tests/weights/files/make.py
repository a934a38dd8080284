"""Makes the small files beside it, with the programs whose formats they are in.

    KERAS_BACKEND=jax python tests/weights/files/make.py

in an environment with torch (2.13) and keras (3.15); the suite itself needs neither. The values are
those that test_pickled.py and test_keras_files.py expect.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

import keras  # pyright: ignore[reportMissingImports]
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

HERE = Path(__file__).parent


def pytorch() -> None:
    tensors = torch.nn.Module().state_dict()  # an OrderedDict with metadata, as modules give
    tensors["conv.weight"] = torch.arange(24.0).reshape(4, 3, 2)
    tensors["turned"] = torch.arange(6.0).reshape(2, 3).t()
    tensors["slice"] = torch.arange(10.0)[3:9:2]
    tensors["half"] = torch.tensor([1.5, -2.0]).half()
    tensors["bfloat16"] = torch.tensor([1.5, -2.0]).bfloat16()
    tensors["count"] = torch.tensor(7)
    tensors["flag"] = torch.tensor([True, False])
    tensors["parameter"] = torch.nn.Parameter(torch.tensor([0.25]))
    torch.save(tensors, HERE / "tensors.pth")
    _save_legacy(tensors, "tensors_legacy.pth")
    parallel = {f"module.{name}": tensors[name] for name in ("slice", "count")}
    training = {"epoch": 3, "best": 0.5, "optimizer": {"lr": [0.1]}}
    _save_legacy({"state_dict": parallel, **training}, "wrapped_legacy.pth")
    arguments = argparse.Namespace(lr=0.1)
    _save_legacy({"state_dict": {"a": torch.ones(1)}, "args": arguments}, "namespace_legacy.pth")


def _save_legacy(content: object, name: str) -> None:
    torch.save(content, HERE / name, _use_new_zipfile_serialization=False)


def keras_files() -> None:
    """One network in three formats, variable number i filled with i, i + 0.01, i + 0.02, ..."""
    make = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            make.Conv2D(2, 3, name="first"),
            make.BatchNormalization(name="first_bn"),
            make.DepthwiseConv2D(3, name="depthwise", use_bias=False),
            make.SeparableConv2D(4, 3, name="separable"),
            make.Dropout(0.5),  # its seed is a variable too, but no weight
            make.GlobalAveragePooling2D(),
            make.Dense(5, name="predictions"),
        ]
    )
    for i, variable in enumerate(network.weights):
        variable.assign(i + np.arange(np.prod(variable.shape)).reshape(variable.shape) / 100)
    network.compile("adam", "mse")  # an optimizer's variables are no weights either
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"small.{kind}" for kind in ("keras", "h5", "weights.h5")]
        network.save(paths[0])
        network.save(paths[1])
        network.save_weights(paths[2])
        with zipfile.ZipFile(HERE / "keras.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.name)


if __name__ == "__main__":
    pytorch()
    keras_files()
