import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import pyramid

SIZES = [(13, 13), (7, 10), (4, 4), (3, 1), (1, 1)]


def by_loops(x, n):
    """One bin at a time, by the floor and ceiling of real quotients."""
    b, h, w, c = x.shape
    out = np.empty((b, n, n, c), np.float32)
    for i in range(n):
        for j in range(n):
            top, bottom = math.floor(i / n * h + 1e-9), math.ceil((i + 1) / n * h - 1e-9)
            left, right = math.floor(j / n * w + 1e-9), math.ceil((j + 1) / n * w - 1e-9)
            out[:, i, j] = x[:, top:bottom, left:right].mean(axis=(1, 2))
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bins", [1, 2, 4])
def test_means_equal_loops(size, bins):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    y = jax.jit(pyramid.mean_bins, static_argnums=1)(x, bins)
    np.testing.assert_allclose(y, by_loops(x, bins), atol=1e-6)


def test_bins_of_the_paper():
    """Section 2.3: a 13x13 map, 3x3 bins: windows of 5 with stride 4; 2x2: of 7 with stride 6."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 13, 13, 1)), jnp.float32)
    for n, window, stride in ((3, 5, 4), (2, 7, 6), (1, 13, 13)):
        sums = jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (1, window, window, 1), (1, stride, stride, 1), "VALID"
        )
        np.testing.assert_allclose(pyramid.mean_bins(x, n), sums / window**2, atol=1e-6)


def test_means_are_taken_in_float32():
    x = jnp.ones((1, 40, 40, 1), jnp.bfloat16).at[0, 0, 0].set(100)
    y = pyramid.mean_bins(x, 1)
    assert y.dtype == jnp.bfloat16
    assert y.item() == jnp.bfloat16((1599 + 100) / 1600)


def test_no_bins():
    with pytest.raises(UserError, match="0 bins"):
        pyramid.mean_bins(jnp.ones((1, 2, 2, 1)), 0)
