"""TIFFs of any number of channels, as bands or as pages, read by GDAL (the extra `geo`).

Pillow reads grey and RGB TIFFs; it takes no others, or not all of their bits.
"""

import io
import struct
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt
from PIL import TiffImagePlugin

from jaxseg.data.pixels import ChannelsError
from jaxseg.errors import UserError

_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 277  # tags
_RGB, _CMYK, _YCBCR = 2, 5, 6  # values of _PHOTOMETRIC


class NoGdalError(UserError):
    """A file needs rasterio, which is not installed."""


Tags = TiffImagePlugin.ImageFileDirectory_v2


def tags_of(file: io.BufferedIOBase) -> Tags | None:
    """The tags of a TIFF's first page, from its header alone; None if it is none."""
    try:
        header = file.read(8)
        header += file.read(8) if 43 in header[2:4] else b""  # BigTIFF
        tags = Tags(header)
        file.seek(tags.next)
        tags.load(file)  # pyright: ignore[reportArgumentType]
    except (OSError, SyntaxError, struct.error, IndexError):
        return None
    return tags


def needs_gdal(data: bytes, *, as_rgb: bool) -> bool:
    """Whether a file is a TIFF whose channels Pillow doesn't give.

    Args:
      data: of any file.
      as_rgb: whether 8 bits and three channels are enough; else all that is stored counts, pages
        too.
    """
    if data[:2] not in (b"II", b"MM") or (tags := tags_of(io.BytesIO(data))) is None:
        return False
    samples = int(tags.get(_SAMPLES, 1))
    is_colour = tags.get(_PHOTOMETRIC) in (_RGB, _CMYK, _YCBCR)
    if as_rgb:
        return samples > 1 and not (is_colour and samples in (3, 4))
    deepest = max(tags.get(_BITS, (1,)))
    return tags.next != 0 or (samples > 1 and not (is_colour and samples == 3 and deepest <= 8))


def read(data: bytes, name: str, *, pages: bool) -> UInt[np.ndarray, "h w c"]:
    """All bands of a TIFF; of several pages, each page's, in their order.

    Overviews are not pages. An orientation tag is ignored.

    Args:
      data: the file.
      name: what errors call it.
      pages: whether there may be several.

    Raises:
      NoGdalError: rasterio is missing.
      ChannelsError: there are several pages.
      UserError: the file is damaged, its values are neither uint8 nor uint16, or pages differ in
        size.
    """
    memory, errors = _rasterio(name)
    try:
        with memory(data) as file, file.open(driver="GTiff") as first:
            if names := _pages(file, first):
                if not pages:
                    raise several(name, len(names))
                bands = np.concatenate([_read(file, page) for page in names])
            else:
                bands = first.read()
    except errors.RasterioError as error:
        raise UserError(f"{name}: truncated or damaged ({error}); copy it again") from None
    except ValueError:
        raise UserError(f"{name}: its pages differ in size; save one image a file") from None
    if bands.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{name}: values of {bands.dtype}, expected uint8 or uint16; convert them")
    return np.ascontiguousarray(np.moveaxis(bands, 0, -1))


def several(name: str, count: int) -> ChannelsError:
    """The error of a file with so many pages where a channel is no page."""
    return ChannelsError(
        f"{name}: holds {count} images; save each as a file of its own, or see them as channels "
        f"of one image, by --config.dataset.channels={count}"
    )


def _pages(file: Any, first: Any) -> list[str]:
    """GDAL's names of the pages of an open file; none of a single one."""
    return [name for name in first.subdatasets if name.startswith("GTIFF_DIR:")]


def _read(file: Any, page: str) -> np.ndarray:
    import rasterio

    with rasterio.open(page) as found:
        return found.read()


def _rasterio(name: str) -> tuple[Any, Any]:
    """The files in memory of rasterio, and its errors."""
    try:
        import rasterio.errors
        import rasterio.io
    except ImportError:
        raise NoGdalError(
            f"{name}: reading the channels of this TIFF takes rasterio: pip install jaxseg[geo], "
            "or save the image as a NumPy array [h, w, channels] in .npy"
        ) from None
    # where on Earth an image lies does not matter here
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    return rasterio.io.MemoryFile, rasterio.errors
