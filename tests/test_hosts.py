"""Several real processes on one machine make one run, over loopback."""

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from experiments.faults import final_state, log
from jaxseg import checkpoint

CONFIG = "configs/quickstart.py:unet,width=4,depth=2"
ARGS = {
    "total_steps": 20, "batch_size": 4, "log_every": 1, "num_predictions": 1,
    "dataset.image_size": "(32, 32)", "dataset.train_examples": 10, "dataset.val_examples": 7,
    "augment.crop_size": "(32, 32)", "augment.scale": "(0.8, 1.2)", "ema_decay": 0.9,
    "eval.every": 10, "eval.batch_size": 4, "checkpoint.every": 5,
    # Adam would blow rounding up, dividing gradients near zero by their own size; and rounding
    # puts a pixel on the other side of a ReLU now and then, which a small rate keeps below 1e-6
    "optimizer.name": "sgd", "schedule.learning_rate": 0.001, "schedule.warmup_steps": 0,
}  # fmt: skip


def command(workdir, *flags):
    overrides = [f"--config.{key}={value}" for key, value in ARGS.items()]
    return [sys.executable, "-m", "jaxseg.cli", "train", "--config", CONFIG,
            "--workdir", str(workdir), *overrides, *flags]  # fmt: skip


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def by_flags(count):
    """What the flags and the environment of each process say of the others."""
    port = free_port()
    common = [f"--coordinator_address=127.0.0.1:{port}", f"--num_processes={count}"]
    return [([*common, f"--process_id={index}"], {}) for index in range(count)]


def by_slurm(count):
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost",
           "SLURM_NTASKS": str(count)}  # fmt: skip
    tasks = [{"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)} for index in range(count)]
    return [(["--distributed"], {**job, **task}) for task in tasks]


@contextlib.contextmanager
def together(words, count, devices, tell=by_flags):
    """`count` processes with so many devices each; none outlives the block."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    started = [
        subprocess.Popen(
            [*words, *flags], env={**environment, **told},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for flags, told in tell(count)
    ]  # fmt: skip
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def finish(started, seconds=120):
    said = [process.communicate(timeout=seconds)[0] for process in started]
    for process, text in zip(started, said, strict=True):
        assert process.returncode == 0, text
    return said


def steps(workdir):
    return [row["step"] for row in log(workdir) if "loss" in row]


def wait_for(started, workdir, step):
    deadline = time.monotonic() + 120
    while step not in steps(workdir):
        for process in started:
            assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_same_run(workdir, other):
    mine, others = final_state(workdir), final_state(other)
    # the momentum is of gradients themselves, where such a pixel shows
    close = {"params": 1e-6, "batch_stats": 1e-6, "ema": 1e-6, "opt_state": 1e-3}
    for part, tolerance in close.items():
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=0, atol=tolerance),
            getattr(mine, part),
            getattr(others, part),
        )
    assert steps(workdir) == list(range(1, 21))
    mine, others = (json.loads((w / "eval/val.json").read_text()) for w in (workdir, other))
    assert mine == others
    assert mine["examples"] == 7


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run by one process with one device."""
    workdir = tmp_path_factory.mktemp("alone")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run(command(workdir), env=environment, capture_output=True, check=True)
    return workdir


BY_PMAP = pytest.param(2, 1, "pmap", marks=pytest.mark.slow)


@pytest.mark.parametrize(("processes", "devices", "way"), [(2, 2, "jit"), (4, 1, "jit"), BY_PMAP])
def test_processes_train_and_evaluate_as_one(alone, tmp_path, processes, devices, way):
    words = command(tmp_path, f"--config.parallel={way}")
    with together(words, processes, devices) as started:
        said = finish(started)
    assert f"{processes * devices} cpu by {way} in {processes} processes" in said[0]
    assert "IoU %" in said[0]
    assert not any(said[1:])  # the first speaks for all
    assert_same_run(tmp_path, alone)
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 1


def test_processes_evaluate_a_run_as_training_did(alone, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(alone, workdir)
    before = json.loads((workdir / "eval/val.json").read_text())
    (workdir / "eval/val.json").unlink()
    words = [sys.executable, "-m", "jaxseg.cli", "evaluate", "--workdir", str(workdir),
             "--step", "latest"]  # fmt: skip
    with together(words, 2, 1) as started:
        said = finish(started)
    assert "step 20, val: 7 images" in said[0]
    assert json.loads((workdir / "eval/val.json").read_text()) == {**before, "changes": []}


@pytest.mark.slow
def test_slurm_tells_the_processes_of_each_other(alone, tmp_path):
    with together(command(tmp_path), 2, 1, by_slurm) as started:
        said = finish(started)
    assert "2 cpu by jit in 2 processes" in said[0]
    assert_same_run(tmp_path, alone)


def test_sigterm_to_one_stops_all_and_one_process_goes_on(alone, tmp_path):
    with together(command(tmp_path), 2, 1) as started:
        wait_for(started, tmp_path, 6)
        started[1].send_signal(signal.SIGTERM)
        said = finish(started)
    assert "the same command continues from there" in said[0]
    stopped_at = int(said[0].split("stopped at step ")[1].split(",")[0])
    assert checkpoint.find(tmp_path / "checkpoints", "latest") == stopped_at
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert f"continuing at step {stopped_at}" in done.stderr
    assert_same_run(tmp_path, alone)


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other_within_a_minute(tmp_path):
    with together(command(tmp_path), 2, 1) as started:
        wait_for(started, tmp_path, 3)
        started[1].send_signal(signal.SIGSTOP)
        said, _ = started[0].communicate(timeout=60)
    assert started[0].returncode != 0
    assert "JAX distributed service detected fatal errors" in said


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_dead_process_ends_the_other_with_a_message(tmp_path, victim):
    with together(command(tmp_path), 2, 1) as started:
        wait_for(started, tmp_path, 3)
        started[victim].kill()
        said, _ = started[1 - victim].communicate(timeout=60)
    assert started[1 - victim].returncode != 0
    assert "the same command continues" in said
