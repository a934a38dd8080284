import cv2
import numpy as np
import pytest
from PIL import Image


def test_predict_takes_images_of_any_kind_and_returns_their_size(workdir, tmp_path, jaxseg):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 255, (37, 53, 3), np.uint8))
    colour.save(folder / "colour.jpg")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("P").save(folder / "palette.gif")
    colour.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(rng.integers(0, 65535, (5, 3), np.uint16)).save(folder / "deep.tif")
    Image.new("RGB", (1, 1)).save(folder / "one.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    colour.save(tmp_path / "rotated.jpg", exif=exif)
    out = tmp_path / "out"
    code, said, _ = jaxseg(
        "predict", "--workdir", workdir, "--out", out, folder, tmp_path / "rotated.jpg"
    )
    assert code == 0
    assert "7 images" in said
    sizes = {"colour": (53, 37), "grey": (53, 37), "palette": (53, 37), "alpha": (53, 37),
             "deep": (3, 5), "one": (1, 1), "rotated": (37, 53)}  # fmt: skip
    for stem, size in sizes.items():
        mask = Image.open(out / f"{stem}.png")
        assert mask.mode == "P"
        assert mask.size == size
        assert np.asarray(mask).max() < 5
        assert Image.open(out / f"{stem}_overlay.png").width >= size[0]


def test_a_broken_image_is_listed_and_the_others_are_done(workdir, tmp_path, jaxseg):
    folder = tmp_path / "in"
    (folder / "x").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"")
    (folder / "notes.txt").touch()
    for name in ("b.png", "b.jpg", "x/c.png"):
        Image.new("RGB", (32, 32)).save(folder / name)
    out = tmp_path / "out"
    code, said, err = jaxseg("predict", "--workdir", workdir, "--out", out, folder)
    assert code == 1
    assert "3 images" in said
    assert "passed over in the folders: 1 that are no images" in said
    lines = err.splitlines()
    assert lines[-2].startswith(f"{folder}/a.jpg: the file is empty")
    assert lines[-1] == (
        f"jaxseg: error: 1 of 4 images could not be predicted, see above; the others are in {out}"
    )
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == [
        "b.jpg.png", "b.jpg_overlay.png", "b.png.png", "b.png_overlay.png",
        "x/c.png", "x/c_overlay.png",
    ]  # fmt: skip


def test_images_far_from_the_training_are_warned_of_once(workdir, tmp_path, jaxseg):
    """Which a size to predict at mends."""
    for i in range(3):
        Image.new("RGB", (224, 100 + i)).save(tmp_path / f"{i}.png")
    command = ["predict", "--workdir", workdir, "--out", tmp_path / "out", tmp_path]
    code, _, err = jaxseg(*command)
    assert code == 0
    assert err.count("warning") == 1
    assert "0.png (one of 3 such images of 3) has 224 pixels" in err
    assert "7 times" in err
    for resize in ("training", "40"):
        code, _, err = jaxseg(*command, "--resize", resize)
        assert code == 0
        assert "warning" not in err
        assert Image.open(tmp_path / "out/1.png").size == (224, 101)


def test_probabilities_are_written(workdir, tmp_path, jaxseg):
    Image.new("RGB", (32, 20)).save(tmp_path / "a.png")
    command = ["predict", "--workdir", workdir, "--out", tmp_path / "out", "--batch_size=2"]
    for kind in ("npz", "png"):
        assert jaxseg(*command, "--probabilities", kind, tmp_path / "a.png")[0] == 0
    assert np.load(tmp_path / "out/a.npz")["probabilities"].shape == (20, 32, 5)
    assert Image.open(tmp_path / "out/a_star.png").size == (32, 20)


