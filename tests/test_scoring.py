"""Which checkpoint is the best."""

import json

import pytest

from jaxseg import manifest, scoring
from jaxseg.scoring import Score, best_first


@pytest.mark.parametrize(
    ("values", "sign", "order"),
    [
        ({1: 0.2, 2: 0.5, 3: 0.4}, 1, [2, 3, 1]),
        ({1: 0.2, 2: 0.5, 3: 0.4}, -1, [1, 3, 2]),
        ({1: 0.5, 2: 0.5, 3: 0.5}, 1, [3, 2, 1]),  # of equals the newer
        ({1: 0.5, 2: None, 3: 0.1}, 1, [1, 3]),  # undefined is no score
        ({1: 0.0, 2: -1.0}, 1, [1, 2]),
        ({1: None}, 1, []),
        ({}, 1, []),
    ],
)
def test_the_best_comes_first(values, sign, order):
    scored = {step: Score("miou", value, sign) for step, value in values.items()}
    assert best_first({**scored, 9: None}) == order


def test_scores_of_another_metric_than_the_newest_do_not_count():
    scored = {1: Score("miou", 0.9, 1), 2: Score("loss", 0.3, -1), 3: Score("loss", 0.4, -1)}
    assert best_first(scored) == [2, 3]


@pytest.mark.parametrize("value", [0.25, None])
def test_a_score_comes_back(tmp_path, value):
    score = Score("hausdorff", value, -1)
    scoring.write(tmp_path, score)
    assert scoring.read(tmp_path) == score


@pytest.mark.parametrize("name", [manifest.SCORES, manifest.MANIFEST])
def test_earlier_versions_wrote_the_miou_alone(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"miou": 0.5}))
    assert scoring.read(tmp_path) == Score("miou", 0.5, 1)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_without_a_score_there_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / manifest.SCORES).write_text(text)
    assert scoring.read(tmp_path) is None
