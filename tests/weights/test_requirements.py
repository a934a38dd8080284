"""Settings that weights need, as flags to paste."""

import functools

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from jaxseg import models
from jaxseg.errors import UserError
from jaxseg.weights import requirements
from jaxseg.weights.imported import Imported, flatten
from jaxseg.weights.requirements import check, hint


def config(**model):
    colours = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    return ConfigDict({"model": {"name": "m", "backbone": "resnet50", **model}, "dataset": colours})


def imported(mean=(123.675, 116.28, 103.53), assumed=(), model="m", **options):
    return Imported(
        "torchvision resnet50", {}, {}, (), options, model, mean, assumed=frozenset(assumed)
    )


def test_what_is_equal_passes_and_what_the_model_lacks_does_not_count():
    notes = check(
        imported(
            backbone="resnet50", rates=(6, 12), rounding="floor", mean=(123.675, 116.28, 103.53001)
        ),
        config(rates=[6, 12]),
    )
    assert notes == []


def test_all_that_differs_is_in_one_line_with_flags():
    wanted = imported(
        mean=(127.5, 127.5, 127.5),
        backbone="resnet18",
        norm_epsilon=1e-3,
        rates=(6,),
        learned=True,
    )
    with pytest.raises(UserError) as error:
        check(wanted, config(norm_epsilon=1e-5, rates=(), learned=False))
    message = str(error.value)
    assert message.startswith("torchvision resnet50 weights need other settings")
    assert "model.backbone is resnet50, model.norm_epsilon is 1e-05, model.rates is ()" in message
    assert message.endswith(
        "add --config.model.backbone=resnet18 --config.model.norm_epsilon=0.001 "
        '--config.model.rates="(6,)" --config.model.learned=True '
        '--config.dataset.mean="(127.5,127.5,127.5)"'
    )
    assert "\n" not in message


def test_keras_epsilon_is_not_pytorchs():
    with pytest.raises(UserError, match=r"--config.model.norm_epsilon=1.001e-05"):
        check(imported(norm_epsilon=1.001e-5), config(norm_epsilon=1e-5))


def test_another_output_stride_is_allowed_and_said():
    assert check(imported(output_stride=8), config(output_stride=16)) == [
        "output_stride 16 here, 8 there"
    ]


def test_what_is_only_assumed_is_said_and_not_enforced():
    """Foreign files do not hold their colours; others may have trained the same network."""
    theirs = imported(
        mean=(127.5, 127.5, 127.5),
        assumed=("mean", "std", "padding", "norm_epsilon"),
        padding="symmetric",
        norm_epsilon=1e-5,
    )
    assert check(theirs, config(padding="tf_same", norm_epsilon=1e-5)) == [
        "padding was probably symmetric, here tf_same",
        "images were probably normalised with mean (127.5,127.5,127.5) std (58.395,57.12,57.375), "
        "here with mean (123.675,116.28,103.53) std (58.395,57.12,57.375)",
    ]
    usual = imported(assumed=("mean", "std", "padding"), padding="symmetric")
    assert check(usual, config(padding="symmetric")) == []


def test_what_is_known_is_enforced_beside_what_is_assumed():
    theirs = imported(mean=(1.0, 2.0, 3.0), assumed=("mean", "std"), backbone="resnet18")
    with pytest.raises(UserError, match=r"add --config.model.backbone=resnet18$"):
        check(theirs, config())


def test_options_that_names_and_shapes_show_are_left_to_them():
    """An auxiliary head may be added (init_fresh) or left out (init_unused)."""
    theirs = imported(aux_head=True, head_conv=True, rates=(6, 12, 18))
    ours = config(aux_head=False, head_conv=True, rates=(6, 12, 18))
    assert check(theirs, ours) == []
    assert hint(theirs, ours) == "--config.model.aux_head=True"
    assert hint(theirs, config(aux_head=True)) == ""


def test_a_classifier_leaves_the_decoder_s_options_to_the_model():
    theirs = imported(
        model="classifier", multi_grid=(), first_block_rate="previous", corners="half_pixel"
    )
    ours = config(multi_grid=(1, 2, 4), first_block_rate="own", corners="aligned")
    assert check(theirs, ours) == [
        "multi_grid (1,2,4) here, () there",
        "first_block_rate own here, previous there",
        "corners aligned here, half_pixel there",
    ]
    ours.model.name = "classifier"
    with pytest.raises(
        UserError, match=r'multi_grid="\(\)" --config.model.first_block_rate=pre.* --config.model.c'
    ):
        check(theirs, ours)


def test_torchvision_s_rates_are_demanded():
    theirs = imported(first_block_rate="previous")
    with pytest.raises(UserError, match=r"add --config.model.first_block_rate=previous$"):
        check(theirs, config(first_block_rate="own"))


def test_a_stage_may_go_on_all_at_once():
    assert check(imported(at_once=False), config(at_once=True)) == [
        "at_once True here, False there"
    ]


# One value of each option that names and shapes are said to show, and a small model
SHOWN = {
    "aux_head": ("fcn_resnet", {}, False),
    "head_conv": ("deeplabv3", {}, True),
    "image_pooling": ("deeplabv3", {}, False),
    "context_module": ("deeplabv3", {}, "spp"),
    "separable": ("deeplabv3", {}, True),
    "depthwise_norm": ("deeplabv3", {"separable": True}, False),
    "stages": ("deeplabv3", {}, 5),
    "aspp_channels": ("deeplabv3", {}, 8),
    "decoder": ("deeplabv3plus", {}, False),
    "decoder_depth": ("deeplabv3plus", {}, 1),
    "decoder_channels": ("unet_resnet", {}, (8, 8, 8, 8, 8)),
    "low_level_channels": ("deeplabv3plus", {}, 8),
    "width_multiplier": ("unet_resnet", {}, 0.5),
    "batch_norm": ("unet", {}, False),
    "width": ("unet", {}, 8),
    "depth": ("unet", {}, 3),
    "fc_width": ("fcn", {}, 8),
    "stride": ("fcn", {}, 32),
    "learned_upsampling": ("fcn", {}, "all"),
}


@pytest.mark.parametrize("option", sorted(requirements.SHOWN))
def test_shown_options_do_change_names_or_shapes(option):
    name, options, value = SHOWN[option]
    assert shapes(name, options) != shapes(name, {**options, option: value})


@functools.cache
def _shapes(name, options):
    model = models.build(name, 2, dtype=jnp.float32, **dict(options))
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    return {path: leaf.shape for path, leaf in flatten(variables).items()}


def shapes(name, options):
    narrow = {} if name == "unet" else {"width_multiplier": 0.25}
    resnet = {"backbone": "resnet18"} if "backbone" in models.options(name) else {}
    return _shapes(name, tuple({**narrow, **resnet, **options}.items()))
