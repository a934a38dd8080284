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
from PIL import Image

from experiments.faults import final_state, log
from jaxseg import checkpoint, cli, data, hosts, ranking
from jaxseg.config import check_config, load_config

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


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run by one process with one device."""
    workdir = tmp_path_factory.mktemp("alone")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run(command(workdir), env=environment, capture_output=True, check=True)
    return workdir


SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in [(4, 1, "jit"), (2, 1, "pmap")]]


@pytest.mark.parametrize(("processes", "devices", "by"), [(2, 2, "jit"), *SLOW])
def test_processes_train_and_evaluate_as_one(alone, tmp_path, processes, devices, by):
    words = command(tmp_path, f"--config.parallel={by}")
    with together(words, processes, devices) as started:
        said = finish(started)
    assert f"{processes * devices} cpu by {by} in {processes} processes" in said[0]
    assert "IoU %" in said[0]
    assert not any(map(ours, said[1:]))  # the first speaks for all
    assert not any("step" in text for text in said[1:])
    assert_same_run(tmp_path, alone)
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 1


def test_processes_evaluate_a_run_as_training_did(alone, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(alone, workdir)
    path = workdir / "eval/val/20.json"
    before = json.loads(path.read_text())
    path.unlink()
    words = [sys.executable, "-m", "jaxseg.cli", "evaluate", "--workdir", str(workdir),
             "--step", "latest"]  # fmt: skip
    with together(words, 2, 1) as started:
        said = finish(started)
    assert "step 20, val: 7 images" in said[0]
    scores = json.loads(path.read_text())
    assert scores.pop("loss") == pytest.approx(before.pop("loss"), rel=1e-5)
    assert scores == before


# What each process does: several commands, so that the processes start once; then sums that neither
# 32 bits nor, of integers, float64 would hold.
EVALUATING = """
import functools, json, sys
import jax
import numpy as np
from jaxseg import cli, hosts, ranking
hosts.connect = functools.cache(hosts.connect)
ranking.MARGIN = float(sys.argv[1])
*right, wrong = json.loads(sys.argv[2])
for words in right:
    assert cli.main([*words, *sys.argv[3:]]) == 0
