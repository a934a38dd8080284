"""Image files to arrays. A file that cannot be read exactly is refused by name."""

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt, UInt8, UInt16
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxseg.data import tiff
from jaxseg.data.pixels import RGB, PixelFormat
from jaxseg.errors import UserError

NUMPY = b"\x93NUMPY"  # how files of numpy.save begin


def read_image(
    data: bytes | os.PathLike[str], name: str, pixels: PixelFormat | None = RGB
) -> UInt[np.ndarray, "h w c"]:
    """Decodes an image file as viewers show it, upright by its EXIF orientation.

    In RGB of 8 bits, palettes are looked up, grey is repeated to three channels, 16-bit grey is
    scaled to 8 bits (65535 -> 255), and alpha is dropped: the colour stored under transparent
    pixels shows. Other numbers of channels come from such files too (see `PixelFormat.convert`),
    from TIFFs with so many bands or, unless it is 1 or 3, pages (see `tiff.read`), and from arrays
    [h, w] or [h, w, channels] in .npy files.

    Args:
      data: the file's bytes, or its path.
      name: what errors call the file.
      pixels: the format to give. None: the channels and bits that are stored.

    Raises:
      ChannelsError: the file has other channels.
      UserError: it is empty, truncated, not an image, or holds several frames.
    """
    data = bytes_of(data)
    if pixels == RGB and not data.startswith(NUMPY) and not tiff.needs_gdal(data, as_rgb=True):
        return _read_rgb(data, name)
    stored = _read_stored(data, name, pages=pixels is None or pixels.channels not in (1, 3))
    return stored if pixels is None else pixels.convert(stored, name)


def _read_rgb(data: bytes, name: str) -> UInt8[np.ndarray, "h w 3"]:
    image = open_image(data, name)
    # OpenCV decodes JPEG 2.7 times as fast as Pillow (800 to 295 images/s at 512x512), but fills
    # what a truncated file lacks with grey: it gets complete RGB or grey files, Pillow the rest.
    complete = data.rstrip(b"\0").endswith(b"\xff\xd9")
    if image.format == "JPEG" and image.mode in ("RGB", "L") and complete:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # applies EXIF
        if decoded is not None:
            return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return _rgb(upright(image, name), name)


def _read_stored(data: bytes, name: str, *, pages: bool) -> UInt[np.ndarray, "h w c"]:
    """All channels and bits of a file; of grey with alpha, the grey."""
    if data.startswith(NUMPY):
        return read_numpy(data, name)
    if tiff.needs_gdal(data, as_rgb=False):
        return tiff.read(data, name, pages=pages)
    image = open_image(data, name)
    if image.format == "PNG" and ";16" in raw_mode(image) and image.mode in ("RGB", "RGBA"):
        upright(image, name)  # refuses a damaged file, of which OpenCV gives a part
        code = {"RGB": cv2.COLOR_BGR2RGB, "RGBA": cv2.COLOR_BGRA2RGBA}[image.mode]
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if deep is None:
            raise UserError(f"{name}: OpenCV can't read this PNG of 16 bits; save it again")
        return np.asarray(cv2.cvtColor(deep, code))
    if image.mode in ("1", "L", "LA"):
        return _read_rgb(data, name)[..., :1]
    if image.mode == "RGBA":
        return np.array(upright(image, name))
    if image.mode.startswith("I"):
        return _deep_grey(upright(image, name), name)[..., None]
    return _read_rgb(data, name)


