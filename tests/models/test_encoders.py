"""What every encoder promises, whatever its paper."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models import encoders
from jaxseg.ops.conv import Conv
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.layers import bind
from jaxseg.ops.norm import BatchNorm, Statistics

EVALUATE = bind(train=False, dtype=jnp.float32)
# one backbone a family, as narrow as its channels stay alive
NARROW = {
    "resnet18": 0.1,
    "resnet50_v1": 0.1,
    "mobilenet_v2": 0.1,
    "efficientnet_lite0": 0.1,
    "xception": 0.05,
    "xception65": 0.05,
    "vgg16": 0.1,
}
CHANNELS = {
    "resnet18": (64, 64, 128, 256, 512),
    "resnet101": (64, 256, 512, 1024, 2048),
    "mobilenet_v2": (32, 24, 32, 96, 320),
    "efficientnet_lite0": (32, 24, 40, 112, 320),
    "xception": (64, 128, 256, 728, 2048),
    "xception65": (64, 256, 728, 728, 2048),
    "vgg16": (64, 128, 256, 512, 512),
}
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def pictures(b, h, w):
    return jnp.asarray(np.random.default_rng(0).normal(size=(b, h, w, 3)), jnp.float32)


def features(backbone, images, layers=EVALUATE, **options):
    """The shapes of the endpoints."""
    encoder = encoders.build(backbone, layers, **options)
    return jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), images)[0])


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    ("backbone", "output_stride"),
    [(name, stride) for name in CHANNELS for stride in ((32,) if name == "vgg16" else (32, 8))],
)
def test_endpoints(backbone, output_stride):
    h, w = 131, 99
    out = features(backbone, jnp.ones((1, h, w, 3)), output_stride=output_stride)
    if backbone == "xception":  # its unpadded stem takes three pixels on every side
        h, w = h - 6, w - 6
    for name, stride, channels in zip(STAGES, (2, 4, 8, 16, 32), CHANNELS[backbone], strict=True):
        stride = min(stride, output_stride)
        assert out[name].shape == (1, -(-h // stride), -(-w // stride), channels), name


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("backbone", [name for name in NARROW if name != "vgg16"])
def test_atrous_features_are_the_strided_ones_made_dense(backbone, random_variables, run_compiled):
    """With the same weights, at every position and in every stage that the strided network has."""
    images = pictures(1, 70, 97)

    def endpoints(variables, output_stride):
        options = {"output_stride": output_stride, "width_multiplier": NARROW[backbone]}
        options["first_block_rate"] = "previous"  # ResNet's own default is the paper's
        return encoders.build(backbone, EVALUATE, **options).apply(variables, images)

    narrow = encoders.build(backbone, EVALUATE, width_multiplier=NARROW[backbone])
    variables = random_variables(narrow, images)
    strided, *dense = run_compiled(
        lambda variables: [endpoints(variables, s) for s in (32, 16, 8)], variables
    )
    for output_stride, out in zip((16, 8), dense, strict=True):
        for stage, stride in (("stage2", 8), ("stage3", 16), ("stage4", 32)):
            step = max(1, stride // output_stride)
            assert out[stage].shape[1] > strided[stage].shape[1] or step == 1
            subsampled, expected = np.asarray(out[stage][:, ::step, ::step]), strided[stage]
            assert np.abs(subsampled - expected).max() < 1e-4 * np.ptp(expected), stage


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    "backbone",
    # the last has the code of mobilenet_v2, with larger kernels
    [pytest.param(n, marks=pytest.mark.slow if "lite0" in n else ()) for n in NARROW],
)
def test_every_parameter_has_a_gradient(backbone, random_variables, run_compiled):
    """In evaluation mode.

    In training, a batch norm takes out the bias of one before it where only linear layers are
    between them (MobileNetV2's projections, Xception65's depthwise convolutions).
    """
    images, options = pictures(2, 39, 47), {"width_multiplier": NARROW[backbone]}
    model = encoders.build(backbone, EVALUATE, **options)
    variables = random_variables(model, images)

    def loss(params):
        out: Any = model.apply({**variables, "params": params}, images)
        last = out["stage4"]
        return (last * jnp.cos(jnp.arange(last.size).reshape(last.shape))).sum()

    gradient = run_compiled(jax.grad(loss), variables["params"])
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 1e-4, jax.tree_util.keystr(path)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("padding", ["symmetric", "tf_same"])
@pytest.mark.parametrize("backbone", NARROW)
def test_settings_reach_every_layer(backbone, padding):
    layers = bind(
        train=False,
        dtype=jnp.bfloat16,
        statistics=Statistics(axis_name="i"),
        padding=padding,
        norm_epsilon=1e-3,
    )
    modules = []

    def record(call, args, kwargs, context):
        modules.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        out = features(backbone, jnp.ones((1, 33, 47, 3)), layers)
    assert {x.dtype for x in out.values()} == {jnp.dtype("bfloat16")}
    for module in modules:
        if isinstance(module, Conv | DepthwiseConv):
            stem = backbone == "xception" and module.name in ("stem1_conv", "stem2_conv")
            assert module.padding == ("valid" if stem else padding)
            assert module.dtype == jnp.bfloat16
        if isinstance(module, BatchNorm):
            assert (module.epsilon, module.statistics.axis_name) == (1e-3, "i")
            assert module.dtype == jnp.bfloat16


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("padding", ["symmetric", "tf_same"])
@pytest.mark.parametrize("backbone", NARROW)
def test_smallest_image(backbone, padding):
    size = 7 if backbone == "xception" else 1
    layers = bind(train=False, dtype=jnp.float32, padding=padding)
    for output_stride in (32,) if backbone == "vgg16" else (32, 8):
        images = jnp.ones((1, size, size, 3))
        out = features(backbone, images, layers, output_stride=output_stride)
        assert out["stage4"].shape[1:3] == (1, 1)


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("resnet51", {}, "no backbone 'resnet51': did you mean 'resnet"),
        ("mobilenet_v2", {"output_stride": 4}, "output_stride is 4, expected one of 8, 16, 32"),
        ("resnet18", {"output_stride": 64}, "output_stride is 64"),
        ("xception", {"output_stride": 24}, "output_stride is 24"),
        ("vgg16", {"output_stride": 16}, "output_stride is 16, expected 32: vgg16"),
        ("vgg16", {"rounding": "up"}, "rounding is 'up', expected ceil or floor"),
        ("resnet18", {"multi_grid": (1, 2, 4)}, "has 2 blocks"),
        ("xception65", {"multi_grid": (1, 2)}, "has 3 convolutions"),
        ("mobilenet_v2", {"multi_grid": (1, 2, 4)}, "mobilenet_v2 has no such option"),
        ("resnet18", {"first_block_rate": "last"}, "first_block_rate is 'last'"),
        ("efficientnet_lite0", {"rounding": "floor"}, "leave it at 'ceil'"),
        ("vgg16", {"stages": 5}, "stages is 5, but vgg16 has no such option"),
        ("resnet50", {"width_multiplier": 0.0}, "width_multiplier is 0.0"),
    ],
)
def test_wrong_options(backbone, options, message):
    with pytest.raises(UserError, match=message):
        encoders.check_options(backbone, **options)
    with pytest.raises(UserError, match=message):
        encoders.build(backbone, EVALUATE, **options)


@pytest.mark.parametrize("backbone", CHANNELS)
def test_neutral_values_of_other_encoders_options_are_accepted(backbone):
    encoders.check_options(backbone, **encoders.NEUTRAL)


def test_valid_padding_is_refused():
    layers = bind(train=False, dtype=jnp.float32, padding="valid")
    with pytest.raises(UserError, match="padding is 'valid', which no backbone has"):
        encoders.build("resnet18", layers)
