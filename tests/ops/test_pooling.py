import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import pooling

max_pool = jax.jit(pooling.max_pool, static_argnums=1)
max_pool_3x3_stride2 = jax.jit(pooling.max_pool_3x3_stride2)

SIZES = [(1, 1), (2, 3), (4, 6), (7, 5), (9, 8)]


def reference(x, size, stride, before):
    """The maximum of every window, clipped to the image; ceil(n / stride) windows."""
    b, h, w, c = x.shape
    rows, cols = -(-h // stride), -(-w // stride)
    y = np.zeros((b, rows, cols, c))
    for i in range(rows):
        for j in range(cols):
            top, left = i * stride - before, j * stride - before
            window = x[:, max(top, 0) : top + size, max(left, 0) : left + size]
            y[:, i, j] = window.max(axis=(1, 2))
    return y


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_blocks(h, w, window):
    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32) - 5  # all negative
    y = max_pool(x, window)
    np.testing.assert_array_equal(y, reference(x, window, window, before=0))


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_3x3_stride2(h, w):
    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32) - 5
    y = max_pool_3x3_stride2(x)
    np.testing.assert_array_equal(y, reference(x, 3, 2, before=1))


@pytest.mark.parametrize("pool", [max_pool, max_pool_3x3_stride2], ids=["blocks", "3x3"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradient_goes_to_the_maxima_and_adds_up(pool, dtype):
    x = jax.random.normal(jax.random.key(0), (1, 5, 7, 1)).astype(dtype)
    gradient = jax.grad(lambda x: pool(x).sum().astype(jnp.float32))(x)
    outputs = pool(x)
    assert gradient.sum() == outputs.size
    np.testing.assert_array_equal(np.isin(x, outputs), gradient != 0)


@pytest.mark.parametrize("pool", [max_pool, max_pool_3x3_stride2], ids=["blocks", "3x3"])
def test_gradient_of_ties_is_finite_and_adds_up(pool):
    gradient = jax.grad(lambda x: pool(x).sum())(jnp.zeros((1, 5, 7, 2)))
    assert jnp.isfinite(gradient).all()
    assert gradient.sum() == pytest.approx(3 * 4 * 2)
