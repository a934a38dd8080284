"""Search by Optuna, with a stand-in for training."""

import json
import os
import signal
import sys

import pytest

from jaxseg.config import store_config
from jaxseg.errors import UserError
from jaxseg.sweeps import local, plan, report, results, texts
from jaxseg.sweeps.local import Pool, Slot
from jaxseg.sweeps.search import Search

pytest.importorskip("optuna")

EXPERIMENT = """
'''Which learning rate?'''
from jaxseg.sweeps import Experiment, Range, Row, Scale

EXPERIMENT = Experiment(
    rows={"base": Row({"model.width": 4})},
    baseline="base",
    scales={"small": Scale("configs/quickstart.py", {"total_steps": 4})},
    search={
        "schedule.learning_rate": Range(1e-4, 1e-1, log=True),
        "optimizer.name": ("sgd", "adamw"),
        "batch_size": Range(2, 8),
    },
)
"""
# Scores rise with the learning rate; evaluated after 2 and 4 steps.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
flags = (w.removeprefix("--config.") for w in sys.argv if w.startswith("--config."))
words = dict(flag.split("=", 1) for flag in flags)
folder = Path(sys.argv[sys.argv.index("--workdir") + 1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
(folder / "eval" / "val").mkdir(parents=True, exist_ok=True)
def record(status, step):
    scores = {"miou": float(words["schedule.learning_rate"]) * step / 4, "iou": {"a": 0.5}}
    (folder / "eval" / "val" / f"{step}.json").write_text(json.dumps(scores))
    (folder / "run.json").write_text(json.dumps({"status": status, "step": step, "starts": []}))
(folder / "metrics.jsonl").write_text("{}")
if not (folder / "eval" / "val" / "2.json").exists():
    record("stopped", 2)
time.sleep(0.4)
if (folder.parent.parent / "hang").exists():
    time.sleep(60)
record("finished", 4)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    program, experiment = tmp_path / "program.py", tmp_path / "rate.py"
    program.write_text(PROGRAM)
    experiment.write_text(EXPERIMENT)
    monkeypatch.setattr(local, "PROGRAM", (sys.executable, "-S", str(program)))
    monkeypatch.setattr(local, "POLL_SECONDS", 0.02)

    def search(trials):
        said = []
        workdir = tmp_path / "sweep"
        made = Search(str(experiment), workdir, trials=trials, changes=(), announce=said.append)
        return made, said

    return search


def run(search, then=lambda: None):
    pool = Pool([Slot(), Slot()], lambda _: None)

    def refresh():
        search.update(pool)
        then()

    stopped_by = pool.run(search.waiting, refresh)
    search.update(pool)
    return stopped_by


def values(task):
    flags = (w.removeprefix("--config.") for w in task.words if w.startswith("--config."))
    return dict(flag.split("=", 1) for flag in flags)


def test_trials_lie_in_their_ranges_and_the_best_is_said(start, tmp_path):
    search, said = start(8)
    run(search)
    rates = {t.row: float(values(t)["schedule.learning_rate"]) for t in search.tasks}
    assert len(rates) == 8
    assert all(1e-4 <= rate <= 1e-1 for rate in rates.values())
    for task in search.tasks:
        assert values(task)["optimizer.name"] in ("sgd", "adamw")
        assert 2 <= int(values(task)["batch_size"]) <= 8
        assert values(task)["model.width"] == "4"  # the baseline row's
    pruned = {line.split(":")[0] for line in said if "pruned at step 2" in line}
    assert all(rates[name] < sorted(rates.values())[4] for name in pruned)
    best = max(rates, key=lambda name: rates[name])
    assert search.best().startswith(f"best: {best}, miou")
    # A search is a sweep: its table has the trials, the best first.
    for task in search.tasks:
        store_config(plan.resolve(task.words[2], task.words[5:]), task.workdir)
    sweep = results.collect(tmp_path / "sweep")
    lines = report.markdown(sweep).splitlines()
    assert lines[2] == (
        "| trial | mIoU in % | status | schedule.learning_rate | optimizer.name | batch_size |"
    )
    assert lines[4].startswith(f"| {best} |")
    assert len(json.loads(report.to_json(sweep))["rows"]) == 8


def test_where_less_is_better_the_lowest_is_the_best_and_comes_first(start, tmp_path):
    path = tmp_path / "rate.py"
    end = EXPERIMENT.index("    baseline=")
    path.write_text(f"{EXPERIMENT[:end]}    higher_is_better=False,\n{EXPERIMENT[end:]}")
    search, said = start(8)
    run(search)
    rates = {t.row: float(values(t)["schedule.learning_rate"]) for t in search.tasks}
    pruned = {line.split(":")[0] for line in said if "pruned at step 2" in line}
    assert all(rates[name] > sorted(rates.values())[3] for name in pruned)
    best = min(rates, key=lambda name: rates[name])
    assert search.best().startswith(f"best: {best}, miou")
    for task in search.tasks:
        store_config(plan.resolve(task.words[2], task.words[5:]), task.workdir)
    ranked = texts.ranked(results.collect(tmp_path / "sweep"))
    done = [row.name for row in ranked if row.results[0].scores]
    assert done == sorted(done, key=lambda name: rates[name])
    assert [row.name for row in ranked[: len(done)]] == done  # without a score, last


def test_a_search_that_is_stopped_continues_its_trials_and_repeats_none(start, tmp_path):
    search, _ = start(4)
    (tmp_path / "sweep" / "hang").touch()

    def interrupt():
        if len(list((tmp_path / "sweep").glob("*/seed0/run.json"))) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run(search, then=interrupt) == signal.SIGTERM
    (tmp_path / "sweep" / "hang").unlink()
    again, _ = start(4)
    assert [task.digest for task in again.waiting] == [task.digest for task in search.tasks]
    run(again)
    assert len({task.digest for task in again.tasks}) == 4
    assert len(list(plan.stored_tasks(tmp_path / "sweep"))) == 4
    more, _ = start(5)
    assert more.waiting == []
    run(more)
    assert len(more.tasks) == 5


def test_an_experiment_without_ranges_is_refused(tmp_path):
    path = tmp_path / "rate.py"
    path.write_text(EXPERIMENT[: EXPERIMENT.index("    search=")] + ")")
    with pytest.raises(UserError, match="no `search` ranges"):
        Search(str(path), tmp_path / "other", trials=1, changes=(), announce=print)
