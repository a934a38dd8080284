"""Which network entries are of, told by names and shapes alone. Numbers: see test_parity."""

import json
import shlex
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models, weights
from jaxseg.errors import UserError
from jaxseg.weights import inspect, keras, slim, smp, timm, torchvision
from jaxseg.weights.merge import merge

FIXTURES = Path(__file__).parent / "fixtures"
FAMILIES = {
    "torchvision": torchvision,
    "timm": timm,
    "efficientnet": timm,
    "keras": keras,
    "smp": smp,
}


def entries_of(name):
    """The entries of a fixture with their shapes; all values are one zero."""
    with np.load(FIXTURES / f"{name}.npz") as stored:
        shapes = json.loads(stored["about"].tobytes())["entries"]
    sizes = {entry: tuple(map(int, shape.split("x"))) for entry, shape in shapes.items()}
    return {entry: np.broadcast_to(np.float32(0), shape) for entry, shape in sizes.items()}


def recognised(entries):
    return weights.recognise(entries, "a file", {})


def merged(imported):
    """What `merge` says of a model of the recognised kind."""
    options = {k: v for k, v in imported.options.items() if k in models.options(imported.model)}
    model = models.build(imported.model, 1000, dtype=jnp.float32, **options)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda images: model.init(jax.random.key(0), images, train=False), images
    )
    return merge(shapes, imported, model=imported.model)


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.npz")))
def test_each_network_is_of_one_family_and_every_entry_has_a_place(name):
    entries = entries_of(name)
    family = FAMILIES[name.partition("_")[0]]
    if name.startswith("timm_resnet"):
        family = torchvision  # the same names
    known = [f for f in {torchvision, timm, keras, smp, slim} if f.recognise(entries)]
    assert known == [family]

    imported = recognised(entries)
    # every entry once, but for the biases that go into Keras's running means
    assert entries.keys() == {*imported.source_names.values(), *imported.added_to}
    assert all(entry.endswith("_conv/bias") for entry in imported.added_to)
    assert imported.added_to.keys().isdisjoint(imported.source_names.values())
    assert imported.variables.keys() == imported.source_names.keys()
    assert imported.unused == ()
    aux = ("aux_logits",) if "torchvision_fcn" in name or "torchvision_deep" in name else ()
    assert imported.head == ("logits", *aux)
    assert imported.options["backbone"] in imported.family


@pytest.mark.parametrize(
    ("name", "model", "options"),
    [
        ("torchvision_fcn_resnet101", "fcn_resnet", {"backbone": "resnet101", "output_stride": 8}),
        ("torchvision_deeplabv3_resnet50", "deeplabv3", {"head_conv": True, "aux_head": True}),
        ("smp_unet_resnet34", "unet_resnet", {"backbone": "resnet34"}),
        ("smp_deeplabv3plus_resnet18", "deeplabv3plus", {"corners": "aligned"}),
        ("keras_resnet50", "classifier", {"backbone": "resnet50_v1", "norm_epsilon": 1.001e-5}),
        ("keras_mobilenet_v2", "classifier", {"padding": "tf_same", "norm_epsilon": 1e-3}),
        ("timm_mobilenetv2_100", "classifier", {"padding": "symmetric", "norm_epsilon": 1e-5}),
        ("torchvision_vgg16", "classifier", {"backbone": "vgg16", "rounding": "floor"}),
    ],
)
def test_the_model_is_told_with_the_options_it_needs(name, model, options):
    imported = recognised(entries_of(name))
    assert imported.model == model
    assert imported.options | options == imported.options
    assert imported.options.keys() <= models.options(model).keys()


def test_heads_may_be_lacking():
    for name, heads in (
        ("torchvision_resnet18", ("fc",)),
        ("keras_vgg16", ("fc1", "fc2", "predictions")),
        ("keras_xception", ("predictions",)),
        ("timm_xception65", ("head",)),
    ):
        entries = {k: v for k, v in entries_of(name).items() if not k.startswith(heads)}
        imported = recognised(entries)
        assert imported.head == ()
        assert all(path.split("/")[1] == "encoder" for path in imported.variables), name

    entries = entries_of("torchvision_deeplabv3_resnet50")
    entries = {k: v for k, v in entries.items() if not k.startswith("aux_classifier")}
    imported = recognised(entries)
    assert imported.head == ("logits",)
    assert imported.options["aux_head"] is False


@pytest.mark.parametrize(
    ("name", "entry", "shape"),
    [
        ("torchvision_resnet18", "layer1.0.se.fc.weight", (16, 64, 1, 1)),
        ("torchvision_resnet18", "layer1.0.conv1.lora", (64,)),
        ("timm_tf_efficientnet_lite0", "blocks.1.0.se.conv_reduce.weight", (4, 96, 1, 1)),
        ("keras_mobilenet_v2", "block_3_attention/kernel", (1, 1, 8, 8)),
    ],
)
def test_an_entry_that_no_rule_knows_is_named_as_left_over(name, entry, shape):
    entries = {**entries_of(name), entry: np.zeros(shape, np.float32)}
    with pytest.raises(UserError, match=rf"left over: {entry}"):
        merged(recognised(entries))


def test_counters_are_not_used():
    entries = {**entries_of("torchvision_resnet18"), "bn1.num_batches_tracked": np.array(7)}
    imported = recognised(entries)
    assert imported.unused == ("bn1.num_batches_tracked",)
    assert merged(imported)[1].unused == ("bn1.num_batches_tracked",)


