"""Values of pixels and sums of classes, by bands, against logits enlarged as a whole."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import bands, pixels, resize


@pytest.fixture(params=[((4, 3), (13, 9)), ((13, 9), (13, 9))])
def batch(request, monkeypatch):
    """Four bands of which the last begins early; the second is of logits at full size."""
    monkeypatch.setattr(bands, "BAND_BYTES", 4 * 9 * 5 * 4)
    small, size = request.param
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, *small, 5)), jnp.float32)
    return logits, jnp.asarray(rng.uniform(size=(2, *size)), jnp.float32)


def large(logits, size):
    """[b, H, c, W]."""
    return resize.resize(logits, size).swapaxes(2, 3)


def test_values_are_those_of_the_whole_without_a_gradient(batch, run_compiled):
    def function(logits, weights):
        return weights * jax.nn.logsumexp(logits, axis=2)

    def found(logits):
        return pixels.values(function, logits, batch[1], corners="half_pixel")

    def both(logits):
        want = function(large(logits, batch[1].shape[1:]), batch[1])
        return found(logits), want, jax.grad(lambda x: found(x).sum())(logits)

    values, want, gradient = run_compiled(both, batch[0])
    np.testing.assert_allclose(values, want, rtol=1e-5)
    assert not np.any(gradient)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_sums_and_gradients_are_those_of_the_whole(batch, dtype, run_compiled):
    """Of a ratio, whose derivative by a sum depends on all of the sums."""
    logits, weights = batch[0].astype(dtype), batch[1]

    def function(logits, weights):
        p = jax.nn.softmax(logits, axis=2)
        return weights[:, :, None] * p, p**2

    def ratio(sums):
        return (sums[:, 0] / sums[:, 1]).sum()

    def found(logits):
        return ratio(pixels.class_sums(function, logits, weights, count=2, corners="half_pixel"))

    def want(logits):
        whole = large(logits.astype(jnp.float32), weights.shape[1:])
        return ratio(jnp.stack([x.sum((1, 3)) for x in function(whole, weights)], axis=1))

    (value, gradient), expected = run_compiled(
        lambda x: [jax.value_and_grad(f)(x) for f in (found, want)], logits
    )
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    assert gradient.dtype == dtype
    rtol = 1e-4 if dtype == jnp.float32 else 2**-7
    np.testing.assert_allclose(np.float32(gradient), np.float32(expected[1]), rtol=rtol, atol=1e-4)


def test_the_gradient_of_sums_needs_no_memory_for_large_logits():
    """Of 16 images of 512x512 and 150 classes: 2.5 GB of logits."""

    def loss(logits, weights):
        def function(logits, weights):
            return (weights[:, :, None] * jax.nn.softmax(logits, axis=2),)

        sums = pixels.class_sums(function, logits, weights, count=1, corners="half_pixel")
        return (1 / sums).sum()

    shapes = (16, 128, 128, 150), (16, 512, 512)
    arrays = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    memory: Any = jax.jit(jax.grad(loss)).lower(*arrays).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 3 * 4 * 16 * 128 * 128 * 150
