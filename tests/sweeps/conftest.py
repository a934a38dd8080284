import json

import numpy as np
import pytest

from jaxseg import metrics
from jaxseg.config import store_config
from jaxseg.sweeps import plan, status

TINY = """
'''Does width matter?'''
from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "narrow": Row({"model.width": 4}, published=50.0),
        "wide": Row({"model.width": 8}, note="on other data"),
        "longer": Row(begins_from="wide"),
        "coarse": Row({"eval.size_multiple": 64}, evaluates="narrow"),
    },
    baseline="narrow",
    scales={
        "small": Scale(
            "configs/quickstart.py:unet,width=4,depth=2",
            {
                "total_steps": 6, "log_every": 1, "eval.every": 0, "model.width": 16,
                "dataset.train_examples": 32, "dataset.val_examples": 10, "batch_size": 8,
            },
            seeds=2,
            rows={"wide": {"schedule.learning_rate": 0.002}},
        ),
        "full": Scale("configs/quickstart.py"),
    },
)
"""


@pytest.fixture
def experiment_file(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def made(experiment_file, tmp_path):
    return plan.make(f"{experiment_file}:small", tmp_path / "sweep")


NAMES = ("background", "circle", "square", "triangle", "star")


@pytest.fixture
def finish():
    """Write the folder of a task as a finished run leaves it, with a given mIoU."""

    def write(task, miou, *, jax="0.10.2"):
        share = round(10_000 * 2 * miou / (1 + miou))  # of the pixels of each class
        confusion = [[0] * 5 for _ in range(5)]
        for i in range(5):
            confusion[i][i], confusion[i][(i + 1) % 5] = share, 10_000 - share
        scores = metrics.scores(np.array(confusion), NAMES)
        path = status.score_path(task, "val")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(scores))
        if not task.trains:
            return
        store_config(plan.resolve(task.words[2], task.words[5:]), task.workdir)
        start = {
            "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:02:00+00:00",
            "status": "finished", "peak_memory": {"process": 2_000_000_000, "device": None},
            "versions": {"jax": jax}, "git": {"commit": "abc", "clean": True},
            "devices": {"count": 1, "kind": "cpu"}, "hosts": {"processes": 1},
        }  # fmt: skip
        record = {"status": "finished", "step": task.total_steps, "reason": "", "data": "d",
                  "starts": [start]}  # fmt: skip
        (task.workdir / "run.json").write_text(json.dumps(record))
        rows = ({"step": i, "loss": 1.0, "images_per_second": 10.0 * i} for i in (1, 2, 3))
        (task.workdir / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    return write
