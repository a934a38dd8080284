"""PyTorch's side of the benchmark of the input pipeline, up to any of its stages."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxseg.data import transforms

VOID = 255


class TorchFiles:
    """A map-style data set for `torch.utils.data.DataLoader`, which takes anything with these.

    Up to "warp" an example is only its index: nothing is sent between processes.
    """

    def __init__(self, folder: Path, config: Any, length: int, stage: str = "batch") -> None:
        self._images = sorted(folder.glob("train/images/*"))
        self._masks = sorted(folder.glob("train/masks/*"))
        self._augment, self._mean, self._length = config.augment, config.dataset.mean, length
        self._crop = tuple(config.augment.crop_size)
        self._stage = stage

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        cv2.setNumThreads(0)  # as PyTorch's own documentation advises for its workers
        i = index % len(self._images)
        files = self._images[i].read_bytes(), self._masks[i].read_bytes()
        if self._stage == "read":
            return index
        pair = self._decode(*files)
        if self._stage == "decode":
            return index
        pair = self._warp(*pair, index)
        return index if self._stage == "warp" else pair

    def _decode(self, image: bytes, mask: bytes) -> tuple[np.ndarray, np.ndarray]:
        pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        values: Any = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_UNCHANGED)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), values.astype(np.int32)

    def _warp(
        self, image: np.ndarray, mask: np.ndarray, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        drawn = transforms.draw(np.random.default_rng(index), self._augment)
        height, width = (round(drawn.scale * n) for n in mask.shape)
        room = np.array([self._crop[1] - width, self._crop[0] - height])
        left, top = transforms.position(room, np.array(drawn.offset[::-1]))
        x, y = (-drawn.scale if drawn.flip else drawn.scale), drawn.scale
        start = left + width if drawn.flip else left
        # pixel centres are half-integers, for OpenCV integers
        matrix = np.array([[x, 0, start + (x - 1) / 2], [0, y, top + (y - 1) / 2]])
        warp = functools.partial(cv2.warpAffine, M=matrix, dsize=self._crop[::-1])
        return (
            warp(image, flags=cv2.INTER_LINEAR, borderValue=self._mean),
            warp(mask, flags=cv2.INTER_NEAREST, borderValue=VOID),
        )


def up_to(folder: Path, config: Any, workers: int, images: int, stage: str) -> Callable[[], None]:
    """A pass of PyTorch's DataLoader up to `stage`; ModuleNotFoundError where PyTorch is not."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.utils.data import DataLoader  # pyright: ignore[reportMissingImports]

    on_gpu = torch.cuda.is_available()
    source: Any = TorchFiles(folder, config, images, stage)
    loader = DataLoader(
        source,
        batch_size=config.batch_size,
        shuffle=True,
        num_workers=workers,
        prefetch_factor=config.pipeline.prefetch,
        persistent_workers=True,
        pin_memory=on_gpu and stage == "transfer",
        multiprocessing_context="spawn",  # a process with threads, as JAX has, must not be forked
    )

    def run() -> None:
        for batch in loader:
            if stage == "transfer":
                for array in batch:
                    array.to("cuda" if on_gpu else "cpu", non_blocking=True)
        if on_gpu:
            torch.cuda.synchronize()

    return run
