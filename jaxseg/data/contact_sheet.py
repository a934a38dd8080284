"""Originals and augmented versions of chosen examples side by side, in one picture."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int32, UInt
from PIL import Image, ImageDraw, ImageFont

from jaxseg.data.borders import Weigh
from jaxseg.data.pipeline import Batch, Skipped, read, train_batches
from jaxseg.data.pixels import displayed
from jaxseg.data.selection import Selection
from jaxseg.data.source import Classes, Example, Source
from jaxseg.drawing import painted
from jaxseg.hatching import hatched
from jaxseg.legend import legend

SIDE = 400  # pixels of a picture's longer side
GAP, TEXT = 12, 15  # pixels
TITLES = ("image", "its labels", "augmented", "its labels")


class _Chosen:
    """Some examples of a source, each named by its place among them."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self.classes = source.classes
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def size(self, index: int, /) -> tuple[int, int]:
        return self._source.size(self._indices[index])

    def __getitem__(self, index: int, /) -> Example:
        example = self._source[self._indices[index]]
        return {"image": example["image"], "label": example["label"], "name": str(index)}


def contact_sheet(
    source: Source,
    selection: Selection,
    *,
    augment: Any,
    mean: Sequence[float | int],
    bits: int = 8,
    seed: int,
    weigh: Weigh | None = None,
    context: int = 0,
    skipped: Skipped | None = None,
) -> Image.Image:
    """A row for each chosen example: the image, its labels, and both as training augments them.

    Labels tint the image, void is hatched, and below is a legend of the classes in it. With `weigh`
    there is a column of the weights that it adds, black for none and white for the row's largest.
    """
    chosen = _Chosen(source, selection.indices)
    with train_batches(
        chosen,
        start=0,
        batch_size=len(chosen),
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
    rows = []
    for place, (index, reason) in enumerate(zip(selection.indices, selection.reasons, strict=True)):
        example = read(source, index, skipped)
        if example is None:  # it could be read a moment ago
            continue
        slot = batch.names.index(str(place))
        cells = _pair(example["image"], example["label"], source.classes)
        cells += _pair(batch.image[slot], batch.label[slot], source.classes)
        height, width = example["label"].shape
        caption = f"{example['name']}   {width}x{height}"
        if reason is not None:
            caption += f"   chosen for {source.classes.names[reason]}"
        if batch.weight is not None:
            cells.append(_weights(batch, slot))
            caption += f"   largest added weight {batch.weight[slot].max():.1f}"
        rows.append((caption, cells))
    titles = TITLES if weigh is None else (*TITLES, "added weight")
    return _sheet(titles, rows)


def _pair(
    image: UInt[np.ndarray, "h w c"], label: Int32[np.ndarray, "h w"], classes: Classes
) -> list[Image.Image]:
    """The image, and its labels above their legend; at most SIDE pixels a side."""
    image = displayed(image)
    height, width = label.shape
    factor = SIDE / max(height, width)
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    photograph = np.asarray(cv2.resize(image, size, interpolation=interpolation))
    if factor > 1:
        image = photograph
        label = cv2.resize(label.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)
        label = label.astype(np.int32)
    picture, fills = painted(image, label, classes)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    void = (label == classes.void).astype(np.float32)
    void = cv2.resize(void, size, interpolation=cv2.INTER_AREA) >= 0.5
    names = legend(label, classes, SIDE, fills=fills, with_void=True)
    labelled = Image.new("RGB", (SIDE, size[1] + names.height), "white")
    labelled.paste(Image.fromarray(hatched(picture, void)), (0, 0))
    labelled.paste(names, (0, size[1]))
    return [Image.fromarray(photograph), labelled]


def _weights(batch: Batch, slot: int) -> Image.Image:
    assert batch.weight is not None
    weight = batch.weight[slot]
    shades = np.round(255 / max(float(weight.max()), 1e-9) * weight).astype(np.uint8)
    picture = Image.fromarray(shades).convert("RGB")
    factor = SIDE / max(picture.size)
    size = [max(1, round(factor * side)) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.BOX)


def _sheet(titles: Sequence[str], rows: Sequence[tuple[str, list[Image.Image]]]) -> Image.Image:
    """Rows of pictures below their captions, and the titles above all of them."""
    line = 2 * TEXT
    heights = [line + max(cell.height for cell in cells) + GAP for _, cells in rows]
    width = GAP + len(titles) * (SIDE + GAP)
    picture = Image.new("RGB", (width, line + sum(heights)), "white")
    canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT)
    lefts = [GAP + i * (SIDE + GAP) for i in range(len(titles))]
    for left, title in zip(lefts, titles, strict=True):
        canvas.text((left, line // 2), title, "black", font, anchor="lm")
    top = line
    for (caption, cells), height in zip(rows, heights, strict=True):
        canvas.line((0, top, width, top), "lightgray")
        canvas.text((GAP, top + line // 2), caption, "black", font, anchor="lm")
        for left, cell in zip(lefts, cells, strict=True):
            picture.paste(cell, (left, top + line))
        top += height
    return picture
