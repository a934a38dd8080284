"""What is written for a predicted image: each file whole or not at all."""

import contextlib
import dataclasses
import functools
import re
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from PIL import Image

from jaxseg import drawing, files
from jaxseg.prediction.result import Prediction

MASK, OVERLAY = ".png", "_overlay.png"


@dataclasses.dataclass(frozen=True)
class Output:
    """What is written for an image, besides the mask and the overlay: `probabilities`.

    None, "npz" (float16 [h, w, c] and the names) or "png" (16-bit grey for each class, 65535 is 1).
    """

    names: tuple[str, ...]
    probabilities: str | None = None

    @functools.cached_property
    def class_endings(self) -> tuple[str, ...]:
        """_NAME.png of each class, with its index where names alone would not do."""
        words = [re.sub(r"[^\w.-]+", "_", name) for name in self.names]
        if len({word.casefold() for word in [*words, "overlay"]}) <= len(words):
            words = [f"{index}_{word}" for index, word in enumerate(words)]
        return tuple(f"_{word}.png" for word in words)

    @property
    def endings(self) -> tuple[str, ...]:
        """Of all files of an image, for `paths.targets`."""
        more = {None: (), "npz": (".npz",), "png": self.class_endings}
        return (MASK, OVERLAY, *more[self.probabilities])

    def write(self, prediction: Prediction, target: Path) -> None:
        """Each file whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        classes = prediction.classes
        with _replacing(target, MASK) as path:
            drawing.write_index_png(path, prediction.mask, classes)
        with _replacing(target, OVERLAY) as path:
            prediction.overlay().save(path, "PNG", compress_level=3)
        if self.probabilities is None or prediction.probabilities is None:
            return
        if self.probabilities == "npz":
            with _replacing(target, ".npz") as path:
                halved = prediction.probabilities.astype(np.float16)
                np.savez_compressed(path, probabilities=halved, names=np.array(self.names))
            return
        for index, ending in enumerate(self.class_endings):
            with _replacing(target, ending) as path:
                _write_grey(path, prediction.probabilities[..., index])


def _replacing(target: Path, ending: str) -> contextlib.AbstractContextManager[Path]:
    return files.replacing(target.with_name(target.name + ending))


def _write_grey(path: Path, values: Float32[np.ndarray, "h w"]) -> None:
    """A 16-bit PNG of values in 0..1."""
    Image.fromarray(np.round(values * 65535).astype(np.uint16)).save(path, "PNG")


class Writer:
    """Writes predictions in threads, no more of them waiting than the last batch had."""

    def __init__(self, output: Output, workers: int):
        self._output, self._workers = output, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="jaxseg-write")
        self._pending: deque[Future[None]] = deque()

    def write(self, predictions: Sequence[Prediction], targets: Sequence[Path]) -> None:
        for prediction, target in zip(predictions, targets, strict=True):
            self._pending.append(self._pool.submit(self._output.write, prediction, target))
        while len(self._pending) > max(len(predictions), self._workers):
            self._pending.popleft().result()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            while error is None and self._pending:
                self._pending.popleft().result()
        finally:
            # what is being written is completed, what waits is not begun
            self._pool.shutdown(wait=True, cancel_futures=True)
