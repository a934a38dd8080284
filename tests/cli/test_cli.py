"""The command as a person uses it: help, and mistakes that get one clear line."""

import subprocess
import sys
import time

import pytest

from jaxseg import cli

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=1"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["train"],
        ["evaluate"],
        ["predict"],
        ["report"],
        ["plot"],
        ["sweep"],
        ["data"],
        ["weights"],
        ["bench"],
    ],
)
def test_help_is_instant_and_shows_an_example(argv):
    command = [sys.executable, "-m", "jaxseg.cli", *argv, "--help"]

    def is_instant():
        start = time.perf_counter()
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Example:\n  jaxseg " in out
        return time.perf_counter() - start < 0.5

    assert any(is_instant() for _ in range(3))  # the machine may be busy once


MISTAKES = {
    "command": (["trian"], "no command 'trian'; did you mean 'train'"),
    "no config": (["train", "--workdir", "x"], "train needs --config"),
    "config file": (["train", "--config", "configs/nope.py"], "no config file 'configs/nope.py'"),
    "flag": (["train", *QUICK, "--workdri=x"], "no flag --workdri; did you mean '--workdir'"),
    "no workdir": (["train", *QUICK], "train needs --workdir"),
    "stray word": (["train", *QUICK, "x"], "train takes flags only, got x"),
    "parallel": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.parallel=pjit"],
        "config.parallel is 'pjit'; did you mean",
    ),
    "dtype": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.dtype=float16"],
        "config.dtype is 'float16'; did you mean",
    ),
    "no data": (
        ["train", "--config", "configs/camvid.py", "--workdir", "{tmp}/a", "--data_dir", "{tmp}"],
        "camvid is not prepared in {tmp}; run: jaxseg data prepare camvid --source DIR",
    ),
    "no run": (["evaluate", "--workdir", "{tmp}"], "{tmp} is not a run: it has no config.json"),
    "no image": (
        ["predict", "--workdir", "{tmp}", "--out", "o", "a.jpg"],
        "no file or folder 'a.jpg'",
    ),
    "data action": (["data", "prepra"], "expected prepare, check, show or stats, got 'prepra'"),
    "data set": (
        ["data", "prepare", "camvd", "--source", "{tmp}"],
        "unknown data set 'camvd'; did you mean 'camvid'",
    ),
    "no source": (["data", "prepare", "camvid"], "data prepare needs --source"),
    "source": (["data", "prepare", "camvid", "--source", "{tmp}/x"], "no such folder"),
    "weights action": (["weights", "inspct"], "expected inspect or convert, got 'inspct'"),
    "no weights": (["weights", "inspect"], "weights inspect: expected one SOURCE, got none"),
    "weights file": (["weights", "inspect", "{tmp}/x.pth"], "no weights '{tmp}/x.pth': expected a"),
    "weights folder": (["weights", "inspect", "{tmp}"], "{tmp} is not a run"),
    "init_from": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.init_from={tmp}/x.pth"],
        "no weights '{tmp}/x.pth': expected a file, the folder of a run",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2(mistake, tmp_path, jaxseg):
    argv, message = MISTAKES[mistake]
    code, out, err = jaxseg(*[word.replace("{tmp}", str(tmp_path)) for word in argv])
    assert code == 2
    assert out == ""
    assert err.startswith("jaxseg: error: ")
    assert message.replace("{tmp}", str(tmp_path)) in err
    assert err.count("\n") == 1


def test_an_error_of_the_system_without_words_gets_the_words_it_has(monkeypatch, jaxseg):
    def fail(argv):
        raise OSError("image file is truncated")

    monkeypatch.setitem(cli.COMMANDS, "train", fail)
    assert jaxseg("train") == (2, "", "jaxseg: error: image file is truncated\n")
