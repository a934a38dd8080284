"""The command `jaxseg bench`: good runs, and mistakes that get one clear line."""

import inspect
import json

import pytest

from jaxseg.bench import ops
from jaxseg.cli.bench import BENCHMARKS, bench
from jaxseg.errors import UserError


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "expected ops, steps, collectives, data, got nothing"),
        (["op"], "expected ops, steps, collectives, data, got 'op'"),
        (["ops", "--second=1"], "bench ops has no flag --second; did you mean '--seconds'"),
        (["ops", "--seconds=fast"], "--seconds is 'fast', expected a number above 0"),
        (["ops", "--ops=conf"], "--ops names 'conf'; did you mean 'conv'"),
        (["ops", "--dtypes=float16"], "--dtypes names 'float16'; did you mean"),
        (["ops", "conv"], "bench ops takes flags only, got conv"),
        (["collectives", "--devices=0"], "--devices is '0', expected numbers up to 64"),
        (["collectives", "--config=configs/no.py"], "no config file 'configs/no.py'"),
        (["data", "--workers=0"], "--workers is '0', expected a number above 0"),
    ],
)
def test_mistakes_get_one_line(argv, message):
    with pytest.raises(UserError) as error:
        bench(argv)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_help_names_every_benchmark():
    lines = str(inspect.getdoc(bench)).splitlines()
    assert all(
        any(line.startswith(f"jaxseg bench {name}") for line in lines) for name in BENCHMARKS
    )


def test_ops_prints_a_table_and_stores_every_time(tmp_path, capsys, monkeypatch):
    case = next(case for case in ops.CASES if case.operation == "resize")
    small = type(case)("resize", "enlarge", "tiny", case.call, (5, 5, 2), (), {"size": (9, 9)})
    monkeypatch.setattr(ops, "CASES", (small,))
    path = tmp_path / "times.json"
    bench(["ops", "--dtypes", "float32", "--seconds", "0.01", "--markdown", "--json", str(path)])
    said, progress = capsys.readouterr()
    assert "| resize: tiny | enlarge | float32 |" in said
    assert progress.startswith("1/1 resize, tiny, float32: ")
    written = json.loads(path.read_text())
    assert written["command"].startswith("jaxseg bench ops --dtypes float32")
    assert written["results"][0]["x"] == [2, 5, 5, 2]
