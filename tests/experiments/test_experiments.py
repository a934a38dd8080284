"""Every row of every scale of experiments/ has a valid config; published numbers are quoted."""

import re
from pathlib import Path

import pytest

from jaxseg.sweeps import experiment, plan

FOLDER = Path(__file__).parents[2] / "experiments"
NAMES = (
    *("fcn_strides", "unet_skips", "upsampling", "output_stride", "aspp", "decoder", "separable"),
    *("crop_and_batch", "batch_norm", "pretraining", "augmentation", "precision", "losses"),
)
# mIoU in percent, as printed in the papers
PUBLISHED = {
    "fcn_strides": {"32s": 59.4, "16s": 62.4, "8s": 62.7},  # FCN, table 2
    "pretraining": {"imagenet": 59.4, "fixed": 45.4},  # FCN, table 2
    "aspp": {  # DeepLabv3, table 5
        **{"111": 75.36, "121": 75.93, "124": 76.58, "124-rate24": 76.46, "124-pooling": 77.21}
    },
    "output_stride": {  # DeepLabv3, table 10
        **{"8-16": 74.45, "16-16": 77.21, "32-16": 75.90},
        **{"8-8": 75.62, "16-8": 78.51, "32-8": 75.75},
    },
    "crop_and_batch": {  # DeepLabv3, tables 9 and 8
        **{"batch4": 64.43, "batch8": 75.76, "batch12": 76.49, "batch16": 77.21},
        "small-crop": 67.22,
    },
    "batch_norm": {"global": 77.21, "frozen": 75.95},  # DeepLabv3, table 8
    "decoder": {"none": 77.21, "48": 78.85},  # DeepLabv3+, table 3
}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(FOLDER.parent)  # configs are named from there


def test_every_file_that_defines_an_experiment_is_tested():
    files = [path for path in FOLDER.glob("*.py") if "EXPERIMENT = " in path.read_text()]
    assert {path.stem for path in files} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_can_be_planned_at_every_scale(name, tmp_path):
    found, question = experiment.load(FOLDER / f"{name}.py")
    assert next(iter(found.scales)) == "small"
    assert "full" in found.scales
    assert "?" in question.split("\n")[0]
    assert "Published: " in question
    assert all(f"Scale `{scale}`: " in question for scale in found.scales)
    for scale in found.scales:
        made = plan.make(f"experiments/{name}.py:{scale}", tmp_path / scale, seeds=1)
        assert {task.row for task in made.tasks} == set(found.rows)
        # rows are different runs: an evaluation has its own name and config
        assert len({(task.words[0], task.digest, task.needs) for task in made.tasks}) == len(
            found.rows
        )
        for task in made.tasks:
            assert scale == "full" or task.total_steps <= 500


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_the_papers(name):
    found, question = experiment.load(FOLDER / f"{name}.py")
    rows = {row: each.published for row, each in found.rows.items() if each.published is not None}
    assert rows == PUBLISHED.get(name, {})
    assert all(found.rows[row].note for row in rows)
    assert not rows or re.search(r"Table\s\d", question)
    assert not rows or found.baseline in rows
