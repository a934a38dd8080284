from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import resize as ops

resize = jax.jit(ops.resize, static_argnames=("size", "corners"))

SIZES = [((4, 5), (8, 10)), ((5, 7), (13, 3)), ((9, 4), (5, 4)), ((1, 1), (6, 7)), ((6, 5), (1, 1))]


def aligned_reference(x, size):
    """First point on first point, last on last, linear between, by numpy's own interpolation."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = x.shape[axis]
        at = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
        line = partial(np.interp, at, np.arange(old))
        x = np.apply_along_axis(line, axis, x)
    return x


def test_worked_example():
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    expected = [
        [1.00, 1.25, 1.75, 2.00],
        [1.50, 1.75, 2.25, 2.50],
        [2.50, 2.75, 3.25, 3.50],
        [3.00, 3.25, 3.75, 4.00],
    ]
    np.testing.assert_allclose(resize(x, (4, 4))[0, ..., 0], expected)
    thirds = np.arange(4) / 3
    np.testing.assert_allclose(
        resize(x, (4, 4), corners="aligned")[0, ..., 0],
        1 + thirds[None] + 2 * thirds[:, None],
        rtol=1e-6,
    )


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_half_pixel_equals_jax_image_resize(old, new):
    x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
    expected = jax.image.resize(x, (2, *new, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(resize(x, new), expected, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_aligned_equals_numpy_interpolation(old, new):
    x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
    y = resize(x, new, corners="aligned")
    np.testing.assert_allclose(y, aligned_reference(x, new), atol=1e-5)


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
def test_a_linear_map_with_its_transpose_as_gradient(corners):
    x = jax.random.normal(jax.random.key(0), (1, 3, 4, 2))
    y = jax.random.normal(jax.random.key(1), (1, 7, 5, 2))
    up, pullback = jax.vjp(lambda x: resize(x, (7, 5), corners), x)
    np.testing.assert_allclose(jnp.vdot(up, y), jnp.vdot(x, pullback(y)[0]), rtol=1e-5)
    ones = resize(jnp.ones((1, 3, 4, 2)), (7, 5), corners)
    np.testing.assert_allclose(ones, 1, atol=1e-6)


def test_bfloat16_is_summed_in_float32():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 4)).astype(jnp.bfloat16)
    y = resize(x, (29, 31))
    exact = resize(x.astype(jnp.float32), (29, 31))
    assert y.dtype == jnp.bfloat16
    # rounded once, at the end
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_unknown_corners():
    with pytest.raises(UserError, match="half_pixel"):
        resize(jnp.ones((1, 2, 2, 1)), (2, 2), corners="align")
