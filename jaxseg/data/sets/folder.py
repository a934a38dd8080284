"""A researcher's own folder of images and masks as a data set, with or without a classes.json.

classes.json, next to the folders, may hold:
  "names":   the class names, in the order of their labels (required);
  "values":  the mask value of each class, if these are not 0, 1, 2, ...: [0, 255];
  "colours": an RGB triple for each class, to draw it and to read masks saved as RGB; a class 0
             that is black is a background, which pictures leave unpainted;
  "void":    the mask value (in RGB masks: the colour) of ignored pixels; 255 by default.
Without it the masks must hold 0, 1, 2, ... and perhaps 255 for void, and the classes are called
class_0, class_1, ...
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from tqdm import tqdm

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.images import present, read_mask
from jaxseg.data.layout import Pair
from jaxseg.data.palettes import Colour, default_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError, suggest

KEYS = ("names", "values", "colours", "void")
EXAMPLE = '{"names": ["background", "cell"], "values": [0, 255]}'


class Folder(SegmentationBuilder):
    """Your own images and masks: {split}/images and {split}/masks, or images and masks."""

    ANY_FOLDER = True

    @classmethod
    def files(cls, source: Path) -> dict[str, Path]:
        path = source / "classes.json"
        return super().files(source) | ({path.name: path} if path.exists() else {})

    def find_classes(self, source: Path, pairs: dict[str, list[Pair]]) -> Classes:
        path = source / "classes.json"
        self._coding = read_classes(path) if path.exists() else infer_classes(pairs)
        return self._coding.classes

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        return self._coding.decode(data, name)


@dataclasses.dataclass(frozen=True)
class Coding:
    """How masks encode class and void: `labels` by mask value; for RGB masks, values by colour."""

    classes: Classes
    labels: dict[int, int]
    colours: dict[Colour, int] | None = None

    def decode(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        values = read_mask(data, name, self.colours)
        label = np.full(values.shape, -1, np.int32)
        for value, index in self.labels.items():
            label[values == value] = index
        if (label == -1).any():
            y, x = np.argwhere(label == -1)[0]
            what = f"value {values[y, x]}" if values[y, x] >= 0 else "a colour"
            raise UserError(
                f"{name}: {what} at row {y}, column {x} is neither a class nor void; list it in "
                f"classes.json next to the folders (such as {EXAMPLE}), or relabel the mask"
            )
        return label


def read_classes(path: Path) -> Coding:
    """Reads a classes.json.

    Raises:
      UserError: not JSON, an unknown key, or lists of different lengths.
    """
    try:
        return _coding(json.loads(path.read_text()), path)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected JSON such as {EXAMPLE}; reading it: {error!r}"
        ) from error


def _coding(fields: dict[str, Any], path: Path) -> Coding:
    names = tuple(map(str, fields["names"]))
    for key in fields:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r}; {suggest(key, KEYS)}")
    for key in ("values", "colours"):
        if key in fields and len(fields[key]) != len(names):
            raise UserError(
                f"{path}: {len(fields[key])} {key} for {len(names)} names; give one for each class"
            )
    values = [int(v) for v in fields.get("values", range(len(names)))]
    labels = {value: index for index, value in enumerate(values)}
    void = fields.get("void", 255)
    void_label = max(255, len(names))
    void_value = max(255, *values) + 1 if isinstance(void, list) else int(void)
    # a class that claims void's value keeps it: "values": [0, 255] leaves no void
    labels.setdefault(void_value, void_label)
    if "colours" not in fields:
        return Coding(Classes(names, default_palette(names), void_label), labels)
    palette = tuple(_colour(c) for c in fields["colours"])
    colours = dict(zip(palette, values, strict=True))
    if isinstance(void, list):
        colours[_colour(void)] = void_value
    return Coding(Classes(names, palette, void_label), labels, colours)


def _colour(triple: list[int]) -> Colour:
    r, g, b = triple
    return int(r), int(g), int(b)


def infer_classes(pairs: dict[str, list[Pair]]) -> Coding:
    """Classes from the values found in all masks, which must be 0, 1, 2, ... and perhaps 255.

    Raises:
      UserError: the values leave gaps, or there is a single class.
    """
    found: dict[int, Path] = {}  # value -> the first mask that holds it
    every = [pair for split in pairs.values() for pair in split]
    for pair in tqdm(every, desc="finding classes", unit="mask", disable=None):
        for value in present(read_mask(pair.mask, str(pair.mask))):
            found.setdefault(value, pair.mask)
    values = sorted(v for v in found if v != 255)
    if values != list(range(len(values))) or len(values) < 2:
        shown = ", ".join(map(str, sorted(found)[:8])) + (", ..." if len(found) > 8 else "")
        value = next((v for i, v in enumerate(values) if v != i), max(found))
        raise UserError(
            f"{found[value]}: value {value}; the masks hold {shown}, expected 0, 1, 2, ... without "
            f"gaps (255 is void); relabel them, or add a classes.json next to the folders, such as "
            f"{EXAMPLE}"
        )
    names = tuple(f"class_{i}" for i in values)
    classes = Classes(names, default_palette(names))
    return Coding(classes, {v: v for v in (*values, 255)})


Builder = Folder