index = jax.process_index()
assert hosts.gather_items([{"at": 0.1}] * index) == [{"at": 0.1}]
sums = hosts.add_up_arrays({"count": np.array([[2**60 + index]]), "total": np.array(0.1 + index)})
assert sums["count"].tolist() == [[2**61 + 1]] and sums["total"].tolist() == 0.1 + 1.1
cli.main([*wrong, *sys.argv[3:]])
"""


def test_processes_rank_and_score_masks_as_one(alone, tmp_path, monkeypatch, capsys):
    """Seven images by two processes; then masks with a fault in the part of each."""
    margin = 0.05  # a run of 20 steps is not confident
    monkeypatch.setattr(ranking, "MARGIN", margin)
    source = data.load(check_config(load_config(alone)).dataset, "val")
    names, rng = [source[i]["name"] for i in range(7)], np.random.default_rng(0)
    for folder in ("masks", "faulty"):
        (tmp_path / folder).mkdir()
        for name in names:
            mask = Image.fromarray(rng.integers(0, 5, (32, 32)).astype(np.uint8))
            mask.save(tmp_path / folder / f"{name}.png")
    for name in (names[1], names[2]):
        (tmp_path / "faulty" / f"{name}.png").unlink()

    def modes(workdir):
        words = ["evaluate", "--workdir", str(workdir)]
        by_masks = (["--predictions", str(tmp_path / kind)] for kind in ("masks", "faulty"))
        return [[*words, *more] for more in (["--step", "latest", "--rank"], *by_masks)]

    one, two = tmp_path / "one", tmp_path / "two"
    for workdir in (one, two):
        shutil.copytree(alone, workdir)
    assert [cli.main(words) for words in modes(one)] == [0, 0, 2]
    printed = capsys.readouterr()
    script = [sys.executable, "-c", EVALUATING, str(margin), json.dumps(modes(two))]
    with together(script, 2, 1) as started:
        said = finish(started, 2)
    for words in printed.out.replace("/one", "/two").splitlines():
        assert words in said[0]
    faults = printed.err[printed.err.index(f"{tmp_path}/faulty can't") :]
    assert f"jaxseg: error: process 0 failed: {faults}" in said[0]
    assert ours(said[1]) == [f"jaxseg: error: process 0 failed: {tmp_path}/faulty can't be scored"]
    assert not any(name in said[1] for name in names)  # the first speaks for all
    ranked, by_two = (json.loads((w / "eval/val/20-rank.json").read_text()) for w in (one, two))
    assert len(ranked["regions"]) > 10
    assert by_two["examples"] == 7
    assert {region["index"] for region in ranked["regions"]} == set(range(7))
    assert by_two == ranked
    scores, by_two = (json.loads((w / "eval/val/masks-masks.json").read_text()) for w in (one, two))
    assert by_two["examples"] == 7
    assert by_two == scores


@pytest.mark.slow
def test_slurm_tells_the_processes_of_each_other(alone, tmp_path):
    with together(command(tmp_path), 2, 1, by_slurm) as started:
        said = finish(started)
    assert "2 cpu by jit in 2 processes" in said[0]
    assert_same_run(tmp_path, alone)


def test_a_signal_to_one_stops_all_and_one_process_goes_on(alone, tmp_path):
    """SIGUSR2 to the second of two, then SIGINT to the first of two, then one by itself."""
    stopped_at = 0
    for victim, number, codes in [(1, signal.SIGUSR2, (143, 140)), (0, signal.SIGINT, (130, 143))]:
        with together(signalled(tmp_path, victim, number, stopped_at + 2), 2, 1) as started:
            said = [process.communicate(timeout=120)[0] for process in started]
        assert tuple(process.returncode for process in started) == codes, said
        assert f"jaxseg: {number.name}: saving, then stopping" in said[victim]
        assert "the same command continues from there" in ours(said[0])[-1]
        if stopped_at:
            assert f"continuing at step {stopped_at}" in said[0]
        stopped_at = int(said[0].split("stopped at step ")[1].split(",")[0])
        assert checkpoint.find(tmp_path / "checkpoints", "latest") == stopped_at
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert f"continuing at step {stopped_at}" in done.stderr
    assert_same_run(tmp_path, alone)


def test_a_signal_to_one_ends_the_evaluation_by_all(alone, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(alone, workdir)
    words = [sys.executable, "-m", "jaxseg.cli", "evaluate", "--workdir", str(workdir),
             "--config.dataset.val_examples=1000000"]  # fmt: skip
    with together(words, 2, 1) as started:
        assert started[0].stdout is not None
        first = iter(started[0].stdout.readline, "")
        assert any("unet evaluation step" in line for line in first)
        started[1].send_signal(signal.SIGTERM)
        said = finish(started, 143)
    for text in said:
        assert [line.split(";")[0] for line in ours(text)] == [
            "jaxseg: process 1: stopped by SIGTERM"
        ]


# What each process does once it has found the others: one fails while the other waits for it.
FAILING = """
import sys
import jax
from jaxseg import hosts
from jaxseg.errors import UserError
victim, error, address, count, index = sys.argv[1], sys.argv[2], *(
    flag.split("=")[1] for flag in sys.argv[3:]
)
hosts.connect(address, int(count), int(index))
hosts.add_up(1)
with hosts.failing_together():
    if index == victim:
        raise eval(error)
    hosts.add_up(1)
