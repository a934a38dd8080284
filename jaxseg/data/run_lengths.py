"""Masks stored as run lengths, down the columns: Kaggle's and COCO's."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32

from jaxseg.data.source import LabelError


def painted_runs(text: str, size: tuple[int, int], name: str) -> Int32[np.ndarray, "h w"]:
    """1 where Kaggle's "start length start length ..." says, 0 elsewhere.

    Args:
      text: starts are counted from 1, from top to bottom and then from left to right.
      size: height and width.
      name: what an error calls it.

    Raises:
      LabelError: no such numbers, or pixels outside of the image.
    """
    height, width = size
    try:
        numbers = np.array([int(word) for word in text.split()], np.int64)
        starts, lengths = numbers.reshape(-1, 2).T
    except ValueError:
        raise LabelError(f"{name}: {text[:40]!r}, expected pairs of start and length") from None
    if (starts < 1).any() or (lengths < 0).any() or (starts + lengths - 1 > height * width).any():
        raise LabelError(f"{name}: its runs leave the {width}x{height} image; take the file again")
    mask = np.zeros(height * width, np.int32)
    for start, length in zip(starts - 1, lengths, strict=True):
        mask[start : start + length] = 1
    return np.ascontiguousarray(mask.reshape(width, height).T)


def from_counts(
    counts: Sequence[int] | str, size: tuple[int, int], name: str
) -> Bool[np.ndarray, "h w"]:
    """COCO's run lengths of 0, 1, 0, 1, ..., as numbers or in its compressed form.

    Raises:
      LabelError: they don't add up to the image.
    """
    height, width = size
    lengths = _decompressed(counts) if isinstance(counts, str) else [int(c) for c in counts]
    if sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise LabelError(
            f"{name}: run lengths of {sum(lengths)} pixels, expected {height * width} for "
            f"{width}x{height}"
        )
    values = np.arange(len(lengths)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)


def _decompressed(text: str) -> list[int]:
    """COCO's compressed counts: six bits a character, of which one says that more follow.

    Characters are those from "0" on. Five bits each, the lowest first, make a number in two's
    complement; from the fourth on it is the difference to the one two before.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the sign
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
