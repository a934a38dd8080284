"""Grey and five bands of 16 bits, from files to masks: every number of every stage is the same."""

import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg import parallel, runs
from jaxseg.cli import main
from jaxseg.data.images import read_image
from jaxseg.data.pixels import PixelFormat
from jaxseg.errors import UserError

rasterio = pytest.importorskip("rasterio")
tifffile = pytest.importorskip("tifffile")

BITS, LARGEST = 16, 40_000
SMALL = {
    "total_steps": 2, "batch_size": 2, "eval.every": 2, "eval.batch_size": 2, "log_every": 1,
    "augment.crop_size": (32, 32), "augment.saturation": 0.0, "schedule.warmup_steps": 0,
    "num_predictions": 1, "dataset.bits": BITS,
}  # fmt: skip


def write(folder, channels):
    """Images of which one channel alone tells the classes apart, as TIFF."""
    rng = np.random.default_rng(channels)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("images", "masks"):
            (folder / split / name).mkdir(parents=True)
        for i in range(count):
            mask = np.zeros((32, 32), np.uint8)
            mask[i : i + 12, 8:20] = 1
            image = rng.integers(0, LARGEST, (32, 32, channels), np.uint16)
            image[..., -1] += np.uint16(25_000) * mask
            form = {"photometric": "minisblack", "planarconfig": "contig" if channels > 1 else None}
            stored = image if channels > 1 else image[..., 0]
            tifffile.imwrite(folder / f"{split}/images/{i}.tif", stored, **form)
            Image.fromarray(mask).save(folder / f"{split}/masks/{i}.png")


@pytest.fixture(scope="module", params=[pytest.param(1, marks=pytest.mark.slow), 5])
def trained(request, tmp_path_factory):
    """The folder of a run and that of its images, trained by the command on one device."""
    channels, place = request.param, tmp_path_factory.mktemp(f"channels{request.param}")
    write(place / "data", channels)
    changes = {
        **SMALL, "dataset.source": place / "data", "dataset.data_dir": place / "tfds",
        "dataset.channels": channels, "dataset.mean": (20_000.0,) * channels,
        "dataset.std": (11_500.0,) * channels,
    }  # fmt: skip
    words = [f"--config.{key}={value}" for key, value in changes.items()]
    config = "--config=configs/folder.py:unet,width=4,depth=1"
    with pytest.MonkeyPatch.context() as patch:
        one = functools.partial(parallel.create, devices=jax.devices()[:1])
        patch.setattr(parallel, "create", one)
        assert main(["train", config, "--workdir", str(place / "run"), *words]) == 0
        yield place / "run", place / "data"


def test_masks_of_the_files_have_the_scores_of_the_evaluation(trained, tmp_path):
    """By the command, of files; by `predict`, of arrays."""
    workdir, source = trained
    model, val = jaxseg.load(workdir), source / "val"
    words = ["predict", "--workdir", workdir, "--out", tmp_path, val / "images"]
    assert main(list(map(str, words))) == 0
    confusion = np.zeros(4, int)
    for name in ("0", "1"):
        mask = np.asarray(Image.open(tmp_path / f"{name}.png"))
        found = model.predict(tifffile.imread(val / f"images/{name}.tif"), probabilities=False)
        np.testing.assert_array_equal(found.mask, mask)
        assert found.image.dtype == np.uint16
        truth = np.asarray(Image.open(val / f"masks/{name}.png")).astype(int)
        confusion += np.bincount(2 * truth.ravel() + mask.ravel(), minlength=4)
    scores = json.loads((workdir / "eval/val/2.json").read_text())
    np.testing.assert_array_equal(confusion, np.ravel(scores["confusion"]))
    assert len(list((workdir / "predictions").glob("*.png"))) == 1


def test_the_parameters_are_of_so_many_channels_and_see_all_bits(trained):
    workdir, source = trained
    model = jaxseg.load(workdir)
    channels = model.pixels.channels
    assert model.variables["params"]["encoder"]["level0"]["conv1"]["kernel"].shape[2] == channels
    image = read_image(source / "val/images/0.tif", "0", model.pixels)
    shifted = image.copy()
    shifted[..., -1] += 100  # less than one level of 8 bits
    logits = [model.apply(model.variables, np.stack([image, shifted])[i : i + 1]) for i in (0, 1)]
    assert np.abs(np.asarray(logits[0]) - np.asarray(logits[1])).max() > 1e-5


def test_rgb_is_converted_for_grey_and_refused_for_bands(trained, tmp_path, capsys):
    workdir, _ = trained
    model = jaxseg.load(workdir)
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    words = ["predict", "--workdir", workdir, "--out", tmp_path / "out", tmp_path / "photo.png"]
    code = main(list(map(str, words)))
    if model.pixels.channels == 1:
        assert code == 0
        luma = PixelFormat(1, BITS).convert(photo, "photo")
        expected = model.predict(luma, probabilities=False).mask
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/photo.png")), expected)
        assert Image.open(tmp_path / "out/photo_overlay.png").mode == "RGB"
    else:
        assert code == 1
        assert "photo.png: 3 channels, expected 5: " in capsys.readouterr().err
        with pytest.raises(UserError, match="image 0: 3 channels, expected 5"):
            model.predict(photo)


def test_a_raster_of_these_bands_is_predicted_in_its_grid(trained, tmp_path):
    workdir, source = trained
    model = jaxseg.load(workdir)
    image = read_image(source / "train/images/3.tif", "3", model.pixels)
    profile = {
        "driver": "GTiff", "height": 32, "width": 32, "count": image.shape[-1], "dtype": "uint16",
        "crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5e6, 10, 10),
    }  # fmt: skip
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as out:
        out.write(np.moveaxis(image, -1, 0))
    words = ["predict", "--workdir", workdir, "--out", tmp_path / "out", tmp_path / "a.tif"]
    assert main(list(map(str, words))) == 0
    expected = model.with_views(window=32).predict(image, probabilities=False).mask
    with rasterio.open(tmp_path / "out/a.tif") as found:
        np.testing.assert_array_equal(found.read(1), expected)


def test_a_run_keeps_its_channels_and_bits(trained):
    workdir, _ = trained
    for change in ("--config.dataset.bits=8", "--config.dataset.channels=2"):
        with pytest.raises(UserError, match=r"was trained with dataset\.channels=\d, bits=16, not"):
            runs.open_run(workdir, changes=[change])
