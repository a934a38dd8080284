"""Image and mask files to arrays. A file that cannot be read exactly is refused by name."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxseg.data.palettes import Colour, voc_palette
from jaxseg.errors import UserError


def read_image(data: bytes | os.PathLike[str], name: str) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an image file as viewers show it: RGB, upright by its EXIF orientation.

    Palettes are looked up, grey is repeated to three channels, 16-bit grey is scaled to 8 bits
    (65535 -> 255), and alpha is dropped: the colour stored under transparent pixels shows.

    Args:
      data: the file's bytes, or its path.
      name: what errors call the file.

    Raises:
      UserError: the file is empty, truncated, not an image, or holds several frames.
    """
    data = _bytes(data)
    image = _open(data, name)
    # OpenCV decodes JPEG 2.7 times as fast as Pillow (800 to 295 images/s at 512x512), but fills
    # what a truncated file lacks with grey: it gets complete RGB or grey files, Pillow the rest.
    complete = data.rstrip(b"\0").endswith(b"\xff\xd9")
    if image.format == "JPEG" and image.mode in ("RGB", "L") and complete:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # applies EXIF
        if decoded is not None:
            return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return _rgb(_upright(image, name), name)


def as_rgb(image: Any, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    """An image in memory, or a file, as RGB in 0..255.

    Args:
      image: a path (see `read_image`), a Pillow image (likewise), or an array of shape [h, w],
        [h, w, 1], [h, w, 3] or [h, w, 4] (alpha is dropped): uint8 in 0..255, uint16 in 0..65535,
        or floating point in 0..1.
      name: what errors call an image that has no path.

    Raises:
      UserError: it is none of these, or the file can't be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), str(image))
    if isinstance(image, Image.Image):
        return _rgb(_upright(image, name), name)
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or not array.size:
        raise UserError(
            f"{name}: an array of shape {list(np.shape(image))}, expected [h, w, 3] in RGB, or "
            "[h, w] in grey"
        )
    array = _to_bytes(array[..., :3], name)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _to_bytes(array: np.ndarray, name: str) -> UInt8[np.ndarray, "h w _"]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.int32) + 128) // 257).astype(np.uint8)
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
    return np.round(array.astype(np.float32) * 255).astype(np.uint8)


def longer_side(path: Path) -> int | None:
    """Of an image file, in pixels, from its header alone; None if that can't be read."""
    try:
        with Image.open(path) as image:
            return max(image.size)
    except Exception:  # whatever is wrong with the file, reading its pixels says it better
        return None


def read_mask(
    data: bytes | os.PathLike[str], name: str, colours: Mapping[Colour, int] | None = None
) -> Int32[np.ndarray, "h w"]:
    """Decodes a mask file to the values stored in it.

    A palette file gives its indices (never its colours), a grey file of 1 to 16 bits its values. An
    RGB file gives what `colours` holds for each pixel's colour, -1 where it holds nothing; without
    `colours` it must be grey (r = g = b) and gives its grey values. Alpha is dropped; without
    `colours` it must be constant.

    Raises:
      UserError: unreadable as an image is, JPEG (which changes values), more than 16 bits, or
        colours that `colours` would have to explain.
    """
    pixels = mask_pixels(data, name, drop_alpha=colours is not None)
    if pixels.ndim == 2:
        return pixels
    if colours is not None:
        return look_up(pixels, colours)
    if is_grey(pixels):
        return pixels[..., 0].astype(np.int32)
    of_a_palette = np.isin(pack(pixels), pack(np.array(voc_palette(256), np.uint8))).all()
    was = " (a palette mask saved as RGB)" if of_a_palette else ""
    raise UserError(
        f"{name}: RGB mask{was}, expected one channel of class indices; save it as a grey or "
        "palette PNG, or use the data set `folder` with the colours in its classes.json"
    )


def mask_pixels(
    data: bytes | os.PathLike[str], name: str, *, drop_alpha: bool = False
) -> Int32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """A mask file's values, or its colours if it is RGB; raises UserError as `read_mask` does."""
    data = _bytes(data)
    image = _open(data, name)
    if image.format in ("JPEG", "MPO"):
        raise UserError(f"{name}: JPEG changes a mask's values; save masks as PNG")
    # Pillow stretches 2- and 4-bit grey to 0..255 (raw mode "L;2", "L;4"): undo it
    tile = getattr(image, "tile", None)
    raw_mode = tile[0][3] if tile else ""
    raw_mode = (raw_mode[0] if isinstance(raw_mode, tuple) else raw_mode) or ""
    image = _upright(image, name)
    if len(image.mode) > 1 and ";16" in raw_mode and not image.mode.startswith("I"):
        raise UserError(
            f"{name}: mask of {len(image.mode)} channels of 16 bits; save it as grey or palette PNG"
        )
    if image.mode in ("RGBA", "LA"):
        alpha = np.asarray(image.getchannel("A"))
        if not drop_alpha and alpha.min() != alpha.max():
            raise UserError(
                f"{name}: its transparency varies, and what it means is not known; save the mask "
                "without an alpha channel"
            )
        image = image.convert(image.mode[:-1])
    if image.mode == "RGB":
        return np.asarray(image)
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise UserError(
            f"{name}: mask of type {image.mode!r}, expected class indices; save it as 8-bit grey "
            "PNG"
        )
    values = np.asarray(image).astype(np.int32) // {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise UserError(
            f"{name}: mask values {values.min()}..{values.max()}, expected at most 16 bits; save "
            "it as 8- or 16-bit grey PNG"
        )
    return values


