"""GeoTIFFs keep their place on Earth, and are predicted as images are."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg.errors import UserError
from jaxseg.prediction import raster

rasterio = pytest.importorskip("rasterio")
from rasterio.transform import from_origin  # noqa: E402

PLACE = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_800_000, 0.25, 0.25)}


@pytest.fixture(scope="module")
def model(run_with_averages):
    return jaxseg.load(run_with_averages)


@pytest.fixture
def write(tmp_path):
    def run(pixels, name="a.tif", **profile):
        path = tmp_path / name
        count, height, width = pixels.shape
        shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype.name}
        with rasterio.open(path, "w", driver="GTiff", **shape, **{**PLACE, **profile}) as out:
            out.write(pixels)
        return path

    return run


def noise(*shape, dtype: Any = np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize(
    ("size", "views"),
    [((300, 47), {}), ((7, 5), {}), ((90, 40), {"window": (64, 32), "flip": True})],
)
def test_the_mask_is_that_of_the_whole_image_in_the_rasters_grid(
    model, write, tmp_path, size, views
):
    """By windows of the training's crops, 32x32, or of the size that was asked for."""
    pixels = noise(3, *size)
    path = write(pixels, tiled=True, blockxsize=64, blockysize=64, compress="lzw")
    assert raster.predict(model.with_views(**views), path, tmp_path / "out") == size[0] * size[1]
    seen = model.with_views(**{"window": 32, **views})
    expected = seen.predict_batch([np.moveaxis(pixels, 0, -1)], probabilities=False)[0].mask
    with rasterio.open(tmp_path / "out.tif") as found:
        np.testing.assert_array_equal(found.read(1), expected)
        assert (found.crs.to_epsg(), found.transform) == (32633, PLACE["transform"])
        assert (found.dtypes, found.nodata) == (("uint8",), 255)
        assert found.colormap(1)[1][:3] == model.palette[1]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_pixels_without_data_have_no_class(model, write, tmp_path):
    pixels = np.maximum(noise(3, 40, 50), 1)
    pixels[:, :8, :9] = 0
    raster.predict(model, write(pixels, nodata=0), tmp_path / "out")
    with rasterio.open(tmp_path / "out.tif") as found:
        expected = np.zeros((40, 50), bool)
        expected[:8, :9] = True
        np.testing.assert_array_equal(found.read(1) == 255, expected)


@pytest.mark.parametrize(
    "pixels", [noise(1, 20, 30), np.maximum(noise(4, 20, 30), 1), noise(3, 20, 30, dtype=np.uint16)]
)
def test_grey_more_bands_and_16_bits(model, write, tmp_path, pixels):
    raster.predict(model, write(pixels), tmp_path / "out")
    image = np.moveaxis(pixels[:3], 0, -1)
    expected = model.predict(image if len(pixels) > 1 else image[..., 0], probabilities=False)
    with rasterio.open(tmp_path / "out.tif") as found:
        np.testing.assert_array_equal(found.read(1), expected.mask)


def test_only_tiffs_with_a_place_are_rasters(write, tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        plain = write(noise(3, 4, 4), "b.tif", crs=None, transform=None)
    Image.new("RGB", (4, 4)).save(tmp_path / "c.tiff")
    (tmp_path / "d.tif").write_bytes(b"II*\0")
    found = [raster.is_raster(path) for path in (plain, tmp_path / "c.tiff", tmp_path / "d.tif")]
    assert found == [False, False, False]
    assert raster.is_raster(write(noise(3, 4, 4)))
    assert raster.is_raster(write(noise(3, 4, 4), "e.TIF", BIGTIFF="YES"))


def test_what_can_not_be_is_one_line(model, write, tmp_path, monkeypatch):
    path = write(noise(3, 40, 50).astype(np.int16))
    with pytest.raises(UserError, match=r"a\.tif: an array of int16, expected uint8"):
        raster.predict(model, path, tmp_path / "out")
    path.write_bytes(write(noise(3, 400, 500), "b.tif").read_bytes()[:9000])
    with pytest.raises(UserError, match=r"a\.tif"):
        raster.predict(model, path, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UserError, match=r"needs rasterio.*pip install jaxseg\[geo\]"):
        raster.predict(model, path, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.slow
def test_a_raster_of_10000_pixels_a_side_needs_little_memory(run_with_averages, tmp_path):
    """Of the whole command; the raster alone has 300 MB, its probabilities would have 2 GB."""
    path, side = tmp_path / "large.tif", 10_000
    shape = {"count": 3, "height": side, "width": side, "dtype": "uint8"}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **layout, **PLACE) as out:
        for row in range(0, side, 256):
            rows = min(256, side - row)
            window = rasterio.windows.Window(0, row, side, rows)
            out.write(np.tile(noise(3, 256, 100), (1, 1, 100))[:, :rows], window=window)
    code = (
        "import sys\n"
        "from jaxseg import cli, memory\n"
        "code = cli.main(sys.argv[1:])\n"
        "print(code, memory.peak_resident())"
    )

    def peak(path):
        command = ["predict", "--workdir", run_with_averages, "--out", tmp_path / "out",
                   "--window=512", "--overlap=0.25", path]  # fmt: skip
        words = [sys.executable, "-c", code, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        status, found = done.stdout.splitlines()[-1].split()
        assert status == "0", done.stderr
        return int(found)

    assert peak(path) < 1.2 * 2**30
    with rasterio.open(tmp_path / "out/large.tif") as found:
        assert found.shape == (side, side)
        assert found.transform == PLACE["transform"]
