"""Reads every image and mask of a data set once, and reports everything that is wrong at once."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from jaxseg.data import digests, tiff
from jaxseg.data.causes import describe
from jaxseg.data.faults import Fault, error_of
from jaxseg.data.images import read_image
from jaxseg.data.layout import Layout, Pair
from jaxseg.data.mask_files import encode_mask
from jaxseg.data.pipeline.reading import WORKERS, read_ahead
from jaxseg.data.pixels import PixelFormat
from jaxseg.data.source import Classes, LabelError
from jaxseg.errors import UserError

if TYPE_CHECKING:
    from jaxseg.data.builder import SegmentationBuilder

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Checked:
    """An example to store."""

    image: bytes  # of its file
    label: bytes  # a PNG, see `encode_mask`
    digest: bytes  # of the example
    image_digest: bytes
    pixels: PixelFormat  # as stored


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
        return error_of(self._faults, self._source, self._about())

    def _about(self) -> dict[str, str]:
        """What all wrong masks hold together, and why they may."""
        values: Counter[int] = Counter()
        for fault in self._faults:
            values.update(fault.values)
        classes = getattr(self._builder, "CLASSES", None)
        if not values or classes is None:
            return {}
        return {"value": describe(values, len(classes), classes.void)}

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
    files = pair.image, pair.mask
    image = _attempt(lambda: _image(pair, builder), pair.image, "image", faults)
    label = _attempt(lambda: builder.read_label(pair), pair.mask, "mask", faults, files)
    if image is None or label is None:
        return faults
    data, (height, width), pixels = image
    if (height, width) != label.shape:
        mask_height, mask_width = label.shape
        text = (
            f"{pair.image}: {width}x{height} (upright by its EXIF orientation), its mask "
            f"{pair.mask.name} is {mask_width}x{mask_height}; make both one size"
        )
        return [Fault("size", text, files=(pair.image, pair.mask))]
    image_digest = digests.image_digest(data)
    digest = digests.example_digest(pair.name.encode(), image_digest, label)
    return Checked(data, encode_mask(label), digest, image_digest, pixels)


def _image(
    pair: Pair, builder: "SegmentationBuilder"
) -> tuple[bytes, tuple[int, int], PixelFormat]:
    """The file to store, and of what it decodes to height and width, channels and bits."""
    data = builder.image(pair)
    try:
        image = read_image(data, str(pair.image), None)
    except tiff.NoGdalError:  # not needed for RGB of 8 bits, which is the default
        image = read_image(data, str(pair.image))
    height, width, channels = image.shape
    return data, (height, width), PixelFormat(channels, 8 * image.itemsize)


def _attempt(
    action: Callable[[], T],
    path: Path,
    kind: str,
    faults: list[Fault],
    files: tuple[Path, ...] = (),
) -> T | None:
    """What `action` reads; None, and another fault, if it can't."""
    try:
        return action()
    except LabelError as error:
        faults.append(Fault("value", str(error), values=error.values, files=files))
    except UserError as error:
        faults.append(Fault(kind, str(error), files=files))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        faults.append(Fault(kind, f"{path}: can't be read ({reason}); repair or remove it"))
    return None
