import jax.numpy as jnp
import pytest

from jaxseg.errors import UserError
from jaxseg.ops.layers import bind
from jaxseg.ops.norm import Statistics


def test_settings_reach_every_layer():
    layers = bind(
        train=True,
        dtype=jnp.bfloat16,
        statistics=Statistics(axis_name="batch"),
        padding="tf_same",
        norm_epsilon=1e-3,
        norm_momentum=0.99,
    )
    for layer in (layers.conv(4, stride=2), layers.depthwise(stride=2)):
        assert (layer.padding, layer.dtype, layer.stride) == ("tf_same", jnp.bfloat16, 2)
    norm = layers.norm()
    assert (norm.epsilon, norm.momentum, norm.statistics.axis_name) == (1e-3, 0.99, "batch")
    assert (norm.use_running_average, norm.dtype) == (False, jnp.bfloat16)
    assert layers.padding == "tf_same"


def test_evaluation_and_frozen_statistics_are_bound():
    assert bind(train=False, dtype=jnp.float32).norm().use_running_average
    frozen = bind(train=True, dtype=jnp.float32, statistics=Statistics("frozen"))
    assert frozen.norm().use_running_average


def test_unknown_padding():
    with pytest.raises(UserError, match="padding is 'same', expected one of"):
        bind(train=False, dtype=jnp.float32, padding="same")
