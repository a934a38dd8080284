"""A run's folder: opened, compared and recorded."""

import json
import re

import pytest

from jaxseg import checkpoint, runs
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.lock import locked


def classes(*names, void=255):
    return Classes(names, voc_palette(len(names)), void)


TRAINED = classes("ground", "cell")


@pytest.mark.parametrize(
    ("given", "difference"),
    [
        (classes("cell", "ground"), "ground"),
        (classes("ground", "nucleus"), "nucleus"),
        (classes("ground", "cell", void=254), "254"),
        (classes("ground", "cell", "rim"), "3"),
    ],
)
def test_other_classes_are_refused_in_one_line(given, difference):
    with pytest.raises(UserError, match=f"classes of nuclei are not .*{difference}") as error:
        runs.check_classes(TRAINED, given, what="nuclei")
    assert "\n" not in str(error.value)
    if len(given) == 2:
        assert "--allow_other_classes" in str(error.value)
        runs.check_classes(TRAINED, given, what="nuclei", allow=True)
    else:  # the numbers could not even be added up
        with pytest.raises(UserError, match="their number must be equal"):
            runs.check_classes(TRAINED, given, what="nuclei", allow=True)


def test_other_colours_are_no_other_classes():
    runs.check_classes(TRAINED, Classes(TRAINED.names, ((1, 2, 3), (4, 5, 6)), 255), what="nuclei")


def read(workdir):
    return json.loads((workdir / runs.RECORD).read_text())


def test_every_start_of_a_run_is_recorded(tmp_path):
    with locked(tmp_path):
        with runs.Record(tmp_path, step=0, data="abc", config="c0") as record:
            assert runs.status(tmp_path)["status"] == "running"
            record.update(4)
            assert runs.status(tmp_path)["step"] == 4
            record.end("stopped", 5)
        with (
            pytest.raises(UserError, match="no room"),
            runs.Record(tmp_path, step=5, data="abc", config="c0"),
        ):
            raise UserError("no room")
        with runs.Record(tmp_path, step=5, data="abc", config="c0") as record:
            record.end("finished", 9)
    found = runs.status(tmp_path)
    assert [start["status"] for start in found["starts"]] == ["stopped", "failed", "finished"]
    assert [start["from_step"] for start in found["starts"]] == [0, 5, 5]
    assert found["starts"][1]["reason"] == "UserError: no room"
    assert (found["status"], found["step"], found["reason"]) == ("finished", 9, "")
    start = found["starts"][0]
    assert re.fullmatch("[0-9a-f]{40}", start["git"]["commit"])
    assert {"jax", "flax", "python"} <= start["versions"].keys()
    assert start["devices"]["count"] == 8
    assert start["hosts"]["processes"] == 1
    assert start["started"] <= start["ended"]


def test_a_run_whose_process_is_gone_was_killed(tmp_path):
    record = runs.Record(tmp_path, step=0, data="", config="c0")
    with locked(tmp_path):
        record.__enter__()
        assert runs.status(tmp_path)["status"] == "running"
    assert runs.status(tmp_path)["status"] == "killed"
    assert read(tmp_path)["status"] == "running"


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: it has no run\.json"):
        runs.status(tmp_path)
    with pytest.raises(UserError, match=r"is not a run: it has no config\.json"):
        runs.open_run(tmp_path)


def test_other_data_is_refused(tmp_path):
    runs.check_same_data("abc", tmp_path)  # there is no run yet
    with runs.Record(tmp_path, step=0, data="abc", config="c0"):
        pass
    runs.check_same_data("abc", tmp_path)
    with pytest.raises(UserError, match=r"trained on other data \(abc; now abd\)"):
        runs.check_same_data("abd", tmp_path)


def test_a_run_opens_at_the_step_asked_for(run_with_averages, monkeypatch):
    """With the state that was saved, and with changed values where asked."""
    latest = runs.open_run(run_with_averages, "latest")
    assert latest.step == checkpoint.find(run_with_averages / runs.CHECKPOINTS, "latest")
    assert int(latest.state.step) == latest.step
    monkeypatch.setattr(runs, "stride_mismatch", lambda *_: "they lie elsewhere")
    said = []
    changed = runs.open_run(
        run_with_averages, changes=["--config.eval.batch_size=3"], announce=said.append
    )
    assert "warning: they lie elsewhere" in said
    assert changed.config.eval.batch_size == 3
    with pytest.raises(UserError, match=r"no key 'eval\.batch'"):
        runs.open_run(run_with_averages, changes=["--config.eval.batch=3"])
