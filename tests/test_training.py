"""Whole runs in their own processes, stopped and continued."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.faults import continued_at, differences, final_state, log, numbers
from jaxseg import checkpoint, data, defaults, parallel, scoring, training
from jaxseg.compilation import Announced
from jaxseg.config import check_config, load_config
from jaxseg.errors import NonFiniteLossError, UserError
from jaxseg.program import build_program

ARGS = {
    "total_steps": 30, "batch_size": 4, "log_every": 1, "num_predictions": 1,
    "dataset.image_size": "(32, 32)", "dataset.train_examples": 10, "dataset.val_examples": 4,
    "augment.crop_size": "(32, 32)", "augment.scale": "(0.8, 1.2)", "ema_decay": 0.9,
    "eval.every": 10, "eval.batch_size": 4, "checkpoint.every": 4,
}  # fmt: skip


def command(workdir):
    overrides = [f"--config.{key}={value}" for key, value in ARGS.items()]
    config = "configs/quickstart.py:unet,width=4,depth=1,dropout=(0.5,)"
    return [sys.executable, "-m", "jaxseg.cli", "train", "--config", config,
            "--workdir", str(workdir), *overrides]  # fmt: skip


def start(workdir):
    pipe = subprocess.PIPE
    return subprocess.Popen(command(workdir), stdout=pipe, stderr=subprocess.STDOUT, text=True)


def wait_for(process, workdir, step):
    """Until the log holds `step`."""
    deadline = time.monotonic() + 120
    while step not in {row["step"] for row in log(workdir)}:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(workdir), capture_output=True, text=True, check=True)
    for word in ("initialising unet", "step 30/30"):  # progress goes to stderr, results to stdout
        assert word in done.stderr
        assert word not in done.stdout
    assert "IoU %" in done.stdout
    return workdir, done.stdout + done.stderr


def assert_same_run(workdir, undisturbed):
    assert differences(workdir, undisturbed) == []


def test_a_run_leaves_what_it_promises(undisturbed):
    workdir, said = undisturbed
    assert {p.name for p in workdir.iterdir()} == {
        "config.json", "run.json", "metrics.jsonl", "tensorboard", "checkpoints", "eval",
        "predictions",
    }  # fmt: skip
    scores = json.loads((workdir / "eval/val/30.json").read_text())
    for key in ("miou", "iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou",
                "dice", "confusion", "examples", "step"):  # fmt: skip
        assert key in scores
    assert scores["examples"] == 4
    assert scores["step"] == 30
    train_steps = [row["step"] for row in log(workdir) if "loss" in row]
    assert train_steps == list(range(1, 31))
    assert [row["step"] for row in log(workdir) if "val/miou" in row] == [10, 20, 30]
    last = next(row for row in reversed(log(workdir)) if "val/miou" in row)
    assert last["val/loss"] == scores["loss"] > 0
    by_class = {k.removeprefix("val/iou/"): v for k, v in last.items() if "val/iou/" in k}
    assert by_class == {k: v for k, v in scores["iou"].items() if v is not None}
    assert len(by_class) > 2
    assert [row["step"] for row in log(workdir) if "compile_seconds" in row] == [1]
    for text in ("compiling unet training step", "unet training step: ", "training needs about",
                 "GiB memory", " %, loss ", "IoU %",
                 "predictions/val_", "jaxseg predict"):  # fmt: skip
        assert text in said
    assert len(list((workdir / "predictions").glob("*.png"))) == 1


def test_killed_then_stopped_and_continued_ends_the_same_bit_for_bit(undisturbed, tmp_path):
    """SIGKILL loses no saved step; SIGTERM saves, says how to continue and loses nothing."""
    kill_at, stop_at = sorted(random.Random(7).sample(range(9, 29), 2))
    process = start(tmp_path)
    wait_for(process, tmp_path, kill_at)
    os.kill(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert continued_at(said) == 0

    process = start(tmp_path)
    wait_for(process, tmp_path, stop_at)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert continued_at(said) >= kill_at - 8  # a save of every four steps may be under way
    assert "the same command continues from there" in said
    stopped_at = int(said.split("stopped at step ")[1].split(",")[0])
    assert checkpoint.find(tmp_path / "checkpoints", "latest") == stopped_at

    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert continued_at(done.stderr) == stopped_at
    assert_same_run(tmp_path, undisturbed[0])


def test_a_finished_run_says_its_scores_again_without_training(undisturbed, tmp_path):
    workdir, _ = undisturbed
    before = numbers(workdir)
    done = subprocess.run(command(workdir), capture_output=True, text=True, check=True)
    assert "training step" not in done.stdout + done.stderr
    assert "IoU %" in done.stdout
    assert numbers(workdir) == before


def test_scores_that_were_deleted_are_computed_again(undisturbed, tmp_path, one_device):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    before, scores = numbers(workdir), (workdir / "eval/val/30.json").read_text()
    shutil.rmtree(workdir / "eval")
    training.train_and_evaluate(load_config(workdir), workdir)
    assert (workdir / "eval/val/30.json").read_text() == scores
    assert numbers(workdir) == before


def test_a_mistake_leaves_no_trace_in_the_workdir(tiny_config, tmp_path, one_device):
    tiny_config.parallel = "pjit"
    with pytest.raises(UserError, match=r"config\.parallel"):
        training.train_and_evaluate(tiny_config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


MODELS = [
    "fcn,width_multiplier=0.0625,fc_width=16",
    "deeplabv3plus,backbone=resnet18,width_multiplier=0.0625,aspp_channels=8,decoder_channels=8,aux_head=true",
]
PLAIN = "unet,width=4,depth=1,batch_norm=false"  # no statistics to save


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_every_model_changes_no_shape_and_no_type(tiny_config, one_device, model):
    tiny_config.model = defaults.model_config(model)
    tiny_config.dtype = "bfloat16"
    tiny_config.ema_decay = 0.5
    config = check_config(tiny_config)
    classes = data.load(config.dataset, "val").classes
    program = build_program(config, classes, announce=lambda _: None)
    state = program.state_shapes()
    image = jax.ShapeDtypeStruct((8, 32, 32, 3), np.uint8)
    label = jax.ShapeDtypeStruct((8, 32, 32), np.int32)
    after, _ = program.train_step.lower(state, {"image": image, "label": label}).out_info
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)


@pytest.mark.parametrize(
    "model", [PLAIN, *(pytest.param(model, marks=pytest.mark.slow) for model in MODELS)]
)
def test_every_model_trains_saves_and_continues(tiny_config, tmp_path, one_device, model):
    tiny_config.model = defaults.model_config(model)
    tiny_config.dtype = "bfloat16"
    tiny_config.total_steps = 2
    tiny_config.schedule.warmup_steps = 0
    training.train_and_evaluate(tiny_config, tmp_path)
    tiny_config.total_steps = 3
    training.train_and_evaluate(tiny_config, tmp_path, allow_config_change=True)
    steps = [row["step"] for row in log(tmp_path) if "loss" in row]
    assert steps == [1, 2, 3]


def test_an_overflowing_gradient_under_a_finite_loss_stops_the_run(
    tiny_config, tmp_path, one_device, monkeypatch
):
    """The parameters are lost then, so nothing may be saved after it."""
    build = build_program

    def with_overflow(*args, **options):
        def step(state, batch):
            numbers = {"loss": jnp.float32(1.0), "grad_norm": jnp.float32(jnp.inf)}
            return dataclasses.replace(state, step=state.step + 1), numbers

        announced = Announced(jax.jit(step), "step", announce=print)
        return dataclasses.replace(build(*args, **options), train_step=announced)

    monkeypatch.setattr(training, "build_program", with_overflow)
    tiny_config.checkpoint.every = 1
    with pytest.raises(NonFiniteLossError, match=r"gradient norm inf\) at step 1"):
        training.train_and_evaluate(tiny_config, tmp_path)
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.find(tmp_path / "checkpoints", "latest")


def test_a_step_gets_the_weights_asked_for_and_the_context_needed(
    tiny_config, tmp_path, one_device, monkeypatch
):
    """This U-Net leaves out 8 pixels on every side: the whole image of 32x32 fits in between."""
    tiny_config.model = defaults.model_config("unet,width=4,depth=1,padding=valid")
    tiny_config.augment.crop_size = (48, 48)
    tiny_config.augment.flip = False

    class SeenError(Exception):
        pass

    build = build_program

    def with_look(*args, **options):
        def step(state, batch):
            raise SeenError({key: np.asarray(value) for key, value in batch.items()})

        announced = Announced(mock.Mock(lower=step), "step", announce=print)
        return dataclasses.replace(build(*args, **options), train_step=announced)

    monkeypatch.setattr(training, "build_program", with_look)
    seen = {}
    for weight in (0.0, 10.0):
        tiny_config.loss.border_weight = weight
        with pytest.raises(SeenError) as caught:
            training.train_and_evaluate(tiny_config, tmp_path / str(weight))
        seen[weight] = caught.value.args[0]
    assert set(seen[0.0]) == {"image", "label"}
    np.testing.assert_array_equal(seen[10.0]["label"], seen[0.0]["label"])
    context = np.ones((48, 48), bool)
    context[8:-8, 8:-8] = False
    assert (seen[0.0]["label"][:, context] == 255).all()
    inner = seen[0.0]["image"][0, 8:-8, 8:-8]
    mirrored = np.pad(inner, ((8, 8), (8, 8), (0, 0)), "reflect")
    np.testing.assert_array_equal(seen[0.0]["image"][0], mirrored)
    # between the shapes there are gaps, of void and background
    assert 1 < seen[10.0]["weight"].max() <= 10
    assert (seen[10.0]["weight"][np.isin(seen[10.0]["label"], (1, 2, 3, 4))] == 0).all()


def test_a_step_gets_whole_images_and_plans_where_the_device_augments(
    tiny_config, tmp_path, one_device, monkeypatch
):
    class SeenError(Exception):
        pass

    build = build_program

    def with_look(*args, **options):
        def step(state, batch):
            raise SeenError({key: value.shape for key, value in batch.items()})

        announced = Announced(mock.Mock(lower=step), "step", announce=print)
        return dataclasses.replace(build(*args, **options), train_step=announced)

    monkeypatch.setattr(training, "build_program", with_look)
    tiny_config.augment.update(on_device=True, crop_size=(24, 16))
    with pytest.raises(SeenError) as caught:
        training.train_and_evaluate(tiny_config, tmp_path)
    shapes = caught.value.args[0]
    assert shapes["image"] == (8, 32, 32, 3)  # the crop is made in the step
    assert shapes["columns"] == (8, 2, 16)


def test_the_next_batch_is_on_its_way_before_a_step_is_waited_for(
    tiny_config, tmp_path, one_device, monkeypatch
):
    """A step's numbers are read only once the batch after it is placed and its step asked for."""
    calls, build, place = [], build_program, parallel.Jit.place

    class EnoughError(Exception):
        pass

    class Loss:
        def __init__(self, step):
            self.step = step

        def is_ready(self):
            return False

        def __float__(self):  # waits for the step
            calls.append(f"wait {self.step}")
            return 1.0

    def step(state, batch):
        number = sum(call.startswith("step") for call in calls) + 1
        if number > 4:
            raise EnoughError
        calls.append(f"step {number}")
        return state, {"loss": Loss(number), "grad_norm": 1.0}

    def placed(self, arrays):
        calls.append("place")
        return place(self, arrays)

    def with_step(*args, **options):
        function = mock.Mock()
        function.lower.return_value.compile.return_value = step
        announced = Announced(function, "step", announce=print)
        return dataclasses.replace(build(*args, **options), train_step=announced)

    monkeypatch.setattr(parallel.Jit, "place", placed)
    monkeypatch.setattr(training, "build_program", with_step)
    tiny_config.eval.every = tiny_config.checkpoint.every = 0
    with pytest.raises(EnoughError):
        training.train_and_evaluate(tiny_config, tmp_path)
    assert calls == [
        *("place", "step 1", "place", "step 2", "wait 1", "place", "step 3", "wait 2"),
        *("place", "step 4", "wait 3", "place"),
    ]


