import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models import blocks
from jaxseg.ops.conv import conv
from jaxseg.ops.layers import bind

LAYERS = bind(train=False, dtype=jnp.float32)
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 8, 4)), jnp.float32)


def positive_variables(block):
    shapes = jax.eval_shape(block.init, jax.random.key(0), X)
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.2, 1.0, size=leaf.shape), jnp.float32), shapes
    )


def test_a_separable_convolution_is_a_dense_one_of_rank_one(run_compiled):
    """Without its own norm, depthwise and 1x1 compose to a dense kernel: their product."""
    block = blocks.SeparableConvNormReLU(5, LAYERS, dilation=2, depthwise_norm=False)
    variables = positive_variables(block)
    params = variables["params"]
    depthwise, pointwise = (params[f"{n}_conv"]["kernel"] for n in ("depthwise", "pointwise"))
    dense = np.asarray(depthwise)[:, :, 0, :, None] * np.asarray(pointwise)  # [3, 3, 4, 5]
    y = conv(X, jnp.asarray(dense), dilation=2)
    mean, var = (variables["batch_stats"]["norm"][k] for k in ("mean", "var"))
    scale, bias = (params["norm"][k] for k in ("scale", "bias"))
    y = (y - mean[None, None, None]) * (scale / np.sqrt(var + 1e-5))[None, None, None]
    expected = np.maximum(y + bias[None, None, None], 0)
    np.testing.assert_allclose(run_compiled(block.apply, variables, X), expected, atol=1e-5)


def test_the_norm_between_clips_at_zero(run_compiled):
    """A ReLU lies between: a depthwise output below zero everywhere leaves the block's bias."""
    block = blocks.SeparableConvNormReLU(5, LAYERS, depthwise_norm=True)
    variables = positive_variables(block)
    variables["params"]["depthwise_norm"]["bias"] = jnp.full(4, -1e3)
    norm, stats = variables["params"]["norm"], variables["batch_stats"]["norm"]
    silent = norm["bias"] - stats["mean"] * norm["scale"] / np.sqrt(stats["var"] + 1e-5)
    y = run_compiled(block.apply, variables, X)
    np.testing.assert_allclose(y, np.broadcast_to(np.maximum(silent, 0), y.shape), atol=1e-5)


@pytest.mark.parametrize(("channels", "middle"), [(64, 16), (3, 1)])
def test_fcn_head_has_a_quarter_of_the_channels(channels, middle):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return blocks.auxiliary_head(x, 7, LAYERS, train=False)

    y, variables = jax.eval_shape(
        lambda: Net().init_with_output(jax.random.key(0), jnp.ones((1, 4, 5, channels)))
    )
    assert y.shape == (1, 4, 5, 7)
    params = variables["params"]
    assert params["aux"]["conv"]["kernel"].shape == (3, 3, channels, middle)
    assert params["aux_logits"]["kernel"].shape == (1, 1, middle, 7)
    assert params["aux_logits"]["bias"].shape == (7,)
