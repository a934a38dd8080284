"""Reads every image and mask of a data set once, and reports everything that is wrong at once."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from jaxseg.data import digests
from jaxseg.data.faults import Fault, error_of
from jaxseg.data.images import encode_mask, read_image
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.pipeline.reading import read_ahead
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError

if TYPE_CHECKING:
    from jaxseg.data.builder import SegmentationBuilder

T = TypeVar("T")

WORKERS = min(os.cpu_count() or 1, 8)


@dataclasses.dataclass(frozen=True)
class Checked:
    """An example to store."""

    image: bytes  # of its file
    label: bytes  # a PNG, see `encode_mask`
    digest: bytes


class Check:
    """One pass over all files, in order, by threads that are a few files ahead.

    Args:
      builder: reads the masks and tells the classes.
      source: the folder.
      layout: what is in it.
    """

    def __init__(self, builder: "SegmentationBuilder", source: Path, layout: Layout) -> None:
        self._builder, self._source = builder, source
        self._faults = list(layout.faults)
        self._pairs = [pair for listed in layout.pairs.values() for pair in listed]
        self._begun = True  # else it is known to be wrong which class is which
        self._masks_read = 0
        try:
            builder.begin(source)
        except UserError as error:
            self._faults.append(Fault("classes", str(error), len(self._pairs)))
            self._begun = False
        jobs = (functools.partial(check_pair, pair, builder) for pair in self._pairs)
        results = read_ahead(jobs, WORKERS, ahead=4 * WORKERS)
        total = len(self._pairs)
        self._results = iter(tqdm(results, "checking", total, unit="image", disable=None))

    def examples(self, pairs: list[Pair]) -> Iterator[tuple[Pair, Checked]]:
        """Each of these pairs, the next ones of the layout, with what is stored of it.

        Raises:
          UserError: something is wrong; all files have been read, and it lists all faults.
        """
        for pair in pairs:
            if self._faults:
                raise self.error()
            found = self._note(next(self._results))
            if found is not None:
                yield pair, found
        if self._faults:
            raise self.error()

    def classes(self) -> Classes:
        """The classes, once all examples have been taken; raises UserError as `examples` does."""
        try:
            return self._builder.classes()
        except UserError:  # as `error` finds again
            raise self.error() from None

    def error(self) -> UserError:
        """All faults, those of what is still to be read too."""
        for found in self._results:
            self._note(found)
        if self._begun and self._masks_read:
            try:
                self._builder.classes()
            except UserError as error:
                self._faults.append(Fault("classes", str(error), len(self._pairs)))
        return error_of(self._faults, self._source)

    def _note(self, found: Checked | list[Fault]) -> Checked | None:
        if isinstance(found, Checked):
            self._masks_read += 1
            return found
        self._masks_read += all(fault.kind != "mask" for fault in found)
        self._faults += found
        return None


def check_pair(pair: Pair, builder: "SegmentationBuilder") -> Checked | list[Fault]:
    """What is stored of an example, or all that is wrong with it.

    Either file may be unreadable, their sizes may differ, or a value be neither class nor void.
    """
    faults: list[Fault] = []
    image = _read(pair.image, "image", lambda *args: read_image(*args).shape[:2], faults)
    mask = _read(pair.mask, "mask", builder.checked_label, faults)
    if image is None or mask is None:
        return faults
    (data, (height, width)), (_, label) = image, mask
    if (height, width) != label.shape:
        mask_height, mask_width = label.shape
        text = (
            f"{pair.image}: {width}x{height} (upright by its EXIF orientation), its mask "
            f"{pair.mask.name} is {mask_width}x{mask_height}; make both one size"
        )
        return [Fault("size", text)]
    digest = digests.of_example(pair.name.encode(), data, label)
    return Checked(data, encode_mask(label), digest)


def _read(
    path: Path, kind: str, decode: Callable[[bytes, str], T], faults: list[Fault]
) -> tuple[bytes, T] | None:
    """A file's bytes and what `decode` makes of them; None, and another fault, if it can't."""
    try:
        data = path.read_bytes()
        return data, decode(data, str(path))
    except LabelError as error:
        faults.append(Fault("value", str(error)))
    except UserError as error:
        faults.append(Fault(kind, str(error)))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        faults.append(Fault(kind, f"{path}: can't be read ({reason}); repair or remove it"))
    return None
