import dataclasses

import numpy as np
from PIL import Image

from jaxseg import data
from jaxseg.defaults import Dataset

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=1"]


def test_data_show_and_stats(tmp_path, jaxseg):
    words = [*QUICK, "--config.dataset.train_examples=5"]
    show = ["data", "show", *words, "--out", tmp_path / "grid.png"]
    code, out, _ = jaxseg(*show, "--count=3")
    assert code == 0
    assert out.startswith("3 of 5 examples")
    assert Image.open(tmp_path / "grid.png").width > 1600
    code, _, err = jaxseg(*show, "--count=0")
    assert (code, "--count is 0, expected 1 or more" in err) == (2, True)
    label_map = "--config.dataset.label_map=(('round','circle'),'square')"
    code, out, _ = jaxseg("data", "stats", *words, label_map)
    assert code == 0
    assert "5 images" in out
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["round", "square", "void"]


def test_data_check_says_what_is_wrong_with_records_and_with_files(tmp_path, jaxseg):
    root = tmp_path / "d"
    for split in ("train", "val"):
        for i in range(12):
            folder = root / split
            rng = np.random.default_rng(i if i < 2 else i + 100 * len(split))  # two are in both
            for kind, pixels in (
                ("images", rng.integers(0, 256, (32, 32, 3))),
                ("masks", rng.integers(0, 2, (32, 32))),
            ):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{split}_{i}.png")
    config = ["--config", "configs/folder.py:unet,width=4,depth=1", "--data_dir", tmp_path / "out"]
    config.append(f"--config.dataset.source={root}")
    code, out, err = jaxseg("data", "check", *config, "--out", tmp_path / "suspects.png")
    assert code == 1
    assert "wrong: 2 examples of val are in train too, identical: val_0 (train_0)" in out
    assert "class_1" in out
    assert "1 thing to repair" in err
    assert Image.open(tmp_path / "suspects.png").width > 400
    for name in ("val_0", "val_1"):
        for kind in ("images", "masks"):
            (root / f"val/{kind}/{name}.png").unlink()
    code, out, err = jaxseg("data", "check", *config)
    assert (code, out.splitlines()[-1]) == (0, "nothing is wrong"), err
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(root / "val/masks/val_3.png")
    (root / "val/images/val_4.png").write_bytes(b"")
    (root / "val/masks/val_5.png").unlink()
    Image.fromarray(np.zeros((30, 32), np.uint8)).save(root / "val/masks/val_5.png")
    code, _, err = jaxseg("data", "check", *config, "--out", tmp_path / "faults.png")
    assert code == 1
    for said in ("value 7", "val_4.png: the file is empty", "val_5.png is 32x30"):
        assert said in err
    assert Image.open(tmp_path / "faults.png").width > 400


def test_a_set_of_the_catalogue_has_one_folder_of_downloads(jaxseg):
    words = ["data", "prepare", "tfds", "--builder", "cityscapes", "--source", "a", "--source", "b"]
    code, _, err = jaxseg(*words)
    assert code == 2
    assert "--source is given 2 times, expected once" in err


def test_images_that_are_trained_and_validated_on_are_known_without_a_check(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    for split, images in (("train", pixels), ("val", pixels[:1])):
        for kind in ("images", "masks"):
            (tmp_path / f"d/{split}/{kind}").mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / f"d/{split}/images/{split}{i}.png")
            Image.fromarray(image[..., 0] % 2).save(tmp_path / f"d/{split}/masks/{split}{i}.png")
    dataset = Dataset(name="folder", source=str(tmp_path / "d"), data_dir=str(tmp_path / "out"))
    said = data.leak(dataset)
    assert said.startswith("1 of the images to validate on (val) are in train too: val0; ")
    assert data.leak(dataclasses.replace(dataset, val_split="train[:1]")) == ""
    assert data.others(dataclasses.replace(dataset, val_split="train[:1]")) == ["val"]