def test_a_network_of_the_same_names_and_other_shapes_is_refused():
    entries = entries_of("torchvision_resnet50")
    entries["layer1.0.conv2.weight"] = np.zeros((64, 2, 3, 3), np.float32)  # a ResNeXt's
    with pytest.raises(UserError, match=r"misshapen: .*stage1_block1/conv2/kernel is 3x3x2x64"):
        merged(recognised(entries))


def test_other_networks_are_of_no_family():
    deeper = entries_of("torchvision_resnet50")
    deeper |= {k.replace("layer3.5", "layer3.6"): v for k, v in deeper.items() if "layer3.5" in k}
    for entries in (deeper, {"encoder.weight": np.zeros(3)}, {"conv_stem.weight": np.zeros(3)}):
        with pytest.raises(UserError, match="of no known family"):
            recognised(entries)


def test_keras_counts_unnamed_layers_on_in_a_session_and_has_renamed_its_logits():
    entries = entries_of("keras_xception")
    names = {"predictions": "Logits"}
    for i in range(4):
        count = f"_{i}" if i else ""
        names |= {f"conv2d{count}": f"conv2d_{9 - i}"}
        names |= {f"batch_normalization{count}": f"batch_normalization_{i + 11}"}
    renamed = {
        f"{names.get(layer, layer)}/{kind}": value
        for (layer, _, kind), value in ((k.partition("/"), v) for k, v in entries.items())
    }
    assert renamed.keys() != entries.keys()
    ours, theirs = recognised(entries).variables, recognised(renamed).variables
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_timm_s_config_tells_tensorflow_s_network_and_the_colours():
    imported = recognised(entries_of("timm_tf_efficientnet_lite0"))
    assert imported.options["padding"] == "symmetric"
    assert imported.assumed == {"padding", "norm_epsilon", "mean", "std"}
    assert "tf_efficientnet_lite0" in imported.family
    config = {
        "architecture": "tf_efficientnet_lite0",
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0]},
    }
    configured = timm.configured(imported, config)
    assert configured.options["padding"] == "tf_same"
    assert configured.options["norm_epsilon"] == 1e-3
    assert configured.mean == (127.5, 127.5, 127.5)
    assert configured.std == (63.75, 127.5, 255.0)
    assert configured.assumed == frozenset()
    own = timm.configured(imported, {"architecture": "efficientnet_lite0"})
    assert own.options == imported.options
    assert own.assumed == {"mean", "std"}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architecture": "vgg16", "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"architecture": "mobilenetv2_100", "pretrained_cfg": None},
        {"model": {"name": "unet"}},
    ],
)
def test_a_config_of_something_else_says_nothing(config):
    """A local folder may hold anything."""
    imported = recognised(entries_of("timm_mobilenetv2_100"))
    assert timm.configured(imported, config) == imported


def test_a_config_changes_nothing_that_is_known():
    imported = recognised(entries_of("keras_mobilenet_v2"))
    config = {
        "architecture": "mobilenetv2_100",
        "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]},
    }
    assert timm.configured(imported, config) == imported


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.npz")))
def test_colours_are_known_where_the_program_fixes_them(name):
    fixed = name.startswith(("keras", "efficientnet_lite0_pytorch"))
    assumed = recognised(entries_of(name)).assumed
    assert assumed & {"mean", "std"} == (set() if fixed else {"mean", "std"})
    assert ("padding" in assumed) == (
        name in ("timm_efficientnet_lite0", "timm_tf_efficientnet_lite0")
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("torchvision_fcn_resnet50", {"multi_grid": (), "first_block_rate": "previous"}),
        ("torchvision_deeplabv3_resnet50", {"multi_grid": (), "first_block_rate": "previous"}),
        ("smp_deeplabv3plus_resnet18", {"multi_grid": (), "first_block_rate": "own"}),
        ("torchvision_vgg16", {"fc_padding": "valid"}),
        ("timm_vgg16", {"fc_padding": "valid"}),
        ("keras_vgg16", {"fc_padding": "valid"}),
    ],
)
def test_options_that_no_name_or_shape_shows_are_told(name, options):
    imported = recognised(entries_of(name))
    assert imported.options | options == imported.options


def test_inspect_shows_where_keras_s_biases_go(tmp_path):
    names = {name: value.ndim for name, value in entries_of("keras_resnet50").items()}
    entries: Any = {name: np.ones((1,) * ndim, np.float32) for name, ndim in names.items()}
    np.savez(tmp_path / "keras.npz", **entries)
    lines = list(inspect.describe(str(tmp_path / "keras.npz")))
    assert not any("(not recognised)" in line for line in lines)
    row = next(line for line in lines if line.startswith("conv2_block1_3_conv/bias "))
    assert row.endswith("into batch_stats/encoder/stage1_block1/norm3/mean")


def test_inspect_quotes_what_a_shell_takes_as_its_own(tmp_path):
    entries = entries_of("smp_deeplabv3plus_resnet18")
    entries = {name: np.broadcast_to(np.float32(1), value.shape) for name, value in entries.items()}
    np.savez_compressed(tmp_path / "smp.npz", **entries)  # pyright: ignore[reportArgumentType]
    lines = list(inspect.describe(str(tmp_path / "smp.npz")))
    model, images = (shlex.split(line) for line in lines if "--config" in line)
    assert "atrous_rates=(12,24,36)" in model[-1]
    assert images[1] == "--config.dataset.mean=(123.675,116.28,103.53)"