def test_views_by_flags_are_those_of_the_config(workdir, tmp_path, jaxseg):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 37, 3), np.uint8)).save(tmp_path / "a.png")
    (workdir / "temperature.json").write_text('{"temperature": 2.5, "split": "val"}')
    flags = ["--scales=0.5,1", "--flip", "--window=32,24", "--overlap=0.25", "--temperature=run"]
    changes = ["--config.eval.scales=(0.5,1.0)", "--config.eval.flip=True",
               "--config.eval.window=(32,24)", "--config.eval.overlap=0.25",
               "--config.eval.temperature=2.5"]  # fmt: skip
    found = []
    for name, words in (("flags", flags), ("changes", changes), ("plain", [])):
        command = ["predict", "--workdir", workdir, "--out", tmp_path / name, "--probabilities=npz"]
        code, _, err = jaxseg(*command, *words, tmp_path / "a.png")
        assert code == 0, err
        found.append(np.load(tmp_path / name / "a.npz")["probabilities"])
    (workdir / "temperature.json").unlink()
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0].astype(float) - found[2]).max() > 0.01


def test_images_videos_and_rasters_in_one_go(workdir, tmp_path, jaxseg):
    rasterio = pytest.importorskip("rasterio")
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(folder / "a.png")
    for name in ("a.avi", "b.avi"):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (32, 32))
        for _ in range(3):
            writer.write(rng.integers(0, 255, (32, 32, 3), np.uint8))
        writer.release()
    (folder / "b.avi").write_bytes((folder / "b.avi").read_bytes()[:500])
    shape = {"count": 3, "height": 40, "width": 33, "dtype": "uint8"}
    place = {"crs": "EPSG:4326", "transform": rasterio.transform.from_origin(10, 50, 0.1, 0.1)}
    with rasterio.open(folder / "map.tif", "w", driver="GTiff", **shape, **place) as raster:
        raster.write(rng.integers(0, 255, (3, 40, 33), np.uint8))
    out = tmp_path / "out"
    code, said, err = jaxseg("predict", "--workdir", workdir, "--out", out, folder)
    assert code == 1
    for line in ("1 image: masks", "1 video, 3 frames: masks and overlays", "1 raster: masks in"):
        assert line in said
    assert f"{folder}/b.avi: OpenCV can't read it as a video" in err
    assert "1 of 4 files could not be predicted" in err
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == [
        "a.avi_masks/000000.png", "a.avi_masks/000001.png", "a.avi_masks/000002.png",
        "a.avi_overlay.mp4", "a.png.png", "a.png_overlay.png", "map.tif",
    ]  # fmt: skip
    for flag, message in (
        ("--probabilities=npz", "--probabilities is for images"),
        ("--resize=32", "--resize is not for rasters"),
    ):
        code, _, err = jaxseg("predict", "--workdir", workdir, "--out", out, flag, folder)
        assert code == 2
        assert message in err


def test_wrong_values_are_refused_before_anything_is_read(workdir, tmp_path, jaxseg):
    Image.new("RGB", (32, 20)).save(tmp_path / "a.png")
    command = ["predict", "--workdir", workdir, "--out", tmp_path / "out", tmp_path / "a.png"]
    mistakes = {
        "--probabilities=npy": "--probabilities is 'npy'; did you mean 'npz'? known: npz, png",
        "--resize=0": "--resize is '0', expected pixels on the longer side, or training",
        "--batch_size=many": "--batch_size is 'many', expected a number",
        "--scales=1,x": "--scales is '1,x', expected numbers",
        "--scales=1,-1": "config.eval.scales is (1.0, -1.0), expected more than 0",
        "--window=1.5": "--window is '1.5', expected whole numbers",
        "--window=1,2,3": "config.eval.window is (1, 2, 3), expected one number or rows and",
        "--overlap=1": "config.eval.overlap is 1.0, expected at least 0 and less than 1",
        "--temperature=hot": "--temperature is 'hot', expected numbers",
        "--temperature=run": "temperature is 'run', but there is no",
    }
    for flag, message in mistakes.items():
        code, _, err = jaxseg(*command, flag)
        assert code == 2
        assert message in err
    assert not (tmp_path / "out").exists()
