"""The names of runs, and the weights in them. Starting a run from them: see test_initial."""

import shutil

import numpy as np
import pytest

from jaxseg import models, pretrained
from jaxseg.config import check_config
from jaxseg.data.sets import voc
from jaxseg.errors import UserError
from jaxseg.weights import files
from jaxseg.weights.imported import Imported


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


def imported(family="torchvision resnet50", count=1000, *, heads=("logits",), **fields):
    variables = {f"params/{head}/kernel": np.zeros((1, 1, 8, count)) for head in heads}
    fields = {"options": {"backbone": "resnet50"}, **fields}
    return Imported(family, variables, {}, (), heads=heads, **fields)


def test_a_network_keeps_its_channels_and_bits():
    weights = imported(mean=(9e3,) * 5, std=(1e3,) * 5, bits=16, options={"backbone": "resnet18"})
    dataset = check_config(pretrained.own_config(weights)).dataset
    assert (dataset.channels, dataset.bits, dataset.mean) == (5, 16, (9e3,) * 5)


@pytest.mark.parametrize(
    ("weights", "count", "first", "void"),
    [
        (imported(), 1000, ("tench", "goldfish"), 65535),
        (imported(count=1001), 1001, ("background", "tench"), 65535),
        (imported(count=21843), 21843, ("class_0", "class_1"), 65535),
        (imported("torchvision fcn_resnet50", 21, model="fcn_resnet"), 21,
         voc.Voc.CLASSES.names[:2], 255),
        (imported("smp unet resnet18", 21, model="unet_resnet"), 21, ("class_0", "class_1"), 255),
        (imported("a run", 2, class_names=("sky", "sea")), 2, ("sky", "sea"), 255),
    ],
)  # fmt: skip
def test_weights_have_the_classes_that_they_were_trained_on(weights, count, first, void):
    classes = pretrained.own_classes(weights)
    assert len(classes) == count
    assert classes.names[:2] == first
    assert classes.void == void


def test_imagenet_has_its_classes_in_the_order_of_all_programs():
    """Places that are known from torchvision's and Keras's documentation."""
    names = pretrained.own_classes(imported()).names
    assert len(set(names)) == 1000
    known = {1: "goldfish", 207: "golden retriever", 281: "tabby", 340: "zebra", 388: "giant panda",
             671: "mountain bike", 752: "racket", 795: "ski", 999: "toilet tissue"}  # fmt: skip
    assert {i: names[i] for i in known} == known


@pytest.mark.parametrize(("count", "background"), [(1000, None), (1001, 0)])
def test_pictures_leave_no_class_of_imagenet_unpainted(count, background):
    """Black would mark class 0 as a background, which only TF-Slim's is."""
    classes = pretrained.own_classes(imported(count=count))
    assert classes.background == background
    assert len(set(classes.palette)) == count


def test_weights_without_a_head_have_no_classes():
    with pytest.raises(UserError, match=r"have no head.*--config\.init_from"):
        pretrained.own_classes(imported(heads=()))


def test_a_config_of_weights_has_what_they_need():
    options = {"backbone": "resnet50", "padding": "tf_same", "norm_epsilon": 1e-3}
    half = (127.5, 127.5, 127.5)
    config = check_config(pretrained.own_config(imported(options=options, mean=half, std=half)))
    assert config.model.name == "classifier"
    assert {key: config.model.options[key] for key in options} == options
    assert config.dataset.mean == config.dataset.std == half
    vgg = imported(options={"backbone": "vgg16", "fc_padding": "valid"})
    assert pretrained.own_config(vgg).model.fc_padding == "symmetric"
    aligned = imported(model="deeplabv3", options={"corners": "aligned"})
    assert pretrained.own_config(aligned).eval.canvas == (1, 1)
