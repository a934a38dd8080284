import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import bands, resize

SIZES = [
    ((4, 3), (13, 9)),
    ((8, 8), (32, 32)),
    ((9, 9), (33, 65)),
    ((1, 1), (5, 7)),
    ((9, 8), (5, 6)),
]


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize(("small", "size"), SIZES)
def test_the_highest_class_is_that_of_the_whole_enlarged_logits(monkeypatch, small, size, corners):
    monkeypatch.setattr(bands, "BAND_BYTES", 4 * size[1] * 7 * 4)  # four rows
    logits = np.random.default_rng(0).normal(size=(3, *small, 7)).astype(np.float32)
    rows, cols = (resize.interpolation_matrix(*n, corners) for n in zip(small, size, strict=True))
    large = jnp.einsum("Ww,bHwc->bHWc", cols, jnp.einsum("Hh,bhwc->bHwc", rows, logits))
    got = bands.argmax(jnp.asarray(logits), size, corners)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, large.argmax(-1))
    for temperature in (1.0, 2.5):
        got = bands.max_probability(jnp.asarray(logits), size, corners, temperature)
        np.testing.assert_allclose(got, jax.nn.softmax(large / temperature).max(-1), rtol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
def test_of_equals_it_is_the_first(size):
    """Ties of whole numbers, enlarged by 4, are exact."""
    logits = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 5)).astype(np.float32)
    large = resize.resize(jnp.asarray(logits), size)
    assert np.any((large == large.max(-1, keepdims=True)).sum(-1) > 1)
    np.testing.assert_array_equal(
        bands.argmax(jnp.asarray(logits), size, "half_pixel"), large.argmax(-1)
    )


@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
def test_nan_is_the_highest(size):
    logits = np.zeros((1, 4, 4, 5), np.float32)
    logits[..., 2] = 1
    logits[..., 3] = np.nan
    assert np.all(bands.argmax(jnp.asarray(logits), size, "half_pixel") == 3)


def test_classes_need_no_memory_for_large_logits():
    """Of 16 images of 512x512 and 150 classes: 2.5 GB of logits."""
    logits = jax.ShapeDtypeStruct((16, 128, 128, 150), jnp.float32)
    for of in (bands.argmax, bands.max_probability):
        function = jax.jit(functools.partial(of, size=(512, 512), corners="half_pixel"))
        memory: Any = function.lower(logits).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 100e6


def focal(power, factors, step):
    """A loss that closes over all three (Lin et al. 2017, equation 5), warmed up over 10 steps."""

    def loss(logits, labels):
        p = jax.nn.softmax(logits, axis=2)
        true = labels[:, :, None] == jnp.arange(5, dtype=jnp.int32)[:, None]
        p = jnp.where(true, p, 0.0).sum(2)
        factor = jnp.where(true, factors[:, None], 0.0).sum(2)
        return -factor * (1 - p) ** power * jnp.log(p) * jnp.minimum(step / 10, 1)

    return loss


def whole(loss, logits, labels):
    """The same sum of logits that are enlarged as a whole."""
    large = resize.resize(logits.astype(jnp.float32), labels.shape[1:])
    return loss(large.swapaxes(2, 3), labels).sum()


@pytest.fixture
def focal_batch(monkeypatch):
    monkeypatch.setattr(bands, "BAND_BYTES", 4 * 9 * 5 * 4)  # four bands of 13 rows
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 4, 3, 5)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 5, (2, 13, 9)), jnp.int32)
    return logits, labels, jnp.asarray(rng.uniform(0.5, 2, 5), jnp.float32)


def banded(loss, logits, labels):
    return bands.sum_pixels(loss, logits, labels, corners="half_pixel")


def assert_close(found, expected):
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_learned_and_scheduled_parameters_of_a_loss(focal_batch, run_compiled):
    """Values and gradients, of the logits and of what the loss closes over; the step is whole."""
    logits, labels, factors = focal_batch

    def results(total):
        def objective(logits, power, factors, step):
            return 3 * total(focal(power, factors, step), logits, labels)

        compute = jax.value_and_grad(objective, (0, 1, 2))
        return run_compiled(compute, logits, jnp.float32(2), factors, jnp.int32(5))

    assert_close(results(banded), results(whole))


def test_vmapped_parameters_of_a_loss(focal_batch, run_compiled):
    """A sweep of focal powers in one program: with and without a gradient."""
    logits, labels, factors = focal_batch

    def results(total):
        def objective(power):
            return total(focal(power, factors, 10), logits, labels)

        def sweep(powers):
            return jax.vmap(objective)(powers), jax.vmap(jax.grad(objective))(powers)

        return run_compiled(sweep, jnp.asarray([0.0, 1.0, 2.0]))

    assert_close(results(banded), results(whole))


def test_a_learned_parameter_needs_no_memory_for_large_logits():
    """Of 16 images of 512x512 and 150 classes: 2.5 GB of logits."""
    shapes = ((16, 128, 128, 150), jnp.float32), ((16, 512, 512), jnp.int32), ((), jnp.float32)

    def objective(logits, labels, temperature):
        def loss(logits, labels):
            classes = jnp.arange(150, dtype=jnp.int32)[:, None]
            logits = logits / temperature
            target = jnp.where(labels[:, :, None] == classes, logits, 0.0).sum(2)
            return jax.nn.logsumexp(logits, axis=2) - target

        return banded(loss, logits, labels)

    gradients = jax.jit(jax.grad(objective, (0, 2)))
    arrays = (jax.ShapeDtypeStruct(*shape) for shape in shapes)
    memory: Any = gradients.lower(*arrays).compile().memory_analysis()
    logits = 4 * 16 * 128 * 128 * 150
    assert memory.temp_size_in_bytes < 3 * logits
