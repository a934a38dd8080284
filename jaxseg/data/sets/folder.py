"""A researcher's own folder of images and masks as a data set, with or without a classes.json.

classes.json, next to the folders, may hold:
  "names":   the class names, in the order of their labels (required);
  "values":  the mask value of each class, if these are not 0, 1, 2, ...: [0, 255];
  "colours": an RGB triple for each class, to draw it and to read masks saved as RGB; a class 0
             that is black is a background, which pictures leave unpainted;
  "void":    the mask value (in RGB masks: the colour) of ignored pixels; 255 by default.
Without it the masks must hold 0, 1, 2, ... and perhaps 255 for void, and the classes are called
class_0, class_1, ...; if they hold something else, the error shows the classes.json to write.

A mask holds values if it is a grey or palette file, or RGB without any colour (r = g = b), unless
classes.json has "colours": then RGB masks are read by these alone.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from jaxseg.data.builder import SegmentationBuilder
from jaxseg.data.census import Census
from jaxseg.data.mask_files import is_grey, look_up, mask_pixels
from jaxseg.data.palettes import Colour, default_palette
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError, suggest

CLASSES_FILE = "classes.json"
KEYS = ("names", "values", "colours", "void")
EXAMPLE = '{"names": ["background", "cell"], "values": [0, 255]}'


class Folder(SegmentationBuilder):
    """Your own images and masks: {split}/images and {split}/masks, or images and masks."""

    ANY_FOLDER = True

    @classmethod
    def files(cls, source: Path) -> dict[str, Path]:
        path = source / CLASSES_FILE
        return super().files(source) | ({path.name: path} if path.exists() else {})

    def begin(self, source: Path) -> None:
        self._path = source / CLASSES_FILE
        self._census = Census()
        self._coding = None  # also while a wrong file is reported with all other faults
        self._coding = read_classes(self._path) if self._path.exists() else None

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        coding = self._coding
        if coding is not None and coding.colours is not None:
            return coding.decode(mask_pixels(data, name, drop_alpha=True), name)
        pixels = mask_pixels(data, name)
        values = self._census.count(pixels, name)
        has_colours = pixels.ndim == 3 and not is_grey(pixels)
        return values if coding is None or has_colours else coding.decode(values, name)

    def checked_label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        return self.label(data, name)  # of `_coding`, or judged once all values are known

    def classes(self) -> Classes:
        if self._coding is None:
            return self._census.classes(self._path)
        if self._census.has_colours:
            raise UserError(self._census.about_colours(self._path))
        return self._coding.classes


@dataclasses.dataclass(frozen=True)
class Coding:
    """How masks encode class and void: `labels` by mask value; for RGB masks, values by colour."""

    classes: Classes
    labels: dict[int, int]
    colours: dict[Colour, int] | None = None

    def decode(
        self, pixels: Int32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"], name: str
    ) -> Int32[np.ndarray, "h w"]:
        """The label of a mask; raises LabelError for what is neither a class nor void."""
        values = look_up(pixels, self.colours or {}) if pixels.ndim == 3 else pixels
        label = np.full(values.shape, -1, np.int32)
        for value, index in self.labels.items():
            label[values == value] = index
        if (label == -1).any():
            y, x = np.argwhere(label == -1)[0]
            what = f"{'value' if values[y, x] >= 0 else 'colour'} {pixels[y, x].tolist()}"
            raise LabelError(
                f"{name}: {what} at row {y}, column {x} is neither a class nor void; list it in "
                f"{CLASSES_FILE} next to the folders (such as {EXAMPLE}), or relabel the mask"
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
        if key in fields and len(set(map(str, fields[key]))) != len(names):
            raise UserError(f"{path}: {key} {fields[key]}: expected all of them different")
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
        if (colour := _colour(void)) in colours:
            raise UserError(f"{path}: void is {void}, as is the colour of a class; take one out")
        colours[colour] = void_value
    return Coding(Classes(names, palette, void_label), labels, colours)


def _colour(triple: list[int]) -> Colour:
    r, g, b = triple
    return int(r), int(g), int(b)


Builder = Folder
