"""A small run by several real processes of this machine, for the tests of them."""

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.faults import final_state, log

CONFIG = "configs/quickstart.py:unet,width=4,depth=1"
ARGS = {
    "total_steps": 20, "batch_size": 4, "log_every": 1, "num_predictions": 1,
    "dataset.image_size": "(32, 32)", "dataset.train_examples": 10, "dataset.val_examples": 7,
    "augment.crop_size": "(32, 32)", "augment.scale": "(0.8, 1.2)", "ema_decay": 0.9,
    "loss.cross_entropy.class_weights": "root_median_frequency",
    "evals": "('miou', 'per_image', 'boundary')", "eval.every": 10, "eval.batch_size": 4,
    "checkpoint.every": 5,
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


def finish(started, code=0):
    said = [process.communicate(timeout=120)[0] for process in started]
    for process, text in zip(started, said, strict=True):
        assert process.returncode == code, text
    return said


def ours(text):
    """The lines that are ours: Gloo and the preemption notifier of XLA have some of their own."""
    return [line for line in text.splitlines() if line.startswith("jaxseg: ") and WAITS not in line]


WAITS = "waits for the others"  # which depends on which process is started first


def steps(workdir):
    return [row["step"] for row in log(workdir) if "loss" in row]


# `jaxseg` whose process VICTIM gets signal NUMBER after step AT. On a busy machine the run would be
# over before a signal from outside came.
SIGNALLED = """
import os, sys, time
from jaxseg import cli
from jaxseg.writers import StepLog
victim, number, at, *words = sys.argv[1:]
log_step = StepLog.step
def step(self, step, *rest):
    log_step(self, step, *rest)
    if f"--process_id={victim}" in words and step >= int(at):
        if step == int(at):
            os.kill(os.getpid(), int(number))
        time.sleep(0.3)  # JAX looks for signals once a second
StepLog.step = step
sys.exit(cli.main(words))
"""


def signalled(workdir, victim, number, at):
    words = command(workdir)
    return [words[0], "-c", SIGNALLED, str(victim), str(int(number)), str(at), *words[3:]]


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
    mine, others = (json.loads((w / "eval/val/20.json").read_text()) for w in (workdir, other))
    # pixels are counted, and counts are equal; the loss follows the parameters
    assert mine.pop("loss") == pytest.approx(others.pop("loss"), rel=1e-5)
    assert mine == others
    assert mine["examples"] == 7