"""


@pytest.mark.parametrize(
    ("victim", "error", "code", "reason"),
    [
        (0, "UserError('no such image')", 2, "no such image"),
        (1, "ZeroDivisionError('by zero')", 1, "ZeroDivisionError: by zero"),
        (1, "jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes')", 1,
         "the device is out of memory (RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes)"),
    ],
)  # fmt: skip
def test_one_that_fails_ends_the_other_at_once(victim, error, code, reason):
    words = [sys.executable, "-c", FAILING, str(victim), error]
    start = time.monotonic()
    with together(words, 2, 1) as started:
        said = finish(started, code)
    assert time.monotonic() - start < 60  # nobody waited for a timeout of minutes
    for text in said:
        assert [line.split(":", 2)[2].split(": lower")[0] for line in ours(text)] == [
            f" process {victim} failed: {reason}"
        ]
    tracebacks = [text.count("Traceback") for text in said]
    assert tracebacks[1 - victim] == 0
    assert tracebacks[victim] == ("UserError" not in error and "Jax" not in error)


def test_a_mistake_of_one_ends_all(tmp_path):
    """Only the first process checks the range of --profile."""
    words = command(tmp_path, "--profile", "--config.profile.first_step=100")
    with together(words, 2, 1) as started:
        said = finish(started, 2)
    for text in said:
        (line,) = ours(text)
        assert line.startswith("jaxseg: error: process 0 failed: --profile is to trace steps 100")


def test_distributed_without_a_cluster_says_what_to_give(tmp_path):
    words = command(tmp_path, "--distributed")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ours(done.stderr) == [
        "jaxseg: error: --distributed found no Slurm, Open MPI or Kubernetes: give every process "
        "--coordinator_address=HOST:PORT (of the first), --num_processes=N and --process_id=0..N-1"
    ]


CONNECT = """
import sys
from jaxseg import hosts
hosts._REMIND_EVERY = 0.5
hosts.connect(sys.argv[1], 2, int(sys.argv[2]), timeout=int(sys.argv[3]))
"""


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_alone_says_that_it_waits_and_gives_up(index):
    words = [sys.executable, "-c", CONNECT, f"127.0.0.1:{free_port()}", str(index), "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    *waits, end = done.stderr.splitlines()
    assert len(waits) > 1
    assert waits[0].startswith(f"jaxseg: process {index} of 2 waits for the others at 127.0.0.1:")
    assert waits[0].endswith("1 s of at most 2")
    assert end.startswith(f"jaxseg: error: process {index} of 2 waited 2 s for the others")


@pytest.mark.parametrize(
    ("number", "code", "end"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM; the same command continues or starts again"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_ends_a_process_that_waits(tmp_path, number, code, end):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("a shell's background job ignores Ctrl-C, and so do its processes")
    flags = [f"--coordinator_address=127.0.0.1:{free_port()}", "--num_processes=2"]
    words = command(tmp_path, *flags, "--process_id=0")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert WAITS in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(timeout=10) == code
        assert process.stderr.read() == f"jaxseg: {end}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        # from runs whose other process was killed
        ("UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/pair.cc:547] "
         "Connection closed by peer [127.0.0.1]:35513", True),
        ("UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/pair.cc:538] "
         "Read error [127.0.0.1]:5815: Connection reset by peer", True),
        ("UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1", True),
        ("DEADLINE_EXCEEDED: Barrier timed out.", True),
        ("INTERNAL: NCCL operation ncclGroupEnd() failed: remote process exited or there was a "
         "network error", True),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.", False),
        ("INTERNAL: Failed to compile module: no registers", False),
        ("images from peer tasks have different sizes", False),
    ],
)  # fmt: skip
def test_which_errors_mean_that_a_process_is_gone(error, lost):
    assert bool(hosts._LOST.match(error)) == lost


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other_within_a_minute(tmp_path):
    with together(signalled(tmp_path, 1, signal.SIGSTOP, 3), 2, 1) as started:
        said, _ = started[0].communicate(timeout=120)
    assert started[0].returncode != 0
    assert "JAX distributed service detected fatal errors" in said


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_dead_process_ends_the_other_with_a_message(tmp_path, victim):
    with together(signalled(tmp_path, victim, signal.SIGKILL, 3), 2, 1) as started:
        said, _ = started[1 - victim].communicate(timeout=120)
    assert started[1 - victim].returncode != 0
    assert any("lost another one" in line for line in ours(said))
