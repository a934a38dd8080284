"""Random pairs, and the transforms with nothing drawn but what a test asks for."""

import numpy as np
import pytest

from jaxseg.data import transforms
from jaxseg.data.transforms import Draw

MEAN = np.array([11, 22, 33], np.uint8)
STILL = {
    "scale": 1.0,
    "offset": (0.5, 0.5),
    "flip": False,
    "vertical_flip": False,
    "quarter_turns": 0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
}


@pytest.fixture
def mean():
    return MEAN


@pytest.fixture
def random_pair():
    def make(h, w, seed=0, channels=3, dtype=np.uint8):
        rng = np.random.default_rng(seed)
        image = rng.integers(0, np.iinfo(dtype).max + 1, (h, w, channels), dtype)
        return image, rng.integers(0, 9, (h, w), np.int32)

    return make


@pytest.fixture
def run():
    """Applies a draw that does nothing but what is named."""

    def run(image, label, crop_size, context=0, **changes):
        drawn = Draw(**{**STILL, **changes})
        mean = np.resize(MEAN, image.shape[2]).astype(image.dtype)
        return transforms.apply(
            image, label, drawn, crop_size=crop_size, mean=mean, void=255, context=context
        )

    return run
