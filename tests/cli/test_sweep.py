"""`jaxseg sweep`, with a stand-in for training; the slow test trains."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from jaxseg.cli import main
from jaxseg.lock import locked
from jaxseg.sweeps import local, plan, status

TINY = """
'''Does width matter?'''
from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "narrow": Row({"model.width": 4}, published=50.0),
        "wide": Row({"model.width": 8}, note="on other data"),
        "coarse": Row({"eval.size_multiple": 64}, evaluates="narrow"),
    },
    baseline="narrow",
    scales={
        "small": Scale(
            "configs/quickstart.py:unet,width=4,depth=1",
            {
                "total_steps": 300, "log_every": 1, "eval.every": 150, "checkpoint.every": 20,
                "dataset.train_examples": 32, "dataset.val_examples": 10, "batch_size": 8,
            },
            seeds=2,
        ),
    },
)
"""
# Ends as `jaxseg train` does, or fails if its seed is 1 and the file "fail" lies in the sweep.
PROGRAM = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("--workdir") + 1])
name, step = "300.json", 300
if sys.argv[1] == "evaluate":
    name = "300-eval.size_multiple=64.json"
elif "--config.seed=1" in sys.argv and (folder.parent.parent / "fail").exists():
    sys.exit("jaxseg: error: no luck")
(folder / "eval" / "val").mkdir(parents=True, exist_ok=True)
(folder / "eval" / "val" / name).write_text(json.dumps({"miou": 0.5}))
(folder / "run.json").write_text(json.dumps({"status": "finished", "step": 300}))
"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    monkeypatch.setattr(local, "PROGRAM", (sys.executable, "-S", str(path)))
    monkeypatch.setattr(local, "POLL_SECONDS", 0.02)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_show_prints_every_rows_command_and_published_number(experiment, capsys):
    assert main(["sweep", "show", f"{experiment}:small"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Does width matter?")
    assert "narrow   published 50.0" in out
    assert "wide   (on other data)" in out
    assert "jaxseg train --config configs/quickstart.py:unet,width=4,depth=1 --workdir DIR" in out


def test_a_sweep_says_what_it_does_and_the_same_command_does_the_rest(
    experiment, stand_in, tmp_path, capsys
):
    workdir = tmp_path / "sweep"
    command = ["sweep", "run", experiment, "--workdir", str(workdir)]
    workdir.mkdir()
    (workdir / "fail").touch()
    assert main(command) == 1
    out = capsys.readouterr()
    assert "6 runs, 1 at a time: 6 to begin, 0 to continue, 0 finished already" in out.err
    assert "2 of 6 runs failed" not in out.err  # coarse needs narrow: three
    assert "3 of 6 runs failed: " in out.err
    assert "wide, seed 1: no luck" in out.err
    (workdir / "fail").unlink()
    assert main([*command, "--seeds", "3"]) == 0
    out = capsys.readouterr()
    assert "9 runs, 1 at a time: 6 to begin, 0 to continue, 3 finished already" in out.err
    assert "narrow, seed 0: started" not in out.err
    assert f"next: jaxseg sweep report {workdir}" in out.out
    assert main(["sweep", "status", str(workdir)]) == 0
    out = capsys.readouterr().out
    assert "9 runs: 9 finished" in out
    assert out.count("50.00") == 9


def test_two_at_a_time_do_not_run_the_same_sweep(experiment, stand_in, tmp_path, capsys):
    workdir = tmp_path / "sweep"
    with locked(workdir):
        assert main(["sweep", "run", experiment, "--workdir", str(workdir)]) == 2
    assert f"{workdir} is being written by process {os.getpid()}" in capsys.readouterr().err
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected show, run, status, report, diff, got nothing"),
        (["rum"], "expected show, run, status, report, diff, got 'rum'"),
        (["run"], "expected EXPERIMENT"),
        (["status", "a", "b"], "expected DIR, got a b"),
        (["run", "EXPERIMENT", "--seeds", "x", "--workdir", "d"], "--seeds is 'x'"),
        (["run", "EXPERIMENT"], "needs --workdir"),
        (["run", "missing.py", "--workdir", "d"], "no experiment missing.py"),
    ],
)
def test_a_wrong_command_gets_one_line(experiment, capsys, words, message):
    assert main(["sweep", *(experiment if w == "EXPERIMENT" else w for w in words)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def _started(command, environment, log):
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


@pytest.mark.slow
def test_a_sweep_whose_driver_and_runs_are_killed_ends_as_one_left_alone(experiment, tmp_path):
    """Real trainings: no run is repeated, none lost, and the scores are the same bits."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "jaxseg.cli", "sweep", "run", experiment, "--workdir"]
    alone, disturbed = tmp_path / "alone", tmp_path / "disturbed"
    subprocess.run([*command, str(alone)], env=environment, check=True, timeout=600)
    killed = {"driver": 0, "run": 0}
    with (tmp_path / "log").open("w") as log:
        while True:
            driver = _started([*command, str(disturbed)], environment, log)
            while driver.poll() is None and sum(killed.values()) < 4:
                time.sleep(0.1)
                victim = _training(disturbed)
                if victim is None:
                    continue
                if killed["driver"] <= killed["run"]:
                    killed["driver"] += 1
                    driver.kill()
                else:
                    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                        os.kill(victim, signal.SIGKILL)
                        killed["run"] += 1
                        time.sleep(5)  # the next is begun
            if driver.wait(timeout=600) == 0:
                break
    assert killed == {"driver": 2, "run": 2}
    for task, other in zip(plan.stored_tasks(alone), plan.stored_tasks(disturbed), strict=True):
        scores = [json.loads(status.score_path(t, "val").read_text()) for t in (task, other)]
        assert scores[0] == scores[1]
        starts = json.loads((other.workdir / "run.json").read_text())["starts"]
        assert [s["status"] for s in starts].count("finished") == 1
    assert not _leftovers(disturbed)
    shutil.rmtree(alone)


def _training(workdir):
    """The process of a run that has done some steps but not all, by its lock."""
    for path in workdir.glob("*/seed*/.lock"):
        row = status.last_row(path.parent / "metrics.jsonl")
        if 30 <= row.get("step", 0) <= 250 and path.read_text():
            return json.loads(path.read_text())["process"]
    return None


def _leftovers(workdir):
    found = subprocess.run(["pgrep", "-f", str(workdir)], capture_output=True, text=True)
    return [pid for pid in found.stdout.split() if int(pid) != os.getpid()]
