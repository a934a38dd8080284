import numpy as np
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


def test_wrong_values_are_refused_before_anything_is_read(workdir, tmp_path, jaxseg):
    Image.new("RGB", (32, 20)).save(tmp_path / "a.png")
    command = ["predict", "--workdir", workdir, "--out", tmp_path / "out", tmp_path / "a.png"]
    mistakes = {
        "--probabilities=npy": "--probabilities is 'npy'; did you mean 'npz'? known: npz, png",
        "--resize=0": "--resize is '0', expected pixels on the longer side, or training",
        "--batch_size=many": "--batch_size is 'many', expected a number",
    }
    for flag, message in mistakes.items():
        code, _, err = jaxseg(*command, flag)
        assert code == 2
        assert message in err
    assert not (tmp_path / "out").exists()
