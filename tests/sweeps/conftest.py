import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxseg import files, metrics
from jaxseg.cli import main
from jaxseg.config import store_config
from jaxseg.sweeps import plan, slurm, status

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


class Cluster:
    """A Slurm of one machine (see slurm_stand_in.py)."""

    def __init__(self, folder):
        self.folder = folder
        self.places(2)

    def places(self, number):
        """How many jobs may run at a time."""
        files.write_text(self.folder / "places", str(number))

    def ask(self, command, *arguments):
        program = str(self.folder / "bin" / command)
        return subprocess.run([program, *arguments], check=True, capture_output=True, text=True)

    def states(self):
        lines = self.ask("sacct").stdout.splitlines()[1:]
        return {job: state for job, state, _ in (line.split("|") for line in lines)}

    def about(self, job):
        return json.loads((self.folder / "state.json").read_text())[job]

    def wait(self, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.states(), self.errors())
            time.sleep(0.1)

    def wait_for_all(self, seconds=120):
        """All jobs have ended, and none left a process behind."""
        self.wait(lambda: not {"PENDING", "RUNNING"} & set(self.states().values()), seconds)
        self.wait(lambda: not self.processes(), 10)

    def errors(self):
        return (self.folder / "errors").read_text()[-2000:]

    def processes(self):
        """Of its jobs, and of those who look after them."""
        mark = f"STAND_IN={self.folder}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    folder = tmp_path / "cluster"
    (folder / "bin").mkdir(parents=True)
    (folder / "errors").touch()
    source = Path(__file__).with_name("slurm_stand_in.py")
    for name in (
        "sbatch", "srun", "squeue", "sacct", "sinfo", "scontrol", "scancel", "preempt", "limit",
    ):  # fmt: skip
        path = folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -S {source} {name} "$@"\n')
        path.chmod(0o755)
    monkeypatch.setenv("STAND_IN", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    made = Cluster(folder)
    yield made
    while found := made.processes():
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


# In place of the command `jaxseg`: counts its steps to 40 unless a signal asks it to save; of a row
# that the file "fail" names it fails.
SLURM_PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
words = sys.argv[1:]
folder = Path(words[words.index("--workdir") + 1])
sweep, name = folder.parent.parent, f"{folder.parent.name}/{folder.name}"
rank = os.environ.get("SLURM_PROCID", "-")
def note(event, step):
    row = {"event": event, "name": name, "command": words[0], "step": step, "rank": rank,
           "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "time": time.monotonic(),
           "slurm": sum(k.startswith("SLURM_") for k in os.environ), "session": os.getsid(0),
           "pid": os.getpid(), "distributed": "--distributed" in words}
    with (sweep / "events.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
def store(state):
    path = folder / f"run.{os.getpid()}"
    path.write_text(json.dumps({"status": state, "step": step}))
    path.replace(folder / "run.json")
def save(number, frame):
    note(signal.Signals(number).name, step)
    store("stopped")
    sys.exit(128 + number)
folder.mkdir(parents=True, exist_ok=True)
step = 0
for number in (signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, save)
if (folder / "run.json").exists():
    step = json.loads((folder / "run.json").read_text())["step"]
note("begun", step)
if (sweep / "fail").exists() and folder.parent.name in (sweep / "fail").read_text():
    print("jaxseg: error: no luck")
    sys.exit(1)
(folder / "eval" / "val").mkdir(parents=True, exist_ok=True)
if words[0] == "evaluate":
    (folder / "eval" / "val" / "40-eval.size_multiple=64.json").write_text('{"miou": 0.25}')
    note("ended", step)
    sys.exit()
while step < 40:
    while (sweep / "wait").exists() and step == 20:
        time.sleep(0.05)
    step += 1
(folder / "eval" / "val" / "40.json").write_text('{"miou": 0.5}')
store("finished")
note("ended", step)
"""
SLURM_TINY = """
from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "narrow": Row({"model.width": 4}),
        "wide": Row({"model.width": 8}),
        "coarse": Row({"eval.size_multiple": 64}, evaluates="narrow"),
    },
    baseline="narrow",
    scales={
        "small": Scale(
            "configs/quickstart.py:unet,width=4,depth=1",
            {
                "total_steps": 40, "log_every": 1, "eval.every": 20, "checkpoint.every": 5,
                "dataset.train_examples": 32, "dataset.val_examples": 10, "batch_size": 8,
            },
            seeds=1,
        ),
    },
)
"""


class Sweep:
    """The command on an experiment, and what its runs noted."""

    def __init__(self, folder):
        self.workdir = folder / "sweep"
        self.workdir.mkdir()
        self.source = folder / "tiny.py"
        self.source.write_text(SLURM_TINY)

    def run(self, options="", *words):
        command = ["sweep", "run", str(self.source), "--workdir", str(self.workdir), *words]
        return main([*command, f"--slurm={options}"])

    def events(self, event=None, name=None):
        path = self.workdir / "events.jsonl"
        rows = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
        return [
            row for row in rows if event in (None, row["event"]) and name in (None, row["name"])
        ]

    def statuses(self):
        tasks = plan.stored_tasks(self.workdir)
        found = [status.task_status(task, "miou", "val") for task in tasks]
        found = slurm.with_jobs(found, self.workdir, slurm.queue())
        return {slurm.task_key(each.task): each for each in found}

    def states(self):
        return {key: each.state for key, each in self.statuses().items()}

    def jobs(self):
        return slurm.jobs(self.workdir)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(SLURM_PROGRAM)
    monkeypatch.setattr(slurm, "PROGRAM", (sys.executable, "-S", str(program)))
    return Sweep(tmp_path)
