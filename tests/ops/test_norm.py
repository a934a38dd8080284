from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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


MEANS = np.array([0, 100, 1000, 3000, 5000])


def on_devices(layer, compiler, count):
    """`layer` in training on `count` devices: (variables, x) -> y, statistics, gradient of x."""

    def results(variables, x, weights):
        def output(x):
            y, updates = layer.apply(variables, x, mutable=["batch_stats"])
            return jnp.sum(y * weights), (y, updates["batch_stats"])

        gradient, (y, after) = jax.grad(output, has_aux=True)(x)
        return y, after, gradient

    devices = jax.devices()[:count]
    if compiler == "jit":
        split = NamedSharding(Mesh(np.asarray(devices), ("data",)), PartitionSpec("data"))
        return jax.jit(results, in_shardings=(None, split, split))
    axes = {"in_axes": (None, 0, 0), "out_axes": (0, None, 0)}
    step = jax.pmap(results, axis_name="batch", devices=devices, **axes)

    def mapped(variables, *arrays):
        shares = (array.reshape(count, -1, *array.shape[1:]) for array in arrays)
        y, after, gradient = step(variables, *shares)
        return y.reshape(arrays[0].shape), after, gradient.reshape(arrays[0].shape)

    return mapped


def exact(x, weights, parts):
    """Output, mean and unbiased variance after one step, gradient; each part by itself, float64."""
    axes, share = (1, 2, 3), x.size // x.shape[-1] // parts
    x, g = (array.reshape(parts, -1, *array.shape[1:]).astype(np.float64) for array in (x, weights))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    deviation = np.sqrt(var + 1e-5)
    y = (x - mean) / deviation
    gradient = g - g.mean(axes, keepdims=True) - y * (g * y).mean(axes, keepdims=True)
    after = {"mean": 0.1 * mean.mean(0), "var": 0.9 + 0.1 * var.mean(0) * share / (share - 1)}
    whole = (-1, *x.shape[2:])
    return y.reshape(whole), after, (gradient / deviation).reshape(whole)


@pytest.mark.parametrize("policy", ["global", "per_device"])
@pytest.mark.parametrize(("compiler", "devices"), [("jit", 1), ("jit", 8), ("pmap", 8)])
def test_large_means_cost_no_more_than_their_rounding(compiler, devices, policy):
    """The variance is about 1 whatever the mean; the devices' shares differ in both.

    A float32 sum of 576 numbers is off by up to 6e-7 of the mean. The output of E[x^2] - E[x]^2 is
    off by 1e-3 at mean 100 and by 0.2 at 3000, PyTorch's in float32 by 3e-5 and 4e-4.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 9, 8, len(MEANS)))
    x = (x * rng.uniform(0.5, 2, (8, 1, 1, 1)) + rng.normal(size=(8, 1, 1, 1)) + MEANS).astype(
        np.float32
    )
    weights = rng.normal(size=x.shape).astype(np.float32)
    by_jit, by_pmap = Statistics(policy, devices=devices), Statistics(policy, axis_name="batch")
    statistics = by_jit if compiler == "jit" else by_pmap
    layer = BatchNorm(use_running_average=False, statistics=statistics)
    y, after, gradient = on_devices(layer, compiler, devices)(variables(len(MEANS)), x, weights)
    parts = devices if policy == "per_device" else 1
    expected, expected_after, expected_gradient = exact(x, weights, parts)
    allowed = 2e-6 + 6e-7 * MEANS
    assert np.all(np.abs(y - expected).max((0, 1, 2)) < allowed)
    assert np.all(np.abs(gradient - expected_gradient).max((0, 1, 2)) < allowed)
    for name, value in expected_after.items():
        np.testing.assert_allclose(after[name], value.ravel(), rtol=1e-6, atol=1e-6)


def test_a_constant_map_has_no_variance_and_its_gradient():
    """Of 7.3, the mean of squares less the square of the mean is rounding, as large as epsilon."""
    x = np.full((2, 5, 4, 1), 7.3, np.float32)
    weights = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    y, after, gradient = on_devices(train, "jit", 1)(variables(1), x, weights)
    np.testing.assert_allclose(y, 0 * x, atol=1e-3)
    np.testing.assert_allclose(after["var"], [0.9], rtol=1e-6)
    np.testing.assert_allclose(gradient, (weights - weights.mean()) / np.sqrt(1e-5), rtol=1e-4)


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
