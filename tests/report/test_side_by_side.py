"""Several rows' predictions of the same images."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from jaxseg import data, inference, metrics, runs
from jaxseg.report import predictions
from jaxseg.report.gallery import unpack
from jaxseg.report.side_by_side import side_by_side, spread
from jaxseg.sweeps.plan import Task


@pytest.mark.parametrize(("size", "count"), [(10, 3), (7, 7), (5, 8), (1000, 8), (1, 1)])
def test_images_are_spread_over_the_split(size, count):
    found = spread(size, count)
    assert len(set(found)) == len(found) == min(size, count)
    gaps = np.diff([-1 - found[0], *found, 2 * size - 1 - found[-1]])  # mirrored at both ends
    assert gaps.max() - gaps.min() <= 1 + size / count / 2
    assert found == sorted(found)


def task(row, workdir, *changes):
    words = ("train", "--config", "x", "--workdir", str(workdir))
    return Task(row, 0, workdir, words, "d", total_steps=2, changes=changes)


@pytest.fixture(scope="module")
def compared(run_with_averages):
    tasks = [
        task("gone", Path("no/such/run")),
        task("plain", run_with_averages),
        task("ends early", run_with_averages, "--config.eval.size_multiple=64"),
    ]
    tasks[2] = dataclasses.replace(tasks[2], total_steps=9)
    told: list[str] = []
    shown = side_by_side(tasks, "val", images=3, data_dir="", announce=told.append)
    return shown, told


def test_each_row_has_its_prediction_of_each_image(compared, check_html, run_with_averages):
    shown, _ = compared
    check_html(f"<section>{shown.content}</section>")
    assert shown.content.count("<article") == 3
    assert shown.content.count("<figcaption>plain<") == 3
    assert shown.content.count("<figcaption>ends early (step 2 of 9)<") == 3
    text = re.findall(r'id="gallery-data">(.*?)</script>', shown.content)[0]
    run = runs.open_run(run_with_averages, "latest", announce=lambda _: None)
    source = data.load(run.config.dataset, run.config.dataset.val_split)
    indices, items = spread(len(source), 3), json.loads(text)["items"]
    for index, item in zip(indices, items, strict=True):
        example = source[index]
        labels = inference.predict_image(
            run.program.predict_step, run.state.eval_variables, example["image"], run.config
        )
        packed = [unpack(p, run.classes, labels.shape[::-1]) for p in item["predictions"]]
        assert (packed[0] == labels).all()
        matrix = predictions.confusion(labels, example["label"], len(run.classes), 255)
        miou = metrics.scores(matrix, run.classes.names)["miou"]
        assert f"mIoU of this image alone {metrics.percent(miou)}" in shown.content
    assert shown.classes == run.classes


def test_a_row_that_cannot_be_opened_is_said(compared):
    shown, told = compared
    assert "<li>gone: " in shown.content
    assert any(line.startswith("no predictions of gone: ") for line in told)
    assert "plain: predicting 3 images of val" in told


def test_changes_of_an_evaluation_change_what_it_predicts(compared, run_with_averages):
    """Padding to 64 is what the row asks for, and not the run's own 32."""
    _, told = compared
    assert any("1x64x64" in line for line in told)


def test_without_images_nothing_is_opened():
    def announce(text):
        raise AssertionError(text)

    shown = side_by_side([task("a", Path("x"))], "val", images=0, data_dir="", announce=announce)
    assert "No images were asked for" in shown.content
