"""Small folders of images and masks, and sources made of arrays."""

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes, Example


def write_pair(folder: Path, stem: str, mask: np.ndarray, seed: int = 0) -> None:
    """folder/images/stem.png of random pixels and folder/masks/stem.png holding `mask`."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*mask.shape[:2], 3), np.uint8)
    Image.fromarray(pixels).save(folder / "images" / f"{stem}.png")
    Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{stem}.png")


class ArraySource:
    """Images that encode their labels and their indices; sizes differ from example to example."""

    def __init__(self, sizes: list[tuple[int, int]], num_classes: int = 3, void: int = 255) -> None:
        names = tuple(f"c{i}" for i in range(num_classes))
        self.classes = Classes(names, voc_palette(num_classes), void)
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def size(self, index: int, /) -> tuple[int, int]:
        return self.sizes[index]

    def __getitem__(self, index: int, /) -> Example:
        rng = np.random.default_rng(index)
        label = rng.integers(0, len(self.classes), self.sizes[index], np.int32)
        image = np.stack([60 * label, np.full_like(label, index), 0 * label], -1).astype(np.uint8)
        return {"image": image, "label": label, "name": f"example{index}"}


def augment_config(**changes) -> ConfigDict:
    values = {
        "crop_size": (16, 16),
        "scale": (1.0, 1.0),
        "flip": False,
        "vertical_flip": False,
        "rotate90": False,
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "elastic": 0.0,
        "elastic_grid": 3,
        "on_device": False,
        "rotate": 0.0,
        "hue": 0.0,
        "gamma": 0.0,
        "grey": 0.0,
        "blur": 0.0,
        "max_class_share": 1.0,
        "class_balanced": 0.0,
        "cutmix": 0.0,
        "copy_paste": 0.0,
    }
    return ConfigDict({**values, **changes})


def dataset_config(**changes) -> ConfigDict:
    values = {"name": "folder", "data_dir": "", "source": "", "label_map": (), "cache": False}
    values |= {"channels": 3, "bits": 8}
    values |= {"train_split": "train", "val_split": "val"}
    config = ConfigDict({**values, **changes})
    config.lock()
    return config


@pytest.fixture
def pair_writer():
    return write_pair


@pytest.fixture
def array_source():
    return ArraySource


@pytest.fixture
def make_augment():
    return augment_config


@pytest.fixture
def make_dataset():
    return dataset_config


@pytest.fixture
def make_mask():
    """Random values, each of them at least once."""
    rng = np.random.default_rng(0)

    def make(values, shape=(6, 8)):
        mask = rng.choice(values, shape)
        mask.flat[: len(values)] = values
        return mask

    return make


@pytest.fixture
def folder(tmp_path, make_mask):
    """Two splits of three classes and void; image sizes differ."""
    root = tmp_path / "my data"
    for i in range(5):
        write_pair(root / "train", f"t{i}", make_mask([0, 1, 2, 255], (6 + i, 8)), seed=i)
    for i in range(2):
        write_pair(root / "val", f"v{i}", make_mask([0, 1, 2]), seed=10 + i)
    return root


@pytest.fixture
def nothing_prepared():
    """Whether a folder holds neither finished nor unfinished records."""

    def check(data_dir):
        names = ("dataset_info.json", "*.array_record*")
        return not any(list(data_dir.rglob(name)) for name in names)

    return check
