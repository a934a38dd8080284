"""Where runs stand, read from folders that stand in for those of real runs."""

import json

import pytest

from jaxseg.lock import locked
from jaxseg.sweeps import status
from jaxseg.sweeps.table import shown, summary, table


def write(folder, *, state, step, rows=(), scores=None, reason=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"status": state, "step": step, "reason": reason}))
    (folder / "config.json").write_text(json.dumps({"batch_size": 8}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for at, miou in (scores or {}).items():
        path = folder / "eval" / "val" / f"{at}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"miou": miou}))


@pytest.fixture
def tasks(made):
    return {(task.row, task.seed): task for task in made.tasks}


def of(task):
    return status.task_status(task, "miou", "val")


def test_a_run_that_never_began_is_waiting(tasks):
    found = of(tasks["narrow", 0])
    assert (found.state, found.step, found.score) == ("waiting", 0, None)
    assert found.cells("miou") == ("narrow", "0", "waiting", "0/6", "-", "")


def test_a_finished_run_has_its_last_score(tasks):
    task = tasks["narrow", 0]
    write(task.workdir, state="finished", step=6, scores={3: 0.6, 6: 0.5, 10: 0.1})
    assert of(task).cells("miou") == ("narrow", "0", "finished", "6/6", "10.00", "")


def test_a_run_that_finished_fewer_steps_than_are_asked_for_is_not_finished(tasks):
    task = tasks["narrow", 0]
    write(task.workdir, state="finished", step=4)
    assert of(task).state == "stopped"


def test_a_running_one_says_its_step_and_time_left(tasks):
    task = tasks["narrow", 0]
    write(task.workdir, state="running", step=0, rows=[{"step": 2, "images_per_second": 4.0}])
    assert of(task).state == "killed"  # nobody holds the folder
    with locked(task.workdir):
        assert of(task).cells("miou") == ("narrow", "0", "running", "2/6", "-", "0:08")


def test_a_failed_one_says_why(tasks):
    task = tasks["narrow", 0]
    write(task.workdir, state="failed", step=1, reason="OSError: no")
    assert (of(task).state, of(task).reason) == ("failed", "OSError: no")


def test_an_evaluation_is_finished_when_its_file_is_there(tasks):
    task = tasks["coarse", 1]
    assert of(task).state == "waiting"
    write(task.workdir, state="finished", step=6, scores={6: 0.5})
    assert of(task).state == "waiting"  # the run's own scores are others
    path = status.score_path(task, "val")
    assert path.name == "6-eval.size_multiple=64.json"
    path.write_text(json.dumps({"miou": 0.25}))
    assert of(task).cells("miou") == ("coarse", "1", "finished", "-", "25.00", "")


def test_other_metrics_are_printed_as_they_are():
    assert status.printed(0.5, "loss") == "0.5"
    assert status.printed(0.5, "pixel_accuracy") == "50.00"
    assert status.printed(None, "miou") == "-"


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert status.last_row(path) == {}
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert status.last_row(path) == {"step": 1}


def test_the_table_has_a_row_for_each_run_and_counts_them(made):
    found = [of(task) for task in made.tasks]
    write(made.tasks[0].workdir, state="finished", step=6)
    found[0] = of(made.tasks[0])
    assert summary(found) == "8 runs: 1 finished, 7 waiting"
    assert table(found, "miou").row_count == 8


def test_a_small_screen_shows_what_runs_or_failed(made):
    states = (
        "finished",
        "running",
        "waiting",
        "failed",
        "waiting",
        "stopped",
        "running",
        "waiting",
    )
    found = [status.Status(t, s) for t, s in zip(made.tasks, states, strict=True)]
    assert [each.state for each in shown(found, 3)] == ["running", "failed", "running"]
    assert [each.state for each in shown(found, 4)] == ["running", "failed", "stopped", "running"]
    assert shown(found, 20) == found
    assert table(found, "miou", most=3).row_count == 3
