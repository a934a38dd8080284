"""The classes.json that masks need, made of the values or colours found in them."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

from jaxseg.data.palettes import Colour

MOST_CLASSES = 64  # more values or colours than these are hardly classes
RARE = 5e-4  # share of the pixels
BLACK = (0, 0, 0)
OFTEN_VOID = ((224, 224, 192), (255, 255, 255))  # in VOC's coloured masks; in others

T = TypeVar("T", int, Colour)


def for_values(pixels: Counter[int], path: Path) -> str:
    """The end of an error about masks that hold other values than 0, 1, 2, ...

    Args:
      pixels: how many there are of each value.
      path: where the classes.json should be.
    """
    found = sorted(pixels)
    start = f"the masks hold {_shares(pixels)}"
    if len(found) > MOST_CLASSES:
        cause = "smoothed edges or numbers of objects rather than classes"
        return f"{start}: {len(found)} values are {cause}. {_again(path)}"
    start += ", expected 0, 1, 2, ... without gaps (255 is void)"
    if len(found) == 1:
        return f"{start} of two classes at least; relabel them"
    classes, about_255 = found, ""
    if len(found) > 2 and found[-1] == 255:
        *others, _ = found
        widest = max(b - a for a, b in itertools.pairwise(others))
        if 255 - others[-1] > 2 * widest:  # far from the classes, unlike in 0, 128, 255
            classes = others
            about_255 = "255 stays void (ignored); if it is a class, add it to both lists."
        else:
            about_255 = "255 is a class here; if it is to be ignored, take it out of both lists."
    names = [f"class_{i}" for i in range(len(classes))]
    text = _json({"names": names, "values": classes})
    return "\n".join(
        [
            f"{start}; relabel them, or save this as {path}, with your names:",
            text,
            *filter(None, (about_255, _doubt(pixels))),
        ]
    )


def for_colours(pixels: Counter[Colour], uncounted: int, path: Path) -> str:
    """The end of an error about RGB masks.

    Args:
      pixels: how many there are of each colour.
      uncounted: pixels of further colours.
      path: where the classes.json should be.
    """
    if len(pixels) > MOST_CLASSES:
        count = f"more than {len(pixels):,}" if uncounted else f"{len(pixels):,}"
        cause = "smoothed edges or JPEG compression on the way, rather than classes"
        return f"{_shares(pixels, uncounted)}: {count} colours are {cause}. {_again(path)}"
    order = sorted(pixels, key=lambda colour: (colour != BLACK, -pixels[colour], colour))
    names = ["background" if c == BLACK else f"class_{i}" for i, c in enumerate(order)]
    void = next((colour for colour in OFTEN_VOID if colour in pixels), None)
    which, value = (f", perhaps {void},", list(void)) if void else ("", "[R, G, B]")
    return "\n".join(
        [
            f"{_shares(pixels)}; save this as {path}, with your names:",
            _json({"names": names, "colours": order}),
            f"If one of them{which} marks pixels to ignore, take it out of both lists and add "
            f'"void": {value}.',
            *filter(None, (_doubt(pixels),)),
        ]
    )


def unpacked(code: int) -> Colour:
    """The colour 0xRRGGBB, see `images.pack`."""
    return code >> 16, code >> 8 & 255, code & 255


def _shares(pixels: Counter[T], uncounted: int = 0) -> str:
    """The most frequent values with their shares of the pixels."""
    total = pixels.total() + uncounted
    shown = sorted(pixels.items(), key=lambda item: (-item[1], item[0]))[:8]
    parts = [f"{key} ({100 * count / total:.3g} %)" for key, count in shown]
    rest = total - sum(count for _, count in shown)
    return ", ".join(parts) + (f" and others ({100 * rest / total:.3g} %)" if rest else "")


def _doubt(pixels: Counter[T]) -> str:
    """A question, where half of the values are too rare for classes."""
    rare = sum(count < RARE * pixels.total() for count in pixels.values())
    if rare < max(4, len(pixels) / 2):
        return ""
    return (
        f"{rare} of the {len(pixels)} cover less than {100 * RARE:g} % of the pixels each: are "
        "they smoothed edges?"
    )


def _again(path: Path) -> str:
    return (
        "Save the masks as PNG without smoothing (resize them by nearest neighbour), or, if all of "
        f"these are classes, list them in {path}"
    )


def _json(fields: dict[str, Any]) -> str:
    lines = (f'"{key}": {json.dumps(value)}' for key, value in fields.items())
    return "{" + ",\n ".join(lines) + "}"
