"""Image files for small trees."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write(path: Path, pixels: np.ndarray, **options: Any) -> np.ndarray:
    """An image file of the kind that its suffix says; the pixels, as they come back from it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def photograph(path: Path, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A random RGB image; the pixels, as they come back from a JPEG too."""
    write(path, np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))
    return np.asarray(Image.open(path).convert("RGB"))
