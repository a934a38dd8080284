"""The input pipeline against PyTorch's DataLoader: augmented images a second, no model.

Both decode with OpenCV, warp image and mask once, with the same random scales, crops and flips, and
batch with the same number of workers: threads in jaxseg, processes started once in PyTorch. jaxseg
reads records and checks that files are complete; PyTorch's side is what a careful user would write.
"""

import contextlib
import functools
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxseg.bench import record, timing
from jaxseg.bench.console import positive, table
from jaxseg.cli import flags
from jaxseg.data import transforms

IMAGES, SIZE = 64, (375, 500)  # VOC's usual height and width
CLASSES, VOID = 21, 255
PASS = 256  # images in one measurement: each file is read four times
HEADINGS = ("pipeline", "workers", "images/s", "jaxseg / this")


def main(argv: Sequence[str]) -> None:
    values = flags.define()
    flags.string(values, "json", workers="2", seconds="10")
    flags.boolean(values, "markdown")
    command = "bench data"
    flags.no_rest(command, flags.parse(values, command, argv))
    workers = int(positive(command, values, "workers"))
    seconds = positive(command, values, "seconds")
    flags.quiet()
    with tempfile.TemporaryDirectory() as folder:
        draw_images(Path(folder), IMAGES)
        speeds = measure(Path(folder), workers, seconds=seconds, images=PASS)
    if path := values["json"].value:
        record.write(Path(path), record.command_line(command, list(argv)), speeds)
    ours = speeds["jaxseg"]
    rows = [[name, str(workers), f"{s:.0f}", f"{ours / s:.2f}"] for name, s in speeds.items()]
    print(table(HEADINGS, rows, markdown=values["markdown"].value))


def draw_images(folder: Path, count: int) -> None:
    """JPEG images of soft blots and noise, as many bytes as photographs have, and masks."""
    height, width = SIZE
    for part in ("images", "masks"):
        (folder / "train" / part).mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        blots = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.float32)
        image = cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        patches = rng.integers(0, CLASSES, (4, 5)).astype(np.uint8)
        if i == 0:  # a folder's classes are those of its masks: all of them
            patches.flat[:] = np.arange(20)
            patches[-1, -1] = CLASSES - 1
        mask = cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"train/images/{i:03}.jpg"), image)
        cv2.imwrite(str(folder / f"train/masks/{i:03}.png"), mask)


def measure(folder: Path, workers: int, *, seconds: float, images: int) -> dict[str, float]:
    """Images a second of each pipeline, by the median time of a pass."""
    from jaxseg import defaults

    config = defaults.get_config("unet")
    with contextlib.ExitStack() as stack:
        passes = {"jaxseg": _ours(folder, config, workers, images)}
        with contextlib.suppress(ModuleNotFoundError):
            passes["PyTorch"] = _torch(folder, config, workers, images, stack)
        times = timing.interleaved(passes, seconds=seconds)
    return {name: images / timing.median(each) for name, each in times.items()}


def _ours(folder: Path, config: Any, workers: int, images: int) -> Callable[[], None]:
    from jaxseg import data
    from jaxseg.data import pipeline

    config.dataset.name = "folder"
    config.dataset.source = str(folder)
    config.dataset.data_dir = str(folder / "prepared")
    source = data.load(config.dataset, "train")

    def read() -> None:
        batches = pipeline.train_batches(
            source,
            start=0,
            batch_size=config.batch_size,
            seed=config.seed,
            augment=config.augment,
            mean=config.dataset.mean,
            workers=workers,
            prefetch=config.pipeline.prefetch,
        )
        with batches:
            for _ in itertools.islice(batches, images // config.batch_size):
                pass

    return read


class TorchFiles:
    """A map-style data set for `torch.utils.data.DataLoader`, which takes anything with these."""

    def __init__(self, folder: Path, config: Any, length: int) -> None:
        self._images = sorted(map(str, folder.glob("train/images/*")))
        self._masks = sorted(map(str, folder.glob("train/masks/*")))
        self._augment, self._mean, self._length = config.augment, config.dataset.mean, length
        self._crop = tuple(config.augment.crop_size)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        cv2.setNumThreads(0)  # as PyTorch's own documentation advises for its workers
        i = index % len(self._images)
        image: Any = cv2.imread(self._images[i])
        mask: Any = cv2.imread(self._masks[i], cv2.IMREAD_UNCHANGED)
        image, mask = cv2.cvtColor(image, cv2.COLOR_BGR2RGB), mask.astype(np.int32)
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


def _torch(
    folder: Path, config: Any, workers: int, images: int, stack: contextlib.ExitStack
) -> Callable[[], None]:
    from torch.utils.data import DataLoader  # pyright: ignore[reportMissingImports]

    source: Any = TorchFiles(folder, config, images)
    loader = DataLoader(
        source,
        batch_size=config.batch_size,
        shuffle=True,
        num_workers=workers,
        prefetch_factor=config.pipeline.prefetch,
        persistent_workers=True,
        multiprocessing_context="spawn",  # a process with threads, as JAX has, must not be forked
    )

    def read() -> None:
        for _ in loader:
            pass

    return read
