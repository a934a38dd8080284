"""What is read of a run's folder."""

import json

import pytest

from jaxseg.errors import UserError
from jaxseg.report import folder


def test_curves_come_from_the_log_even_while_it_is_written(tmp_path):
    lines = [{"step": 1, "loss": 2.0, "loss/dice": 1.0}, {"step": 1, "val/miou": 0.1},
             {"step": 2, "loss": 1.5, "loss/dice": 0.5, "learning_rate": 0.1}]  # fmt: skip
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 3, "lo'
    (tmp_path / "metrics.jsonl").write_text(text)
    curves = folder.loss_curves(folder.rows(tmp_path))
    assert [(c.name, list(c.x), list(c.y)) for c in curves] == [
        ("loss", [1, 2], [2.0, 1.5]),
        ("loss/dice", [1, 2], [1.0, 0.5]),
    ]
    (rate,) = folder.rate_curve(folder.rows(tmp_path))
    assert list(rate.x) == [2]


def test_a_folder_without_a_log_has_no_curves(tmp_path):
    assert folder.rows(tmp_path) == []
    assert folder.loss_curves([]) == []
    assert folder.scores(tmp_path, "val") == {}


def test_scores_are_those_of_the_config_itself_in_order(tmp_path):
    (tmp_path / "eval/val").mkdir(parents=True)
    for name, miou in (("10", 0.3), ("9", 0.2), ("10-model.output_stride=8", 0.9)):
        (tmp_path / f"eval/val/{name}.json").write_text(json.dumps({"miou": miou}))
    scored = folder.scores(tmp_path, "val")
    assert list(scored) == [9, 10]
    (curve,) = folder.score_curves(scored, {"miou": "mIoU", "other": "Other"})
    assert (list(curve.x), list(curve.y)) == ([9, 10], [20.0, 30.0])


def test_what_other_evaluators_measured_is_among_the_scores(tmp_path):
    (tmp_path / "eval/val").mkdir(parents=True)
    evals, view = "--config.evals=('miou', 'boundary')", "--config.eval.canvas=(9, 9)"
    for name, changes, step in (
        ("4-evals=(miou,boundary)", [evals], 4),
        ("4-eval.canvas=(9,9)-evals=(miou,boundary)", [view, evals], 4),
        ("masks-x-evals=(miou,boundary)", [evals], "masks-x"),
    ):
        record = {"step": step, "changes": changes, "miou": 0.9, "boundary_f": len(changes)}
        (tmp_path / f"eval/val/{name}.json").write_text(json.dumps(record))
    (tmp_path / "eval/val/4.json").write_text(json.dumps({"step": 4, "changes": [], "miou": 0.3}))
    scored = folder.scores(tmp_path, "val")
    assert scored == {4: {"step": 4, "changes": [], "miou": 0.3, "boundary_f": 1}}


def test_the_best_step_is_by_the_metric_of_the_run():
    how = {"best_metric": {"name": "loss", "higher_is_better": False}}
    scored = {s: {"miou": s, "loss": loss, "protocol": how} for s, loss in ((1, 2.0), (2, 0.5))}
    scored |= {3: {"miou": 3, "loss": None, "protocol": how}}
    assert folder.choose_step(scored, "best") == 2


def test_the_validation_loss_and_the_lowest_classes_have_curves():
    scored = {
        9: {"iou": {"a": 0.5, "b": 0.25, "c": 0.75, "d": None}},
        10: {"loss": 1.5, "iou": {"a": 0.5, "b": 0.5, "c": 0.25, "d": None}},
    }
    (loss,) = folder.val_loss_curve(scored)
    assert (list(loss.x), list(loss.y)) == ([10], [1.5])
    assert folder.val_loss_curve({9: scored[9]}) == []
    curves = folder.class_curves(scored, most=2)
    assert [(c.name, list(c.y)) for c in curves] == [("a", [50.0, 50.0]), ("c", [75.0, 25.0])]
    assert [c.name for c in folder.class_curves(scored, most=4)] == ["a", "b", "c"]
    assert folder.class_curves({}, most=4) == []


def test_a_step_is_chosen_among_the_scores():
    scored = {1: {"miou": 0.5}, 2: {"miou": 0.7}, 3: {"miou": 0.7}, 4: {"miou": None}}
    assert folder.choose_step(scored, "best") == 3
    assert folder.choose_step(scored, "latest") == 4
    assert folder.choose_step(scored, "1") == 1
    assert folder.choose_step({}, "best") is None
    with pytest.raises(UserError, match=r"step '7' has neither .* scores: 1, 2, 3, 4"):
        folder.choose_step(scored, "7")


CONFIG = '''"""A small U-Net.

Claim:   a first look,
         not a paper.
Command: jaxseg train
"""
raise SystemExit("read, not run")
'''


@pytest.mark.parametrize("form", ["--config {}:unet,width=4 --x", "--config={}", "-config={}:a"])
def test_the_claim_is_in_the_docstring_of_the_config(tmp_path, form):
    path = tmp_path / "my.py"
    path.write_text(CONFIG)
    command = "jaxseg train --workdir w --config.seed=1 " + form.format(path)
    assert folder.claim(command) == [
        "A small U-Net.",
        f"Claim of {path}: a first look, not a paper.",
    ]


@pytest.mark.parametrize("text", [None, "x = 1", "def broken(", '"""'])
def test_without_a_docstring_there_is_no_claim(tmp_path, text):
    path = tmp_path / "my.py"
    if text is not None:
        path.write_text(text)
    assert folder.claim(f"jaxseg train --config {path}") == []
    assert folder.claim("jaxseg train") == []


def test_a_docstring_without_a_claim_gives_its_first_line(tmp_path):
    (tmp_path / "my.py").write_text('"""Mine.\n\nMore."""')
    assert folder.claim(f"jaxseg train --config {tmp_path}/my.py") == ["Mine."]
