import io

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.images import as_pixels, longer_side, read_image
from jaxseg.data.pixels import ChannelsError, PixelFormat
from jaxseg.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (12, 20, 3), np.uint16)
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
def test_truncated_file_is_refused_by_name(kind):
    data = encoded(Image.fromarray(RGB), kind)
    with pytest.raises(UserError, match=r"dog\.x: (truncated|not an image)"):
        read_image(data[: len(data) * 2 // 3], "dog.x")


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
        found = as_pixels(image)
        assert found.dtype == np.uint8, form
        assert found.flags.c_contiguous, form
        np.testing.assert_array_equal(found, expected, err_msg=form)


def test_a_pillow_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(smooth_photo(), "JPEG", exif=exif)
    np.testing.assert_allclose(
        as_pixels(Image.open(io.BytesIO(data))), read_image(data, "a").astype(int), atol=2
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 3, 3, 1), np.uint8), r"photo: an array of shape \[2, 3, 3, 1\], expected"),
        (np.zeros((2, 3, 2), np.uint8), r"photo: 2 channels, expected 3"),
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
        as_pixels(image, "photo")


def test_the_longer_side_is_read_from_the_header(tmp_path):
    image = smooth_photo()
    image.save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-50])  # the header is whole
    (tmp_path / "none.jpg").write_bytes(b"")
    assert [longer_side(tmp_path / f"{n}.jpg") for n in ("a", "cut", "none")] == [64, 64, None]


GREY_8, GREY_16, RGB_16 = PixelFormat(1), PixelFormat(1, 16), PixelFormat(3, 16)


def deep_png(values: np.ndarray) -> bytes:
    """Written by OpenCV, for Pillow writes no 16-bit colours."""
    reverse = {3: [2, 1, 0], 4: [2, 1, 0, 3]}[values.shape[-1]]
    return cv2.imencode(".png", np.ascontiguousarray(values[..., reverse]))[1].tobytes()


def test_the_same_file_in_every_format_of_pixels():
    """Of 16-bit colours, of bytes and of grey; luma in 64-bit floating point."""
    data, luma = deep_png(DEEP), DEEP @ [0.299, 0.587, 0.114]
    np.testing.assert_array_equal(read_image(data, "a", RGB_16), DEEP)
    np.testing.assert_array_equal(read_image(data, "a", None), DEEP)
    assert np.abs(read_image(data, "a", GREY_16)[..., 0] - luma).max() < 1.5
    assert np.abs(read_image(data, "a", GREY_8)[..., 0] - luma / 257).max() < 1.1
    photo = encoded(Image.fromarray(RGB))
    np.testing.assert_array_equal(read_image(photo, "a", RGB_16), 257 * RGB.astype(np.uint16))
    grey = encoded(Image.fromarray(DEEP[..., 0]))
    np.testing.assert_array_equal(read_image(grey, "a", GREY_16), DEEP[..., :1])
    assert (read_image(grey, "a", RGB_16) == DEEP[..., :1]).all()
    alpha = np.dstack([DEEP, DEEP[..., 0]])
    np.testing.assert_array_equal(read_image(deep_png(alpha), "a", RGB_16), DEEP)
    np.testing.assert_array_equal(read_image(deep_png(alpha), "a", PixelFormat(4, 16)), alpha)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_kind_of_file_has_a_grey_version(mode):
    """Of grey files the values themselves: their JPEGs and PNGs are as good as masters."""
    picture = smooth_photo().convert(mode)
    data = encoded(picture, "TIFF" if mode == "CMYK" else "PNG")
    grey = read_image(data, "a", GREY_8)
    expected = np.asarray(picture.convert("RGB")).astype(float) @ [0.299, 0.587, 0.114]
    assert grey.dtype == np.uint8
    assert np.abs(grey[..., 0] - expected).max() <= (0 if mode in ("1", "L", "LA") else 1) + 1e-9
    in_memory = as_pixels(picture, "a", GREY_8)
    np.testing.assert_array_equal(in_memory, grey)


def test_arrays_in_files_may_have_any_number_of_channels(tmp_path):
    for array in (DEEP, RGB, DEEP[..., 0], RNG.integers(0, 9, (4, 5, 7), np.uint8)):
        np.save(tmp_path / "a.npy", array)
        whole = array if array.ndim == 3 else array[..., None]
        np.testing.assert_array_equal(read_image(tmp_path / "a.npy", "a", None), whole)
    np.save(tmp_path / "a.npy", DEEP.astype(">u2"))
    np.testing.assert_array_equal(as_pixels(tmp_path / "a.npy", "a", RGB_16), DEEP)
    np.save(tmp_path / "a.npy", RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", "a"), RGB)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4, 2), np.float32), r"an array of float32\[3, 4, 2\], expected uint8 or"),
        (np.zeros((2, 3, 4, 2), np.uint8), r"an array of uint8\[2, 3, 4, 2\]"),
        (np.zeros((0, 4, 2), np.uint8), r"an array of uint8\[0, 4, 2\]"),
        (np.array([[{}]]), "no NumPy array that can be read .*pickle"),
    ],
)
def test_other_arrays_are_refused_by_name(array, reason, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=f"dog: {reason}"):
        read_image(tmp_path / "a.npy", "dog")
    np.save(tmp_path / "b.npy", RGB)
    with pytest.raises(UserError, match="cut: no NumPy array"):
        read_image((tmp_path / "b.npy").read_bytes()[:200], "cut")


def test_other_channels_are_refused_by_name():
    with pytest.raises(ChannelsError, match=r"dog: 3 channels, expected 5: .*channels=3"):
        read_image(encoded(Image.fromarray(RGB)), "dog", PixelFormat(5))
    with pytest.raises(ChannelsError, match=r"dog: 5 channels, expected 1 \(grey"):
        as_pixels(np.zeros((2, 3, 5), np.uint8), "dog", GREY_8)


def test_floating_point_values_have_full_scale_in_every_depth():
    half = np.full((2, 2, 4), 0.5)
    assert (as_pixels(half, "a", PixelFormat(4, 16)) == 32768).all()
    assert (as_pixels(half, "a", PixelFormat(4)) == 128).all()
