"""Several real processes on one machine make one run, over loopback."""

import signal
import subprocess
import sys
import time

import pytest

from jaxseg import checkpoint, hosts
from tests.processes import (
    WAITS,
    assert_same_run,
    by_slurm,
    command,
    finish,
    free_port,
    ours,
    signalled,
    together,
)

SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in [(4, 1, "jit"), (2, 1, "pmap")]]


@pytest.mark.parametrize(("processes", "devices", "by"), [(2, 2, "jit"), *SLOW])
def test_processes_train_and_evaluate_as_one(one_process_run, tmp_path, processes, devices, by):
    words = command(tmp_path, f"--config.parallel={by}")
    with together(words, processes, devices) as started:
        said = finish(started)
    assert f"{processes * devices} cpu by {by} in {processes} processes" in said[0]
    assert "IoU %" in said[0]
    assert not any(map(ours, said[1:]))  # the first speaks for all
    assert not any("step" in text for text in said[1:])
    assert_same_run(tmp_path, one_process_run)
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 1


@pytest.mark.slow
def test_slurm_tells_the_processes_of_each_other(one_process_run, tmp_path):
    with together(command(tmp_path), 2, 1, by_slurm) as started:
        said = finish(started)
    assert "2 cpu by jit in 2 processes" in said[0]
    assert_same_run(tmp_path, one_process_run)


def test_a_signal_to_one_stops_all_and_one_process_goes_on(one_process_run, tmp_path):
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
    assert_same_run(tmp_path, one_process_run)


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
