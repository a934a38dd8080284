import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxseg import data
from jaxseg.prediction.model import load


def test_evaluate_writes_what_it_prints(workdir, jaxseg):
    code, out, _ = jaxseg("evaluate", "--workdir", workdir, "--step", "latest")
    assert code == 0
    written = json.loads((workdir / "eval/val/4.json").read_text())
    assert written["examples"] == 5
    assert written["step"] == 4
    assert f"{100 * written['iou']['circle']:.2f}" in out
    code, out, _ = jaxseg("evaluate", "--workdir", workdir, "--split", "train")
    assert code == 0
    assert json.loads(next((workdir / "eval/train").glob("*.json")).read_text())["examples"] == 16


def test_evaluate_repeats_the_number_of_training(workdir, jaxseg):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    trained = {row["step"]: row["val/miou"] for row in rows if "val/miou" in row}
    for step in (2, 4):
        jaxseg("evaluate", "--workdir", workdir, "--step", step)
        written = json.loads((workdir / f"eval/val/{step}.json").read_text())
        assert written["miou"] == trained[step]


def test_a_run_is_evaluated_and_predicts_with_other_values(workdir, jaxseg, tmp_path):
    argv = ["--workdir", workdir, "--config.eval.canvas=(48, 64)", "--config.eval.batch_size=5"]
    code, out, err = jaxseg("evaluate", *argv)
    assert code == 0
    assert "compiling" not in out  # which is for results
    assert "images 8x48x64x3" in err  # five, and three to fill eight devices
    written = next((workdir / "eval/val").glob("*-eval.canvas=(48,64)-eval.batch_size=5.json"))
    changes = json.loads(written.read_text())["changes"]
    assert changes == ["--config.eval.canvas=(48, 64)", "--config.eval.batch_size=5"]
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    argv = ["--out", tmp_path / "out", "--config.eval.size_multiple=50", tmp_path / "photo.png"]
    code, out, err = jaxseg("predict", "--workdir", workdir, *argv)
    assert code == 0
    assert "images 1x50x50x3" in err


@pytest.mark.parametrize(
    "views",
    [
        {"scales": (0.5, 1.0, 1.25), "flip": True, "temperature": 1.5},
        {"scales": (1.0, 1.5), "window": (24,), "window_weights": "gaussian"},
    ],
)
def test_views_are_averaged_in_evaluation_as_in_prediction(workdir, jaxseg, views):
    """On eight devices at once and image by image; the loss is the plain image's, if any."""
    argv = [f"--config.eval.{key}={value}" for key, value in views.items()]
    plain, _, _ = jaxseg("evaluate", "--workdir", workdir)
    code, _, err = jaxseg("evaluate", "--workdir", workdir, *argv)
    assert (plain, code) == (0, 0), err
    folder = workdir / "eval/val"
    scores = json.loads(next(folder.glob(f"*{list(views)[-1]}*.json")).read_text())
    step = scores["step"]
    loss = json.loads((folder / f"{step}.json").read_text())["loss"]
    assert scores["loss"] == (None if "window" in views else pytest.approx(loss, rel=1e-5))
    changes = {f"eval.{key}": value for key, value in views.items()}
    model = load(workdir, step=step, changes=changes)
    source = data.load(model.config.dataset, "val")
    confusion = np.zeros((5, 5), int)
    for i in range(len(source)):
        label = source[i]["label"]
        mask = model.predict(source[i]["image"], probabilities=False).mask
        valid = label != source.classes.void
        np.add.at(confusion, (label[valid], mask[valid]), 1)
    difference = np.abs(confusion - np.array(scores["confusion"])).sum()
    assert difference <= 4  # pixels on the border between two classes, by rounding


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("eval.size_multipel=64", "the config has no key 'eval.size_multipel'"),
        ("eval.scales=(0,)", "config.eval.scales is (0.0,), expected more than 0"),
        (
            "eval.window_weights=round",
            "config.eval.window_weights is 'round'; known: flat, gaussian",
        ),
        ("eval.size_multiple=0", "config.eval.size_multiple is 0, expected at least 1"),
        ("model.width=8", "does not fit this config's model"),
        ("augment.flip", "--config.augment.flip has no value: write --config.augment.flip=VALUE"),
    ],
)
def test_values_that_a_run_cannot_take(workdir, jaxseg, change, message):
    code, _, err = jaxseg("evaluate", "--workdir", workdir, f"--config.{change}")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_other_evaluators_are_named_by_a_flag(workdir, jaxseg):
    argv = ["--workdir", workdir, "--step", "latest", "--evals", "per_image,boundary"]
    code, out, _ = jaxseg("evaluate", *argv)
    assert code == 0
    assert "mIoU^D, pixels of all images together" in out
    assert "95 % interval over other images of the kind" in out
    assert "radius 2 % of the diagonal = 1 px" in out
    path = workdir / "eval/val/4-evals=(miou,per_image,boundary).json"
    written = json.loads(path.read_text())
    assert set(written["protocol"]) >= {"miou", "per_image", "boundary", "eval", "weights"}
    assert written["miou"] == json.loads((workdir / "eval/val/4.json").read_text())["miou"]
    code, _, err = jaxseg("evaluate", "--workdir", workdir, "--evals=bundary")
    assert code == 2
    assert "config.evals names 'bundary'; did you mean 'boundary'" in err


