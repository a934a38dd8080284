"""The legend below a picture: colours, names and shares of the classes in it."""

import math

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxseg.data.source import Classes
from jaxseg.hatching import hatched

LEGEND_ENTRIES = 20  # classes named at most


def legend(
    mask: Int[np.ndarray, "h w"],
    classes: Classes,
    width: int,
    fills: UInt8[np.ndarray, "_ 3"] | None = None,
    *,
    with_void: bool = False,
) -> Image.Image:
    """The `entries` of a mask, wrapped to `width` pixels; boxes and text grow with the width.

    A box has its class's colour, and inside, if given, that of `fills`. Void comes last if it is
    asked for, with a hatched box.
    """
    colours = np.array(classes.palette, np.uint8)
    fills = colours if fills is None else fills
    size = text_size(width)
    font, line, margin = ImageFont.load_default(size), round(1.6 * size), size // 2
    box, rim = round(1.2 * size), max(3, size // 5)
    places, x, y = [], margin, margin // 2
    for index, name, share in entries(mask, classes, with_void=with_void):
        indent = 0 if index is None else box + margin
        text = _fitted(name, share, font, width - 2 * margin - indent)
        step = indent + math.ceil(font.getlength(text))
        if x > margin and x + step > width - margin:
            x, y = margin, y + line
        places.append((x, y + line // 2, index, text))
        x += step + size
    picture = Image.new("RGB", (width, y + line + margin // 2), "white")
    canvas = ImageDraw.Draw(picture)
    for x, middle, index, text in places:
        if index is not None:
            square = np.array([x, middle - box // 2, x + box - 1, middle - box // 2 + box - 1])
            if index == len(classes):
                picture.paste(_hatched_box(box), (x, middle - box // 2))
            else:
                outer, inner = (tuple(c[index].tolist()) for c in (colours, fills))
                canvas.rectangle(square.tolist(), fill=outer, outline="gray")
                inside = (square + rim * np.array([1, 1, -1, -1])).tolist()
                canvas.rectangle(inside, fill=inner)
            x += box + margin
        canvas.text((x, middle), text, "black", font, anchor="lm")
    return picture


def entries(
    mask: Int[np.ndarray, "h w"], classes: Classes, *, with_void: bool = False
) -> list[tuple[int | None, str, str]]:
    """The index, name and share of the mask's pixels of each painted class in it.

    In the order of the classes, or of more than LEGEND_ENTRIES the largest, largest first, and
    then how many more there are. With `with_void` then void, if there is any, under the index that
    follows those of the classes.
    """
    pixels = np.bincount(mask[mask != classes.void], minlength=len(classes))
    present = [i for i in np.flatnonzero(pixels).tolist() if i != classes.background]
    void: list[tuple[int | None, str, str]] = []
    if with_void and (count := mask.size - int(pixels.sum())):
        void = [(len(classes), "void", _percent(count / mask.size))]
    if not present:
        return [(None, "nothing painted", ""), *void]
    more = len(present) - LEGEND_ENTRIES
    if more > 0:
        present = sorted(present, key=lambda i: -pixels[i])[:LEGEND_ENTRIES]
    named = [(i, classes.names[i], _percent(pixels[i] / mask.size)) for i in present]
    return [*named, *([(None, f"and {more} more", "")] if more > 0 else []), *void]


def text_size(width: int) -> int:
    """Pixels of the text in or beside a picture: it grows with the width, from 14."""
    return max(14, width // 40)


def _percent(share: float) -> str:
    return "<1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _hatched_box(side: int) -> Image.Image:
    grey = np.full((side, side, 3), 128, np.uint8)
    return Image.fromarray(hatched(grey, np.ones((side, side), bool)))


def _fitted(
    name: str, share: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """Name and share, the name shortened until both fit."""
    end = f": {share}" if share else ""
    while len(name) > 4 and font.getlength(name + end) > width:
        name = f"{name[:-4]}..."  # cuts a letter, or an earlier "..." and a letter
    return name + end
