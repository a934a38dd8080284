"""The interface of a data set: classes, a length, and examples by index."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt

from jaxseg.data.causes import value_counts
from jaxseg.data.palettes import BLACK, Colour
from jaxseg.data.pixels import PixelFormat
from jaxseg.errors import UserError


class LabelError(UserError):
    """A label that is neither a class nor void.

    `values` are the pixels by value of the whole label, where labels are class indices.
    """

    def __init__(self, text: str, values: Mapping[int, int] | None = None) -> None:
        super().__init__(text)
        self.values = dict(values or {})


class Example(TypedDict):
    """One labelled image (see `pixels`); the name is its source file's stem."""

    image: UInt[np.ndarray, "h w c"]
    label: Int32[np.ndarray, "h w"]
    name: str


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a data set: label i is `names[i]`, drawn in RGB `palette[i]`.

    `void` is the label of ignored pixels: neither the loss nor a metric counts them.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    void: int = 255

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise UserError(f"class names {list(self.names)}: expected one or more, all different")
        if len(self.palette) != len(self.names):
            raise UserError(
                f"{len(self.palette)} colours for {len(self.names)} class names: "
                "give one RGB triple for each class"
            )
        if any(len(c) != 3 or min(c) < 0 or max(c) > 255 for c in self.palette):
            raise UserError(f"palette {list(self.palette)}: expected RGB triples in 0..255")
        if not len(self.names) <= self.void <= 65535:
            raise UserError(
                f"void id {self.void} with {len(self.names)} classes: "
                f"choose one in {len(self.names)}..65535 that no class uses, usually 255"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def background(self) -> int | None:
        """0 if class 0 is black, which marks it as a background that pictures leave unpainted."""
        return 0 if self.palette[0] == BLACK else None

    def difference(self, other: "Classes") -> str | None:
        """What these say that `other` does not, in one line; colours do not matter.

        Such as "label 1 is 'cell', not 'membrane' (the same names in another order)".
        """
        found = []
        if len(self) != len(other):
            found.append(f"{len(self)} classes, not {len(other)}")
        pairs = enumerate(zip(self.names, other.names, strict=False))
        if first := next(((i, a, b) for i, (a, b) in pairs if a != b), None):
            reordered = sorted(self.names) == sorted(other.names)
            order = " (the same names in another order)" if reordered else ""
            found.append("label {} is {!r}, not {!r}".format(*first) + order)
        if self.void != other.void:
            found.append(f"void is {self.void}, not {other.void}")
        return "; ".join(found) or None

    def check_label(self, label: Int32[np.ndarray, "h w"], name: str, fix: str) -> None:
        """Raises LabelError, naming the file, if a value is neither a class nor void."""
        outside = ((label < 0) | (label >= len(self))) & (label != self.void)
        if outside.any():
            values = np.unique(label[outside]).tolist()
            shown = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
            raise LabelError(
                f"{name}: label value(s) {shown}, expected 0..{len(self) - 1} or void {self.void}; "
                f"{fix}",
                value_counts(label),
            )

    def to_dict(self) -> dict[str, Any]:
        """Lists, strings and ints only: goes through JSON and back by `from_dict`."""
        return {"names": list(self.names), "palette": [*map(list, self.palette)], "void": self.void}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Classes":
        palette = tuple((int(r), int(g), int(b)) for r, g, b in fields["palette"])
        return cls(tuple(fields["names"]), palette, int(fields["void"]))


@runtime_checkable
class Source(Protocol):
    """One split of a data set. Reading is deterministic and safe from several threads."""

    @property
    def classes(self) -> Classes: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...

    def size(self, index: int, /) -> tuple[int, int]:
        """Height and width of an example, known without decoding it."""
        ...


class Wrapper:
    """What sources have in common that give another one's examples, changed or kept."""

    def __init__(self, source: Source) -> None:
        self.classes = source.classes
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int, /) -> tuple[int, int]:
        return self._source.size(index)


class Cached(Wrapper):
    """A source whose decoded examples stay in memory once read.

    A pixel of uint8 RGB takes 7 bytes with its int32 label: CamVid's training set is 0.44 GB.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._examples: dict[int, Example] = {}

    def __getitem__(self, index: int, /) -> Example:
        # two threads may both decode the same example: wasteful once, never wrong
        if index not in self._examples:
            example = self._source[index]
            # every reader shares these arrays: writing to one would change the next epoch
            example["image"].setflags(write=False)
            example["label"].setflags(write=False)
            self._examples[index] = example
        return self._examples[index]


class Converted(Wrapper):
    """A source whose images are converted to another format of pixels."""

    def __init__(self, source: Source, pixels: PixelFormat) -> None:
        super().__init__(source)
        self._pixels = pixels

    def __getitem__(self, index: int, /) -> Example:
        example = self._source[index]
        image = self._pixels.convert(example["image"], example["name"])
        return {"image": image, "label": example["label"], "name": example["name"]}
