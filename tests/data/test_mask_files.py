"""Masks are read exactly, or refused by name."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.mask_files import decode_mask, encode_mask, present, read_mask
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), np.uint8)
INDICES = RNG.integers(0, 5, (12, 20), np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_file_is_refused_by_name(kind):
    data = encoded(Image.fromarray(INDICES), kind)
    with pytest.raises(UserError, match=r"dog\.x: (truncated|JPEG|not an image)"):
        read_mask(data[: len(data) * 2 // 3], "dog.x")


def test_palette_mask_gives_indices_not_colours():
    image = Image.fromarray(INDICES, "P")
    image.putpalette(RNG.integers(0, 256, 768, np.uint8).tobytes())
    np.testing.assert_array_equal(read_mask(encoded(image), "a"), INDICES)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_mask_gives_its_values(depth):
    values = (INDICES.astype(depth) * 40).astype(depth)
    values[0, 0] = np.iinfo(depth).max
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(values)), "a"), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_mask_of_few_bits_gives_its_values(bits):
    """Written by hand, as Pillow does not write them: one row of the values 0 .. 2**bits - 1."""
    values = list(range(1 << bits))
    packed = int("".join(f"{v:0{bits}b}" for v in values).ljust(8, "0"), 2)
    row = b"\0" + packed.to_bytes(max(1, bits * len(values) // 8), "big")

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    png += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read_mask(png, "a"), [values])


def test_rgb_mask_needs_colours():
    colours = {(0, 0, 0): 4, (255, 0, 0): 0}
    pixels = np.array([[[0, 0, 0], [255, 0, 0], [9, 9, 9]]], np.uint8)
    data = encoded(Image.fromarray(pixels))
    with pytest.raises(UserError, match=r"m: RGB mask, .*classes\.json"):
        read_mask(data, "m")
    np.testing.assert_array_equal(read_mask(data, "m", colours), [[4, 0, -1]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_saved_with_more_channels_gives_its_values(mode):
    values = INDICES * 40
    mask = Image.fromarray(values).convert(mode)
    np.testing.assert_array_equal(read_mask(encoded(mask), "m"), values)


def test_what_transparency_means_must_be_clear():
    alpha = np.where(INDICES > 2, 255, 0).astype(np.uint8)
    image = Image.fromarray(np.dstack([RGB * 0 + 200, alpha]))  # the shape is in the alpha alone
    with pytest.raises(UserError, match="m: its transparency varies"):
        read_mask(encoded(image), "m")
    assert (read_mask(encoded(image), "m", {(200, 200, 200): 3}) == 3).all()


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_mask_of_16_bits_a_channel_is_refused(kind, channels):
    """Pillow would give the high byte of each, which is 0 for 255 classes."""
    values = np.full((4, 5, channels), 3, np.uint16)
    data = cv2.imencode(f".{kind}", values)[1].tobytes()
    with pytest.raises(UserError, match=f"m: mask of {channels} channels of 16 bits"):
        read_mask(data, "m")


@pytest.mark.parametrize("value", [-1, 70000, 2**31 - 1])
def test_mask_values_of_more_than_16_bits_are_refused(value):
    data = encoded(Image.fromarray(np.array([[0, value]], np.int32)), "TIFF")
    with pytest.raises(UserError, match=rf"m: mask values .*{value}.*at most 16 bits"):
        read_mask(data, "m")


def test_jpeg_mask_is_refused():
    with pytest.raises(UserError, match="m: JPEG changes"):
        read_mask(encoded(Image.fromarray(INDICES), "JPEG"), "m")


@pytest.mark.parametrize("largest", [255, 256, 65535])
def test_encoded_mask_comes_back(largest):
    label = np.array([[0, 3, largest]], np.int32)
    for reader in (read_mask, decode_mask):
        np.testing.assert_array_equal(reader(encode_mask(label), "a"), label)


def test_present():
    assert present(np.array([[3, 0], [255, 3]], np.int32)) == [0, 3, 255]


def test_an_array_in_a_file_gives_its_values(tmp_path):
    for values in (INDICES, INDICES.astype(np.uint16) * 300, INDICES[..., None]):
        np.save(tmp_path / "m.npy", values)
        np.testing.assert_array_equal(
            read_mask(tmp_path / "m.npy", "m"), values.reshape(INDICES.shape)
        )
    np.save(tmp_path / "m.npy", np.zeros((2, 3, 5), np.uint8))
    with pytest.raises(UserError, match=r"m: mask of 5 channels, expected \[height, width\]"):
        read_mask(tmp_path / "m.npy", "m")
