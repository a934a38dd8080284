"""The pool: processes in slots, of which none is lost, repeated or left behind."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxseg.errors import UserError
from jaxseg.lock import locked
from jaxseg.sweeps import local
from jaxseg.sweeps.local import Pool, Slot
from jaxseg.sweeps.plan import Task

# In place of the command `jaxseg`: does as its last word says, in the folder that it is given.
PROGRAM = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
folder, act = Path(sys.argv[3]), sys.argv[4]
folder.mkdir(parents=True, exist_ok=True)
def note(event):
    row = {"event": event, "name": folder.name, "time": time.monotonic(), "pid": os.getpid(),
           "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "slurm": "SLURM_JOB_ID" in os.environ,
           "cores": sorted(os.sched_getaffinity(0)), "session": os.getsid(0)}
    with (folder.parent / "events.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
def saved(*_):
    note("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, signal.SIG_IGN if act == "deaf" else saved)
again = (folder / "begun").exists()
(folder / "begun").touch()
note("begun")
time.sleep(0.3)  # compiling
(folder / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\\n')
if act == "fail" or (act == "fail_once" and not again):
    print("jaxseg: error: no luck")
    sys.exit(1)
if act == "wrong":
    print("jaxseg: error: no such folder")
    sys.exit(2)
if act in ("wait", "deaf"):
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    note(f"child {child.pid}")
    time.sleep(60)
time.sleep(0.2)
note("ended")
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    monkeypatch.setattr(local, "PROGRAM", (sys.executable, "-S", str(path)))
    monkeypatch.setattr(local, "POLL_SECONDS", 0.05)


def task(tmp_path, row, act="finish", *, seed=0, needs=None):
    folder = tmp_path / "sweep" / f"{row}-{seed}"
    words = ("train", "--workdir", str(folder), act)
    return Task(row, seed, folder, words, "digest", 10, needs)


def events(tmp_path):
    path = tmp_path / "sweep" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def times(tmp_path, event):
    return {e["name"]: e["time"] for e in events(tmp_path) if e["event"] == event}


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    return False


def nothing(): ...


def test_every_task_runs_once_and_no_more_than_the_slots_at_a_time(tmp_path):
    tasks = [task(tmp_path, f"row{i}") for i in range(5)]
    pool = Pool([Slot(), Slot()], lambda _: None)
    assert pool.run(tasks, nothing) is None
    begun, ended = times(tmp_path, "begun"), times(tmp_path, "ended")
    assert len(events(tmp_path)) == 10
    names = {f"row{i}-0" for i in range(5)}
    assert begun.keys() == ended.keys() == names
    for moment in begun.values():
        assert sum(begun[name] <= moment < ended[name] for name in begun) <= 2
    assert not pool.failed


def test_a_run_has_its_slots_gpu_or_cores_its_own_session_and_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert local.slots() == [Slot(gpu="GPU-a"), Slot(gpu="GPU-b")]
    assert local.slots(1) == [Slot(gpu="GPU-a")]
    with pytest.raises(UserError, match=r"--slots=3, but there are 2 GPUs \(GPU-a, GPU-b\)"):
        local.slots(3)
    core = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    Pool([Slot(gpu="GPU-b", cores=(core,))], lambda _: None).run([task(tmp_path, "a")], nothing)
    event = events(tmp_path)[0]
    assert (event["gpu"], event["slurm"], event["cores"]) == ("GPU-b", False, [core])
    assert event["session"] == event["pid"]
    assert os.sched_getaffinity(0) == before


def test_cores_are_shared_among_slots_without_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 6})
    assert local.slots() == [Slot(cores=(0, 1, 2, 3, 6))]
    assert [slot.cores for slot in local.slots(2)] == [(0, 1), (2, 3, 6)]
    with pytest.raises(UserError, match="--slots=6, but there are 5 CPU cores"):
        local.slots(6)


def test_a_failed_run_is_tried_once_more_and_stops_no_other(tmp_path):
    said = []
    tasks = [
        task(tmp_path, "bad", "fail"), task(tmp_path, "unlucky", "fail_once"),
        task(tmp_path, "wrong", "wrong"), task(tmp_path, "good"),
    ]  # fmt: skip
    needing = task(tmp_path, "needing", needs=tasks[0].workdir)
    pool = Pool([Slot()], said.append)
    assert pool.run([*tasks, needing], nothing) is None
    names = [e["name"] for e in events(tmp_path) if e["event"] == "begun"]
    assert sorted(names) == ["bad-0", "bad-0", "good-0", "unlucky-0", "unlucky-0", "wrong-0"]
    assert {t.row: reason for t, reason in pool.failed.items()} == {
        "bad": "no luck", "wrong": "no such folder", "needing": "needs bad, seed 0, which failed",
    }  # fmt: skip
    assert "bad, seed 0: no luck; starting it once more" in said


def test_a_run_waits_for_what_it_needs(tmp_path):
    first = task(tmp_path, "first")
    second = task(tmp_path, "second", needs=first.workdir)
    Pool([Slot(), Slot()], lambda _: None).run([first, second], nothing)
    assert times(tmp_path, "begun")["second-0"] > times(tmp_path, "ended")["first-0"]


def test_of_a_rows_runs_the_first_compiles_alone(tmp_path):
    tasks = [task(tmp_path, "row", seed=seed) for seed in (0, 1)]
    Pool([Slot(), Slot()], lambda _: None).run([*tasks, task(tmp_path, "other")], nothing)
    begun, ended = times(tmp_path, "begun"), times(tmp_path, "ended")
    assert begun["row-1"] - begun["row-0"] > 0.3  # when it wrote its first numbers
    assert begun["other-0"] < begun["row-1"]
    assert begun["row-1"] < max(ended.values())


def test_a_folder_that_another_process_writes_to_is_waited_for(tmp_path):
    said, held = [], task(tmp_path, "held")
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(held.workdir))
        calls = []

        def refresh():
            calls.append(len(events(tmp_path)))
            if len(calls) == 8:
                stack.close()

        Pool([Slot()], said.append).run([held], refresh)
    assert calls[7] == 0
    assert f"held, seed 0: process {os.getpid()} on" in said[0]
    assert len(times(tmp_path, "ended")) == 1


@pytest.mark.parametrize(("act", "number"), [("wait", signal.SIGINT), ("deaf", signal.SIGTERM)])
def test_after_a_signal_nothing_is_left(tmp_path, monkeypatch, act, number):
    monkeypatch.setattr(local, "GRACE_SECONDS", 30 if act == "wait" else 0.5)
    old = signal.getsignal(number)

    def interrupt():
        if len([e for e in events(tmp_path) if e["event"].startswith("child")]) == 2:
            os.kill(os.getpid(), number)

    tasks = [task(tmp_path, name, act) for name in ("a", "b", "c")]
    stopped_by = Pool([Slot(), Slot()], lambda _: None).run(tasks, interrupt)
    assert stopped_by == number
    assert signal.getsignal(number) == old
    seen = events(tmp_path)
    assert {e["name"] for e in seen} == {"a-0", "b-0"}  # nothing new is begun
    assert len([e for e in seen if e["event"] == "saved"]) == (2 if act == "wait" else 0)
    pids = {e["pid"] for e in seen} | {
        int(e["event"].split()[1]) for e in seen if e["event"].startswith("child")
    }
    assert len(pids) == 4
    assert all(gone(pid) for pid in pids)


def test_a_run_that_is_killed_leaves_no_process_and_is_continued(tmp_path):
    tasks = [dataclasses.replace(task(tmp_path, "a", "wait"))]

    def kill():
        waiting = [e for e in events(tmp_path) if e["event"].startswith("child")]
        if len(waiting) == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(waiting[0]["pid"], signal.SIGKILL)
        elif len(waiting) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    Pool([Slot()], lambda _: None).run(tasks, kill)
    seen = events(tmp_path)
    assert [e["event"] for e in seen].count("begun") == 2
    assert [e["event"] for e in seen][-1] == "saved"
    assert all(gone(int(e["event"].split()[1])) for e in seen if e["event"].startswith("child"))


def test_runs_end_with_a_sweep_that_is_killed(tmp_path):
    """SIGKILL gives the sweep's process no chance to say anything: Linux tells the run."""
    script = (
        "import sys; from pathlib import Path; from jaxseg.sweeps import local, plan\n"
        f"local.PROGRAM = {local.PROGRAM!r}\n"
        f"task = plan.Task('a', 0, Path({str(tmp_path / 'sweep' / 'a-0')!r}), "
        f"('train', '--workdir', {str(tmp_path / 'sweep' / 'a-0')!r}, 'wait'), 'd', 10)\n"
        "local.Pool([local.Slot()], print).run([task], lambda: None)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(e["event"].startswith("child") for e in events(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    while not any(e["event"] == "saved" for e in events(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = next(int(e["event"].split()[1]) for e in events(tmp_path) if "child" in e["event"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # of the stand-in, which does not end it
