from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.ops import layers, resize, upsample
from jaxseg.ops.upsample import METHODS, Upsample


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def bound(dtype=jnp.float32):
    return layers.bind(train=False, dtype=dtype)


def run(method, x, size, factor=2, dtype=jnp.float32, **options):
    layer = Upsample(method, bound(dtype), factor, **options)
    init = jax.jit(lambda x: layer.init_with_output(jax.random.key(0), x, size))
    return init(x.astype(dtype))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("old", "new", "factor"), [((1, 1), (1, 1), 2), ((3, 4), (5, 8), 2), ((2, 3), (7, 9), 4)]
)
@pytest.mark.parametrize("method", METHODS)
def test_size_type_and_channels(method, old, new, factor, dtype):
    y, _ = jax.eval_shape(lambda: run(method, pictures(2, *old, 3), new, factor, dtype))
    assert (y.shape, y.dtype) == ((2, *new, 3), dtype)


def test_only_two_methods_learn_and_what():
    x = pictures(1, 3, 4, 5)
    for method in METHODS:
        variables = run(method, x, (6, 8))[1]
        shapes = jax.tree.map(np.shape, variables.get("params", {}))
        assert shapes == {
            "transposed": {"transposed": {"kernel": (4, 4, 5)}},
            "resize_conv": {"conv": {"kernel": (3, 3, 5, 5), "bias": (5,)}},
        }.get(method, {})


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_interpolations_are_those_of_resize(method, corners):
    x = pictures(2, 3, 4, 5)
    y, _ = run(method, x, (7, 9), factor=3, corners=corners)
    np.testing.assert_allclose(y, resize.resize(x, (7, 9), corners, method), atol=1e-6)


def test_transposed_starts_as_bilinear_interpolation():
    x = pictures(1, 4, 5, 2)
    y, _ = run("transposed", x, (15, 17), factor=4)
    inside = resize.resize(x, (16, 20))[:, 2:14, 2:17]  # beyond the border it has zeros
    np.testing.assert_allclose(y[:, 2:14, 2:17], inside, atol=1e-5)


def test_resize_convolution_is_nearest_and_then_a_convolution():
    x = pictures(1, 2, 3, 4)
    y, variables = run("resize_conv", x, (4, 6))
    large = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
    conv = bound().conv(4, use_bias=True)
    expected: Any = conv.apply({"params": variables["params"]["conv"]}, large)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "factor"), [((6, 8), 2), ((5, 7), 2), ((7, 9), 3), ((8, 10), 2)])
def test_bed_of_nails_puts_values_at_the_top_left(size, factor):
    x = pictures(2, -(-size[0] // factor), -(-size[1] // factor), 3)
    y = np.asarray(upsample.bed_of_nails(x, size, factor))
    np.testing.assert_array_equal(y[:, ::factor, ::factor], x)
    assert np.count_nonzero(y) == x.size


def test_bed_of_nails_after_a_pooling_that_rounded_down():
    y = upsample.bed_of_nails(jnp.ones((1, 2, 2, 1)), (5, 5))
    np.testing.assert_array_equal(y[0, ..., 0].sum(axis=0), [2, 0, 2, 0, 0])


def test_unknown_method():
    with pytest.raises(UserError, match="no upsampling 'bilinaer' here: did you mean 'bilinear'"):
        run("bilinaer", pictures(1, 2, 2, 1), (4, 4))
