import json
import os
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=2"]


def draw(folder, count, mask_name="{}.png"):
    """folder/images and folder/masks, of two classes."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        mask = np.zeros((40, 48), np.uint8)
        mask[rng.integers(0, 20) :, rng.integers(0, 20) :] = 1
        image = np.stack([mask * 150 + 50] * 3, -1)
        Image.fromarray(image).save(folder / f"images/{i}.jpg")
        Image.fromarray(mask).save(folder / "masks" / mask_name.format(i))


def test_a_users_own_folder_is_prepared_trained_and_predicted(tmp_path, jaxseg):
    """One command from a folder of pictures to a trained model."""
    for split, count in (("train", 8), ("val", 3)):
        draw(tmp_path / "mine" / split, count)
    names = {"names": ["ground", "thing"], "colours": [[0, 0, 0], [255, 0, 0]]}
    (tmp_path / "mine/classes.json").write_text(json.dumps(names))
    code, out, err = jaxseg(
        "train", "--config", "configs/folder.py:unet,width=4,depth=1",
        f"--config.dataset.source={tmp_path / 'mine'}", "--data_dir", tmp_path / "data",
        "--config.total_steps=3", "--config.batch_size=8", "--config.eval.batch_size=8",
        "--config.augment.crop_size=(32, 32)", "--workdir", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    assert "thing" in out
    code, out, _ = jaxseg("evaluate", "--workdir", tmp_path / "run")
    assert code == 0
    assert "3 images" in out
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "mine").rename(tmp_path / "moved")
    evaluate = ("evaluate", "--workdir", tmp_path / "run", "--data_dir", tmp_path / "data")
    code, _, err = jaxseg(*evaluate)
    assert code == 2
    assert "say where it is now with --config.dataset.source=DIR" in err
    code, again, _ = jaxseg(*evaluate, f"--config.dataset.source={tmp_path / 'moved'}")
    assert code == 0
    tables = [text.partition("3 images")[2].partition("written:")[0] for text in (again, out)]
    assert tables[0] == tables[1]


def test_a_folder_without_splits_is_validated_on_a_share(tmp_path, jaxseg):
    mine, run = tmp_path / "mine", tmp_path / "run"
    draw(mine, 11, mask_name="{}_mask.png")
    train = (
        "train", "--config", "configs/folder.py:unet,width=4,depth=1",
        f"--config.dataset.source={mine}", "--data_dir", tmp_path / "data",
        "--config.total_steps=3", "--config.batch_size=8", "--config.eval.batch_size=8",
        "--config.augment.crop_size=(32, 32)", "--workdir", run,
    )  # fmt: skip
    code, out, err = jaxseg(*train)
    assert code == 0, err
    assert "note: each mask is named like its image with _mask at the end" in out
    share = "no val split: 2 of 11 images, chosen by a hash of their names, are for validation"
    assert f"{share} (train[9:])" in out + err
    assert "9 images to train, 2 to validate" in out + err
    assert json.loads((run / "run.json").read_text())["data"].endswith("val is train[9:]")
    code, out, _ = jaxseg("evaluate", "--workdir", run)
    assert code == 0
    assert "val (train[9:]): 2 images" in out
    code, out, _ = jaxseg("evaluate", "--workdir", run, "--split", "train")
    assert "train (train[:9]): 9 images" in out
    code, _, err = jaxseg("evaluate", "--workdir", run, "--split", "test")
    assert (code, err.count("\n")) == (2, 1)
    assert "has no split 'test'; it has train, or slices" in err
    stats = ("data", "stats", *train[1:4], "--data_dir", tmp_path / "data")
    code, out, err = jaxseg(*stats)
    assert share in err
    assert "9 images" in out
    # another image moves the share: neither training nor an evaluation goes on with it
    draw(mine, 12, mask_name="{}_mask.png")
    code, _, err = jaxseg(*train)
    assert code == 2
    assert "trained on other data" in err
    code, _, err = jaxseg("evaluate", "--workdir", run)
    assert code == 2
    assert "val is a share of the data, which is not what" in err
    code, out, err = jaxseg("evaluate", "--workdir", run, "--split", "train[:100%]")
    assert code == 0, err
    assert "12 images" in out


def test_a_full_disk_gets_one_line(tmp_path):
    """Files of at most 40 KB are one to whoever writes: hundreds of arrays fail at once."""
    small = {
        "total_steps": 3, "checkpoint.every": 1, "batch_size": 4, "dataset.image_size": "(32, 32)",
        "dataset.train_examples": 10, "dataset.val_examples": 4, "augment.crop_size": "(32, 32)",
    }  # fmt: skip
    flags = [f"--config.{key}={value}" for key, value in small.items()]
    words = [sys.executable, "-m", "jaxseg.cli", "train", *QUICK, "--workdir", str(tmp_path)]
    limit = ("bash", "-c", 'ulimit -f 40; exec "$@"', "bash")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [*limit, *words, *flags], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Event loop" not in done.stderr
    assert "never retrieved" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("jaxseg: error: ")
    assert "(File too large): make room" in done.stderr
