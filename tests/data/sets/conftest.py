"""Small trees in the layout of a data set, prepared and read back."""

import dataclasses

import numpy as np
import pytest

from jaxseg import data
from jaxseg.data.source import Classes
from jaxseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Found:
    """What was prepared, read back."""

    images: dict[str, np.ndarray]  # by name
    labels: dict[str, np.ndarray]
    sizes: dict[str, int]  # of the splits
    classes: Classes
    notes: tuple[str, ...]


@pytest.fixture
def prepared(tmp_path, make_dataset):
    def prepare(name, source=tmp_path / "d"):
        summary = data.prepare(name, source, tmp_path / "out")
        images, labels = {}, {}
        for split in summary.splits:
            found = data.load(make_dataset(name=name, data_dir=str(tmp_path / "out")), split)
            assert found.classes == summary.classes
            for example in (found[i] for i in range(len(found))):
                images[example["name"]] = example["image"]
                labels[example["name"]] = example["label"]
        return Found(images, labels, summary.splits, summary.classes, summary.notes)

    return prepare


@pytest.fixture
def refused(tmp_path, nothing_prepared):
    """What is said of data that can't be prepared."""

    def refuse(name, source=tmp_path / "d"):
        with pytest.raises(UserError) as caught:
            data.prepare(name, source, tmp_path / "refused")
        assert nothing_prepared(tmp_path / "refused")
        return str(caught.value)

    return refuse
