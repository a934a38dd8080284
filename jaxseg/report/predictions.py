"""A run's predictions of a split: the score of each image, and which images to look at."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt
from tqdm import tqdm

from jaxseg import metrics
from jaxseg.data import pipeline
from jaxseg.data.pipeline.reading import read_ahead
from jaxseg.data.source import Source
from jaxseg.report.gallery import Item, Prediction


@dataclasses.dataclass(frozen=True)
class Scored:
    """An image's prediction and its own scores, None where no pixel counts."""

    index: int
    miou: float | None  # of this image alone: its mean over images is not the split's mIoU
    accuracy: float | None
    counts: Int[np.ndarray, "c 3"]  # pixels by class: in both, in truth, in prediction
    shape: tuple[int, int]
    deflated: bytes  # labels, uint16

    def labels(self) -> Int[np.ndarray, "h w"]:
        flat = np.frombuffer(zlib.decompress(self.deflated), np.uint16)
        return flat.reshape(self.shape).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Predicted:
    """All images of a split that could be read, and their confusion matrices' sum."""

    images: list[Scored]
    confusion: Int[np.ndarray, "c c"]


def predict(
    classify: Callable[[UInt[np.ndarray, "h w c"]], Int[np.ndarray, "h w"]],
    source: Source,
    *,
    workers: int,
    skipped: pipeline.Skipped | None = None,
) -> Predicted:
    """Predict every image of `source` once. A bar on stderr shows progress.

    The predictions are kept deflated, some 20 kB for 480x360.

    Args:
      classify: an image to the class of every pixel.
      source: labelled examples.
      workers: threads that read them.
      skipped: gets those that can't be read; without it they are an error.
    """
    names, void = source.classes.names, source.classes.void
    images, total = [], np.zeros((len(names), len(names)), np.int64)
    jobs = (functools.partial(pipeline.read, source, i, skipped) for i in range(len(source)))
    examples = enumerate(read_ahead(jobs, workers, ahead=2 * workers))
    for index, example in tqdm(
        examples, total=len(source), unit="image", disable=None, leave=False
    ):
        if example is None:
            continue
        labels = classify(example["image"])
        matrix = confusion(labels, example["label"], len(names), void)
        total += matrix
        scores = metrics.scores(matrix, names)
        deflated = zlib.compress(labels.astype(np.uint16).tobytes(), 1)
        counts = np.stack([np.diag(matrix), matrix.sum(1), matrix.sum(0)], axis=1)
        miou, accuracy = scores["miou"], scores["pixel_accuracy"]
        images.append(Scored(index, miou, accuracy, counts, labels.shape, deflated))
    return Predicted(images, total)


def confusion(
    prediction: Int[np.ndarray, "h w"], truth: Int[np.ndarray, "h w"], count: int, void: int
) -> Int[np.ndarray, "c c"]:
    """Pixels of one image by (truth, prediction), without void; `count` classes."""
    valid = truth != void
    cells = truth[valid].astype(np.int64) * count + prediction[valid]
    return np.bincount(cells, minlength=count**2).reshape(count, count)


def choose(images: Sequence[Scored], most: int) -> list[tuple[str, list[Scored]]]:
    """The best, the median and the worst images, by the mIoU of each alone; at most `most`.

    Images without a score are left out. If there are no more than `most`, all in one group.
    """
    ranked = [image for image in images if image.miou is not None]
    ranked.sort(key=lambda image: (-(image.miou or 0.0), image.index))
    if len(ranked) <= most:
        return [("All images, best first", ranked)] if ranked else []
    worst = -(-most // 3)
    best = -(-(most - worst) // 2)
    median = most - worst - best
    start = max((len(ranked) - median) // 2, best)
    groups = [
        ("Best images", ranked[:best]),
        ("Median images", ranked[start : start + median]),
        ("Worst images, the worst last", ranked[len(ranked) - worst :]),
    ]
    return [(title, chosen) for title, chosen in groups if chosen]


def interval(images: Sequence[Scored]) -> tuple[float, float] | None:
    """The 95 % interval of the split's mIoU over the choice of its images."""
    if not images:
        return None
    return metrics.bootstrap_miou(np.stack([image.counts for image in images]))


def items(source: Source, images: Sequence[Scored]) -> Iterator[Item]:
    """The images with their truth, for the gallery."""
    for image in images:
        example = source[image.index]
        prediction = Prediction("prediction", note(image.miou, image.accuracy), image.labels())
        yield Item(example["name"], example["image"], example["label"], [prediction])


def note(miou: float | None, accuracy: float | None) -> str:
    """What is said of a prediction beside its picture."""
    text = f"mIoU of this image alone {metrics.percent(miou)}\u00a0%"
    if accuracy is None:
        return text
    return f"{text}, {metrics.percent(1 - accuracy)}\u00a0% of the pixels wrong"
