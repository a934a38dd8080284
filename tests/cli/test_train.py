import json
import os
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=2"]


def test_a_users_own_folder_is_prepared_trained_and_predicted(tmp_path, jaxseg):
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