def test_a_loss_that_is_no_number_stops_the_run(tiny_config, tmp_path, one_device):
    """The message names the step, the rate and the examples; the last good checkpoint stays."""
    tiny_config.total_steps = 50
    tiny_config.optimizer.name = "sgd"
    tiny_config.schedule.name = "constant"
    tiny_config.schedule.learning_rate = 1e30
    tiny_config.schedule.warmup_steps = 0
    tiny_config.eval.every = 0
    tiny_config.checkpoint.every = 1
    with pytest.raises(NonFiniteLossError, match=r"at step \d+ with learning rate 1e\+30") as error:
        training.train_and_evaluate(tiny_config, tmp_path)
    step = int(str(error.value).split("at step ")[1].split()[0])
    assert str(error.value).count("train_") == tiny_config.batch_size
    folder = tmp_path / "checkpoints"
    assert checkpoint.find(folder, "latest") < step
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final_state(tmp_path).params))


def test_the_best_checkpoint_is_the_one_of_the_metric_that_was_chosen(
    tiny_config, one_device, tmp_path, capsys
):
    tiny_config.update(evals=("miou", "per_image"), best_metric="image_miou", total_steps=4)
    tiny_config.eval.every, tiny_config.num_predictions = 2, 0
    training.train(tiny_config, tmp_path)
    rows = {row["step"]: row for row in log(tmp_path) if "val/image_miou" in row}
    assert sorted(rows) == [2, 4]
    for step, row in rows.items():
        score = scoring.read(tmp_path / "checkpoints" / str(step))
        assert score == scoring.Score("image_miou", row["val/image_miou"], 1)
    best = checkpoint.find(tmp_path / "checkpoints", "best")
    assert rows[best]["val/image_miou"] == max(row["val/image_miou"] for row in rows.values())
    assert "mIoU^I, mean over images" in capsys.readouterr().out
    tiny_config.best_metric, tiny_config.eval.window = "loss", (8, 8)
    with pytest.raises(UserError, match=r"with config.eval.window there is no validation loss"):
        training.train(tiny_config, tmp_path / "other")
    tiny_config.eval.window = (0,)
    tiny_config.best_metric = "image_iou"
    with pytest.raises(UserError, match="did you mean 'image_miou'"):
        training.train(tiny_config, tmp_path / "other")
    assert not (tmp_path / "other/config.json").exists()
