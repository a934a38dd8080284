"""Networks are recognised by the names and shapes of entries alone. For numbers see test_parity."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models
from jaxseg.errors import UserError
from jaxseg.weights import families
from jaxseg.weights.families import keras, smp, timm, torchvision
from jaxseg.weights.merge import merge
from tests.weights import stored

FAMILIES = {
    "torchvision": torchvision,
    "timm": timm,
    "efficientnet": timm,
    "keras": keras,
    "smp": smp,
}


def recognised(entries):
    return families.recognise(entries, "a file", {})


def test_the_folder_is_the_registry():
    files = {path.stem for path in Path(families.__file__).parent.glob("*.py")}
    found = {family.__name__.rpartition(".")[2] for family in families.known()}
    assert found == files - {"__init__", "names"}
    assert len({family.NAME for family in families.known()}) == len(found)


def merged(imported):
    """`merge` into the model that was recognised."""
    options = {k: v for k, v in imported.options.items() if k in models.options(imported.model)}
    model = models.build(imported.model, 1000, dtype=jnp.float32, **options)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(
        lambda images: model.init(jax.random.key(0), images, train=False), images
    )
    return merge(shapes, imported, model=imported.model)


@pytest.mark.parametrize("name", stored.NAMES)
def test_each_network_is_recognised_by_one_family_and_all_its_entries_are_renamed(name):
    entries = stored.entries(name)
    family = FAMILIES[name.partition("_")[0]]
    if name.startswith("timm_resnet"):
        family = torchvision  # timm names them as torchvision does
    assert [f for f in families.known() if f.recognise(entries)] == [family]

    imported = recognised(entries)
    # every entry once, but for the biases that go into Keras's running means
    assert entries.keys() == {*imported.source_names.values(), *imported.added_to}
    assert all(entry.endswith("_conv/bias") for entry in imported.added_to)
    assert imported.added_to.keys().isdisjoint(imported.source_names.values())
    assert imported.variables.keys() == imported.source_names.keys()
    assert imported.unused == ()
    aux = ("aux_logits",) if "torchvision_fcn" in name or "torchvision_deep" in name else ()
    assert imported.heads == ("logits", *aux)
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
def test_the_model_and_its_options_are_recognised(name, model, options):
    imported = recognised(stored.entries(name))
    assert imported.model == model
    assert imported.options | options == imported.options
    assert imported.options.keys() <= models.options(model).keys()


def test_networks_without_heads_are_recognised():
    for name, heads in (
        ("torchvision_resnet18", ("fc",)),
        ("keras_vgg16", ("fc1", "fc2", "predictions")),
        ("keras_xception", ("predictions",)),
        ("timm_xception65", ("head",)),
    ):
        entries = {k: v for k, v in stored.entries(name).items() if not k.startswith(heads)}
        imported = recognised(entries)
        assert imported.heads == ()
        assert all(path.split("/")[1] == "encoder" for path in imported.variables), name

    entries = stored.entries("torchvision_deeplabv3_resnet50")
    entries = {k: v for k, v in entries.items() if not k.startswith("aux_classifier")}
    imported = recognised(entries)
    assert imported.heads == ("logits",)
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
def test_an_entry_that_no_rule_matches_is_left_over(name, entry, shape):
    entries = {**stored.entries(name), entry: np.zeros(shape, np.float32)}
    with pytest.raises(UserError, match=rf"left over: {entry}"):
        merged(recognised(entries))


def test_counters_are_not_used():
    entries = {**stored.entries("torchvision_resnet18"), "bn1.num_batches_tracked": np.array(7)}
    imported = recognised(entries)
    assert imported.unused == ("bn1.num_batches_tracked",)
    assert merged(imported)[1].unused == ("bn1.num_batches_tracked",)


def test_a_network_with_the_same_names_and_other_shapes_is_refused():
    entries = stored.entries("torchvision_resnet50")
    entries["layer1.0.conv2.weight"] = np.zeros((64, 2, 3, 3), np.float32)  # a ResNeXt's
    with pytest.raises(UserError, match=r"misshapen: .*stage1_block1/conv2/kernel is 3x3x2x64"):
        merged(recognised(entries))


def test_other_networks_are_of_no_known_family():
    deeper = stored.entries("torchvision_resnet50")
    deeper |= {k.replace("layer3.5", "layer3.6"): v for k, v in deeper.items() if "layer3.5" in k}
    for entries in (deeper, {"encoder.weight": np.zeros(3)}, {"conv_stem.weight": np.zeros(3)}):
        with pytest.raises(
            UserError, match=r"of no known family; known: Keras applications, TF-Slim, seg"
        ):
            recognised(entries)


@pytest.mark.parametrize("name", stored.NAMES)
def test_the_normalisation_is_assumed_unless_the_program_fixes_it(name):
    fixed = name.startswith(("keras", "efficientnet_lite0_pytorch"))
    assumed = recognised(stored.entries(name)).assumed
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
def test_options_that_change_no_name_or_shape_are_recognised(name, options):
    imported = recognised(stored.entries(name))
    assert imported.options | options == imported.options
