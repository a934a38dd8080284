"""TIFFs of many channels, against what tifffile and rasterio wrote."""

import builtins
import io

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.data.images import read_image
from jaxseg.data.pixels import PixelFormat
from jaxseg.errors import UserError

rasterio = pytest.importorskip("rasterio")
tifffile = pytest.importorskip("tifffile")
from rasterio.io import MemoryFile  # noqa: E402

BANDS = np.random.default_rng(0).integers(0, 65536, (6, 9, 5), np.uint16)
FIVE = PixelFormat(5, 16)


def written(array: np.ndarray, photometric: str = "minisblack", **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, photometric=photometric, **options)
    return out.getvalue()


@pytest.mark.parametrize("how", ["bands", "planes", "pages", "big", "lzw"])
def test_however_five_channels_are_stored_they_come_back(how):
    if how == "lzw":
        with MemoryFile() as file:
            shape = {"height": 6, "width": 9, "count": 5, "dtype": "uint16"}
            place = rasterio.transform.from_origin(0, 0, 1, 1)
            with file.open(driver="GTiff", compress="lzw", transform=place, **shape) as out:
                out.write(np.moveaxis(BANDS, -1, 0))
            data = bytes(file.getbuffer())
    else:
        channels_first = how in ("planes", "pages")
        array = np.moveaxis(BANDS, -1, 0) if channels_first else BANDS
        config = {"planes": "separate", "pages": None}.get(how, "contig")
        data = written(array, planarconfig=config, bigtiff=how == "big")
    np.testing.assert_array_equal(read_image(data, "a", FIVE), BANDS)
    np.testing.assert_array_equal(read_image(data, "a", None), BANDS)


def test_rgb_of_16_bits_keeps_them_and_four_bands_are_rgb_and_another():
    rgb = np.ascontiguousarray(BANDS[..., :3])
    data = written(rgb, "rgb")
    np.testing.assert_array_equal(read_image(data, "a", PixelFormat(3, 16)), rgb)
    high = (rgb >> 8).astype(np.uint8)
    np.testing.assert_array_equal(read_image(data, "a"), high)  # as without bits=16
    four = np.ascontiguousarray(BANDS[..., :4] >> 8).astype(np.uint8)
    data = written(four, planarconfig="contig")
    np.testing.assert_array_equal(read_image(data, "a", PixelFormat(4)), four)
    np.testing.assert_array_equal(read_image(data, "a"), four[..., :3])


def test_a_stack_is_no_rgb_image():
    data = written(np.moveaxis(BANDS[..., :3], -1, 0))
    for form in (PixelFormat(3, 16), PixelFormat(1)):
        with pytest.raises(UserError, match="stack: holds 3 images"):
            read_image(data, "stack", form)


def test_what_is_wrong_with_a_file_is_said_in_one_line():
    data = written(BANDS, planarconfig="contig")
    with pytest.raises(UserError, match="a: 5 channels, expected 3") as caught:
        read_image(data, "a")
    assert "--config.dataset.channels=5" in str(caught.value)
    for cut in (data[:-80], data[: len(data) // 2]):
        with pytest.raises(UserError, match="a: truncated or damaged") as caught:
            read_image(cut, "a", FIVE)
        assert "\n" not in str(caught.value)
    signed = written(BANDS.astype(np.float32), planarconfig="contig")
    with pytest.raises(UserError, match="a: values of float32, expected uint8 or uint16"):
        read_image(signed, "a", FIVE)


@pytest.fixture
def without_rasterio(monkeypatch):
    def without(name, *args, **kwargs):
        if name.startswith("rasterio"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)


def test_without_rasterio_the_error_names_the_extra(without_rasterio):
    with pytest.raises(UserError, match=r"a: .*pip install jaxseg\[geo\].*\.npy"):
        read_image(written(BANDS, planarconfig="contig"), "a", FIVE)


def test_rgb_of_16_bits_is_prepared_without_rasterio(
    without_rasterio, folder, tmp_path, make_dataset
):
    """It is needed for all 16 bits, but not for the 8 that are read by default."""
    path = folder / "train/images/t0.png"
    image = np.asarray(Image.open(path)).astype(np.uint16) << 8
    path.with_suffix(".tif").write_bytes(written(image, "rgb"))
    path.unlink()
    data.prepare("folder", folder, tmp_path / "out")
    source = data.load(make_dataset(data_dir=str(tmp_path / "out"), source=str(folder)), "train")
    (prepared,) = (e["image"] for e in (source[i] for i in range(5)) if e["name"] == "t0")
    np.testing.assert_array_equal(prepared, image >> 8)