def test_masks_of_a_run_get_its_own_scores(workdir, jaxseg, tmp_path):
    """Written here from the run's predictions, as another program would."""
    from jaxseg import data
    from jaxseg.data.mask_files import encode_mask
    from jaxseg.prediction.model import load

    model = load(workdir, "latest")
    source = data.load(model.config.dataset, "val")
    for example in (source[i] for i in range(len(source))):
        mask = model.predict(example["image"]).mask
        (tmp_path / f"{example['name']}.png").write_bytes(encode_mask(mask))
    argv = ["--workdir", workdir, "--predictions", tmp_path]
    code, out, _ = jaxseg("evaluate", *argv)
    assert code == 0
    written = json.loads((workdir / f"eval/val/masks-{tmp_path.name}.json").read_text())
    own = json.loads((workdir / "eval/val/4.json").read_text())
    assert written["confusion"] == own["confusion"]
    assert f"{100 * own['miou']:.2f}" in out
    next(tmp_path.glob("*.png")).unlink()
    code, _, err = jaxseg("evaluate", *argv)
    assert code == 2
    assert "expected one mask" in err


def test_the_bar_ends_at_the_number_of_images(monkeypatch):
    """The first of two processes sees four of seven."""
    import jax
    import tqdm

    from jaxseg.cli.evaluate import _bar

    bars = []

    def bar(**options):
        bars.append(tqdm_bar(**{**options, "disable": False, "file": io.StringIO()}))
        return bars[-1]

    tqdm_bar = tqdm.tqdm
    monkeypatch.setattr(tqdm, "tqdm", bar)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert [bars[-1].n for _ in _bar(7)(range(4))] == [0, 2, 4, 6]
    assert bars[-1].n == bars[-1].total == 7


def test_ranks_and_temperatures_are_kept_with_the_run(workdir, jaxseg, monkeypatch):
    from jaxseg import temperature

    # four steps teach too little for a temperature
    monkeypatch.setattr(temperature, "minimum", lambda values: (1.5, min(values)))
    code, out, _ = jaxseg("evaluate", "--workdir", workdir, "--step", "latest", "--rank")
    assert code == 0
    assert "evidence" in out
    assert json.loads((workdir / "eval/val/4-rank.json").read_text())["examples"] == 5
    code, out, _ = jaxseg("evaluate", "--workdir", workdir, "--step", "latest", "--fit_temperature")
    assert code == 0
    fitted = json.loads((workdir / "temperature.json").read_text())
    assert fitted["nll"] <= fitted["nll_before"]
    assert (fitted["step"], fitted["split"]) == (4, "val")
    assert f"temperature {fitted['temperature']:.4f}" in out
    code, _, err = jaxseg("evaluate", "--workdir", workdir, "--rank", "--fit_temperature")
    assert code == 2
    assert "one thing at a time" in err
