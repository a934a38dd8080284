from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.ops.norm import batch_norm


def layer(*, train, dtype=jnp.float32, axis_name=None):
    return batch_norm(train=train, dtype=dtype, axis_name=axis_name)()


def apply(layer, variables, x):
    """The output, and the running statistics after it."""
    y, updates = jax.jit(partial(layer.apply, mutable=["batch_stats"]))(variables, x)
    return y, updates["batch_stats"]


def variables(channels, mean=0.0, var=1.0):
    fill = partial(np.full, channels, dtype=np.float32)
    return {
        "params": {"scale": fill(1.0), "bias": fill(0.0)},
        "batch_stats": {"mean": fill(mean), "var": fill(var)},
    }


def test_initial_variables():
    initial = layer(train=False).init(jax.random.key(0), jnp.ones((1, 2, 2, 3)))
    jax.tree.map(np.testing.assert_array_equal, initial, variables(3))


def test_training_normalizes_by_the_batch_and_moves_the_running_statistics():
    x = np.random.default_rng(0).normal(3, 2, size=(4, 5, 6, 3)).astype(np.float32)
    y, after = apply(layer(train=True), variables(3), x)
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), atol=1e-4)
    np.testing.assert_allclose(after["mean"], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(after["var"], 0.9 + 0.1 * var, rtol=1e-4)


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype(np.float32)
    before = variables(2, mean=-2.0, var=4.0)
    y, after = apply(layer(train=False), before, x)
    np.testing.assert_allclose(y, (x + 2) / np.sqrt(4 + 1e-5), atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after, before["batch_stats"])


def test_a_named_axis_gives_the_statistics_of_the_whole_batch():
    x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    x *= np.arange(1, 5).reshape(4, 1, 1, 1)  # the halves differ
    whole, whole_after = apply(layer(train=True), variables(2), x)
    split = layer(train=True, axis_name="batch")
    y, after = jax.vmap(partial(apply, split, variables(2)), axis_name="batch")(
        x.reshape(2, 2, 3, 3, 2)
    )
    np.testing.assert_allclose(y.reshape(whole.shape), whole, atol=1e-5)
    for each in range(2):
        np.testing.assert_allclose(after["var"][each], whole_after["var"], rtol=1e-5)


def test_bfloat16_keeps_float32_statistics():
    x = np.random.default_rng(0).normal(100, 1, size=(8, 16, 16, 1)).astype(jnp.bfloat16)
    y, after = apply(layer(train=True, dtype=jnp.bfloat16), variables(1), x)
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64).mean()
    np.testing.assert_allclose(after["mean"], [0.1 * exact], rtol=1e-5)


def test_one_value_a_channel_normalizes_to_the_bias():
    x = np.full((1, 1, 1, 3), 7, np.float32)
    y, _ = apply(layer(train=True), variables(3), x)
    np.testing.assert_array_equal(y, np.zeros_like(x))
