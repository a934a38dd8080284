"""Counts what masks hold that come without a classes.json, and finds their classes by it."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from jaxseg.data import proposal
from jaxseg.data.mask_files import is_grey, pack
from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError

MOST_COLOURS = 2**16  # that are counted one by one: photographs have more


class Census:
    """The pixels of every value and every colour in all masks; several threads may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # "indices" of grey and palette files, "greys" (r = g = b) and "colours" of RGB files
        self._pixels = {kind: Counter[int]() for kind in ("indices", "greys", "colours")}
        self._masks = Counter[str]()
        self._example: dict[str | int, str] = {}  # of each kind and value, the first mask by name
        self._uncounted = 0  # pixels of colours beyond MOST_COLOURS

    def count(
        self, pixels: Int32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"], name: str
    ) -> Int32[np.ndarray, "h w"]:
        """Adds a mask; returns its values, or zeros for one of colours, which have no values."""
        if pixels.ndim == 3 and not is_grey(pixels):
            found, counts = np.unique(pack(pixels), return_counts=True)
            self._add("colours", name, dict(zip(found.tolist(), counts.tolist(), strict=True)))
            return np.zeros(pixels.shape[:2], np.int32)
        kind = "indices" if pixels.ndim == 2 else "greys"
        values = pixels if pixels.ndim == 2 else pixels[..., 0].astype(np.int32)
        counts = np.bincount(values.ravel())
        self._add(kind, name, {int(v): int(counts[v]) for v in np.flatnonzero(counts)})
        return values

    def _add(self, kind: str, name: str, counts: dict[int, int]) -> None:
        with self._lock:
            self._masks[kind] += 1
            for key in (kind, *(counts if kind != "colours" else ())):
                self._example[key] = min(name, self._example.get(key, name))
            pixels = self._pixels[kind]
            pixels.update(counts)
            if kind == "colours" and len(pixels) > MOST_COLOURS:
                kept = Counter(dict(pixels.most_common(MOST_COLOURS // 2)))
                self._uncounted += pixels.total() - kept.total()
                self._pixels[kind] = kept

    def classes(self, path: Path) -> Classes:
        """class_0, class_1, ..., if the masks hold 0, 1, 2, ... and perhaps 255 for void.

        Raises:
          UserError: they hold other values, a single class, colours, or more values than are
            likely to be classes. It shows what to write to `path`, a classes.json.
        """
        texts = [self.about_colours(path)] if self.has_colours else []
        values = self._pixels["indices"] + self._pixels["greys"]
        found = sorted(values)
        indices = [value for value in found if value != 255]
        in_a_row = indices == [*range(len(indices))]
        if not (in_a_row and 2 <= len(indices) <= proposal.MOST_CLASSES) and not self._are_colours:
            odd = next((v for i, v in enumerate(found) if v != i), found[-1])
            about = proposal.for_values(values, path)
            texts.append(f"{self._example[odd]}: value {odd}; {about}")
        if texts:
            raise UserError("\n".join(texts))
        names = tuple(f"class_{i}" for i in indices)
        return Classes(names, default_palette(names))

    @property
    def has_colours(self) -> bool:
        """Whether a mask holds colours."""
        return self._masks["colours"] > 0

    @property
    def _are_colours(self) -> bool:
        """Whether RGB is how the masks are saved, and not what happened to a few of them."""
        return self._masks["colours"] > self._masks["indices"]

    def about_colours(self, path: Path) -> str:
        """What is wrong with masks of colours."""
        example, count = self._example["colours"], self._masks["colours"]
        indices, other = self._masks["indices"], self._example.get("indices")
        if not self._are_colours:
            return (
                f"{example}: an RGB mask, as are {count} of {count + indices}; the rest, such as "
                f"{other}, hold indices; save all of them as grey or palette PNG"
            )
        colours = Counter({proposal.unpacked(c): n for c, n in self._pixels["colours"].items()})
        colours.update({(v, v, v): n for v, n in self._pixels["greys"].items()})
        rest = f" ({indices} others, such as {other}, hold indices)" if indices else ""
        return (
            f'{example}: an RGB mask, and no "colours" in a classes.json say which class is which '
            f"colour; the {count + self._masks['greys']} RGB masks{rest} hold "
            f"{proposal.for_colours(colours, self._uncounted, path)}"
        )
