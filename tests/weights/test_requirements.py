"""Settings that weights need, as flags to paste."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxseg import models
from jaxseg.errors import UserError
from jaxseg.weights import requirements
from jaxseg.weights.imported import IMAGENET_MEAN, IMAGENET_STD, Imported, flatten
from jaxseg.weights.requirements import Settings, check, hint


def settings(model="m", **options):
    return Settings(model, {"backbone": "resnet50", **options}, IMAGENET_MEAN, IMAGENET_STD)


def imported(mean=IMAGENET_MEAN, assumed=(), model="m", **options):
    return Imported(
        "torchvision resnet50", {}, {}, (), options, model, mean, assumed=frozenset(assumed)
    )


def test_equal_settings_pass_and_options_that_the_model_lacks_are_ignored():
    notes = check(
        imported(
            backbone="resnet50", rates=(6, 12), rounding="floor", mean=(123.675, 116.28, 103.53001)
        ),
        settings(rates=[6, 12]),
    )
    assert notes == []


def test_one_line_holds_all_differences_and_flags():
    wanted = imported(
        mean=(127.5, 127.5, 127.5),
        backbone="resnet18",
        norm_epsilon=1e-3,
        rates=(6,),
        learned=True,
    )
    with pytest.raises(UserError) as error:
        check(wanted, settings(norm_epsilon=1e-5, rates=(), learned=False))
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
        check(imported(norm_epsilon=1.001e-5), settings(norm_epsilon=1e-5))


def test_another_output_stride_is_allowed_and_noted():
    assert check(imported(output_stride=8), settings(output_stride=16)) == [
        "output_stride 16 here, 8 there"
    ]


def test_assumed_settings_are_noted_and_not_enforced():
    """A file does not tell the normalisation, and others may have trained the same network."""
    theirs = imported(
        mean=(127.5, 127.5, 127.5),
        assumed=("mean", "std", "padding", "norm_epsilon"),
        padding="symmetric",
        norm_epsilon=1e-5,
    )
    assert check(theirs, settings(padding="tf_same", norm_epsilon=1e-5)) == [
        "padding was probably symmetric, here tf_same",
        "images were probably normalised with mean (127.5,127.5,127.5) std (58.395,57.12,57.375), "
        "here with mean (123.675,116.28,103.53) std (58.395,57.12,57.375)",
    ]
    usual = imported(assumed=("mean", "std", "padding"), padding="symmetric")
    assert check(usual, settings(padding="symmetric")) == []


def test_means_of_other_channels_are_noted_and_of_16_bits_are_scaled():
    theirs = imported()
    grey = Settings("m", {}, (120.0,), (58.0,))
    assert check(theirs, grey) == [
        "images were normalised with mean (123.675,116.28,103.53) std (58.395,57.12,57.375), here "
        "with mean (120,) std (58,)"
    ]
    scaled = [tuple(257 * x for x in values) for values in (IMAGENET_MEAN, IMAGENET_STD)]
    assert check(theirs, Settings("m", {}, *scaled, bits=16)) == []
    with pytest.raises(UserError, match=r'mean="\(31784\.47,29883\.96,26607\.21\)" --config'):
        check(theirs, Settings("m", {}, IMAGENET_MEAN, IMAGENET_STD, bits=16))


def test_known_settings_are_enforced_beside_assumed_ones():
    theirs = imported(mean=(1.0, 2.0, 3.0), assumed=("mean", "std"), backbone="resnet18")
    with pytest.raises(UserError, match=r"add --config.model.backbone=resnet18$"):
        check(theirs, settings())


def test_structural_options_are_left_to_merge():
    """An auxiliary head may be added (init_fresh) or left out (init_unused)."""
    theirs = imported(aux_head=True, head_conv=True, rates=(6, 12, 18))
    ours = settings(aux_head=False, head_conv=True, rates=(6, 12, 18))
    assert check(theirs, ours) == []
    assert hint(theirs, ours) == "--config.model.aux_head=True"
    assert hint(theirs, settings(aux_head=True)) == ""


def test_a_classifier_leaves_the_decoder_s_options_to_the_model():
    theirs = imported(
        model="classifier", multi_grid=(), first_block_rate="previous", corners="half_pixel"
    )
    options = {"multi_grid": (1, 2, 4), "first_block_rate": "own", "corners": "aligned"}
    assert check(theirs, settings(**options)) == [
        "multi_grid (1,2,4) here, () there",
        "first_block_rate own here, previous there",
        "corners aligned here, half_pixel there",
    ]
    with pytest.raises(
        UserError, match=r'multi_grid="\(\)" --config.model.first_block_rate=pre.* --config.model.c'
    ):
        check(theirs, settings("classifier", **options))


def test_torchvision_s_rates_are_demanded():
    theirs = imported(first_block_rate="previous")
    with pytest.raises(UserError, match=r"add --config.model.first_block_rate=previous$"):
        check(theirs, settings(first_block_rate="own"))


def test_fcn_s_stages_may_be_trained_all_at_once():
    assert check(imported(at_once=False), settings(at_once=True)) == [
        "at_once True here, False there"
    ]


# One value of each structural option, and a small model
STRUCTURAL = {
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


@pytest.mark.parametrize("option", sorted(requirements.STRUCTURAL))
def test_structural_options_change_names_or_shapes(option):
    name, options, value = STRUCTURAL[option]
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
