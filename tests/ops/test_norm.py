from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops.norm import BatchNorm, Statistics


def apply(layer, variables, x):
    """The output, and the running statistics after it."""
    y, updates = jax.jit(partial(layer.apply, mutable=["batch_stats"]))(variables, x)
    return y, updates["batch_stats"]


def variables(channels, mean=0.0, var=1.0, scale=1.0, bias=0.0):
    fill = partial(np.full, channels, dtype=np.float32)
    return {
        "params": {"scale": fill(scale), "bias": fill(bias)},
        "batch_stats": {"mean": fill(mean), "var": fill(var)},
    }


train = BatchNorm(use_running_average=False)
evaluate = BatchNorm(use_running_average=True)


@pytest.mark.parametrize("layer", [train, evaluate])
def test_initial_variables(layer):
    initial = layer.init(jax.random.key(0), jnp.ones((1, 2, 2, 3)))
    jax.tree.map(np.testing.assert_array_equal, initial, variables(3))


def test_training_normalizes_by_the_batch_and_moves_the_running_statistics():
    x = np.random.default_rng(0).normal(3, 2, size=(2, 3, 2, 3)).astype(np.float32)
    layer = BatchNorm(use_running_average=False, momentum=0.75, epsilon=1e-3)
    before = variables(3, mean=1.0, var=5.0, scale=2.0, bias=-1.0)
    y, after = apply(layer, before, x)
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(y, 2 * (x - mean) / np.sqrt(var + 1e-3) - 1, atol=1e-4)
    np.testing.assert_allclose(after["mean"], 0.75 * 1 + 0.25 * mean, rtol=1e-4)
    unbiased = x.var(axis=(0, 1, 2), ddof=1)  # of 12 values: a tenth more than the biased one
    np.testing.assert_allclose(after["var"], 0.75 * 5 + 0.25 * unbiased, rtol=1e-4)


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype(np.float32)
    before = variables(2, mean=-2.0, var=4.0)
    y, after = apply(evaluate, before, x)
    np.testing.assert_allclose(y, (x + 2) / np.sqrt(4 + 1e-5), atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after, before["batch_stats"])


def test_a_pmapped_axis_gives_the_statistics_of_the_whole_batch():
    x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    x *= np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1, 1)  # the devices' shares differ
    whole, whole_after = apply(train, variables(2), x)
    split = BatchNorm(use_running_average=False, statistics=Statistics(axis_name="batch"))
    step = jax.pmap(
        partial(split.apply, mutable=["batch_stats"]),
        axis_name="batch",
        in_axes=(None, 0),
        devices=jax.devices()[:2],
    )
    y, updates = step(variables(2), x.reshape(2, 2, 3, 3, 2))
    np.testing.assert_allclose(y.reshape(whole.shape), whole, atol=1e-5)
    for name, expected in whole_after.items():
        for each in range(2):
            np.testing.assert_allclose(
                updates["batch_stats"][name][each], expected, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_are_those_of_the_formula(dtype):
    """Derived by jax from the definition; cosines weigh every value differently."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3, 2, size=(2, 5, 4, 3)), dtype)
    params = {"scale": jnp.asarray([0.5, 1.0, 2.0]), "bias": jnp.asarray([0.0, 1.0, -1.0])}
    weights = jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape)
    layer = BatchNorm(use_running_average=False, epsilon=1e-3, dtype=dtype)

    def ours(x, params):
        y, _ = layer.apply({**variables(3), "params": params}, x, mutable=["batch_stats"])
        return jnp.sum(jnp.asarray(y, jnp.float32) * weights)

    def formula(x, params):
        x = x.astype(jnp.float32)
        mean, var = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
        scale, bias = (params[name].reshape(1, 1, 1, 3) for name in ("scale", "bias"))
        y = (x - mean) / jnp.sqrt(var + 1e-3) * scale + bias
        return jnp.sum(y.astype(dtype).astype(jnp.float32) * weights)

    both = [jax.jit(jax.grad(f, (0, 1)))(x, params) for f in (ours, formula)]
    tolerance = 1e-5 if dtype == jnp.float32 else 2**-8
    for one, other in zip(*map(jax.tree.leaves, both), strict=True):
        assert one.dtype == other.dtype
        one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


def test_bfloat16_keeps_float32_statistics():
    x = np.random.default_rng(0).normal(100, 1, size=(8, 16, 16, 1)).astype(jnp.bfloat16)
    y, after = apply(BatchNorm(use_running_average=False, dtype=jnp.bfloat16), variables(1), x)
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64).mean()
    np.testing.assert_allclose(after["mean"], [0.1 * exact], rtol=1e-5)


def test_one_value_a_channel_normalizes_to_the_bias():
    x = np.full((1, 1, 1, 3), 7, np.float32)
    y, after = apply(train, variables(3), x)
    np.testing.assert_array_equal(y, np.zeros_like(x))
    np.testing.assert_allclose(after["var"], np.full(3, 0.9))  # no variance, rather than NaN
