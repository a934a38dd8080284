"""The command as a person uses it: good runs, and mistakes that get one clear line."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxseg import cli

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=2"]


def jaxseg(capsys, *argv):
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of a few steps, trained by the command itself."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    overrides = {
        "total_steps": 4, "batch_size": 8, "dataset.image_size": "(32, 32)",
        "dataset.train_examples": 16, "dataset.val_examples": 5, "augment.crop_size": "(32, 32)",
        "eval.batch_size": 8, "eval.every": 2, "num_predictions": 2,
    }  # fmt: skip
    argv = [f"--config.{key}={value}" for key, value in overrides.items()]
    assert cli.main(["train", *QUICK, "--workdir", str(folder), *argv]) == 0
    return folder


@pytest.mark.parametrize("argv", [[], ["train"], ["evaluate"], ["predict"], ["data"]])
def test_help_is_instant_and_shows_an_example(argv):
    command = [sys.executable, "-m", "jaxseg.cli", *argv, "--help"]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        times.append(time.perf_counter() - start)
    assert "Example:\n  jaxseg " in out
    assert min(times) < 0.5


def test_evaluate_writes_what_it_prints(workdir, capsys):
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", workdir, "--step", "latest")
    assert code == 0
    written = json.loads((workdir / "eval/val.json").read_text())
    assert written["examples"] == 5
    assert written["step"] == 4
    assert f"{100 * written['iou']['circle']:.2f}" in out
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", workdir, "--split", "train")
    assert code == 0
    assert json.loads((workdir / "eval/train.json").read_text())["examples"] == 16


def test_evaluate_repeats_the_number_of_training(workdir, capsys):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    trained = {row["step"]: row["val/miou"] for row in rows if "val/miou" in row}
    for step in (2, 4):
        jaxseg(capsys, "evaluate", "--workdir", workdir, "--step", step)
        assert json.loads((workdir / "eval/val.json").read_text())["miou"] == trained[step]


def test_predict_takes_images_of_any_kind_and_returns_their_size(workdir, tmp_path, capsys):
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
        capsys, "predict", "--workdir", workdir, "--out", out, folder, tmp_path / "rotated.jpg"
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


def test_a_users_own_folder_is_prepared_trained_and_predicted(tmp_path, capsys):
    """One command from a folder of pictures to a trained model."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for kind in ("images", "masks"):
            (tmp_path / "mine" / split / kind).mkdir(parents=True)
        for i in range(count):
            mask = np.zeros((40, 48), np.uint8)
            mask[rng.integers(0, 20) :, rng.integers(0, 20) :] = 1
            image = np.stack([mask * 150 + 50] * 3, -1)
            Image.fromarray(image).save(tmp_path / f"mine/{split}/images/{i}.jpg")
            Image.fromarray(mask).save(tmp_path / f"mine/{split}/masks/{i}.png")
    names = {"names": ["ground", "thing"], "colours": [[0, 0, 0], [255, 0, 0]]}
    (tmp_path / "mine/classes.json").write_text(json.dumps(names))
    code, out, err = jaxseg(
        capsys, "train", "--config", "configs/folder.py:unet,width=4,depth=2",
        f"--config.dataset.source={tmp_path / 'mine'}", "--data_dir", tmp_path / "data",
        "--config.total_steps=3", "--config.batch_size=8", "--config.eval.batch_size=8",
        "--config.augment.crop_size=(32, 32)", "--workdir", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    assert "thing" in out
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", tmp_path / "run")
    assert code == 0
    assert "3 images" in out


MISTAKES = {
    "command": (["trian"], "no command 'trian'; did you mean 'train'"),
    "no config": (["train", "--workdir", "x"], "train needs --config"),
    "config file": (["train", "--config", "configs/nope.py"], "no config file 'configs/nope.py'"),
    "flag": (["train", *QUICK, "--workdri=x"], "no flag --workdri; did you mean '--workdir'"),
    "no workdir": (["train", *QUICK], "train needs --workdir"),
    "stray word": (["train", *QUICK, "x"], "train takes flags only, got x"),
    "parallel": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.parallel=pjit"],
        "config.parallel is 'pjit'; did you mean",
    ),
    "dtype": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.dtype=float16"],
        "config.dtype is 'float16'; did you mean",
    ),
    "no data": (
        ["train", "--config", "configs/camvid.py", "--workdir", "{tmp}/a", "--data_dir", "{tmp}"],
        "camvid is not prepared in {tmp}; run: jaxseg data prepare camvid --source DIR",
    ),
    "no run": (["evaluate", "--workdir", "{tmp}"], "{tmp} is not a run: it has no config.json"),
    "no image": (
        ["predict", "--workdir", "{tmp}", "--out", "o", "a.jpg"],
        "no file or folder 'a.jpg'",
    ),
    "data action": (["data", "prepra"], "expected prepare, show or stats, got 'prepra'"),
    "data set": (
        ["data", "prepare", "camvd", "--source", "{tmp}"],
        "unknown data set 'camvd'; did you mean 'camvid'",
    ),
    "no source": (["data", "prepare", "camvid"], "data prepare needs --source"),
    "source": (["data", "prepare", "camvid", "--source", "{tmp}/x"], "no such folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2(mistake, tmp_path, capsys):
    argv, message = MISTAKES[mistake]
    code, out, err = jaxseg(capsys, *[word.replace("{tmp}", str(tmp_path)) for word in argv])
    assert code == 2
    assert out == ""
    assert err.startswith("jaxseg: error: ")
    assert message.replace("{tmp}", str(tmp_path)) in err
    assert err.count("\n") == 1


def test_a_broken_image_is_named(workdir, tmp_path, capsys):
    (tmp_path / "empty.jpg").write_bytes(b"")
    code, _, err = jaxseg(
        capsys, "predict", "--workdir", workdir, "--out", tmp_path / "o", tmp_path / "empty.jpg"
    )
    assert code == 2
    assert "empty.jpg" in err
    assert err.count("\n") == 1


def test_data_show_and_stats(tmp_path, capsys):
    code, _, _ = jaxseg(capsys, "data", "show", *QUICK, "--out", tmp_path / "grid.png")
    assert code == 0
    assert Image.open(tmp_path / "grid.png").width > 500
    code, out, _ = jaxseg(capsys, "data", "stats", *QUICK, "--config.dataset.train_examples=5")
    assert code == 0
    assert "5 images" in out
    assert "class_weights" in out
