"""The curves of runs, from what their folders hold."""

import json

import pytest

from jaxseg.errors import UserError
from jaxseg.report import curves


@pytest.fixture
def make_run(tmp_path):
    """A run's folder with what is given."""

    def make(name, lines=(), scored=None):
        workdir = tmp_path / name
        (workdir / "eval/val").mkdir(parents=True)
        (workdir / "run.json").write_text('{"status": "stopped", "starts": [{}]}')
        (workdir / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
        for step, scores in (scored or {}).items():
            (workdir / f"eval/val/{step}.json").write_text(json.dumps(scores))
        return workdir

    return make


def test_losses_are_by_step_and_scores_in_percent(make_run):
    lines = [{"step": 1, "loss": 2.0}, {"step": 1, "val/miou": 0.9}, {"step": 2, "loss": 1.5}]
    scored = {
        10: {"miou": 0.25, "loss": 0.75, "iou": {"a": 0.5, "b": None}},
        9: {"miou": None, "iou": {"a": 0.25, "b": None}},  # of an older version
    }
    (run,) = curves.read([make_run("my", lines, scored)])
    assert run.name == "my"
    assert run.loss == ([1, 2], [2.0, 1.5])
    assert run.val_loss == ([10], [0.75])
    assert run.miou == ([10], [25.0])
    assert run.iou == {"a": ([9, 10], [25.0, 50.0]), "b": ([], [])}
    assert run.best == 25.0


def test_runs_are_named_by_what_their_paths_do_not_share(make_run):
    lines = [{"step": 1, "loss": 2.0}]
    workdirs = [make_run(f"sweep/{name}", lines) for name in ("all/seed0", "all/seed1", "none/x")]
    assert [run.name for run in curves.read(workdirs)] == ["all/seed0", "all/seed1", "none/x"]
    assert [run.name for run in curves.read(workdirs[:2])] == ["seed0", "seed1"]


def test_one_of_several_may_have_nothing_yet_but_not_all(make_run, tmp_path):
    begun, empty = make_run("begun", [{"step": 1, "loss": 2.0}]), make_run("empty")
    assert len(curves.read([begun, empty])) == 2
    with pytest.raises(UserError, match=r"nothing to draw: no step is logged yet in .*empty"):
        curves.read([empty])
    with pytest.raises(UserError, match="is not a run"):
        curves.read([begun, tmp_path])
