import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models.unet import UNet

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(1, 24, 24, 3)), jnp.float32)


@pytest.fixture(scope="module")
def model():
    return UNet(3, width=4, depth=2)


@pytest.fixture(scope="module")
def evaluate(model):
    return jax.jit(lambda variables, images: model.apply(variables, images, train=False))


def test_parameter_count_of_the_paper():
    """Five levels of two 3x3 convolutions, and up-convolutions that halve the channels."""
    variables = jax.eval_shape(
        lambda: UNet(2).init(jax.random.key(0), jnp.ones((1, 16, 16, 1)), train=False)
    )
    count = 64 * 2 + 2  # the last 1x1
    channels = [1, 64, 128, 256, 512, 1024]
    for i, o in itertools.pairwise(channels):
        count += 9 * i * o + 9 * o * o + 4 * o  # two convolutions, two batch norms
    for i, o in itertools.pairwise(reversed(channels[1:])):
        count += 4 * i * o + o  # 2x2 up-convolution with its bias
        count += 9 * (2 * o) * o + 9 * o * o + 4 * o  # the skip doubles the channels
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


def test_every_skip_carries_signal_and_gradient(model, random_variables, run_compiled):
    """The first convolution after a concatenation reads the skip in its first input channels."""
    variables = random_variables(model, IMAGES)

    def loss(params):
        logits, _ = model.apply({**variables, "params": params}, IMAGES, train=False)
        return (logits**2).sum()

    gradient = run_compiled(jax.grad(loss), variables["params"])
    for level in range(2):
        kernel = gradient[f"up{level}"]["conv1"]["kernel"]
        width = 4 << level
        assert kernel.shape[2] == 2 * width
        for half in (kernel[:, :, :width], kernel[:, :, width:]):
            assert (np.abs(half).max(axis=(0, 1, 3)) > 1e-4).all()  # every channel of either half


def test_the_full_resolution_skip_alone_sees_a_9x9_window(model, evaluate, random_variables):
    """With the up-convolution silenced, four 3x3 convolutions at full resolution are left."""
    variables = random_variables(model, IMAGES)
    silent = jax.tree.map(np.zeros_like, variables["params"]["up0_conv"])
    local = {**variables, "params": {**variables["params"], "up0_conv": silent}}
    moved = IMAGES.at[0, 12, 10].add(1.0)

    def changed(variables):
        difference = evaluate(variables, moved)[0] - evaluate(variables, IMAGES)[0]
        rows, cols = np.nonzero(np.abs(difference[0]).max(axis=-1) > 1e-6)
        return rows.min(), rows.max(), cols.min(), cols.max()

    assert changed(local) == (8, 16, 6, 14)
    top, bottom, left, right = changed(variables)
    assert max(top - 8, left - 6) < 0 < min(bottom - 16, right - 14)


def test_dropout_acts_in_training_alone(random_variables):
    model = UNet(3, width=2, depth=1, dropout=0.5)
    variables = random_variables(model, IMAGES)

    @jax.jit
    def train(key):
        rngs = {"dropout": key}
        out, _ = model.apply(variables, IMAGES, train=True, mutable=["batch_stats"], rngs=rngs)
        return out[0]

    assert np.any(train(jax.random.key(0)) != train(jax.random.key(1)))
    model.apply(variables, IMAGES, train=False)  # asks for no random key
