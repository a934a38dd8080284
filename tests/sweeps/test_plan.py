"""From an experiment to commands."""

import json
import shutil

import pytest

from jaxseg.config import digest
from jaxseg.errors import UserError
from jaxseg.sweeps import plan


def values(task):
    """The overrides among a command's words."""
    pairs = (w.removeprefix("--config.").split("=", 1) for w in task.words if "config." in w)
    return {pair[0]: pair[1] for pair in pairs}


def find(made, row, seed=0):
    return next(task for task in made.tasks if (task.row, task.seed) == (row, seed))


def test_whole_blocks_come_first_and_rows_after_what_they_need(made):
    assert [(t.row, t.seed) for t in made.tasks] == [
        (row, seed) for seed in (0, 1) for row in ("narrow", "wide", "longer", "coarse")
    ]
    assert find(made, "longer", 1).needs == find(made, "wide", 1).workdir
    assert find(made, "coarse").needs == find(made, "narrow").workdir


def test_a_row_comes_before_the_command_line_and_that_before_the_scale(experiment_file, tmp_path):
    changes = ["--config.model.width=32", "--config.batch_size=4"]
    made = plan.make(str(experiment_file), tmp_path / "sweep", changes=changes)
    assert values(find(made, "narrow"))["model.width"] == "4"
    assert values(find(made, "longer"))["model.width"] == "32"
    assert all(values(t)["batch_size"] == "4" for t in made.tasks if t.trains)
    assert values(find(made, "wide"))["schedule.learning_rate"] == "0.002"
    assert "schedule.learning_rate" not in values(find(made, "narrow"))


def test_an_evaluation_row_names_the_trained_run_and_its_changes(made):
    task = find(made, "coarse", 1)
    assert task.workdir == find(made, "narrow", 1).workdir
    assert task.words[:2] == ("evaluate", "--workdir")
    assert task.words[-1] == "--config.eval.size_multiple=64"
    assert task.digest != find(made, "narrow", 1).digest


def test_the_digest_is_of_what_changes_numbers(made, experiment_file, tmp_path):
    assert len({task.digest for task in made.tasks}) == len(made.tasks)
    faster = plan.make(
        str(experiment_file), tmp_path / "sweep", changes=["--config.pipeline.workers=1"]
    )
    assert [t.digest for t in faster.tasks if not t.needs] == [
        t.digest for t in made.tasks if not t.needs
    ]
    config = plan.resolve("configs/quickstart.py", ["--config.total_steps=7"])
    assert digest(config) != digest(plan.resolve("configs/quickstart.py", []))


def test_only_some_rows_bring_what_they_need(experiment_file, tmp_path):
    made = plan.make(str(experiment_file), tmp_path, only=["longer"], seeds=1)
    assert [task.row for task in made.tasks] == ["wide", "longer"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["wid"]}, "--only names row 'wid'; did you mean 'wide'"),
        (
            {"changes": ["--config.total_step=3"]},
            "row 'narrow': the config has no key 'total_step'",
        ),
        (
            {"changes": ["--config.schedule.learning_rate=-1."]},
            "row 'narrow': .*learning_rate is -1",
        ),
        ({"changes": ["--config.model.padding=odd"]}, "row 'narrow': .*padding.*odd"),
        ({"changes": ["--config.lowerings.conv=odd"]}, "row 'narrow': .*odd"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(experiment_file, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        plan.make(str(experiment_file), tmp_path / "sweep", **options)
    assert not (tmp_path / "sweep").exists()


def test_an_unknown_scale_is_named(experiment_file, tmp_path):
    with pytest.raises(UserError, match="no scale 'huge'; known: full, small"):
        plan.make(f"{experiment_file}:huge", tmp_path)


def test_a_sweep_can_be_read_wherever_its_folder_lies(made, tmp_path):
    made.store()
    shutil.move(made.workdir, tmp_path / "elsewhere")
    tasks = list(plan.stored_tasks(tmp_path / "elsewhere"))
    assert [task.digest for task in tasks] == [task.digest for task in made.tasks]
    assert tasks[2].needs == tmp_path / "elsewhere" / "wide" / "seed0"
    record = plan.read(tmp_path / "elsewhere")
    assert record["rows"]["narrow"]["published"] == 50.0
    assert (record["metric"], record["split"], record["baseline"]) == ("miou", "val", "narrow")
    assert (record["higher_is_better"], record["changes"]) == (True, [])
    with pytest.raises(UserError, match="is not a sweep"):
        plan.read(tmp_path)


def test_what_the_command_line_and_the_file_say_of_all_rows_is_stored(experiment_file, tmp_path):
    text = experiment_file.read_text()
    experiment_file.write_text(
        text.replace('baseline="narrow",', 'baseline="narrow", higher_is_better=False,')
    )
    changes = ["--config.batch_size=4"]
    plan.make(str(experiment_file), tmp_path / "sweep", changes=changes).store()
    record = plan.read(tmp_path / "sweep")
    assert (record["higher_is_better"], record["changes"]) == (False, changes)


def test_a_sweep_of_an_earlier_version_can_be_read(made):
    made.store()
    path = made.workdir / plan.RECORD
    record = json.loads(path.read_text())
    for key in plan.LATER_KEYS:
        del record[key]
    path.write_text(json.dumps(record))
    assert plan.read(made.workdir)["higher_is_better"]
    assert not plan.read(made.workdir)["searched"]


def test_a_run_with_another_config_in_the_same_folder_is_refused(made, experiment_file, tmp_path):
    from jaxseg.config import store_config

    folder = find(made, "wide").workdir
    folder.mkdir(parents=True)
    store_config(plan.resolve("configs/quickstart.py:unet,width=4,depth=2", []), folder)
    with pytest.raises(UserError, match=r"row 'wide': .*another config .*total_steps: 400 -> 6"):
        plan.make(f"{experiment_file}:small", tmp_path / "sweep")
