"""Validation during training."""

import json
from unittest import mock

import numpy as np
import pytest

from jaxseg import data, evaluation
from jaxseg.config import check_config
from jaxseg.program import build_program
from jaxseg.progress import Progress
from jaxseg.stopping import Stop
from jaxseg.validation import Validation
from jaxseg.writers import MetricWriter

PER_IMAGE = ("image_miou", "image_miou_worst", "class_miou", "class_miou_worst")


@pytest.fixture
def validate(tiny_config, tmp_path, one_device):
    """Validates a fresh state at step 4; `stop_at` is the batch before which a signal comes."""
    tiny_config.eval.batch_size = 2  # of 7 images: four batches
    tiny_config.evals = ("miou", "per_image")
    tiny_config.best_metric = "image_miou"
    config = check_config(tiny_config)
    source = data.load(config.dataset, "val")
    program = build_program(config, source.classes, announce=lambda _: None)
    state = program.parallel.place_state(program.init_state())

    def run(stop_at=None):
        stop = mock.Mock(spec=Stop)
        stop.poll.side_effect = (batch == stop_at for batch in range(1, 5))
        writer = MetricWriter(tmp_path, resume_step=0, evaluated=False)
        with Progress(total=6, batch_size=8) as progress:
            validation = Validation(
                program, config, source, tmp_path, stop, progress, writer, tell=print
            )
            scores = validation(state, 4)
        writer.close()
        return scores, evaluation.evaluate(program, config, state, source)

    return run


def test_scores_are_those_of_the_evaluation_written_logged_and_said(validate, tmp_path, capsys):
    scores, evaluated = validate()
    np.testing.assert_equal(scores, evaluated)
    assert scores["examples"] == 7
    stored = json.loads((tmp_path / "eval/val/4.json").read_text())
    assert stored["miou"] == scores["miou"]
    (logged,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert logged.keys() - {"time"} == {
        *("step", "val/miou", "val/pixel_accuracy", "val/mean_accuracy", "val/loss"),
        *(f"val/iou/{name}" for name in scores["iou"]),
        *(f"val/{name}" for name in PER_IMAGE),
    }
    assert logged["val/miou"] == scores["miou"]
    said = capsys.readouterr().err
    assert f"step 4: validation mIoU {100 * scores['miou']:.2f} %" in said
    assert f"image_miou {scores['image_miou']:.4g}\n" in said


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_signal_ends_it_without_scores(validate, tmp_path, capsys, stop_at):
    scores, _ = validate(stop_at)
    assert scores is None
    assert not (tmp_path / "metrics.jsonl").read_text()
    assert not (tmp_path / "eval").exists()
    assert "validation mIoU" not in capsys.readouterr().err
