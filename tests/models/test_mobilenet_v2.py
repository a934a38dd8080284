import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg.models.mobilenet_v2 import MobileNetV2, scaled
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.layers import bind

LAYERS = bind(train=False, dtype=jnp.float32)


@pytest.mark.parametrize(
    ("channels", "multiplier", "expected"),
    [
        (32, 1.0, 32),
        (16, 0.1, 8),  # no fewer than 8
        (24, 0.5, 16),  # 12, halfway, rounds up
        (24, 0.75, 24),  # 18 to 16 would lose more than a tenth
        (32, 1.4, 48),  # 44.8 to the nearer
        (96, 1.4, 136),
    ],
)
def test_channels_are_multiples_of_eight(channels, multiplier, expected):
    assert scaled(channels, multiplier) == expected


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        # of block1 to block17
        (32, [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1], [1] * 17),
        # TensorFlow's DeepLab: expanded_conv_13 (block14) loses its stride, 14 to 16 are dilated
        (16, [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [1] * 14 + [2] * 3),
        (8, [1, 2, 1, 2] + [1] * 13, [1] * 7 + [2] * 7 + [4] * 3),
    ],
)
def test_strides_and_dilations_by_hand(output_stride, strides, dilations):
    found = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, DepthwiseConv):
            found.append((context.module.stride, context.module.dilation))
        return call(*args, **kwargs)

    model = MobileNetV2("mobilenet_v2", LAYERS, output_stride)
    with nn.intercept_methods(record):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3))))
    assert found == list(zip(strides, dilations, strict=True))


def test_names():
    model = MobileNetV2("mobilenet_v2", LAYERS)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3))))[
        "params"
    ]
    assert set(params) == {"stem_conv", "stem_norm"} | {f"block{i}" for i in range(1, 18)}
    rest = {"depthwise_conv", "depthwise_norm", "project_conv", "project_norm"}
    assert set(params["block1"]) == rest  # it does not expand
    assert set(params["block2"]) == rest | {"expand_conv", "expand_norm"}
    assert params["block2"]["depthwise_conv"]["kernel"].shape == (3, 3, 1, 96)
