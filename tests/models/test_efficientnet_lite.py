import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.models.efficientnet_lite import EfficientNetLite
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.layers import bind

LAYERS = bind(train=False, dtype=jnp.float32, padding="tf_same")


def depthwise(width_multiplier=1.0):
    """(kernel, stride, channels) of each block, and the parameters."""
    found = []

    def record(call, args, kwargs, context):
        module = context.module
        if isinstance(module, DepthwiseConv):
            found.append((module.kernel_size, module.stride, args[0].shape[-1]))
        return call(*args, **kwargs)

    model = EfficientNetLite(
        "efficientnet_lite0", LAYERS, output_stride=32, width_multiplier=width_multiplier
    )
    with nn.intercept_methods(record):
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3))))
    return found, variables["params"]


def test_blocks_by_hand():
    """EfficientNet-B0, table 1 of the paper."""
    found, params = depthwise()
    assert found == [
        (3, 1, 32),
        (3, 2, 96),
        (3, 1, 144),
        (5, 2, 144),
        (5, 1, 240),
        (3, 2, 240),
        *[(3, 1, 480)] * 2,
        (5, 1, 480),
        *[(5, 1, 672)] * 2,
        (5, 2, 672),
        *[(5, 1, 1152)] * 3,
        (3, 1, 1152),
    ]
    assert set(params) == {"stem_conv", "stem_norm"} | {f"block{i}" for i in range(1, 17)}


def test_the_stem_is_not_scaled():
    found, params = depthwise(width_multiplier=0.5)
    assert params["stem_conv"]["kernel"].shape == (3, 3, 3, 32)
    assert found[1] == (3, 2, 6 * 8)
