import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.images import (
    as_rgb,
    decode_mask,
    encode_mask,
    longer_side,
    present,
    read_image,
    read_mask,
)
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), np.uint8)
INDICES = RNG.integers(0, 5, (12, 20), np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def smooth_photo() -> Image.Image:
    y, x = np.mgrid[:48, :64]
    return Image.fromarray(np.stack([4 * x, 5 * y, 2 * (x + y)], -1).astype(np.uint8))


def test_rgb_png_and_a_path(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(RGB)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", "a"), RGB)


def test_jpeg_equals_pillow():
    data = encoded(smooth_photo(), "JPEG", quality=95)
    reference = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(read_image(data, "a").astype(int) - reference).max() <= 2


def test_grey_jpeg_is_repeated():
    data = encoded(smooth_photo().convert("L"), "JPEG")
    image = read_image(data, "a")
    assert image.shape == (48, 64, 3)
    assert (image == image[..., :1]).all()


def test_palette_image_gives_its_colours():
    image = Image.fromarray(INDICES, "P")
    image.putpalette(RNG.integers(0, 256, 768, np.uint8).tobytes())
    np.testing.assert_array_equal(read_image(encoded(image), "a"), np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_not_blended():
    rgba = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])  # wholly transparent
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(rgba)), "a"), RGB)
    la = np.dstack([INDICES, INDICES])
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(la)), "a")[..., 1], INDICES)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(kind):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    image = read_image(encoded(Image.fromarray(values), kind), "a")
    np.testing.assert_array_equal(image[..., 2], np.round(values / 257))


def test_one_bit_image_is_black_and_white():
    bits = Image.fromarray(INDICES > 2)
    np.testing.assert_array_equal(read_image(encoded(bits), "a")[..., 0], 255 * (INDICES > 2))


def test_cmyk_jpeg():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = read_image(data, "a")[4, 4].astype(int)
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation, kind):
    """Against numpy: what each of the eight EXIF values means."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = smooth_photo()
    stored = np.asarray(Image.open(io.BytesIO(encoded(photo, kind))))
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(stored, 1),
    }[orientation]
    got = read_image(encoded(photo, kind, exif=exif), "a")
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_truncated_file_is_refused_by_name(kind, reader):
    data = encoded(Image.fromarray(RGB) if reader is read_image else Image.fromarray(INDICES), kind)
    with pytest.raises(UserError, match=r"dog\.x: (truncated|JPEG|not an image)"):
        reader(data[: len(data) * 2 // 3], "dog.x")


def test_truncated_jpeg_with_a_complete_thumbnail_is_refused():
    thumbnail = encoded(smooth_photo(), "JPEG")  # ends in the marker that a whole file ends in
    exif = b"Exif\0\0" + thumbnail
    data = encoded(Image.fromarray(np.tile(RGB, (20, 20, 1))), "JPEG", exif=exif)
    with pytest.raises(UserError, match="dog: truncated"):
        read_image(data[: len(data) * 2 // 3], "dog")


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"hello, world", "not an image")])
def test_no_image_is_refused_by_name(data, reason):
    with pytest.raises(UserError, match=f"dog: .*{reason}") as caught:
        read_image(data, "dog")
    assert "BytesIO" not in str(caught.value)


def test_a_stack_is_refused():
    pages = [Image.fromarray(INDICES)] * 3
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match="stack: holds 3 images"):
        read_image(data, "stack")


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


def test_an_image_in_memory_may_have_any_usual_form(tmp_path):
    expected = np.repeat(INDICES[..., None] * 51, 3, -1)
    grey = expected[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    forms = {
        "path": tmp_path / "grey.png",
        "name": str(tmp_path / "grey.png"),
        "pillow": Image.fromarray(grey),
        "grey": grey,
        "one channel": grey[..., None],
        "rgb": expected,
        "alpha": np.dstack([expected, np.zeros_like(grey)]),
        "uint16": grey.astype(np.uint16) * 257,
        "float": (grey / 255).astype(np.float32),
        "half": expected.astype(np.float64) / 255,
        "not contiguous": np.asfortranarray(expected),
    }
    for form, image in forms.items():
        found = as_rgb(image)
        assert found.dtype == np.uint8, form
        assert found.flags.c_contiguous, form
        np.testing.assert_array_equal(found, expected, err_msg=form)


def test_a_pillow_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(smooth_photo(), "JPEG", exif=exif)
    np.testing.assert_allclose(
        as_rgb(Image.open(io.BytesIO(data))), read_image(data, "a").astype(int), atol=2
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 3, 3, 1), np.uint8), r"photo: an array of shape \[2, 3, 3, 1\], expected"),
        (np.zeros((2, 3, 2), np.uint8), r"shape \[2, 3, 2\]"),
        (np.zeros((0, 3, 3), np.uint8), r"shape \[0, 3, 3\]"),
        (np.full((2, 2), 213.0), r"values 213\.\.213, expected 0\.\.1"),
        (np.full((2, 2), -0.5), r"values -0\.5"),
        (np.full((2, 2), np.nan), "values nan"),
        (np.zeros((2, 2), np.int64), "an array of int64, expected uint8"),
        (np.zeros((2, 2), bool), "an array of bool"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(UserError, match=message):
        as_rgb(image, "photo")


def test_the_longer_side_is_read_from_the_header(tmp_path):
    image = smooth_photo()
    image.save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-50])  # the header is whole
    (tmp_path / "none.jpg").write_bytes(b"")
    assert [longer_side(tmp_path / f"{n}.jpg") for n in ("a", "cut", "none")] == [64, 64, None]
