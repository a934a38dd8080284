"""What an experiment's file may say."""

import re
from pathlib import Path

import pytest

from jaxseg.errors import UserError
from jaxseg.sweeps import Experiment, Row, Scale, grid
from jaxseg.sweeps.experiment import load, word

SCALES = {"small": Scale("configs/quickstart.py")}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a b": Row(), "a": Row()}, r"row 'a b': .*folder"),
        ({"b": Row()}, r"baseline 'a' is no row; known: b"),
        ({"a": Row(begins_from="c")}, r"row 'a' needs row 'c'"),
        ({"a": Row(begins_from="b"), "b": Row(begins_from="a")}, r"circle: a -> b -> a"),
        ({"a": Row(), "b": Row(evaluates="a"), "c": Row(begins_from="b")}, r"'b', which trains no"),
        ({"a": Row(), "b": Row(evaluates="a", begins_from="a")}, r"only one"),
    ],
)
def test_rows_that_make_no_sense_are_refused_in_one_line(rows, message):
    with pytest.raises(UserError, match=message):
        Experiment(rows=rows, baseline="a", scales=SCALES)


def test_scales_are_checked():
    with pytest.raises(UserError, match="'small' names row 'b'"):
        Experiment({"a": Row()}, "a", {"small": Scale("configs/quickstart.py", rows={"b": {}})})
    with pytest.raises(UserError, match="0 seeds"):
        Experiment({"a": Row()}, "a", {"small": Scale("configs/quickstart.py", seeds=0)})


def test_a_grid_has_a_row_for_each_combination():
    rows = grid({"model.output_stride": (8, 16), "model.multi_grid": ((1, 1, 1), (1, 2, 4))})
    assert list(rows) == [
        "output_stride=8,multi_grid=(1,1,1)",
        "output_stride=8,multi_grid=(1,2,4)",
        "output_stride=16,multi_grid=(1,1,1)",
        "output_stride=16,multi_grid=(1,2,4)",
    ]
    last = rows["output_stride=16,multi_grid=(1,2,4)"].overrides
    assert last == {"model.output_stride": 16, "model.multi_grid": (1, 2, 4)}
    Experiment(rows, "output_stride=8,multi_grid=(1,1,1)", SCALES)  # names that folders can have


def test_values_become_words_of_the_command():
    assert [word(v) for v in (0.1, True, (1, 2), "adamw", ())] == [
        "0.1",
        "True",
        "(1,2)",
        "adamw",
        "()",
    ]


def test_a_file_gives_its_experiment_and_its_question(experiment_file):
    experiment, question = load(experiment_file)
    assert question == "Does width matter?"
    assert experiment.baseline == "narrow"


def test_a_wrong_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no experiment .*missing.py"):
        load(tmp_path / "missing.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match=r"empty.py defines no EXPERIMENT"):
        load(tmp_path / "empty.py")
    (tmp_path / "wrong.py").write_text(
        "from jaxseg.sweeps import *\nEXPERIMENT = Experiment({}, 'a', {})"
    )
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'wrong.py'}: baseline 'a'")):
        load(tmp_path / "wrong.py")


def test_every_experiment_of_the_project_loads():
    found = sorted(Path("experiments").glob("*.py"))
    loaded = [load(path) for path in found if "EXPERIMENT =" in path.read_text()]
    assert loaded
    assert all(question for _, question in loaded)
