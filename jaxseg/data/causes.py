"""Why masks may hold values that are no classes, guessed from the values."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from jaxseg.data.palettes import voc_palette

_VOC_GREYS = {round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in voc_palette(21)} - {0}


def describe(values: Mapping[int, int], num_classes: int, void: int) -> str:
    """The wrong ones of `values`, pixels by value, and why they may be there."""
    wrong = {v: count for v, count in values.items() if is_wrong(v, num_classes, void)}
    cause = likely_cause(values, num_classes, void)
    return f"in all {counted(wrong)}" + (f"; likely cause: {cause}" if cause else "")


def is_wrong(value: int, num_classes: int, void: int) -> bool:
    """Whether it is neither a class nor void."""
    return not 0 <= value < num_classes and value != void


def likely_cause(values: Iterable[int], num_classes: int, void: int) -> str:
    """A guess, "" if there is none.

    Args:
      values: all that the masks hold, right ones too.
      num_classes: labels 0..num_classes - 1 are expected, and `void`.
      void: a label.
    """
    found = {*values}
    wrong = {value for value in found if is_wrong(value, num_classes, void)}
    if num_classes == 2 and found - {void} <= {0, 128, 254, 255}:
        return "a black and white mask: 255 stands for class 1"
    if 0 not in found and wrong == {num_classes}:
        return "labels that begin with 1 instead of 0: subtract 1"
    if wrong and wrong <= _VOC_GREYS:
        return "the colours of a palette turned to grey: convert the mask without its palette"
    if len(wrong) > 64:
        return "smoothed edges, JPEG compression, numbers of objects, or a photograph as a mask"
    if wrong == {255}:
        return f"void is {void} here: pixels to ignore that hold 255 instead"
    return ""


def counted(values: Mapping[int, int], most: int = 6) -> str:
    """The most frequent values, each with its pixels."""
    shown = Counter(dict(values)).most_common(most)
    parts = [f"{value} ({count:,} pixels)" for value, count in shown]
    more = len(values) - len(shown)
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")


def value_counts(label: np.ndarray) -> dict[int, int]:
    """How many pixels hold each value."""
    values, counts = np.unique(label, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
