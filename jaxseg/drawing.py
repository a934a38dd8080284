"""Pictures of masks: colours, overlays with a legend, grids for comparison, index PNGs."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt, UInt8, UInt16
from PIL import Image, ImageDraw, ImageFont

from jaxseg.data.pipeline import Skipped, next_readable
from jaxseg.data.pixels import displayed
from jaxseg.data.source import Classes, Source
from jaxseg.errors import UserError
from jaxseg.legend import legend, text_size

VOID_COLOUR = (224, 224, 192)  # the cream of PASCAL VOC's masks
DISPLAY_WIDTH = 512  # smaller pictures are enlarged by a whole factor to about this width
PREVIEW_WIDTH = 400  # outlines and thin objects still show when a picture is reduced to this width
# how much of a fill's CIELAB is the class's colour: the rest, half of the lightness, keeps detail
TINT = np.array((0.5, 0.8, 0.8), np.float32)


def colourise(mask: Int[np.ndarray, "h w"], classes: Classes) -> UInt8[np.ndarray, "h w 3"]:
    """The class of each pixel in its palette colour, void in cream."""
    return _colours(classes)[dense(mask, classes)]


def overlay(
    image: UInt[np.ndarray, "h w _"], mask: Int[np.ndarray, "h w"], classes: Classes
) -> Image.Image:
    """`painted`, above a legend of the classes in it."""
    picture, fills = painted(image, mask, classes)
    return _stack([Image.fromarray(picture), legend(mask, classes, picture.shape[1], fills=fills)])


def painted(
    image: UInt[np.ndarray, "h w _"], mask: Int[np.ndarray, "h w"], classes: Classes
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], UInt8[np.ndarray, "c 3"]]:
    """The image tinted by class, with outlines in the classes' colours; and the tints as they look.

    Background and void show the image itself. Outlines lie inside their regions and are one pixel
    wide when the picture is reduced to PREVIEW_WIDTH; narrow regions are all outline, and those
    that would be hard to see there are drawn wider, up to about such a pixel. Small images are
    enlarged, and channels shown as `pixels.displayed` says.
    """
    image = displayed(image)
    factor = _enlargement(image.shape[1])
    # the photograph smoothly, the mask by whole pixels
    size = (image.shape[1] * factor, image.shape[0] * factor)
    picture = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    label = dense(mask, classes).repeat(factor, 0).repeat(factor, 1)
    label = widened(label, classes, size[0] // (3 * PREVIEW_WIDTH))
    covered = _painted(label, classes)
    edge = _near_others(label, math.ceil(size[0] / PREVIEW_WIDTH))
    outline, fill = edge & covered, ~edge & covered
    colours = _colours(classes)
    picture[outline] = colours[label[outline]]
    if fill.any():
        picture[fill] = _tinted(picture[fill], colours[label[fill]])
        colours = _means(picture[fill], label[fill], colours)
    return picture, colours


def grid(
    rows: Sequence[Sequence[Image.Image | UInt[np.ndarray, "_ _ _"]]],
    titles: Sequence[str] = (),
) -> Image.Image:
    """Pictures in rows, columns aligned, small ones enlarged; `titles` stand above the columns.

    For example one row each of image, truth and prediction.
    """
    cells = [[_enlarged(cell) for cell in row] for row in rows]
    columns = max(len(row) for row in cells)
    widths = [max(row[i].width for row in cells if i < len(row)) for i in range(columns)]
    size = text_size(min(widths))
    gap, top = 6, 2 * size if titles else 6
    heights = [max(cell.height for cell in row) for row in cells]
    whole = (sum(widths) + gap * (columns + 1), top + sum(heights) + gap * len(rows))
    picture = Image.new("RGB", whole, "white")
    lefts = [gap + sum(widths[:i]) + gap * i for i in range(columns)]
    for left, title in zip(lefts, titles, strict=False):
        font = ImageFont.load_default(size)
        ImageDraw.Draw(picture).text((left + 2, top // 2), title, "black", font, anchor="lm")
    for row, height in zip(cells, heights, strict=True):
        for left, cell in zip(lefts, row, strict=False):
            picture.paste(cell, (left, top))
        top += height + gap
    return picture


def draw_examples(
    source: Source,
    predict: Callable[[UInt[np.ndarray, "h w c"]], Int[np.ndarray, "h w"]],
    count: int,
    folder: Path,
    skipped: Skipped | None = None,
) -> Path | None:
    """`folder`/NAME.png of a few examples: image, truth, prediction; returns the last path.

    What can't be read goes to `skipped`, and the next example stands in for it.
    """
    path, size = None, len(source)
    # Spread over the split, which is often sorted by scene.
    for index in np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist():
        candidates = [*range(index, size), *range(index)]
        _, example = next_readable(source, candidates, skipped)
        image = example["image"]
        row = (
            image,
            overlay(image, example["label"], source.classes),
            overlay(image, predict(image), source.classes),
        )
        path = folder / f"{example['name']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grid([row], titles=("image", "truth", "prediction")).save(path)
    return path


def dense(mask: Int[np.ndarray, "h w"], classes: Classes) -> UInt16[np.ndarray, "h w"]:
    """Class indices, void as the number of classes."""
    return np.where(mask == classes.void, len(classes), mask).astype(np.uint16)


def widened(
    label: UInt16[np.ndarray, "h w"], classes: Classes, distance: int
) -> UInt16[np.ndarray, "h w"]:
    """What `dense` returned, painted regions narrower than 2 distance + 1 wider on each side.

    They grow by `distance` over anything but void and each other.
    """
    if distance == 0:
        return label
    square = _square(distance)
    inner = ~_near_others(label, distance)
    wide = cv2.dilate(inner.astype(np.uint8), square) > 0
    thin = np.where(_painted(label, classes) & ~wide, label + 1, 0).astype(np.uint16)
    for _ in range(distance):  # pixel by pixel: of two thin neighbours, each takes its own side
        free = (thin == 0) & (label != len(classes))
        thin = np.where(free, cv2.dilate(thin, _square(1)), thin)
    return np.where(thin > 0, thin - 1, label)


def write_index_png(
    path: str | os.PathLike[str], mask: Int[np.ndarray, "h w"], classes: Classes
) -> None:
    """A PNG whose values are class indices: with a palette, so that viewers show the colours.

    With more than 256 classes, or a larger void id in the mask, it is 16-bit grey.

    Raises:
      UserError: an index below 0 or above 65535.
    """
    largest = max(len(classes) - 1, int(mask.max(initial=0)))
    if largest > 65535 or mask.min(initial=0) < 0:
        raise UserError(f"{path}: mask values {mask.min()}..{mask.max()}, a PNG holds 0..65535")
    if largest > 255:
        Image.fromarray(mask.astype(np.uint16)).save(path, "PNG")
        return
    picture = Image.fromarray(mask.astype(np.uint8), "L")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.palette
    if classes.void <= 255:
        palette[classes.void] = VOID_COLOUR
    picture.putpalette(palette.tobytes())
    picture.save(path, "PNG")


def _colours(classes: Classes) -> UInt8[np.ndarray, "labels 3"]:
    """The colour of each class and of void, for what `dense` returns."""
    return np.array([*classes.palette, VOID_COLOUR], np.uint8)


def _painted(label: UInt16[np.ndarray, "h w"], classes: Classes) -> Bool[np.ndarray, "h w"]:
    """All but background and void."""
    table = np.array([*(i != classes.background for i in range(len(classes))), False])
    return table[label]


def _near_others(label: UInt16[np.ndarray, "h w"], distance: int) -> Bool[np.ndarray, "h w"]:
    """Pixels with another label among those up to `distance` rows and columns away."""
    square = _square(distance)
    return cv2.dilate(label, square) != cv2.erode(label, square)


def _square(distance: int) -> UInt8[np.ndarray, "side side"]:
    return np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)


def _tinted(
    pixels: UInt8[np.ndarray, "n 3"], colours: UInt8[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "n 3"]:
    photograph, tint = (cv2.cvtColor(x[None], cv2.COLOR_RGB2LAB) for x in (pixels, colours))
    mixed = (1 - TINT) * photograph + TINT * tint
    return cv2.cvtColor(mixed.round().astype(np.uint8), cv2.COLOR_LAB2RGB)[0]


def _means(
    pixels: UInt8[np.ndarray, "n 3"],
    label: UInt16[np.ndarray, " n"],
    otherwise: UInt8[np.ndarray, "labels 3"],
) -> UInt8[np.ndarray, "labels 3"]:
    """The mean colour of each label's pixels; `otherwise` for a label without."""
    labels = len(otherwise)
    count = np.bincount(label, minlength=labels)[:, None]
    sums = np.stack([np.bincount(label, channel, labels) for channel in pixels.T], -1)
    return np.where(count, (sums / np.maximum(count, 1)).round(), otherwise).astype(np.uint8)


def _enlargement(width: int) -> int:
    return max(1, round(DISPLAY_WIDTH / width)) if width < DISPLAY_WIDTH else 1


def _enlarged(cell: Image.Image | np.ndarray) -> Image.Image:
    picture = cell if isinstance(cell, Image.Image) else Image.fromarray(displayed(cell))
    factor = _enlargement(picture.width)
    if factor == 1:
        return picture
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)  # whole pixels: masks stay exact


def _stack(pictures: Sequence[Image.Image]) -> Image.Image:
    out = Image.new("RGB", (pictures[0].width, sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        out.paste(picture, (0, top))
        top += picture.height
    return out
