"""Reads every example of a data set's splits once, and keeps what a check of the data needs."""

import dataclasses
import functools
from collections.abc import Sequence

from tqdm import tqdm

from jaxseg.data.fingerprints import Fingerprint, fingerprint
from jaxseg.data.pipeline.reading import REMAP, WORKERS, UnreadableError, attempt, read_ahead
from jaxseg.data.pixels import ChannelsError
from jaxseg.data.source import LabelError, Source
from jaxseg.data.stats import Counts, Stats, combine, count


@dataclasses.dataclass(frozen=True)
class Reading:
    """An example that could be read."""

    index: int
    name: str
    size: tuple[int, int]  # height, width
    counts: Counts
    fingerprint: Fingerprint


@dataclasses.dataclass(frozen=True)
class Problem:
    """An example that can't be used."""

    index: int
    text: str
    values: dict[int, int]  # of its label, pixels by value, where these are the problem


@dataclasses.dataclass(frozen=True)
class Split:
    """What was read of a split."""

    name: str  # as TFDS has it, such as "train[:80%]"
    source: Source
    readings: Sequence[Reading]
    problems: Sequence[Problem]
    stats: Stats


def read_split(name: str, source: Source) -> Split:
    """Every example once, by several threads, in order."""
    jobs = (functools.partial(_examine, source, index) for index in range(len(source)))
    found = read_ahead(jobs, WORKERS, ahead=4 * WORKERS)
    shown = tqdm(found, f"reading {name}", len(source), unit="image", disable=None, leave=False)
    readings, problems = [], []
    for each in shown:
        (readings if isinstance(each, Reading) else problems).append(each)
    stats = combine(source.classes, (each.counts for each in readings))
    return Split(name, source, readings, problems, stats)


def _examine(source: Source, index: int) -> Reading | Problem:
    try:
        example = attempt(source.__getitem__, index, None)
        assert example is not None  # None only where unreadable examples are left out
        source.classes.check_label(example["label"], f"example {example['name']}", REMAP)
    except UnreadableError as error:
        return Problem(index, str(error), {})
    except ChannelsError as error:
        return Problem(index, f"example {error}", {})
    except LabelError as error:
        return Problem(index, str(error), error.values)
    image, label = example["image"], example["label"]
    if image.shape[:2] != label.shape:
        (h, w), (label_h, label_w) = image.shape[:2], label.shape
        text = f"example {example['name']}: the image is {w}x{h}, its label {label_w}x{label_h}"
        return Problem(index, text, {})
    counts = count(example, source.classes)
    return Reading(index, example["name"], label.shape, counts, fingerprint(image))