def is_grey(pixels: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether red, green and blue are equal in every pixel."""
    return bool((pixels[..., :1] == pixels[..., 1:]).all())


def pack(pixels: UInt8[np.ndarray, "*shape 3"]) -> Int32[np.ndarray, "*shape"]:
    """Each colour as one number, 0xRRGGBB."""
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def look_up(
    pixels: UInt8[np.ndarray, "h w 3"], colours: Mapping[Colour, int]
) -> Int32[np.ndarray, "h w"]:
    """What `colours` holds for each pixel's colour, -1 where it holds nothing."""
    packed = pack(pixels)
    values = np.full(packed.shape, -1, np.int32)
    for (red, green, blue), value in colours.items():
        values[packed == (red << 16 | green << 8 | blue)] = value
    return values


def encode_mask(label: Int32[np.ndarray, "h w"]) -> bytes:
    """A grey PNG, 8 bits if the values fit, else 16: what every decoder reads alike."""
    out = io.BytesIO()
    depth = np.uint8 if label.max(initial=0) <= 255 else np.uint16
    Image.fromarray(label.astype(depth)).save(out, "PNG")
    return out.getvalue()


def decode_mask(data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
    """What `encode_mask` wrote, by OpenCV: twice as fast as `read_mask`, for grey PNG alone."""
    label = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if label is None:
        raise UserError(f"{name}: its prepared label is damaged; remove the data and prepare again")
    return label.astype(np.int32)


def mask_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of what `encode_mask` wrote, from its header."""
    width, height = _open(data, name).size
    return height, width


def present(label: Int32[np.ndarray, "h w"]) -> list[int]:
    """The values in a mask, ascending; none may be negative."""
    # np.unique would sort all pixels first
    return np.flatnonzero(np.bincount(label.ravel())).tolist()


def _bytes(data: bytes | os.PathLike[str]) -> bytes:
    return data if isinstance(data, bytes) else Path(data).read_bytes()


def _open(data: bytes, name: str) -> Image.Image:
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
        raise UserError(f"{name}: holds {frames} images; save each as a file of its own")
    return image


def _upright(image: Image.Image, name: str) -> Image.Image:
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # OSError for most truncated files, but not for every format
        raise UserError(f"{name}: truncated or damaged ({error}); copy it again") from error


def _rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own convert() would clip at 255
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise UserError(
                f"{name}: 32-bit grey values {grey.min()}..{grey.max()}, expected at most 16 bits; "
                "save it as 8- or 16-bit grey"
            )
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode == "F":
        raise UserError(f"{name}: floating point image; save it as 8- or 16-bit grey or RGB")
    return np.array(image.convert("RGB"))
