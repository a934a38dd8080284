"""Where model and label disagree most confidently: label errors are among these.

A pixel is contested if the probability of the predicted class is above the label's by `MARGIN` or
more (the label's own low confidence is what Northcutt et al. 2021, "Confident learning", JAIR, look
for; the margin and the regions are ours). A region is made of contested pixels that touch (eight
neighbours) and have the same label and the same prediction. Thinner ones than 3 pixels are left
out: every model has such rims along contours. Regions are ranked by their evidence, the sum of
their pixels' margins: large and confident ones come first. Images are ranked by the share of their
pixels that is in regions.

The split passes image by image, and only the first `REGIONS` and `IMAGES` are held. With n
processes, process i takes images i, i + n, ..., and what they hold is merged.
"""

import dataclasses
import functools
import heapq
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from jaxseg import evaluation, files, hosts, inference
from jaxseg.data import pipeline
from jaxseg.data.pipeline.reading import read_ahead
from jaxseg.data.source import Classes, Example, Source
from jaxseg.defaults import Config
from jaxseg.program import Program
from jaxseg.state import TrainState

MARGIN = 0.5
REGIONS, IMAGES = 100, 50
PROTOCOL = (
    f"regions of pixels with one label and one prediction that is more probable by {MARGIN} at "
    "least, not thinner than 3 pixels, by the sum of their margins; images by the share of their "
    "pixels in regions"
)


@dataclasses.dataclass(frozen=True)
class Region:
    """Contested pixels that touch; the box is top, left, bottom and right, the end excluded."""

    name: str
    index: int  # of the image in the split
    label: str
    predicted: str
    pixels: int
    margin: float  # mean over its pixels
    evidence: float  # sum over its pixels
    box: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Contested:
    """An image and the share of its pixels, void left out, that is in regions."""

    name: str
    index: int
    share: float


class Top:
    """The first few of what is added, by a number; of equals, those that were added first."""

    def __init__(self, most: int) -> None:
        self._most, self._heap = most, list[tuple[float, int, Any]]()
        self._added = 0

    def add(self, number: int | float, item: Any) -> None:
        self._added += 1
        entry = (number, -self._added, item)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def items(self) -> list[Any]:
        """The highest first."""
        return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2])[::-1]]


def rank(
    program: Program,
    config: Config,
    state: TrainState,
    source: Source,
    *,
    announce: Callable[[str], None] = print,
    watch: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> dict[str, Any]:
    """The contested regions and images of a split, the first ones first.

    Args:
      program: its `scores_step` runs on the first device of each process.
      config: how images are padded and read.
      state: on that device.
      source: labelled examples.
      announce: is told of each example that `config.pipeline.on_unreadable` skips.
      watch: sees the examples of this process go by, None for one that is skipped.

    Returns:
      "regions" and "images", see `Region` and `Contested`; "examples", "skipped" and "protocol".
    """
    skipped = pipeline.Skipped(announce) if config.pipeline.on_unreadable == "skip" else None
    indices = range(jax.process_index(), len(source), jax.process_count())
    jobs = (functools.partial(pipeline.read, source, index, skipped) for index in indices)
    workers, variables = config.pipeline.workers, state.eval_variables
    top_regions, top_images, seen = Top(REGIONS), Top(IMAGES), 0
    examples = iter(read_ahead(jobs, workers, ahead=2 * workers))
    for index, example in zip(indices, watch(examples), strict=True):
        if example is None:
            continue
        seen += 1
        height, width = example["label"].shape
        best, scores = program.scores_step(
            variables, inference.padded_batch([example["image"]], config)
        )
        label = jnp.asarray(example["label"])
        margin = np.asarray(_margins(best[0, :height, :width], scores[0, :height, :width], label))
        margin = np.where(example["label"] == source.classes.void, 0, margin)
        found = regions(
            margin, np.asarray(best)[0, :height, :width], index, example, source.classes
        )
        for region in found:
            top_regions.add(region.evidence, region)
        valid = max(1, np.count_nonzero(example["label"] != source.classes.void))
        share = sum(region.pixels for region in found) / valid
        if share:
            top_images.add(share, Contested(example["name"], index, share))
    return {
        "examples": hosts.add_up(seen),
        "skipped": hosts.add_up(len(skipped or ())),
        "protocol": PROTOCOL,
        "regions": merge(top_regions, "evidence", REGIONS),
        "images": merge(top_images, "share", IMAGES),
    }


def merge(own: Top, number: str, most: int) -> list[dict[str, Any]]:
    """The first of what all processes hold, by `number`, as one that saw all images has them."""
    found = hosts.gather_items([dataclasses.asdict(item) for item in own.items()])
    # of equals those of the earlier image, and of one image those that its process added first
    return sorted(found, key=lambda each: (-each[number], each["index"]))[:most]


@jax.jit
def _margins(
    best: Int[Array, "h w"], scores: Float[Array, "h w c"], label: Int[Array, "h w"]
) -> Float[Array, "h w"]:
    """How much more probable the prediction is than the label, 0 where they agree."""
    classes = jnp.arange(scores.shape[-1], dtype=jnp.int32)
    given = jnp.where(label[..., None] == classes, scores, 0.0).sum(-1)
    return jnp.where(best == label, 0.0, scores.max(-1) - given)


def regions(
    margin: Float[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "h w"],
    index: int,
    example: Example,
    classes: Classes,
) -> list[Region]:
    """The contested regions of one image."""
    contested = margin >= MARGIN
    pairs = example["label"].astype(np.int64) * len(classes) + prediction
    found = []
    for pair in np.unique(pairs[contested]):
        mask = (contested & (pairs == pair)).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        evidence = np.bincount(numbers.ravel(), margin.ravel(), minlength=count)
        label, predicted = divmod(int(pair), len(classes))
        for number in range(1, count):
            left, top, width, height, pixels = map(int, stats[number])
            found.append(
                Region(
                    example["name"],
                    index,
                    classes.names[label],
                    classes.names[predicted],
                    pixels,
                    float(evidence[number] / pixels),
                    float(evidence[number]),
                    (top, left, top + height, left + width),
                )
            )
    return found


def path(workdir: Path, split: str, step: int) -> Path:
    """`eval/SPLIT/STEP-rank.json`."""
    return evaluation.scores_path(workdir, split, step).with_name(f"{step}-rank.json")


def write(ranked: dict[str, Any], workdir: Path, split: str, step: int) -> Path:
    """Write `path`, whole or not at all."""
    target = path(workdir, split, step)
    target.parent.mkdir(parents=True, exist_ok=True)
    record = {"step": step, "split": split, **ranked}
    files.write_text(target, json.dumps(record, indent=1) + "\n")
    return target


def table(ranked: dict[str, Any], most: int = 15) -> str:
    """The first regions, for a person."""
    lines = [f"{'evidence':>9}  {'pixels':>7}  margin  image, rows and columns: label, prediction"]
    for region in ranked["regions"][:most]:
        top, left, bottom, right = region["box"]
        lines.append(
            f"{region['evidence']:>9.1f}  {region['pixels']:>7}  {region['margin']:>6.2f}  "
            f"{region['name']}, {top}-{bottom - 1} and {left}-{right - 1}: labelled "
            f"{region['label']}, predicted {region['predicted']}"
        )
    if not ranked["regions"]:
        lines.append("no region: model and labels agree, or differ without confidence")
    return "\n".join(lines)
