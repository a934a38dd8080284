"""The regions that `jaxseg evaluate --rank` found, as pictures to look at first."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxseg import ranking
from jaxseg.data.source import Source
from jaxseg.report.gallery import Item, Prediction
from jaxseg.report.predictions import Scored

TITLE = "Look at these first: where model and label disagree most confidently"
SHOWN = 12  # regions
LEAST = 120  # pixels a side of what is shown around a region, where the image has them


def read(workdir: Path, split: str, step: int) -> list[dict[str, Any]]:
    """The regions of a step, the first ones first; none if it was not ranked."""
    path = ranking.path(workdir, split, step)
    return json.loads(path.read_text())["regions"][:SHOWN] if path.exists() else []


def items(
    source: Source, images: Sequence[Scored], regions: Sequence[dict[str, Any]]
) -> Iterator[Item]:
    """Each region with what is around it."""
    by_index = {image.index: image for image in images}
    for region in regions:
        if region["index"] not in by_index:
            continue
        example = source[region["index"]]
        labels = by_index[region["index"]].labels()
        top, left, bottom, right = region["box"]
        rows = _around(top, bottom, labels.shape[0])
        columns = _around(left, right, labels.shape[1])
        note = (
            f"{region['pixels']} pixels labelled {region['label']}, predicted "
            f"{region['predicted']}: {100 * region['margin']:.0f} points more probable"
        )
        yield Item(
            f"{example['name']}, rows {top} to {bottom - 1}, columns {left} to {right - 1}",
            example["image"][rows, columns],
            example["label"][rows, columns],
            [Prediction("prediction", note, labels[rows, columns])],
        )


def _around(start: int, end: int, length: int) -> slice:
    """Half as much again on each side, `LEAST` at least, within the image."""
    size = min(length, max(LEAST, 2 * (end - start)))
    first = min(max(0, (start + end - size) // 2), length - size)
    return slice(first, first + size)
