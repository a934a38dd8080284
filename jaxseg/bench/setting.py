"""One row of the benchmark of steps: the network, what runs, and the examples both sides get."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxseg import defaults
from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.defaults import Config
from jaxseg.zoo import Entry


@dataclasses.dataclass(frozen=True)
class Setting:
    model: str
    options: Mapping[str, Any]  # of the model
    mode: str  # "train" or "predict"
    batch: int
    size: int  # height and width
    dtype: str
    device: str  # PyTorch's name of it: "cpu" or "cuda"
    num_classes: int = 21  # VOC's

    @property
    def argument(self) -> str:
        """The model as `--config FILE:ARGUMENT` names it."""
        return Entry(self.model, dict(self.options), paper="").argument

    @property
    def classes(self) -> Classes:
        names = tuple(f"class_{i}" for i in range(self.num_classes))
        return Classes(names, voc_palette(self.num_classes))

    @property
    def config(self) -> Config:
        c = defaults.get_config(self.argument)
        c.dtype = self.dtype
        c.batch_size = self.batch
        c.augment.crop_size = (self.size, self.size)
        c.schedule.name = "constant"
        return check_config(c)

    def examples(self) -> dict[str, np.ndarray]:
        """Random uint8 images of full size and int32 labels, a tenth of them void."""
        rng = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size)
        labels = rng.integers(0, self.num_classes, shape, dtype=np.int32)
        labels[rng.random(shape) < 0.1] = self.classes.void
        images = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        return {
            "image": images,
            "label": labels,
            "size": np.full((self.batch, 2), self.size, np.int32),
        }
