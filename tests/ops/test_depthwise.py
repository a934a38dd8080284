from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.ops import lowering
from jaxseg.ops.depthwise import LOWERINGS, DepthwiseConv, depthwise_conv

# (kernel, stride, dilation, h, w)
CASES = [
    (3, 1, 1, 7, 5),
    (3, 2, 1, 8, 7),
    (3, 3, 1, 9, 11),
    (3, 1, 2, 6, 9),
    (5, 3, 2, 14, 13),
]
PADDED = [(3, 1, 24, 5, 30), (3, 1, 12, 1, 1)]


@pytest.mark.parametrize(
    ("padding", "dtype"),
    [
        ("symmetric", "float32"),
        ("tf_same", "float32"),
        ("valid", "float32"),
        ("tf_same", "bfloat16"),
    ],
)
@pytest.mark.parametrize("form", LOWERINGS)
def test_lowerings_equal_the_definition(form, padding, dtype, check_convolution):
    cases = CASES + (PADDED if padding != "valid" else [])
    options = {"channels": 4, "kernel": (1, 4)}
    check_convolution(depthwise_conv, "depthwise_conv", form, cases, padding, dtype, **options)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [({}, "dense"), ({"dilation": 2}, "dilated"), ({"stride": 2, "dilation": 2}, "strided")],
)
def test_classes_of_shapes(options, shapes, asked):
    x, kernel = jnp.zeros((1, 8, 8, 3)), jnp.zeros((3, 3, 1, 3))
    jax.eval_shape(partial(depthwise_conv, **options), x, kernel)
    assert asked == [("depthwise_conv", shapes)]


def test_one_pixel():
    x, kernel = jnp.full((1, 1, 1, 2), 3.0), jnp.arange(18.0).reshape(3, 3, 1, 2)
    for padding in ("symmetric", "tf_same"):
        y = depthwise_conv(x, kernel, 1, 12, padding)
        np.testing.assert_array_equal(y, [[[[24, 27]]]])  # three times the central tap


@pytest.mark.parametrize("form", ["shifted", "rows"])
def test_bfloat16_rounds_once_forward_and_backward(form):
    """As the float32 result of the same numbers, rounded: a sum of bfloat16 taps would not be."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 9, 8, 16)), jnp.bfloat16)
    kernel = jnp.asarray(rng.normal(size=(5, 5, 1, 16)), jnp.bfloat16)

    @jax.jit
    def results(x, kernel):
        with lowering.forced({"depthwise_conv": form}):
            y, back = jax.vjp(partial(depthwise_conv, stride=2, padding="tf_same"), x, kernel)
        return y, *back(jnp.ones_like(y))

    exact = results(x.astype(jnp.float32), kernel.astype(jnp.float32))
    for found, expected in zip(results(x, kernel), exact, strict=True):
        assert found.dtype == jnp.bfloat16
        found, expected = np.asarray(found, np.float32), np.asarray(expected)
        # one rounding is half of 2**-7 at most
        np.testing.assert_allclose(found, expected, rtol=2**-8, atol=1e-6)


def test_initialisation_keeps_the_scale_through_relu():
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (4, 16, 16, 256)))
    y, variables = jax.jit(DepthwiseConv().init_with_output)(jax.random.key(1), x)
    assert variables["params"]["kernel"].shape == (3, 3, 1, 256)
    inside = y[:, 1:-1, 1:-1]
    np.testing.assert_allclose(np.mean(inside**2), 2 * np.mean(x**2), rtol=0.3)
