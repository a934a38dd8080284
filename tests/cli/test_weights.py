import json
import subprocess
import sys
from typing import Any

import numpy as np
from PIL import Image

IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=1"]


def test_weights_inspect_shows_every_entry_and_what_it_is(tmp_path, jaxseg):
    blocks = {f"layer{s}.{b}.conv{i}" for s in range(1, 5) for b in (0, 1) for i in (1, 2)}
    names = [f"{name}.weight" for name in ("conv1", "fc", "queer.layer", *sorted(blocks))]
    entries: Any = {name: np.ones((2, 3, 1, 1), np.float32) for name in names}
    entries["bn1.num_batches_tracked"] = np.array(1)
    np.savez(tmp_path / "w.npz", **entries)
    code, out, _ = jaxseg("weights", "inspect", tmp_path / "w.npz")
    assert code == 0
    assert "resnet18" in out
    assert "classifier,backbone=resnet18" in out
    assert '--config.dataset.mean="(123.675,116.28,103.53)"' in out
    table = out.partition("\n\n")[2].splitlines()
    rows = {row.split()[0]: row.split(maxsplit=3)[1:] for row in table}
    assert rows["conv1.weight"] == ["2x3x1x1", "float32", "params/encoder/stem_conv/kernel"]
    assert rows["queer.layer.weight"][2] == "(not recognised)"
    assert rows["bn1.num_batches_tracked"] == ["-", "int64", "(not used)"]


def test_weights_of_no_known_family_are_shown_and_refused(tmp_path, jaxseg):
    np.savez(tmp_path / "w.npz", my_layer=np.ones(3))
    code, out, err = jaxseg("weights", "inspect", tmp_path / "w.npz")
    assert code == 2
    assert "my_layer  3      float32  (not recognised)" in out
    assert "1 entries, such as my_layer, are of no known family; known: Keras applications" in err
    assert err.count("\n") == 1


def test_weights_convert_makes_a_run_of_a_source(workdir, tmp_path, jaxseg):
    """It predicts as the source does; and no run is overwritten."""
    overrides = [
        "--config.dataset.image_size=(32, 32)",
        "--config.augment.crop_size=(32, 32)",
        "--config.eval.batch_size=8",
        "--config.dataset.val_examples=5",
    ]
    convert = ["weights", "convert", f"{workdir}@4", *QUICK, *overrides, "--workdir"]
    code, out, err = jaxseg(*convert, tmp_path / "run")
    assert code == 0, err
    assert "entries imported" in out
    code, out, _ = jaxseg("evaluate", "--workdir", tmp_path / "run")
    assert code == 0
    jaxseg("evaluate", "--workdir", workdir, "--step", 4)
    paths = (tmp_path / "run/eval/val/0.json", workdir / "eval/val/4.json")
    scores = [json.loads(path.read_text()) for path in paths]
    assert scores[0]["confusion"] == scores[1]["confusion"]
    code, _, err = jaxseg(*convert, tmp_path / "run")
    assert code == 2
    assert "holds a run already" in err


def test_without_a_config_weights_keep_their_network_and_classes(workdir, tmp_path, jaxseg):
    run = tmp_path / "run"
    code, out, err = jaxseg(
        "weights", "convert", workdir, "--workdir", run, "--config.eval.size_multiple=16"
    )
    assert code == 0, err
    assert "5 classes: background, circle, square, triangle, star" in out
    assert "warning" not in out
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["width"] == 4
    assert config["eval"]["size_multiple"] == 16
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    masks = []
    for folder in (workdir, run):
        change = "--config.eval.size_multiple=16"
        jaxseg("predict", "--workdir", folder, "--out", folder / "out", change, tmp_path / "a.png")
        masks.append(np.asarray(Image.open(folder / "out/a.png")))
    np.testing.assert_array_equal(*masks)
    code, _, err = jaxseg("evaluate", "--workdir", run)
    assert code == 2
    assert "unknown data set ''" in err


def test_a_head_that_begins_at_random_is_warned_of(workdir, tmp_path, jaxseg):
    config = ["--config", "configs/nuclei.py:unet,width=4,depth=1"]
    same = [f"--config.dataset.{key}={IMAGENET[key]}" for key in IMAGENET]
    code, out, err = jaxseg(
        "weights", "convert", workdir, *config, *same, "--workdir", tmp_path / "run"
    )
    assert code == 0, err
    assert "warning: logits begins at random, for nuclei has other classes" in out


def test_output_may_be_cut_by_who_reads_it(workdir):
    """`jaxseg weights inspect ... | head` is no error."""
    command = f"{sys.executable} -m jaxseg.cli weights inspect {workdir} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "unet of" in done.stdout
    assert done.stderr == ""
