"""The reference programs, in the form that `references.py` runs. No test imports them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

SMALL = ((64, 96), (65, 49))  # even and odd image size
Outputs = dict[str, np.ndarray]


@dataclasses.dataclass
class Reference:
    """A reference program with its values in place."""

    shapes: dict[str, tuple[int, ...]]  # of every entry, by its foreign name
    evaluate: Callable[[np.ndarray], Outputs]  # images -> "logits", "aux_logits", "full" (resized)
    train: Callable[[np.ndarray], dict[str, np.ndarray]]  # images -> new running statistics
    mean: Any = None  # of the input, RGB in 0..255, as the reference's own tables have it
    std: Any = None
    sizes: tuple[tuple[int, int], tuple[int, int]] = SMALL
    batch: int = 2
