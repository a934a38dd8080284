"""Mask files to class indices, and back. What can't be read exactly is refused by name."""

import io
import os
from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Int32, UInt, UInt8
from PIL import Image

from jaxseg.data.images import NUMPY, bytes_of, open_image, raw_mode, read_numpy, upright
from jaxseg.data.palettes import Colour, voc_palette
from jaxseg.errors import UserError


def read_mask(
    data: bytes | os.PathLike[str], name: str, colours: Mapping[Colour, int] | None = None
) -> Int32[np.ndarray, "h w"]:
    """Decodes a mask file to the values stored in it.

    A palette file gives its indices (never its colours), a grey file of 1 to 16 bits or an array
    [h, w] in a .npy file its values. An RGB file gives what `colours` holds for each pixel's
    colour, -1 where it holds nothing; without `colours` it must be grey (r = g = b) and gives its
    grey values. Alpha is dropped; without `colours` it must be constant.

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
    is_palette = np.isin(pack(pixels), pack(np.array(voc_palette(256), np.uint8))).all()
    was = " (a palette mask saved as RGB)" if is_palette else ""
    raise UserError(
        f"{name}: RGB mask{was}, expected one channel of class indices; save it as a grey or "
        "palette PNG, or use the data set `folder` with the colours in its classes.json"
    )


def mask_pixels(
    data: bytes | os.PathLike[str], name: str, *, drop_alpha: bool = False
) -> Int32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """A mask file's values, or its colours if it is RGB; raises UserError as `read_mask` does."""
    data = bytes_of(data)
    if data.startswith(NUMPY):
        return _mask_array(read_numpy(data, name), name)
    image = open_image(data, name)
    if image.format in ("JPEG", "MPO"):
        raise UserError(f"{name}: JPEG changes a mask's values; save masks as PNG")
    # Pillow stretches 2- and 4-bit grey to 0..255 (raw mode "L;2", "L;4"): undo it
    layout = raw_mode(image)
    image = upright(image, name)
    if len(image.mode) > 1 and ";16" in layout and not image.mode.startswith("I"):
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
    values = np.asarray(image).astype(np.int32) // {"L;2": 85, "L;4": 17}.get(layout, 1)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise UserError(
            f"{name}: mask values {values.min()}..{values.max()}, expected at most 16 bits; save "
            "it as 8- or 16-bit grey PNG"
        )
    return values


def _mask_array(
    array: UInt[np.ndarray, "h w c"], name: str
) -> Int32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    channels = array.shape[-1]
    if channels == 3 and array.dtype == np.uint8:
        return array
    if channels != 1:
        raise UserError(f"{name}: mask of {channels} channels, expected [height, width]")
    return array[..., 0].astype(np.int32)


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
    width, height = open_image(data, name).size
    return height, width


def present(label: Int32[np.ndarray, "h w"]) -> list[int]:
    """The values in a mask, ascending; none may be negative."""
    # np.unique would sort all pixels first
    return np.flatnonzero(np.bincount(label.ravel())).tolist()
