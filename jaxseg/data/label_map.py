"""Merged, dropped, reordered and renamed classes: `config.dataset.label_map`, applied on reading.

Each of its entries is a class of the run, in the run's order: the name of a class that stays as it
is, or a tuple of a new name and the classes that it is made of.

    ("road", ("vehicle", "car", "bus"), ("person", "pedestrian"))

keeps road as class 0, merges car and bus into class 1, and renames pedestrian as class 2. A class
that no entry names becomes void. A merged class has the colour of the first of its classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32

from jaxseg.data.source import Classes, Example, Source, Wrapper
from jaxseg.errors import UserError, suggest

LabelMap = Sequence[str | Sequence[str]]


def mapped_classes(classes: Classes, label_map: LabelMap) -> Classes:
    """The classes that a data set with these has under `label_map`; those themselves without one.

    Raises:
      UserError: a class that the data set lacks or that two entries name, or two of one new name.
    """
    if not label_map:
        return classes
    parts = _parts(classes, label_map)
    palette = tuple(classes.palette[old[0]] for old in parts.values())
    return Classes(tuple(parts), palette, classes.void)


class Mapped(Wrapper):
    """A source with the classes of a label map."""

    def __init__(self, source: Source, label_map: LabelMap) -> None:
        super().__init__(source)
        self.classes = mapped_classes(source.classes, label_map)
        # values that are neither class nor void stay: they are no class of the map either, which
        # has no more of them, and the check of the label names them
        self._table = np.arange(source.classes.void + 1, dtype=np.int32)
        self._table[: len(source.classes)] = source.classes.void
        for new, old in enumerate(_parts(source.classes, label_map).values()):
            self._table[old] = new

    def __getitem__(self, index: int, /) -> Example:
        example = self._source[index]
        label = self._mapped(example["label"])
        return {"image": example["image"], "label": label, "name": example["name"]}

    def _mapped(self, label: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
        if label.size and (label.min() < 0 or label.max() >= len(self._table)):
            known = (label >= 0) & (label < len(self._table))
            return np.where(known, self._table[np.where(known, label, 0)], label)
        return self._table[label]


def _parts(classes: Classes, label_map: LabelMap) -> Mapping[str, list[int]]:
    """The indices of the classes that each new class is made of, by its name."""
    found: dict[str, list[int]] = {}
    owner: dict[str, str] = {}
    for entry in label_map:
        if not entry:
            raise UserError("config.dataset.label_map has an empty entry: give it a class's name")
        new, *old = (entry,) if isinstance(entry, str) else entry
        if new in found:
            raise UserError(f"config.dataset.label_map has two entries for {new!r}: make them one")
        for name in old or [new]:
            if name not in classes.names:
                raise UserError(
                    f"config.dataset.label_map: the data set has no class {name!r}; "
                    f"{suggest(name, classes.names)}; an entry is a class, or (new name, class, "
                    "...)"
                )
            if name in owner:
                raise UserError(
                    f"config.dataset.label_map has class {name!r} in {owner[name]!r} and in "
                    f"{new!r}: take it out of one of them"
                )
            owner[name] = new
        found[new] = [classes.names.index(name) for name in old or [new]]
    return found
