"""What to look at before training: class frequencies, class weights, augmented examples."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int64
from PIL import Image
from tqdm import tqdm

from jaxseg.data.borders import Weigh
from jaxseg.data.pipeline import Skipped, read, train_batches
from jaxseg.data.pipeline.reading import WORKERS, read_ahead
from jaxseg.data.source import Classes, Example, Source
from jaxseg.drawing import colourise, grid, overlay


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

    @property
    def weights(self) -> Float[np.ndarray, " classes"]:
        """Median frequency balancing (SegNet, section 4; Eigen and Fergus 2015, section 6.3.2).

        freq(c) is the pixels of c over all pixels, void ones too, of the images where c is present;
        the weight is median(freq) / freq(c). A class that never occurs gets 0, outside the median.
        """
        frequency = self.pixels / np.maximum(self.where_present, 1)
        weights = np.zeros(len(self.classes))
        seen = self.pixels > 0
        if seen.any():
            weights[seen] = np.median(frequency[seen]) / frequency[seen]
        return weights

    def table(self) -> str:
        labelled = max(int(self.pixels.sum()), 1)
        width = max(len("class"), len("void"), *map(len, self.classes.names))
        lines = [
            f"{'':>3}  {'class':<{width}}  {'pixels':>13}  {'share %':>7}  {'images':>7}  weight"
        ]
        columns = zip(self.classes.names, self.pixels, self.images_with, self.weights, strict=True)
        for i, (name, pixels, images, weight) in enumerate(columns):
            lines.append(
                f"{i:>3}  {name:<{width}}  {pixels:>13,}  {100 * pixels / labelled:>7.3f}  "
                f"{images:>7}  {weight:.4f}"
            )
        void = f"{self.classes.void:>3}  {'void':<{width}}  {self.void_pixels:>13,}"
        mean, std = (", ".join(f"{x:.1f}" for x in v) for v in (self.mean, self.std))
        weights = ", ".join(f"{w:.4f}" for w in self.weights)
        return "\n".join(
            [
                *lines,
                void,
                f"{self.images} images; shares of the labelled pixels; median-frequency weights",
                f"mean ({mean}), std ({std})",
                f"--config.loss.cross_entropy.class_weights='({weights})'",
            ]
        )


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


def measure(source: Source, skipped: Skipped | None = None) -> Stats:
    """Reads every example of `source` once, by several threads.

    Those that can't be read go to `skipped`.

    Raises:
      UnreadableError: an example can't be read, and there is no `skipped`.
      LabelError: a label is neither a class nor void.
    """

    def counted(index: int) -> Counts | None:
        example = read(source, index, skipped)
        return None if example is None else count(example, source.classes)

    jobs = (functools.partial(counted, index) for index in range(len(source)))
    found = read_ahead(jobs, WORKERS, ahead=4 * WORKERS)
    shown = tqdm(found, "counting pixels", len(source), unit="image", disable=None)
    return combine(source.classes, (each for each in shown if each is not None))


def training_grid(
    source: Source,
    *,
    augment: Any,
    mean: Sequence[float | int],
    bits: int = 8,
    seed: int,
    weigh: Weigh | None = None,
    context: int = 0,
    skipped: Skipped | None = None,
    examples: int = 6,
) -> Image.Image:
    """The first `examples` augmented pairs of a training run, as the model gets them.

    Columns: the image, the label in colours, and an overlay with a legend; with `weigh`
    the weights it adds, black for none and white for the picture's largest.
    """
    with train_batches(
        source,
        start=0,
        batch_size=examples,
        seed=seed,
        augment=augment,
        mean=mean,
        bits=bits,
        workers=2,
        prefetch=1,
        weigh=weigh,
        context=context,
        skipped=skipped,
    ) as batches:
        batch = next(batches)
    classes = source.classes
    rows = [
        (image, colourise(label, classes), overlay(image, label, classes))
        for image, label in zip(batch.image, batch.label, strict=True)
    ]
    if batch.weight is None:
        return grid(rows, titles=("image", "label", "overlay"))
    largest = max(float(batch.weight.max()), 1e-9)
    shades = np.round(255 / largest * batch.weight).astype(np.uint8)
    rows = [(*row, s[..., None].repeat(3, -1)) for row, s in zip(rows, shades, strict=True)]
    return grid(rows, titles=("image", "label", "overlay", f"added weight, 0 to {largest:.1f}"))
