"""How many pixels each class has, what weights follow from that, and the images' mean and std."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int64
from tqdm import tqdm

from jaxseg.data import balancing, digests
from jaxseg.data.pipeline import Skipped, read
from jaxseg.data.pipeline.reading import WORKERS, read_ahead
from jaxseg.data.pixels import PixelFormat
from jaxseg.data.preparation import resolve
from jaxseg.data.source import Classes, Example, Source


@dataclasses.dataclass(frozen=True)
class Stats:
    """Pixel counts of one split. `where_present`: pixels of the images that hold the class."""

    classes: Classes
    images: int
    pixels: Int64[np.ndarray, " classes"]
    void_pixels: int
    images_with: Int64[np.ndarray, " classes"]
    where_present: Int64[np.ndarray, " classes"]
    mean: Float[np.ndarray, " channels"]  # of the images, in the units of their values
    std: Float[np.ndarray, " channels"]

    def weights(self, method: str) -> Float[np.ndarray, " classes"]:
        """The weight of each class by one of `balancing.METHODS`."""
        return balancing.weights(method, self.pixels, self.where_present)

    def table(self) -> str:
        labelled = max(int(self.pixels.sum()), 1)
        width = max(len("class"), len("void"), *map(len, self.classes.names))
        weights = [self.weights(method) for method in balancing.METHODS]
        head = f"{'':>3}  {'class':<{width}}  {'pixels':>13}  {'share %':>7}  {'images':>7}"
        lines = ["  ".join((head, *balancing.METHODS))]
        columns = zip(self.classes.names, self.pixels, self.images_with, *weights, strict=True)
        for i, (name, pixels, images, *each) in enumerate(columns):
            shown = [f"{w:>{len(m)}.4f}" for m, w in zip(balancing.METHODS, each, strict=True)]
            share = 100 * pixels / labelled
            line = f"{i:>3}  {name:<{width}}  {pixels:>13,}  {share:>7.3f}  {images:>7}"
            lines.append("  ".join((line, *shown)))
        void = f"{self.classes.void:>3}  {'void':<{width}}  {self.void_pixels:>13,}"
        mean, std = (", ".join(f"{x:.1f}" for x in v) for v in (self.mean, self.std))
        return "\n".join(
            [
                *lines,
                void,
                f"{self.images} images; shares of the labelled pixels; class weights on the right",
                f"mean ({mean}), std ({std})",
                "--config.loss.cross_entropy.class_weights=median_frequency takes them by name",
            ]
        )

    def row(self) -> Float[np.ndarray, " k"]:
        """The sums that these are of: they add up over the parts of a split, see `from_rows`."""
        size = int(self.pixels.sum()) + self.void_pixels
        counts = (self.pixels, self.images_with, self.where_present)
        moments = (size * self.mean, size * (self.std**2 + self.mean**2))
        return np.concatenate([[self.images, self.void_pixels], *counts, *moments])

    @classmethod
    def from_rows(cls, classes: Classes, rows: Float[np.ndarray, "parts k"]) -> "Stats":
        """Of all parts of a split together; counts are exact below 2^53."""
        total, n = rows.sum(0), len(classes)
        images, void_pixels = total[:2].astype(np.int64).tolist()
        pixels, images_with, where_present = total[2 : 2 + 3 * n].reshape(3, n).astype(np.int64)
        moments = total[2 + 3 * n :].reshape(2, -1) / max(int(pixels.sum()) + void_pixels, 1)
        mean, std = moments[0], np.sqrt(np.maximum(moments[1] - moments[0] ** 2, 0))
        return cls(classes, images, pixels, void_pixels, images_with, where_present, mean, std)


@dataclasses.dataclass(frozen=True)
class Counts:
    """What one example adds to `Stats`."""

    pixels: Int64[np.ndarray, " classes"]
    size: int  # pixels in all
    mean: Float[np.ndarray, " channels"]
    std: Float[np.ndarray, " channels"]


def count(example: Example, classes: Classes) -> Counts:
    """The counts of an example whose labels are classes or void."""
    label = example["label"]
    pixels = np.bincount(label[label != classes.void], minlength=len(classes))
    mean, std = cv2.meanStdDev(example["image"])
    return Counts(pixels.astype(np.int64), label.size, mean[:, 0], std[:, 0])


def combine(classes: Classes, counts: Iterable[Counts]) -> Stats:
    """The statistics of all counted examples."""
    images = total = void_pixels = 0
    pixels, images_with, where_present = np.zeros((3, len(classes)), np.int64)
    sums, squares = np.zeros((2, 1))
    for each in counts:
        images += 1
        total += each.size
        void_pixels += each.size - int(each.pixels.sum())
        pixels += each.pixels
        images_with += each.pixels > 0
        where_present += np.where(each.pixels > 0, each.size, 0)
        sums = sums + each.size * each.mean
        squares = squares + each.size * (each.std**2 + each.mean**2)
    mean = sums / max(total, 1)
    std = np.sqrt(np.maximum(squares / max(total, 1) - mean**2, 0))
    return Stats(classes, images, pixels, void_pixels, images_with, where_present, mean, std)


def measure(
    source: Source, skipped: Skipped | None = None, *, part: tuple[int, int] = (0, 1)
) -> Stats:
    """Reads every example of `source` once, by several threads.

    Args:
      source: the examples.
      skipped: gets those that can't be read.
      part: (i, n) reads every n-th example from the i-th, for one of n processes.

    Raises:
      UnreadableError: an example can't be read, and there is no `skipped`.
      LabelError: a label is neither a class nor void.
    """

    def counted(index: int) -> Counts | None:
        example = read(source, index, skipped)
        return None if example is None else count(example, source.classes)

    indices = range(part[0], len(source), part[1])
    jobs = (functools.partial(counted, index) for index in indices)
    found = read_ahead(jobs, WORKERS, ahead=4 * WORKERS)
    shown = tqdm(found, "counting pixels", len(indices), unit="image", disable=None)
    return combine(source.classes, (each for each in shown if each is not None))


def stored(dataset: Any, split: str, classes: Classes) -> Stats | None:
    """What `store` kept of a split; None if it was never counted, or is made on the fly.

    Args:
      dataset: a config's `dataset` part.
      split: its name or a TFDS slice.
      classes: of the run.
    """
    if not (directory := resolve(dataset)):
        return None
    row = digests.stored_stats(directory, split, classes, _reading(dataset))
    return None if row is None else Stats.from_rows(classes, np.array([row]))


def store(dataset: Any, split: str, stats: Stats) -> None:
    """Keeps the statistics beside the prepared data, so that its images are read once."""
    if directory := resolve(dataset):
        row = stats.row().tolist()
        digests.store_stats(directory, split, stats.classes, _reading(dataset), row)


def _reading(dataset: Any) -> str:
    """What of a config's `dataset` part changes the pixels that are read from its records."""
    return repr((tuple(dataset.label_map), PixelFormat.from_config(dataset)))
