"""The names of runs, and the weights in them. Starting a run from them: see test_initial."""

import shutil

import numpy as np
import pytest

from jaxseg import models, pretrained
from jaxseg.errors import UserError
from jaxseg.weights import files


def test_a_run_tells_all_options_but_those_of_training(run_with_averages):
    imported = pretrained.load(str(run_with_averages))
    known = {**models.options("unet"), "width": 4, "depth": 1}
    del known["dropout"]
    assert imported.options == known
    assert imported.heads == ("logits",)
    assert imported.model == "unet"


def test_a_step_may_follow_the_folder(run_with_averages, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(run_with_averages, tmp_path / "run")
    expected = pretrained.load(str(run_with_averages)).variables
    for name in ("~/run", "~/run@latest", "~/run@2"):
        assert pretrained.is_run(name)
        variables = pretrained.load(name).variables
        assert variables.keys() == expected.keys()
        for path, value in variables.items():
            np.testing.assert_array_equal(value, expected[path])
    with pytest.raises(UserError, match="7"):
        pretrained.load("~/run@7")


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path):
    (tmp_path / "a@300").mkdir()
    assert pretrained.split(str(tmp_path / "a@300")) == (tmp_path / "a@300", "best")
    assert pretrained.split(str(tmp_path / "b@300")) == (tmp_path / "b", "300")


def test_a_file_or_a_name_on_the_hub_is_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.npz").touch()
    assert not pretrained.is_run("~/w.npz")
    assert not pretrained.is_run("hf://timm/resnet18")
    assert files.locate("~/w.npz") == (tmp_path / "w.npz", {})
