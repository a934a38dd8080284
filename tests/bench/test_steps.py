"""The benchmark of whole steps: both sides train alike, and its figures are what they say."""

import json
import sys

import numpy as np
import pytest

from experiments.benchmarks import gpu
from jaxseg.bench import memory, steps
from jaxseg.errors import UserError

TINY = steps.Case("unet", {"width": 4, "depth": 1}, size=32)
ROW = {
    "network": "unet",
    "mode": "train",
    "batch": 4,
    "size": 32,
    "dtype": "float32",
    "way": "channels_last",
    "seconds": {"jaxseg": 0.5, "contiguous": 2.0, "channels_last": 1.0},
    "of_the_chip": {"jaxseg": 0.5, "contiguous": 0.125, "channels_last": 0.25},
    "compilation": {"jaxseg": 3.0, "contiguous": 0.0, "channels_last": 0.1},
}


def test_a_row_says_how_many_times_as_fast_ours_is():
    cells = dict(zip(steps.HEADINGS, steps.cells(ROW), strict=True))

    assert cells["jaxseg, images/s"] == "8"
    assert cells["PyTorch, images/s"] == "4"
    assert cells["jaxseg / PyTorch"] == "2.00"
    assert cells["jaxseg, of the chip"] == "50%"
    assert cells["jaxseg, memory, GB"] == ""


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--models=unett", "did you mean 'unet'"),
        ("--mode=eval", "known: predict, train"),
        ("--dtype=float16", "known: bfloat16, float32"),
        ("--dtype=float32,bfloat16", "expected one"),
        ("--batch=1", "expected at least 2"),
        ("--size=32.5", "expected a whole number"),
    ],
)
def test_wrong_flags_are_explained(flag, message):
    with pytest.raises(UserError, match=message):
        steps.main([flag])


def test_without_pytorch_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(UserError, match="pip install torch"):
        steps.main([])


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="Linux alone tells the peak")
def test_resident_memory_counts_what_a_step_takes_and_what_stays():
    class Contestant:
        def run(self):
            np.ones(8 * 2**20)  # 64 MiB

        def held(self):
            return 1000 * 2**20

    peak = memory._resident(Contestant())

    assert peak is not None
    assert 1060 * 2**20 < peak < 1100 * 2**20


def test_jobs_come_in_the_order_of_the_parts():
    jobs = list(gpu.jobs(["train", "ops"], rehearse=False))

    assert [job.name for job in jobs[: len(steps.CASES)]] == [
        f"train-{name}-bfloat16" for name in steps.CASES
    ]
    rest = [(job.dtype, job.subject) for job in jobs[len(steps.CASES) :]]
    assert rest == [(dtype, op) for dtype in ("bfloat16", "float32") for op in gpu.OPERATIONS]


def test_what_does_not_fit_the_budget_is_left_out_and_named(tmp_path, capsys):
    gpu.main([f"--out={tmp_path}", "--parts=checks,train", "--budget=5", "--rehearse"])

    assert "- train-unet-float32: the budget was used up" in capsys.readouterr().out
    left_out = json.loads((tmp_path / "results.json").read_text())["left out"]
    assert list(left_out) == ["checks", "train-unet-float32"]


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    reason = gpu.run(gpu.Job("checks", dtype=""), tmp_path, str(tmp_path), True, limit=0.5)

    assert reason == "not done within 0 s"


def test_checks_find_a_wrong_operation(monkeypatch):
    from jaxseg.bench import checks

    assert all(result["passed"] for result in checks.results(["max_pool"]))
    case, _ = next(each for each in checks.CHECKS if each[0].operation == "max_pool")
    monkeypatch.setattr(checks, "CHECKS", ((case, lambda x: checks._pooled(x[:, ::-1])),))
    assert not any(result["passed"] for result in checks.results())


@pytest.fixture
def sides(monkeypatch):
    """With a weight decay and a learning rate that show within three steps."""
    pytest.importorskip("torch")
    from jaxseg import defaults
    from jaxseg.bench import sides

    usual = defaults.get_config

    def strong(arg):
        config = usual(arg)
        config.optimizer.weight_decay, config.schedule.learning_rate = 0.1, 0.1
        return config

    monkeypatch.setattr(defaults, "get_config", strong)
    return sides


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_both_sides_train_alike(sides, layout, one_device):
    setting = sides.Setting("unet", TINY.options, "train", 4, 32, "float32", "cpu")

    check_training(sides, setting, layout)


@pytest.mark.slow
def test_both_sides_train_alike_where_logits_are_enlarged(sides, one_device):
    options = {"backbone": "mobilenet_v2", "separable": True, "dropout": 0.0}
    setting = sides.Setting("deeplabv3", options, "train", 8, 33, "float32", "cpu")

    # two: with batch norm over 3x3 maps, rounding grows tenfold a step
    check_training(sides, setting, "channels_last", steps=2)


def check_training(sides, setting, layout, steps=3):
    """The loss of the third step depends on all that the first two do."""
    from jaxseg.bench.torch_models.copying import copy_variables

    ours, theirs = sides.Ours(setting), sides.Theirs(setting, layout)
    copy_variables(theirs.model, ours.state.params, ours.state.batch_stats)
    losses = [(float(ours.run()), theirs.run().item()) for _ in range(steps)]

    assert abs(losses[0][0] - losses[-1][0]) > 1e-3
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)


def test_both_sides_predict_alike(sides, one_device):
    from jaxseg.bench.torch_models.copying import copy_variables

    setting = sides.Setting("unet", TINY.options, "predict", 4, 32, "float32", "cpu")
    ours, theirs = sides.Ours(setting), sides.Theirs(setting, "channels_last")
    copy_variables(theirs.model, ours.state.params, ours.state.batch_stats)

    expected = np.asarray(ours.run())
    assert len(np.unique(expected)) > 5
    assert (theirs.run().numpy() == expected).mean() > 0.999


def test_the_command_measures_a_network(sides, one_device, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(steps.CASES, "unet", TINY)
    path = tmp_path / "steps.json"

    words = ["--models=unet", "--mode=train", "--batch=4", "--seconds=0.2", f"--json={path}"]
    steps.main([*words, "--markdown"])

    (row,) = json.loads(path.read_text())["rows"]
    assert set(row["seconds"]) == {"jaxseg", "contiguous", "channels_last"}
    assert 0 < row["of_the_chip"]["jaxseg"] < 1
    assert 1e6 < row["peak_bytes"]["jaxseg"] < 1e9
    assert "| unet | train | 4 | 32 | float32 |" in capsys.readouterr().out
