import pytest

from jaxseg.sweeps import plan

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
