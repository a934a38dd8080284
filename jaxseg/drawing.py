"""Pictures of masks: colours, overlays with a legend, grids for comparison, palette PNGs."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxseg.data.pipeline import Skipped, next_readable
from jaxseg.data.source import Classes, Source
from jaxseg.errors import UserError

VOID_COLOUR = (224, 224, 192)  # the cream of PASCAL VOC's masks
DISPLAY_SIZE = 512  # smaller pictures are enlarged by a whole factor to about this width


def colourise(mask: Int[np.ndarray, "h w"], classes: Classes) -> UInt8[np.ndarray, "h w 3"]:
    """The class of each pixel in its palette colour, void in cream."""
    table = np.array([*classes.palette, VOID_COLOUR], np.uint8)
    return table[np.where(mask == classes.void, len(classes), mask)]


def overlay(
    image: UInt8[np.ndarray, "h w 3"], mask: Int[np.ndarray, "h w"], classes: Classes
) -> Image.Image:
    """The image tinted by class and outlined, above a legend of the classes in it.

    Void pixels show the image itself.
    """
    factor = _enlargement(image.shape[1])
    # the photograph smoothly, the mask by whole pixels
    size = (image.shape[1] * factor, image.shape[0] * factor)
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large_mask = mask.repeat(factor, 0).repeat(factor, 1)
    colours = colourise(large_mask, classes).astype(np.float32)
    valid = (large_mask != classes.void)[..., None]
    blended = np.where(valid, 0.5 * large + 0.5 * colours, large)
    edge = _borders(large_mask)[..., None] & valid
    picture = np.where(edge, colours, blended).round().astype(np.uint8)
    present = [i for i in np.unique(mask).tolist() if i < len(classes)]
    return _stack([Image.fromarray(picture), legend(present, classes, size[0])])


def legend(present: Sequence[int], classes: Classes, width: int) -> Image.Image:
    """Colour boxes with class names, wrapped to `width` pixels."""
    height = 22
    font = ImageFont.load_default(14)
    places, x, y = [], 8, 4
    for index in present:
        step = 18 + 6 + int(font.getlength(classes.names[index])) + 16
        if x > 8 and x + step > width:
            x, y = 8, y + height
        places.append((x, y, index))
        x += step
    picture = Image.new("RGB", (width, y + height + 4), "white")
    canvas = ImageDraw.Draw(picture)
    for x, y, index in places:
        canvas.rectangle((x, y + 2, x + 17, y + 17), fill=classes.palette[index], outline="gray")
        canvas.text((x + 24, y + 10), classes.names[index], "black", font, anchor="lm")
    return picture


def grid(
    rows: Sequence[Sequence[Image.Image | UInt8[np.ndarray, "_ _ 3"]]],
    titles: Sequence[str] = (),
) -> Image.Image:
    """Pictures in rows, columns aligned, small ones enlarged; `titles` stand above the columns.

    For example one row each of image, truth and prediction.
    """
    cells = [[_enlarged(cell) for cell in row] for row in rows]
    columns = max(len(row) for row in cells)
    widths = [max(row[i].width for row in cells if i < len(row)) for i in range(columns)]
    gap, top = 6, 28 if titles else 6
    heights = [max(cell.height for cell in row) for row in cells]
    size = (sum(widths) + gap * (columns + 1), top + sum(heights) + gap * len(rows))
    picture = Image.new("RGB", size, "white")
    lefts = [gap + sum(widths[:i]) + gap * i for i in range(columns)]
    for left, title in zip(lefts, titles, strict=False):
        ImageDraw.Draw(picture).text((left + 2, 6), title, "black", ImageFont.load_default(15))
    for row, height in zip(cells, heights, strict=True):
        for left, cell in zip(lefts, row, strict=False):
            picture.paste(cell, (left, top))
        top += height + gap
    return picture


def draw_examples(
    source: Source,
    predict: Callable[[UInt8[np.ndarray, "h w 3"]], Int[np.ndarray, "h w"]],
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


def write_index_png(
    path: str | os.PathLike[str], mask: Int[np.ndarray, "h w"], classes: Classes
) -> None:
    """A palette PNG: its values are class indices, viewers show it in the classes' colours.

    Raises:
      UserError: an index or the void id above 255, which a palette cannot hold.
    """
    if mask.max(initial=0) > 255 or mask.min(initial=0) < 0:
        raise UserError(
            f"{path}: mask values {mask.min()}..{mask.max()}, a palette PNG holds 0..255"
        )
    picture = Image.fromarray(mask.astype(np.uint8), "L")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.palette[:256]
    if classes.void <= 255:
        palette[classes.void] = VOID_COLOUR
    picture.putpalette(palette.tobytes())
    picture.save(path, "PNG")


def _borders(mask: Int[np.ndarray, "h w"]) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(mask.shape, bool)
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    return edge


def _enlargement(width: int) -> int:
    return max(1, round(DISPLAY_SIZE / width)) if width < DISPLAY_SIZE else 1


def _enlarged(cell: Image.Image | np.ndarray) -> Image.Image:
    picture = cell if isinstance(cell, Image.Image) else Image.fromarray(cell)
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