def read_numpy(data: bytes, name: str) -> UInt[np.ndarray, "h w c"]:
    """What numpy.save wrote."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, MemoryError) as error:
        raise UserError(f"{name}: no NumPy array that can be read ({error}); save it again") from (
            None
        )
    array = array[..., None] if array.ndim == 2 else array
    kind = array.dtype.newbyteorder("=")
    if array.ndim != 3 or not array.size or kind not in (np.uint8, np.uint16):
        raise UserError(
            f"{name}: an array of {array.dtype}{list(array.shape)}, expected uint8 or uint16 of "
            "[height, width, channels] or [height, width]; convert it and save it again"
        )
    return array.astype(kind)


def as_pixels(
    image: Any, name: str = "image", pixels: PixelFormat = RGB
) -> UInt[np.ndarray, "h w c"]:
    """An image in memory, or a file, in a format.

    Args:
      image: a path (see `read_image`), a Pillow image (likewise), or an array of shape [h, w] or
        [h, w, channels], converted as `PixelFormat.convert` says: uint8 in 0..255, uint16 in
        0..65535, or floating point in 0..1.
      name: what errors call an image that has no path.
      pixels: the format.

    Raises:
      UserError: it is none of these, has other channels, or the file can't be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), str(image), pixels)
    if isinstance(image, Image.Image):
        return pixels.convert(_pillow_pixels(upright(image, name), name), name)
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size:
        kind = {1: "[h, w] in grey", 3: "[h, w, 3] in RGB, or [h, w] in grey"}
        expected = kind.get(pixels.channels, f"[h, w, {pixels.channels}]")
        raise UserError(f"{name}: an array of shape {list(np.shape(image))}, expected {expected}")
    return pixels.convert(_array_pixels(array, name, pixels), name)


def _pillow_pixels(image: Image.Image, name: str) -> UInt[np.ndarray, "h w c"]:
    if image.mode.startswith("I"):
        return _deep_grey(image, name)[..., None]
    if image.mode in ("1", "L", "LA"):
        return _rgb(image, name)[..., :1]
    return np.array(image) if image.mode == "RGBA" else _rgb(image, name)


def _array_pixels(array: np.ndarray, name: str, pixels: PixelFormat) -> UInt[np.ndarray, "h w _"]:
    """With floating point values in full scale."""
    if array.dtype in (np.uint8, np.uint16):
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"{name}: an array of {array.dtype}, expected uint8 in 0..255, uint16 in 0..65535 or "
            "floating point in 0..1"
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # NaN too
        raise UserError(
            f"{name}: floating point values {low:.4g}..{high:.4g}, expected 0..1; convert values "
            "in 0..255 with .astype('uint8')"
        )
    largest = np.iinfo(pixels.dtype).max
    return np.round(array.astype(np.float32) * largest).astype(pixels.dtype)


def longer_side(path: Path) -> int | None:
    """Of an image file, in pixels, from its header alone; None if that can't be read."""
    try:
        with Image.open(path) as image:
            return max(image.size)
    except Exception:  # whatever is wrong with the file, reading its pixels says it better
        return None


def bytes_of(data: bytes | os.PathLike[str]) -> bytes:
    return data if isinstance(data, bytes) else Path(data).read_bytes()


def open_image(data: bytes, name: str) -> Image.Image:
    """Reads the header only; the pixels are decoded when they are asked for."""
    if not data:
        raise UserError(f"{name}: the file is empty (0 bytes); copy it again or remove it")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:  # whose message holds the address of our buffer
        raise UserError(f"{name}: not an image that can be read; replace it") from None
    except Exception as error:  # Pillow's plugins raise errors of many types for a damaged header
        raise UserError(f"{name}: not an image that can be read ({error}); replace it") from error
    # the second frame of an MPO, as phones write it, is a preview
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        frames = getattr(image, "n_frames", 1)
        if image.format == "TIFF":
            raise tiff.several(name, frames)
        raise UserError(f"{name}: holds {frames} images; save each as a file of its own")
    return image


def raw_mode(image: Image.Image) -> str:
    """How Pillow calls the layout of the stored values, such as "RGB;16B"."""
    tile = getattr(image, "tile", None)
    mode = tile[0][3] if tile else ""
    mode = mode[0] if isinstance(mode, tuple) else mode
    return mode if isinstance(mode, str) else ""  # GIF has a number there


def upright(image: Image.Image, name: str) -> Image.Image:
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # OSError for most truncated files, but not for every format
        raise UserError(f"{name}: truncated or damaged ({error}); copy it again") from error


def _rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own convert() would clip at 255
        return RGB.convert(_deep_grey(image, name)[..., None], name)
    if image.mode == "F":
        raise UserError(f"{name}: floating point image; save it as 8- or 16-bit grey or RGB")
    return np.array(image.convert("RGB"))


def _deep_grey(image: Image.Image, name: str) -> UInt16[np.ndarray, "h w"]:
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise UserError(
            f"{name}: 32-bit grey values {grey.min()}..{grey.max()}, expected at most 16 bits; "
            "save it as 8- or 16-bit grey"
        )
    return grey.astype(np.uint16)
