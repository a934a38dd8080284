"""README's first hour with your own pictures: every command of it, in its order, made small."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxseg.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()
CONFIGS = Path(__file__).parent.parent / "configs"
HOUR = README[README.index("### Your own pictures") :].partition("\n## ")[0]
SMALL = [
    "--config.total_steps=2", "--config.batch_size=8", "--config.augment.crop_size=(32, 32)",
    "--config.schedule.warmup_steps=0", "--config.eval.every=1", "--config.log_every=1",
]  # fmt: skip


def block(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", HOUR, re.DOTALL)
    return found


def commands():
    lines = (shlex.split(line, comments=True) for line in block("sh").splitlines())
    return [words for words in lines if words]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, as after README's set-up: configs, DIR, photo.jpg and more_photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    (tmp_path / "configs").symlink_to(CONFIGS)
    for name in ("DIR/images", "DIR/masks", "more_photos/inside"):
        (tmp_path / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(10):
        mask = np.zeros((40, 48), np.uint8)
        mask[i : i + 12, 8:30] = 1
        image = rng.integers(0, 60, (40, 48, 3)).astype(np.uint8) + 150 * mask[..., None]
        Image.fromarray(image).save(tmp_path / f"DIR/images/{i}.png")
        Image.fromarray(mask).save(tmp_path / f"DIR/masks/{i}.png")
    for name in ("photo.jpg", "more_photos/inside/a.png"):
        Image.fromarray(image).save(tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_every_command_of_it(here, capsys):
    said = {}
    for program, *words in commands():
        assert program == "jaxseg"
        if words[0] == "train":
            words = [
                w.replace("folder.py", "folder.py:unet,width=4,depth=1") for w in words
            ] + SMALL
        assert main(words) == 0, words
        said[words[0]] = capsys.readouterr()
    assert list(said) == ["data", "train", "plot", "report", "predict"]
    assert "no val split: 2 of 10 images" in said["data"].err
    assert "no val split: 2 of 10 images" in said["train"].err
    assert "2 images: masks and overlays in out" in said["predict"].out
    for name in (
        "runs/my/curves.png", "runs/my/report.html", "out/photo.png", "out/photo_overlay.png",
        "out/inside/a.png",
    ):  # fmt: skip
        assert (here / name).stat().st_size, name

    python = block("python").replace("quickstart.py", "quickstart.py:unet,width=4,depth=1")
    values: dict[str, Any] = {"images": np.zeros((1, 40, 48, 3), np.uint8)}
    exec(python.replace('"total_steps": 200', '"total_steps": 2'), values)
    assert values["prediction"].mask.shape == (40, 48)
    assert values["logits"].shape == (1, 40, 48, 2)
    assert values["scores"]["examples"] > 0
