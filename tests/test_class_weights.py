"""Class weights by name: computed once, the same for all, and known to the run ever after."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg import class_weights, data, losses, runs
from jaxseg.config import check_config, load_config
from jaxseg.data import pipeline, stats
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.losses.cross_entropy import Loss as CrossEntropy
from jaxseg.training import train_and_evaluate

CLASSES = Classes(("background", "round", "angular"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
MERGED = ("background", ("round", "circle"), ("angular", "square", "triangle", "star"))


@pytest.fixture
def folder_config(tiny_config, tmp_path):
    """A config of a folder of images; the value 2 is in none of the masks to train on."""
    rng = np.random.default_rng(0)
    for split, values in (("train", 2), ("val", 3)):
        for kind, shape, high in (("images", (32, 32, 3), 256), ("masks", (32, 32), values)):
            (tmp_path / split / kind).mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, high, shape).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / kind / f"{split}{i}.png")
    tiny_config.dataset.name = "folder"
    tiny_config.dataset.source = str(tmp_path)
    tiny_config.dataset.data_dir = str(tmp_path / "out")
    return tiny_config


def computed(config, said):
    checked = check_config(config)
    return class_weights.for_training(
        checked, data.load(checked.dataset, "train"), "train", said.append
    )


def test_they_are_counted_once_for_the_same_data(folder_config, monkeypatch):
    said: list[str] = []
    folder_config.loss.cross_entropy.class_weights = "median_frequency"
    folder_config.loss.aux.focal.update(weight=1.0, class_weights="inverse_log")
    folder_config.loss.ohem.class_weights = "root_median_frequency"  # it has no weight
    found = computed(folder_config, said)
    assert [*found] == ["median_frequency", "inverse_log"]
    assert found["median_frequency"] == pytest.approx([1, 1, 0], abs=0.1)
    assert [line.partition(":")[0] for line in said] == [
        "class weights by median_frequency of train",
        "class weights by inverse_log of train",
    ]
    assert "never in train, so 0: class_2" in said[0]
    monkeypatch.setattr(stats, "measure", None)
    folder_config.loss.cross_entropy.class_weights = "root_median_frequency"
    again = computed(folder_config, said)
    assert again["inverse_log"] == found["inverse_log"]
    expected = np.sqrt(found["median_frequency"])
    np.testing.assert_allclose(again["root_median_frequency"], expected)


def test_what_was_not_counted_whole_is_not_kept(folder_config, monkeypatch):
    folder_config.loss.cross_entropy.class_weights = "inverse_log"
    folder_config.pipeline.on_unreadable = "skip"
    read = pipeline.read

    def damaged(source, index, skipped):
        if index == 1:
            skipped.add(1, "damaged")
            return None
        return read(source, index, skipped)

    monkeypatch.setattr(stats, "read", damaged)
    some = computed(folder_config, [])
    monkeypatch.undo()
    assert computed(folder_config, []) != some


def test_without_names_nothing_is_counted(folder_config, monkeypatch):
    monkeypatch.setattr(stats, "measure", None)
    folder_config.loss.cross_entropy.class_weights = (1.0, 2.0, 3.0)
    assert computed(folder_config, []) == {}


def test_of_many_classes_the_range_is_told():
    names = [f"c{i}" for i in range(60)]
    line = class_weights._told("inverse_log", [float(i) for i in range(60)], names, "train")
    assert line == (
        "class weights by inverse_log of train: 1 (c1) to 59 (c59); never in train, so 0: c0"
    )


def test_named_losses_are_those_with_their_numbers():
    def built(weights, **given):
        terms = losses.defaults()
        for name in ("focal", "ohem"):
            terms[name].update(weight=1.0, class_weights=weights)
        terms["cross_entropy"].update(weight=0.0, class_weights=("median_frequency",))  # unused
        numbers = class_weights.with_numbers(terms, given, "config.loss.aux")
        return losses.build(numbers, num_classes=3, void=255)

    numbers = (0.5, 2.0, 0.0)
    assert built(("inverse_log",), inverse_log=[*numbers]) == built(numbers)
    assert built(numbers) != built(())
    with pytest.raises(UserError, match=r"config.loss.aux.focal.class_weights is 'inverse_log', "):
        built(("inverse_log",), median_frequency=[*numbers])


def test_a_run_knows_its_classes_and_their_weights(tiny_config, tmp_path, one_device, capsys):
    """Evaluating and predicting take no training data, and continuing is no other config."""
    tiny_config.update(total_steps=2, num_predictions=0)
    tiny_config.dataset.label_map = MERGED
    tiny_config.loss.cross_entropy.class_weights = "root_median_frequency"
    scores = train_and_evaluate(tiny_config, tmp_path)
    assert [*scores["iou"]] == [*CLASSES.names]
    told = [line for line in capsys.readouterr().err.splitlines() if "class weights" in line]
    assert len(told) == 1
    dataset = check_config(tiny_config).dataset
    counted = stats.measure(data.load(dataset, "train"))
    expected = {"root_median_frequency": counted.weights("root_median_frequency").tolist()}
    assert json.loads((tmp_path / "run.json").read_text())["class_weights"] == expected
    run = runs.open_run(tmp_path, announce=lambda _: None)
    assert run.classes.names == CLASSES.names
    assert check_config(load_config(tmp_path)).dataset.label_map == MERGED
    (_, loss) = run.program.loss.losses["cross_entropy"]
    assert loss == CrossEntropy(tuple(expected["root_median_frequency"]))
    again = train_and_evaluate(load_config(tmp_path), tmp_path)
    assert again["miou"] == scores["miou"]
