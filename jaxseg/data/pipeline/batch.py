"""A batch, the iterator that gives one after another, and the sizes that one can have."""

import time
from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt

from jaxseg.errors import UserError


class Batch(NamedTuple):
    """`mask` is False for examples that only fill up a batch: they count nowhere.

    `weight` is U-Net's weight map, see `losses.Loss.sum`; None where it is off.
    `plan` is what the device does to whole images first, see `planned.plan_arrays`; None where the
    host augments.
    `size` is the height and width of each image without evaluation's padding, and `index` its place
    in the split (evaluation alone says it; -1 for what only fills up).
    """

    names: tuple[str, ...]
    image: UInt[np.ndarray, "b h w c"]
    label: Int32[np.ndarray, "b h w"]
    mask: Bool[np.ndarray, " b"]
    size: Int32[np.ndarray, "b 2"]
    weight: Float32[np.ndarray, "b h w"] | None = None
    index: Int32[np.ndarray, " b"] = np.zeros(0, np.int32)
    plan: dict[str, np.ndarray] | None = None

    def for_training(self) -> dict[str, np.ndarray]:
        """What a training step takes."""
        arrays = {"image": self.image, "label": self.label, **(self.plan or {})}
        return arrays if self.weight is None else {**arrays, "weight": self.weight}

    def for_evaluation(self) -> dict[str, np.ndarray]:
        """What an evaluation step takes."""
        return {"image": self.image, "label": self.label, "mask": self.mask, "size": self.size}


def empty_batch(count: int, size: tuple[int, int], pixel: UInt[np.ndarray, " c"]) -> Batch:
    """`count` examples of height and width `size`, to be filled in; channels are as in `pixel`."""
    image = np.empty((count, *size, len(pixel)), pixel.dtype)
    label = np.empty((count, *size), np.int32)
    return Batch((), image, label, np.ones(count, bool), np.full((count, 2), size, np.int32))


def put(image: UInt[np.ndarray, "h w c"], place: UInt[np.ndarray, "h w c"]) -> None:
    """Copy an image into its place in a batch; a wrong dtype raises TypeError and never wraps."""
    np.copyto(place, image, casting="equiv")


class BatchIterator(Iterator[Batch]):
    """Iterates over batches; `wait_seconds` is the total time its consumer has waited for them.

    `close` (or leaving a `with` block) stops the threads that read.
    """

    def __init__(self, batches: Generator[Batch]) -> None:
        self._batches = batches
        self.wait_seconds = 0.0

    def __next__(self) -> Batch:
        begin = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.wait_seconds += time.perf_counter() - begin

    def close(self) -> None:
        self._batches.close()

    def __enter__(self) -> "BatchIterator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_counts(examples: int, batch_size: int, workers: int, process_count: int) -> None:
    """Raises UserError if no batches can be made of so many examples, or by so many workers."""
    if examples < 1:
        raise UserError("the split holds no examples; choose another or widen its slice")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size {batch_size}: expected a multiple of the {process_count} processes"
        )
    if workers < 1:
        raise UserError(f"{workers} data workers: expected at least 1 reading thread")
