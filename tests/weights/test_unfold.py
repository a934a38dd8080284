"""Folded batch norms get statistics, and the network stays the function it was."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops.layers import bind
from jaxseg.weights.imported import flatten, unflatten
from jaxseg.weights.unfold import unfold


class Net(nn.Module):
    """Two batch norms, the second after a nonlinearity that makes its input skewed."""

    @nn.compact
    def __call__(self, images, *, train):
        layers = bind(train=train, dtype="float32", norm_epsilon=1e-3)
        x = nn.relu(layers.norm(name="norm1")(layers.conv(4, name="conv1")(images)))
        x = layers.norm(name="norm2")(layers.conv(5, kernel_size=1, name="conv2")(x))
        return x, {}


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(1, 3, (3, 4, 8, 8, 3)), jnp.float32)  # three batches


@pytest.fixture(scope="module")
def variables(images):
    """As folded weights come: biases of any size, statistics of nothing."""
    tree = Net().init(jax.random.key(0), images[0], train=False)
    flat = flatten(tree)
    for path, value in flat.items():
        if path.endswith("bias"):
            flat[path] = np.random.default_rng(1).normal(size=value.shape).astype(np.float32)
        if path.endswith("scale"):
            flat[path] = np.full(value.shape, np.sqrt(1 + 1e-3), np.float32)
    return unflatten(flat)


def logits(variables, images, train):
    ((x, _), _) = Net().apply(variables, images, train=train, mutable=["batch_stats"])
    return np.asarray(x)


def test_evaluation_is_the_same_function(variables, images):
    unfolded = unfold(Net(), variables, images)
    other = jax.random.normal(jax.random.key(2), (2, 8, 8, 3))
    for batch in (images[0], other):
        before, after = logits(variables, batch, False), logits(unfolded, batch, False)
        np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_training_on_the_measured_batch_gives_what_evaluation_gives(variables, images):
    batch = images[0]
    folded = np.abs(logits(variables, batch, True) - logits(variables, batch, False)).max()
    assert folded > 1  # untouched, training is another function
    unfolded = unfold(Net(), variables, [batch])
    trained, evaluated = logits(unfolded, batch, True), logits(unfolded, batch, False)
    np.testing.assert_allclose(trained, evaluated, atol=1e-5 * np.abs(evaluated).max())


def test_statistics_are_of_all_batches_together(variables, images):
    unfolded = unfold(Net(), variables, images)["batch_stats"]["norm1"]
    conv = bind(train=False, dtype="float32").conv(4)
    inputs: Any = conv.apply({"params": variables["params"]["conv1"]}, images.reshape(-1, 8, 8, 3))
    np.testing.assert_allclose(unfolded["mean"], inputs.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(unfolded["var"], inputs.var((0, 1, 2)), rtol=1e-4)


def test_only_the_norms_that_are_named_change(variables, images):
    unfolded = unfold(Net(), variables, images, norms={"norm1"})
    assert unfolded["batch_stats"]["norm1"]["mean"].any()
    for kind in ("params", "batch_stats"):
        jax.tree.map(
            np.testing.assert_array_equal, unfolded[kind]["norm2"], variables[kind]["norm2"]
        )
