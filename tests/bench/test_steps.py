"""The benchmark of whole steps: its command, and what its rows say."""

import json
import sys

import pytest

from jaxseg.bench import steps
from jaxseg.errors import UserError

TINY = steps.Network("unet", {"width": 4, "depth": 1}, size=32)
ROW = {
    "network": "unet",
    "mode": "train",
    "batch": 4,
    "size": 32,
    "dtype": "float32",
    "seconds": {"jaxseg": 0.5, "contiguous": 2.0, "torch.compile": 1.0},
    "matmul_share": {"jaxseg": 0.5, "contiguous": 0.125, "torch.compile": 0.25},
    "compilation": {"jaxseg": 3.0, "contiguous": 0.0, "torch.compile": 0.1},
    "peak_bytes": {"jaxseg": 2e9},
    "errors": {},
}


def cells(row):
    return dict(zip(steps.HEADINGS, steps.cells(row), strict=True))


def test_a_row_says_how_many_times_as_fast_jaxseg_is_as_pytorchs_fastest_mode():
    found = cells(ROW)

    assert found["jaxseg, images/s"] == "8"
    assert found["PyTorch, images/s"] == "4"
    assert found["PyTorch's fastest mode"] == "torch.compile"
    assert found["jaxseg / PyTorch"] == "2.00"
    assert found["jaxseg, of matmul"] == "50%"
    assert found["jaxseg, peak memory, GB"] == "2.00"
    assert found["PyTorch, peak memory, GB"] == ""


@pytest.mark.parametrize("failed", ["jaxseg", "PyTorch"])
def test_a_row_keeps_the_numbers_of_the_side_that_ran(failed):
    ran = {"jaxseg": 0.5} if failed == "PyTorch" else {"contiguous": 2.0}
    row = {**ROW, "seconds": ran, "errors": {failed: "OutOfMemoryError: all is used"}}
    found = cells(row)

    assert found["jaxseg, images/s"] == ("8" if failed == "PyTorch" else "")
    assert found["PyTorch, images/s"] == ("2" if failed == "jaxseg" else "")
    assert found["jaxseg / PyTorch"] == ""
    assert steps.errors([row]) == [f"unet, train, {failed}: OutOfMemoryError: all is used"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--models=unett", "did you mean 'unet'"),
        ("--mode=eval", "known: predict, train"),
        ("--dtype=float16", "known: bfloat16, float32"),
        ("--dtype=float32,bfloat16", "expected one"),
        ("--batch=1", "expected at least 2"),
        ("--size=32.5", "expected a whole number"),
    ],
)
def test_wrong_flags_are_explained(flag, message):
    with pytest.raises(UserError, match=message):
        steps.main([flag])


def test_without_pytorch_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(UserError, match="pip install torch"):
        steps.main([])


def test_the_command_measures_a_network(one_device, monkeypatch, tmp_path, capsys):
    pytest.importorskip("torch")
    monkeypatch.setitem(steps.NETWORKS, "unet", TINY)
    path = tmp_path / "steps.json"

    words = ["--models=unet", "--mode=train", "--batch=4", "--seconds=0.2", f"--json={path}"]
    steps.main([*words, "--pytorch=channels_last", "--markdown"])

    record = json.loads(path.read_text())
    (row,) = record["results"]
    assert record["command"] == f"jaxseg bench steps {' '.join(words[:-1])} {PYTORCH} --markdown"
    assert row["errors"] == {}
    assert set(row["seconds"]) == {"jaxseg", "channels_last"}
    assert 0 < row["matmul_share"]["jaxseg"] < 1
    # of whole processes, which hold their libraries too
    assert all(1e8 < row["peak_bytes"][side] < 3e9 for side in ("jaxseg", "channels_last"))
    assert "| unet | train | 4 | 32 | float32 |" in capsys.readouterr().out


PYTORCH = "--pytorch=channels_last"
