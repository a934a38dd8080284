import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import pyramid

SIZES = [(13, 13), (7, 10), (4, 4), (3, 1), (1, 1)]


def by_loops(x, n, reduce):
    """One bin at a time, by the floor and ceiling of real quotients."""
    b, h, w, c = x.shape
    out = np.empty((b, n, n, c), np.float32)
    for i in range(n):
        for j in range(n):
            top, bottom = math.floor(i / n * h + 1e-9), math.ceil((i + 1) / n * h - 1e-9)
            left, right = math.floor(j / n * w + 1e-9), math.ceil((j + 1) / n * w - 1e-9)
            out[:, i, j] = reduce(x[:, top:bottom, left:right], axis=(1, 2))
    return out


def picture(size, channels=3):
    return np.random.default_rng(0).normal(size=(2, *size, channels)).astype(np.float32)


@pytest.mark.parametrize("size", [(13, 13), (10, 17), (2, 3)])
def test_256_channels_make_5376_numbers_of_any_map(size):
    x = jax.ShapeDtypeStruct((3, *size, 256), jnp.float32)
    assert jax.eval_shape(pyramid.pyramid_pool, x).shape == (3, 5376)


@pytest.mark.parametrize("size", SIZES)
def test_vector_equals_loops(size):
    x = picture(size)
    expected = np.concatenate([by_loops(x, n, np.max).reshape(2, -1) for n in (4, 2, 1)], axis=1)
    np.testing.assert_array_equal(jax.jit(pyramid.pyramid_pool)(x), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bins", [1, 2, 4])
def test_means_equal_loops(size, bins):
    x = picture(size)
    y = jax.jit(pyramid.mean_bins, static_argnums=1)(x, bins)
    np.testing.assert_allclose(y, by_loops(x, bins, np.mean), atol=1e-6)


def test_bins_of_the_paper():
    """Section 2.3: a 13x13 map, 3x3 bins: windows of 5 with stride 4; 2x2: of 7 with stride 6."""
    x = jnp.asarray(picture((13, 13), channels=1))
    for n, window, stride in ((3, 5, 4), (2, 7, 6), (1, 13, 13)):
        expected = jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, window, window, 1), (1, stride, stride, 1), "VALID"
        )
        np.testing.assert_array_equal(pyramid.pyramid_pool(x, (n,)), expected.reshape(2, n * n))


def test_means_are_taken_in_float32():
    x = jnp.ones((1, 40, 40, 1), jnp.bfloat16).at[0, 0, 0].set(100)
    y = pyramid.mean_bins(x, 1)
    assert y.dtype == jnp.bfloat16
    assert y.item() == jnp.bfloat16((1599 + 100) / 1600)


def test_no_bins():
    with pytest.raises(UserError, match="0 bins"):
        pyramid.pyramid_pool(jnp.ones((1, 2, 2, 1)), (0,))
